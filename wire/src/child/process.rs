//! Starting and ending processes.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use futures::FutureExt as _;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::unix::pipe;

use crate::logbook::Logbook;

use super::Child;
use super::launcher::Launched;
use super::orphans::{COOKIE, Cookie};
use super::tail::inherited_secrets;

/// What to run.
#[derive(Clone)]
pub struct Program {
    /// The server's name, for error texts.
    pub name: Arc<str>,
    /// Started in place of `program`, which it gets as its first argument: it arranges that the child ends when this
    /// process is killed.
    pub wrapper: Vec<OsString>,
    /// The program: a path, or a name to be looked up.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Added to this process's environment.
    pub env: Vec<(String, String)>,
    /// Where it starts; `None` for where this process is.
    pub directory: Option<PathBuf>,
    /// Gets the lines of its standard error.
    pub logbook: Logbook,
    /// The longest line it may write, in bytes.
    pub max_line: usize,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments and environment may be secret.
        f.debug_struct("Program").field("name", &self.name).field("program", &self.program).finish_non_exhaustive()
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// The exit code, if it exited.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Whether the container it ran in had used more memory than it may meanwhile; told by launchers only.
    pub out_of_memory: bool,
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        Self { code: status.code(), signal: status.signal(), out_of_memory: false }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exited with code {code}")?,
            (None, Some(signal)) => match Signal::from_named_raw(signal) {
                Some(named) => write!(f, "was ended by signal {signal} ({named:?})")?,
                None => write!(f, "was ended by signal {signal}")?,
            },
            (None, None) => f.write_str("ended")?,
        }
        if self.out_of_memory {
            f.write_str(": its container used more memory than it may")?;
        }
        Ok(())
    }
}

/// A running process and its group.
#[derive(Debug)]
pub struct Process {
    running: Running,
    ended: Option<Exit>,
    lost: bool,
}

#[derive(Debug)]
enum Running {
    Here { child: tokio::process::Child, group: Option<Pid>, _cookie: Cookie },
    Launched(Launched),
}

impl Process {
    /// One that a launcher started.
    pub(super) fn launched(launched: Launched) -> Self {
        Self { running: Running::Launched(launched), ended: None, lost: false }
    }

    /// Its id, while it runs; `None` for one that runs elsewhere, where ids mean something else.
    pub fn pid(&self) -> Option<u32> {
        match &self.running {
            Running::Here { child, .. } => child.id(),
            Running::Launched(_) => None,
        }
    }

    /// Waits for its end. May be called again.
    pub async fn wait(&mut self) -> Exit {
        if let Some(exit) = self.ended {
            return exit;
        }
        let exit = match &mut self.running {
            Running::Here { child, .. } => child.wait().await.map(Exit::from).unwrap_or_default(),
            Running::Launched(launched) => {
                let exit = launched.wait().await;
                self.lost = exit.is_none();
                exit.unwrap_or_default()
            }
        };
        *self.ended.insert(exit)
    }

    /// Whether it has ended, as far as is known without waiting.
    pub(super) fn has_ended(&mut self) -> bool {
        if let Running::Here { child, .. } = &mut self.running
            && let Ok(Some(status)) = child.try_wait()
        {
            self.ended.get_or_insert_with(|| status.into());
        }
        self.wait().now_or_never().is_some()
    }

    /// Whether it was found to have ended with the launcher that ran it.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Signals the whole group.
    pub fn signal_group(&self, signal: Signal) {
        match &self.running {
            Running::Here { group: Some(group), .. } => {
                // The group may be gone.
                let _ = kill_process_group(*group, signal);
            }
            Running::Here { group: None, .. } => {}
            Running::Launched(launched) => launched.signal_group(signal),
        }
    }

    /// Ends the whole group at once.
    pub fn kill_group(&self) {
        self.signal_group(Signal::KILL);
    }
}

/// The pipes of a process that was started for us.
#[derive(Debug)]
pub struct Pipes {
    /// Its standard input.
    pub stdin: pipe::Sender,
    /// Its standard output.
    pub stdout: pipe::Receiver,
    /// Its standard error.
    pub stderr: pipe::Receiver,
}

impl Pipes {
    /// Our ends of its standard input, output and error.
    ///
    /// # Errors
    /// When they are not three, or not pipes of these directions.
    pub fn new(ends: Vec<OwnedFd>) -> io::Result<Self> {
        let not_three = |_| io::Error::new(io::ErrorKind::InvalidInput, "a process has three pipes");
        let [stdin, stdout, stderr] = <[OwnedFd; 3]>::try_from(ends).map_err(not_three)?;
        Ok(Self {
            stdin: pipe::Sender::from_owned_fd(stdin)?,
            stdout: pipe::Receiver::from_owned_fd(stdout)?,
            stderr: pipe::Receiver::from_owned_fd(stderr)?,
        })
    }
}

/// Starts a program.
///
/// # Errors
/// When the system refuses: no such program, no more processes, …
pub fn spawn(program: &Program) -> io::Result<Child> {
    let (process, ends) = start(program)?;
    Ok(Child::of(program, process, Pipes::new(ends)?, inherited_secrets()))
}

/// Starts a program, and gives the other ends of its standard input, output and error.
///
/// # Errors
/// As [`spawn`].
pub fn start(program: &Program) -> io::Result<(Process, Vec<OwnedFd>)> {
    let cookie = Cookie::new();
    let mut words = program.wrapper.iter().cloned().chain([program.program.clone().into_os_string()]);
    let mut command = tokio::process::Command::new(words.next().unwrap_or_default());
    command.args(words).args(&program.args).envs(program.env.iter().map(|(key, value)| (key, value)));
    command.env(COOKIE, cookie.value()).process_group(0).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(directory) = &program.directory {
        command.current_dir(directory);
    }
    let mut child = command.spawn()?;
    let gone = || io::Error::other("the process has no pipes");
    let ends = vec![
        child.stdin.take().ok_or_else(gone)?.into_owned_fd()?,
        child.stdout.take().ok_or_else(gone)?.into_owned_fd()?,
        child.stderr.take().ok_or_else(gone)?.into_owned_fd()?,
    ];
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let running = Running::Here { child, group, _cookie: cookie };
    Ok((Process { running, ended: None, lost: false }, ends))
}
