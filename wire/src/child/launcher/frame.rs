//! What a sidecar and its launcher say to each other.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::super::process::Program;

/// What the sidecar asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Order {
    /// Start a process. The answer is [`Report::Started`] or [`Report::Failed`].
    Spawn(Spawn),
    /// Signal the whole group of a process. One that has ended is left alone.
    Signal {
        /// Which.
        id: u64,
        /// The signal's number.
        signal: i32,
    },
    /// All is installed that an [`Role::Installer`] was there for; nothing follows.
    Done,
    /// Go away; nothing follows.
    Refuse {
        /// Why.
        reason: String,
    },
}

/// A process to be started.
#[derive(Debug, Serialize, Deserialize)]
pub struct Spawn {
    /// Names it from now on; never used again.
    pub id: u64,
    /// The program: a path, or a name to be looked up where the launcher is.
    pub program: String,
    /// Its arguments.
    pub args: Hidden<Vec<String>>,
    /// Added to the launcher's environment.
    pub env: Hidden<Vec<(String, String)>>,
    /// Where it starts; `None` for where the launcher is.
    pub directory: Option<String>,
}

/// What the launcher tells.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Report {
    /// The first frame, and the first only.
    Hello {
        /// What is not to be shown of the environment that processes inherit from the launcher.
        secrets: Hidden<Vec<String>>,
        /// What is to be started there.
        #[serde(default)]
        role: Role,
        /// Where the launcher's own program is.
        #[serde(default)]
        own: String,
    },
    /// A process runs. With this frame come the other ends of its standard input, output and error.
    Started {
        /// Which.
        id: u64,
        /// Its process id, as the launcher sees it.
        pid: u32,
    },
    /// A process was not started.
    Failed {
        /// Which.
        id: u64,
        /// Why not, and what to do.
        error: String,
    },
    /// A process has ended, and its group with it.
    Exited {
        /// Which.
        id: u64,
        /// The exit code, if it exited.
        code: Option<i32>,
        /// The signal that ended it, if one did.
        signal: Option<i32>,
        /// Whether the kernel ended a process meanwhile because the container had used more memory than it may.
        #[serde(default)]
        out_of_memory: bool,
    },
    /// The launcher was told to stop. It goes on until the sidecar closes the connection.
    Drain,
}

/// What a launcher is there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// It runs the server's processes.
    #[default]
    Server,
    /// It installs what they run from, where only it may write; and ends before they come.
    Installer,
}

/// Something that may be secret, and is therefore not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden<T>(pub T);

impl<T> fmt::Debug for Hidden<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Spawn {
    /// What is to be said to have `program` started; `None` when it is not UTF-8.
    pub(super) fn new(id: u64, program: &Program) -> Option<Self> {
        let args: Option<_> = program.args.iter().map(|arg| arg.to_str().map(ToOwned::to_owned)).collect();
        let directory = program.directory.as_ref().map(|path| path.to_str().map(ToOwned::to_owned));
        Some(Self {
            id,
            program: program.program.to_str()?.to_owned(),
            args: Hidden(args?),
            env: Hidden(program.env.clone()),
            directory: directory.map_or(Some(None), |path| path.map(Some))?,
        })
    }
}
