//! Running an installation, and telling how far it is.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Command;
use wire::status::Phase;

use crate::state::State;

/// How many lines of a failed installation its error quotes: half of them the first, half the last.
const QUOTED: usize = 8;

/// One command of an installation.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) program: &'static str,
    pub(super) args: Vec<OsString>,
    pub(super) env: Vec<(&'static str, OsString)>,
}

/// Keeps others from installing into `directory` while it lives.
pub(super) async fn lock(directory: &Path) -> io::Result<File> {
    if let Some(parent) = directory.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let file = File::create(directory.with_extension("lock"))?;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            // Whoever holds it installs the same: it is worth the wait.
            Err(rustix::io::Errno::WOULDBLOCK) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Runs the steps in order.
pub(super) async fn run(
    steps: Vec<Step>,
    package: &str,
    env: &[(String, String)],
    limit: Duration,
    state: &State,
) -> Result<(), String> {
    let began = Instant::now();
    let all = async {
        for step in steps {
            run_step(step, package, env, began, state).await?;
        }
        Ok(())
    };
    let late = || {
        format!(
            "installing {package} took longer than {} s; a longer `installTimeout` gives it more time",
            limit.as_secs()
        )
    };
    tokio::time::timeout(limit, all).await.unwrap_or_else(|_| Err(late()))
}

/// Ends a step's process group when it is given up.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may be gone.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn run_step(
    step: Step,
    package: &str,
    env: &[(String, String)],
    began: Instant,
    state: &State,
) -> Result<(), String> {
    let mut command = Command::new(step.program);
    command.args(&step.args).envs(step.env).envs(env.iter().map(|(key, value)| (key, value)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("cannot run {}: {error}", step.program))?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let mut quoted = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        follow(stderr, &mut quoted, |fetched| state.phase(Phase::Installing, progress(package, fetched, began))).await;
    }
    let status = child.wait().await.map_err(|error| format!("cannot wait for {}: {error}", step.program))?;
    group.0 = None;
    if status.success() {
        return Ok(());
    }
    Err(format!("{package} cannot be installed ({} {status}): {}", step.program, quoted.join(" | ")))
}

fn progress(package: &str, fetched: usize, began: Instant) -> String {
    let fetched = if fetched > 0 { format!("{fetched} downloads, ") } else { String::new() };
    format!("installing {package} ({fetched}{} s)", began.elapsed().as_secs())
}

/// Reads the output to its end; tells now and then how much was fetched.
async fn follow(stderr: impl AsyncRead + Unpin, quoted: &mut Vec<String>, report: impl Fn(usize)) {
    let mut lines = BufReader::new(stderr).lines();
    let mut fetched = 0;
    loop {
        match tokio::time::timeout(Duration::from_secs(1), lines.next_line()).await {
            Ok(Ok(Some(line))) if is_download(&line) => fetched += 1,
            Ok(Ok(Some(line))) => {
                quoted.push(line.trim().chars().take(300).collect());
                // npm names the cause first, uv last.
                if quoted.len() > QUOTED {
                    quoted.remove(QUOTED / 2);
                }
            }
            Ok(Ok(None) | Err(_)) => return,
            Err(_) => report(fetched),
        }
    }
}

/// Lines that npm and uv write for each download; they name hosts, which are nobody's business.
fn is_download(line: &str) -> bool {
    line.starts_with("npm http ") || line.trim_start().starts_with("Downloading ")
}
