//! Processes that another program starts for this one, in a container of its own: the server's.
//!
//! That program, the launcher, connects to a Unix socket of this one and starts what it is asked to ([`Order`],
//! [`Report`]). It hands the ends of each process's pipes over as file descriptors, so that no byte that a server reads
//! or writes passes through it. What runs beside a launcher is not trusted: all that comes from there is bounded, and a
//! connection that breaks the rules is closed, whereupon the launcher ends everything it has started.
//!
//! A launcher may be there to install only ([`Role::Installer`]). It is told when all is done ([`Launcher::installed`]),
//! and makes room for the one that runs the server.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::process::{Exit, Process, Program};
use super::{Child, Pipes};

mod channel;
mod frame;

pub use channel::{Channel, MAX_FDS, MAX_FRAME};
pub use frame::{Hidden, Order, Report, Role, Spawn};

/// Requests that may wait to be written to the launcher: several for each process that is reasonable. When there is no
/// room the launcher does not read, and its connection is cut.
const REQUESTS: usize = 1024;
/// How long a launcher may take to say hello, to read a frame, or to start a process.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much of a launcher's error text is told, in characters.
const ERROR_CHARS: usize = 1000;

/// Why a process was not started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There is nobody to start it.
    #[error("no launcher connected within {0:?}; see that the server's container runs `mcp-sidecar exec`")]
    NoLauncher(Duration),
    /// The connection ended meanwhile.
    #[error("the launcher was lost while it was to start the server; it is tried again with the next one")]
    Lost,
    /// The launcher is silent.
    #[error("the launcher did not start it within {PATIENCE:?}; see the log of the server's container")]
    Silent,
    /// The system at the launcher's refuses.
    #[error("{0}")]
    Refused(String),
    /// Not three pipes were handed over.
    #[error("the launcher did not hand over its pipes; see that it has this program's version")]
    Pipes(#[source] io::Error),
    /// It cannot be written down.
    #[error("its command line is not UTF-8")]
    NotText,
}

/// Starts processes through whichever launcher is connected. Clones share it.
#[derive(Clone, Debug)]
pub struct Launcher {
    current: watch::Sender<Option<Connection>>,
    /// Whether installers have nothing to do any more.
    installed: watch::Sender<bool>,
    patience: Duration,
}

/// A launcher that has said hello.
#[derive(Clone, Debug)]
struct Connection {
    requests: Requests,
    secrets: Hidden<Arc<[String]>>,
    role: Role,
    /// Where its own program is.
    own: Arc<str>,
}

/// The way to the task that owns the connection.
#[derive(Clone, Debug)]
struct Requests {
    queue: mpsc::Sender<Request>,
    cut: CancellationToken,
}

#[derive(Debug)]
enum Request {
    Spawn(Spawn, Waiting),
    Signal { id: u64, signal: Signal },
}

/// Who waits for news of a process.
#[derive(Debug)]
struct Waiting {
    started: Option<oneshot::Sender<Result<Pipes, LaunchError>>>,
    ended: oneshot::Sender<Exit>,
}

/// A process at the launcher's. It is ended when this is dropped.
#[derive(Debug)]
pub(super) struct Launched {
    id: u64,
    requests: Requests,
    ended: oneshot::Receiver<Exit>,
}

impl Launcher {
    /// With no launcher yet. [`Self::spawn`] waits for one for as long as `patience`.
    pub fn new(patience: Duration) -> Self {
        Self { current: watch::Sender::new(None), installed: watch::Sender::new(false), patience }
    }

    /// Talks to a launcher until its connection ends; the processes that it runs are lost then. Calls `connected` when
    /// it has said hello, and `drain` when it asks for the end.
    ///
    /// # Errors
    /// When it breaks the rules, or does not read.
    pub async fn attend(&self, stream: UnixStream, connected: impl FnOnce(), drain: impl Fn()) -> io::Result<()> {
        let mut channel = Channel::new(stream);
        let hello = timeout(PATIENCE, channel.receive()).await?;
        let Some((Report::Hello { secrets, role, own }, _)) = hello? else {
            return Err(invalid("it does not say hello"));
        };
        let (queue, requests) = mpsc::channel(REQUESTS);
        let cut = CancellationToken::new();
        let (secrets, own) = (Hidden(secrets.0.into()), own.into());
        let connection = Connection { requests: Requests { queue, cut: cut.clone() }, secrets, role, own };
        self.current.send_replace(Some(connection));
        connected();
        let ended = tokio::select! {
            ended = talk(channel, requests, drain, self.done(role)) => ended,
            () = cut.cancelled() => Err(invalid("it does not read")),
        };
        self.current.send_replace(None);
        ended
    }

    /// Starts a program at the launcher's, as it stands: its `wrapper` is the launcher's business.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub async fn spawn(&self, program: &Program) -> Result<Child, LaunchError> {
        let connection = self.connection(|connection| connection.role == Role::Server).await?;
        start(connection, program).await
    }

    /// Starts the launcher's own program at an installer, with the arguments and the environment of `program`.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub async fn install(&self, program: &Program) -> Result<Child, LaunchError> {
        let connection = self.connection(|connection| connection.role == Role::Installer).await?;
        let own = Program { program: (&*connection.own).into(), ..program.clone() };
        start(connection, &own).await
    }

    /// What the launcher is there for that is connected, or the next one.
    ///
    /// # Errors
    /// When none comes.
    pub async fn role(&self) -> Result<Role, LaunchError> {
        self.connection(|_| true).await.map(|connection| connection.role)
    }

    /// Says that nothing is to be installed any more: an installer that is connected, or comes, is told so and may go.
    pub fn installed(&self) {
        self.installed.send_replace(true);
    }

    /// Returns when one of that role has nothing to do any more.
    async fn done(&self, role: Role) {
        let mut installed = self.installed.subscribe();
        match role {
            // The sender is this launcher's own.
            Role::Installer => drop(installed.wait_for(|installed| *installed).await),
            Role::Server => std::future::pending().await,
        }
    }

    async fn connection(&self, wanted: impl Fn(&Connection) -> bool) -> Result<Connection, LaunchError> {
        let mut current = self.current.subscribe();
        let connected = timeout(self.patience, current.wait_for(|current| current.as_ref().is_some_and(&wanted))).await;
        let connection = connected.ok().and_then(|current| current.ok()?.clone());
        connection.ok_or(LaunchError::NoLauncher(self.patience))
    }
}

/// Starts a program over this connection.
async fn start(connection: Connection, program: &Program) -> Result<Child, LaunchError> {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    let Connection { requests, secrets, .. } = connection;
    let id = NUMBERS.fetch_add(1, Ordering::Relaxed);
    let order = Spawn::new(id, program).ok_or(LaunchError::NotText)?;
    let ((started, pipes), (ended, end)) = (oneshot::channel(), oneshot::channel());
    let request = Request::Spawn(order, Waiting { started: Some(started), ended });
    requests.queue.send(request).await.map_err(|_| LaunchError::Lost)?;
    // From here on it is ended when this future is dropped.
    let launched = Launched { id, requests, ended: end };
    let pipes = timeout(PATIENCE, pipes).await.map_err(|_| LaunchError::Silent)?;
    let pipes = pipes.map_err(|_| LaunchError::Lost)??;
    Ok(Child::of(program, Process::launched(launched), pipes, secrets.0.iter().cloned()))
}

impl Launched {
    /// How it ended; `None` when its launcher was lost. Not to be called again once it has returned.
    pub(super) async fn wait(&mut self) -> Option<Exit> {
        (&mut self.ended).await.ok()
    }

    /// Signals its whole group.
    pub(super) fn signal_group(&self, signal: Signal) {
        let request = Request::Signal { id: self.id, signal };
        if let Err(mpsc::error::TrySendError::Full(_)) = self.requests.queue.try_send(request) {
            self.requests.cut.cancel();
        }
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        self.signal_group(Signal::KILL);
    }
}

/// Tells a launcher that it is one too many.
///
/// # Errors
/// When it does not listen.
pub async fn refuse(stream: UnixStream, reason: &str) -> io::Result<()> {
    let order = Order::Refuse { reason: reason.to_owned() };
    timeout(PATIENCE, Channel::new(stream).send(&order, &[])).await?
}

/// Hands requests to the launcher, and its reports to who waits for them, until the connection ends.
async fn talk(
    mut channel: Channel,
    mut requests: mpsc::Receiver<Request>,
    drain: impl Fn(),
    done: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut waiting: HashMap<u64, Waiting> = HashMap::new();
    let mut done = std::pin::pin!(done);
    loop {
        tokio::select! {
            report = channel.receive() => match report? {
                Some((Report::Started { id, pid }, fds)) => {
                    tracing::debug!(id, pid, "the launcher has started a process");
                    let started = waiting.get_mut(&id).and_then(|waiting| waiting.started.take());
                    let pipes = Pipes::new(fds).map_err(LaunchError::Pipes);
                    // Who waited may have gone, and has then asked for the end of it.
                    drop(started.map(|started| started.send(pipes)));
                }
                Some((Report::Failed { id, error }, _)) => {
                    let started = waiting.remove(&id).and_then(|waiting| waiting.started);
                    let error = LaunchError::Refused(error.chars().take(ERROR_CHARS).collect());
                    drop(started.map(|started| started.send(Err(error))));
                }
                Some((Report::Exited { id, code, signal, out_of_memory }, _)) => {
                    let exit = Exit { code, signal, out_of_memory };
                    let _ = waiting.remove(&id).map(|waiting| waiting.ended.send(exit));
                }
                Some((Report::Drain, _)) => drain(),
                Some((Report::Hello { .. }, _)) => return Err(invalid("it says hello twice")),
                None => return Ok(()),
            },
            request = requests.recv() => {
                let Some(request) = request else { return Ok(()) };
                let order = match request {
                    Request::Spawn(spawn, news) => {
                        waiting.insert(spawn.id, news);
                        Order::Spawn(spawn)
                    }
                    Request::Signal { id, .. } if !waiting.contains_key(&id) => continue,
                    Request::Signal { id, signal } => Order::Signal { id, signal: signal.as_raw() },
                };
                timeout(PATIENCE, channel.send(&order, &[])).await??;
            }
            () = &mut done => return timeout(PATIENCE, channel.send(&Order::Done, &[])).await?,
        }
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests;
