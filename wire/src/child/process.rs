//! Starting and ending processes.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::unix::pipe;

use crate::logbook::Logbook;

use super::orphans::{COOKIE, Cookie};
use super::tail::inherited_secrets;
use super::{Child, Pipes, Tail};

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
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exited with code {code}"),
            (None, Some(signal)) => match Signal::from_named_raw(signal) {
                Some(named) => write!(f, "was ended by signal {signal} ({named:?})"),
                None => write!(f, "was ended by signal {signal}"),
            },
            (None, None) => f.write_str("ended"),
        }
    }
}

/// A running process and its group.
#[derive(Debug)]
pub struct Process {
    child: tokio::process::Child,
    group: Option<Pid>,
    ended: Option<Exit>,
    _cookie: Cookie,
}

impl Process {
    /// Its id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end. May be called again.
    pub async fn wait(&mut self) -> Exit {
        if let Some(exit) = self.ended {
            return exit;
        }
        let status = self.child.wait().await;
        let exit = status.map(|status| Exit { code: status.code(), signal: status.signal() }).unwrap_or_default();
        *self.ended.insert(exit)
    }

    /// Signals the whole group.
    pub fn signal_group(&self, signal: Signal) {
        if let Some(group) = self.group {
            // The group may be gone.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Ends the whole group at once.
    pub fn kill_group(&self) {
        self.signal_group(Signal::KILL);
    }
}

/// Starts a program.
///
/// # Errors
/// When the system refuses: no such program, no more processes, …
pub fn spawn(program: &Program) -> io::Result<Child> {
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
    let pipes = Pipes {
        stdin: pipe::Sender::from_owned_fd(child.stdin.take().ok_or_else(gone)?.into_owned_fd()?)?,
        stdout: pipe::Receiver::from_owned_fd(child.stdout.take().ok_or_else(gone)?.into_owned_fd()?)?,
        stderr: pipe::Receiver::from_owned_fd(child.stderr.take().ok_or_else(gone)?.into_owned_fd()?)?,
    };
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let process = Process { child, group, ended: None, _cookie: cookie };
    let given = program.env.iter().map(|(_, value)| value.clone());
    let tail = Tail::new(given.chain(inherited_secrets()), program.logbook.clone());
    Ok(Child::new(Arc::clone(&program.name), process, pipes, tail, program.max_line))
}
