//! A running program.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};
use tokio::process::Child;
use tokio::task::JoinSet;

use super::Census;
use super::logs::Logs;
use crate::http::http;
use crate::wait::{PATIENCE, eventually, within};

/// What a program that is dropped may take after SIGTERM before it is killed.
const GRACE: Timespec = Timespec { tv_sec: 3, tv_nsec: 0 };

/// Lines of stderr that an error shows.
const TAIL: usize = 40;

/// A program and all that it started; both end when this is dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    pid: Pid,
    /// Refers to this process even when its number has been given to another.
    handle: OwnedFd,
    mark: String,
    patience: Duration,
    stdout: Logs,
    stderr: Logs,
    origin: OnceLock<String>,
    _readers: JoinSet<()>,
}

impl Program {
    pub(super) fn new(mut child: Child, mark: String, patience: Duration) -> Result<Self> {
        let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).context("the program has no pid")?;
        let handle = pidfd_open(pid, PidfdFlags::empty()).context("cannot open a handle of the process")?;
        let (stdout, stderr) = (Logs::default(), Logs::default());
        let mut readers = JoinSet::new();
        readers.spawn(stdout.clone().read(child.stdout.take().context("stdout is not piped")?));
        readers.spawn(stderr.clone().read(child.stderr.take().context("stderr is not piped")?));
        Ok(Self { child, pid, handle, mark, patience, stdout, stderr, origin: OnceLock::new(), _readers: readers })
    }

    /// Process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Waits for the first line on stdout, `listening on http://HOST:PORT`, and gives the origin in it.
    ///
    /// # Errors
    /// When another line comes, none, or not in time; the error shows the last lines of stderr.
    pub async fn listening(&self) -> Result<&str> {
        let line = within(self.patience, "the line that says where the program listens", async {
            self.stdout.first().await.context("the program ended without saying where it listens")
        });
        let line = line.await.with_context(|| self.tail())?;
        let origin = line.strip_prefix("listening on ").filter(|origin| origin.starts_with("http://"));
        let origin = origin.with_context(|| format!("the first line on stdout is: {line}\n{}", self.tail()))?;
        // All addresses are reached through one that is on every machine.
        Ok(self.origin.get_or_init(|| origin.trim_end_matches('/').replace("//0.0.0.0:", "//127.0.0.1:")))
    }

    /// `http://HOST:PORT`; empty before [`Self::listening`].
    pub fn origin(&self) -> &str {
        self.origin.get().map_or("", String::as_str)
    }

    /// URL of `path`, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin())
    }

    /// Origin of the admin port, from the line `admin on http://…` on stdout.
    ///
    /// # Errors
    /// When there is no such line in time.
    pub async fn admin(&self) -> Result<String> {
        let line = self.wait_output("admin on http://").await?;
        Ok(line.trim_start_matches("admin on ").trim_end_matches('/').into())
    }

    /// Waits until `GET url` answers 200, such as `/readyz` of the admin port.
    ///
    /// # Errors
    /// When it does not in time; the error shows the last lines of stderr.
    pub async fn wait_ready(&self, url: &str) -> Result<()> {
        let ready = eventually(PATIENCE, format!("{url} to answer 200"), async || {
            http("GET", url, &[], "").await.ok().filter(|answer| answer.status == 200)
        });
        ready.await.map(drop).with_context(|| self.tail())
    }

    /// Waits for a line on stdout that holds `part`.
    ///
    /// # Errors
    /// When none comes in time.
    pub async fn wait_output(&self, part: &str) -> Result<String> {
        self.wait_line(&self.stdout, part).await
    }

    /// Waits for a line on stderr that holds `part`.
    ///
    /// # Errors
    /// When none comes in time.
    pub async fn wait_log(&self, part: &str) -> Result<String> {
        self.wait_line(&self.stderr, part).await
    }

    async fn wait_line(&self, logs: &Logs, part: &str) -> Result<String> {
        let line = within(PATIENCE, format!("a line with {part:?}"), async {
            logs.line_with(part).await.with_context(|| format!("the program ended without a line with {part:?}"))
        });
        line.await.with_context(|| self.tail())
    }

    /// Its stdout so far, the last lines of it.
    pub fn output(&self) -> String {
        self.stdout.text()
    }

    /// Its stderr so far, the last lines of it.
    pub fn logs(&self) -> String {
        self.stderr.text()
    }

    fn tail(&self) -> String {
        format!("last lines of its stderr:\n{}", self.stderr.tail(TAIL))
    }

    /// It and what it started, at this moment.
    pub fn census(&self) -> Census {
        Census::take(self.pid(), &self.mark)
    }

    /// Sends a signal to it, and to it alone.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid, signal).context("cannot signal the program")
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it goes on for longer than `limit`; the error shows the last lines of stderr.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let end = within(limit, "the program to end", async { Ok(self.child.wait().await?) });
        let end = end.await;
        end.with_context(|| self.tail())
    }

    /// Sends SIGTERM, waits for the end and gives the exit code.
    ///
    /// # Errors
    /// When it goes on for longer than `limit`, or dies by a signal.
    pub async fn stop(&mut self, limit: Duration) -> Result<i32> {
        self.signal(Signal::TERM)?;
        let status = self.wait(limit).await?;
        status.code().ok_or_else(|| anyhow!("it died by signal {:?}; {}", status.signal(), self.tail()))
    }

    /// Kills it, and it alone, by SIGKILL.
    ///
    /// # Errors
    /// When it has ended before.
    pub async fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.wait(PATIENCE).await.map(drop)
    }

    /// Waits until nothing that it started is left, itself excepted.
    ///
    /// # Errors
    /// When something is left after `limit`; the error names it.
    pub async fn wait_childless(&self, limit: Duration) -> Result<()> {
        let gone =
            eventually(limit, "the processes below to end", async || self.census().below().is_empty().then_some(()));
        match gone.await {
            Ok(()) => Ok(()),
            Err(_) => bail!("after {limit:?} these are left:\n{}", self.census()),
        }
    }

    fn running(&self) -> bool {
        !self.ends_within(&Timespec { tv_sec: 0, tv_nsec: 0 })
    }

    /// Blocks. Good for a drop only.
    fn ends_within(&self, limit: &Timespec) -> bool {
        let mut ends = [PollFd::new(&self.handle, PollFlags::IN)];
        !matches!(poll(&mut ends, Some(limit)), Ok(0))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let below = self.census();
        // Errors mean that the process is gone already, which is what is wanted.
        if self.running() {
            let _ = kill_process(self.pid, Signal::TERM);
            if !self.ends_within(&GRACE) {
                let _ = kill_process_group(self.pid, Signal::KILL);
            }
        }
        below.kill();
        self.census().kill();
        if std::thread::panicking() {
            let _ = write!(io::stderr(), "--- stdout\n{}--- stderr\n{}---\n", self.output(), self.logs());
        }
    }
}
