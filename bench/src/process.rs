//! Processes that cannot be left behind: each has its own group, and what it started is ended with it.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::cores;
use crate::procfs::{self, Entry};

/// How long a process may take to stop when asked, before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// How long its descendants may take to follow it.
const LINGER: Duration = Duration::from_secs(2);

/// A started program; dropping it ends the program and everything below it.
#[derive(Debug)]
pub(crate) struct Process {
    role: &'static str,
    child: Child,
    log: Option<PathBuf>,
}

impl Process {
    /// Starts a program whose output goes to a log of its own in `folder`.
    pub(crate) fn start(role: &'static str, mut command: Command, folder: &Path) -> anyhow::Result<Self> {
        let (log, path) = tempfile::Builder::new().prefix(role).suffix(".log").tempfile_in(folder)?.keep()?;
        // Its input stays open as long as this program lives: those that watch it cannot outlive us.
        command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        Self::spawn(role, command, Some(path))
    }

    /// Starts a child to talk to over its stdin and stdout.
    pub(crate) fn piped(role: &'static str, program: &Path) -> anyhow::Result<(Self, ChildStdin, ChildStdout)> {
        let mut command = Command::new(program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Self::spawn(role, command, None)?;
        let stdin = process.child.stdin.take().context("the child has no stdin")?;
        let stdout = process.child.stdout.take().context("the child has no stdout")?;
        Ok((process, stdin, stdout))
    }

    fn spawn(role: &'static str, mut command: Command, log: Option<PathBuf>) -> anyhow::Result<Self> {
        let child = cores::of_targets(|| Ok(command.process_group(0).spawn()?))
            .with_context(|| format!("cannot start {role}: {}", command.get_program().display()))?;
        Ok(Self { role, child, log })
    }

    pub(crate) fn role(&self) -> &'static str {
        self.role
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process of that name below this one.
    pub(crate) fn descendant(&self, name: &str) -> Option<u32> {
        procfs::descendants(self.pid()).into_iter().find(|entry| entry.name == name).map(|entry| entry.pid)
    }

    /// Kills the processes of that name below this one and returns how many there were.
    pub(crate) fn kill_descendants(&self, name: &str) -> usize {
        let family = procfs::descendants(self.pid());
        family.iter().filter(|entry| entry.name == name && kill(entry)).count()
    }

    /// An error with the end of the log when the program has exited.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        bail!("{} has exited ({status}): {}", self.role, self.last_words())
    }

    /// The last lines the program wrote.
    pub(crate) fn last_words(&self) -> String {
        let text = self.log.as_deref().and_then(|log| std::fs::read_to_string(log).ok()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    /// Ends the program and returns how many of its descendants had to be killed because they stayed.
    pub(crate) fn stop(mut self) -> usize {
        self.end()
    }

    fn end(&mut self) -> usize {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return 0;
        }
        let family = procfs::descendants(self.pid());
        let group = Pid::from_child(&self.child);
        // Where the group is gone already, the waiting below finds out.
        _ = kill_process_group(group, Signal::TERM);
        if !within(GRACE, || !matches!(self.child.try_wait(), Ok(None))) {
            _ = kill_process_group(group, Signal::KILL);
            drop(self.child.wait());
        }
        end_those_left(&family)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn end_those_left(family: &[Entry]) -> usize {
    within(LINGER, || !family.iter().any(procfs::is_alive));
    family.iter().filter(|entry| procfs::is_alive(entry) && kill(entry)).count()
}

fn kill(entry: &Entry) -> bool {
    let pid = i32::try_from(entry.pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
}

/// Waits until `done` holds, for at most `limit`.
fn within(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !done() {
        if Instant::now() > deadline {
            return false;
        }
        park_timeout(Duration::from_millis(5));
    }
    true
}

/// Lets this program, and what it starts, hold as many files open as the system allows.
pub(crate) fn raise_file_limit() -> anyhow::Result<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files")?;
    Ok(limit.current.unwrap_or(u64::MAX))
}
