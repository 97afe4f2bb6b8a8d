//! What passes between an HTTP request and the task that owns its session.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::{HeaderName, HeaderValue};
use mcp::envelope::Message;
use mcp::session::SessionKey;
use mcp::session::streams::{Carrier, EventId, Transport};
use mcp::version::Version;
use tokio::sync::mpsc;

mod exchanges;
mod stream;

pub use exchanges::{Exchanges, Lease};
pub use stream::{Cut, Departure, Departures, Frame, RefusedRequest, StreamRx, StreamTx, stream};

/// Commands that may wait for a session's task. Each is one HTTP request, which waits until there is room.
pub const COMMAND_QUEUE: usize = 256;
/// Not to be taken for a principal, which is a hash.
const INTERNAL: &str = "internal";

/// A session's secret name: 128 random bits in hexadecimal.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// A new one, from the system's random source.
    ///
    /// # Errors
    /// When the system has no random bytes to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(format!("{:032x}", u128::from_be_bytes(bytes)).into()))
    }

    /// The text that clients present.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever reads it could use it.
        f.write_str("SessionId(…)")
    }
}

/// Who makes a request, as whoever authenticated it says. A session belongs to the one that opened it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller(pub Arc<str>);

impl Caller {
    /// This program itself, which looks at a server as its clients do.
    pub fn internal() -> Self {
        Self(INTERNAL.into())
    }

    /// Everybody, where nobody has to say who they are.
    pub fn anonymous() -> Self {
        Self("anonymous".into())
    }
}

/// What an HTTP request asks of the task that owns its session.
#[derive(Debug)]
pub enum Command {
    /// Messages the client posted.
    Post {
        /// The session.
        session: SessionKey,
        /// In their order.
        messages: Vec<Message>,
        /// Where the answers go; `None` when there is nothing to answer, or they go on a stream that is open already.
        stream: Option<StreamTx>,
    },
    /// The client opened a stream to listen on.
    Listen {
        /// The session.
        session: SessionKey,
        /// The last event it knows of a stream that broke.
        after: Option<EventId>,
        /// The stream.
        stream: StreamTx,
    },
    /// A request, or notification, that stands alone (from 2026-07-28 on).
    Exchange {
        /// Names it among those of the task.
        key: SessionKey,
        /// Who sends it.
        caller: Caller,
        /// The message.
        message: Message,
        /// The headers that repeat arguments of a tool (`Mcp-Param-…`), for whoever sends it on by HTTP.
        repeated: Vec<(HeaderName, HeaderValue)>,
        /// Where the answer goes, and what comes up before; its end is the end of the request.
        stream: StreamTx,
        /// What it holds until the call has ended, be that after several requests.
        lease: Option<Lease>,
    },
    /// A client opens a session on a connection that is shared.
    Attach(Attach),
    /// The client ended the session.
    Close {
        /// The session.
        session: SessionKey,
    },
}

/// A session to be opened; see [`Command::Attach`].
#[derive(Debug)]
pub struct Attach {
    /// Its name.
    pub id: SessionId,
    /// Whose it is.
    pub caller: Caller,
    /// How it was opened.
    pub transport: Transport,
    /// Takes its handle.
    pub reply: tokio::sync::oneshot::Sender<SessionHandle>,
}

/// A session as HTTP requests see it.
#[derive(Clone, Debug)]
pub struct SessionHandle {
    /// Its secret name.
    pub id: SessionId,
    /// Whose it is.
    pub caller: Caller,
    /// How it was opened.
    pub transport: Transport,
    key: SessionKey,
    commands: mpsc::Sender<Command>,
    departures: Arc<Departures>,
    version: Arc<OnceLock<Version>>,
}

/// The session's task has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended")]
pub struct Ended;

impl SessionHandle {
    /// A handle on the session `key` of the task that takes `commands`.
    pub fn new(
        attach: (SessionId, Caller, Transport),
        key: SessionKey,
        commands: mpsc::Sender<Command>,
        departures: Arc<Departures>,
    ) -> Self {
        let (id, caller, transport) = attach;
        Self { id, caller, transport, key, commands, departures, version: Arc::default() }
    }

    /// The revision the session has negotiated, once it has.
    pub fn version(&self) -> Option<Version> {
        self.version.get().copied()
    }

    /// Records the negotiated revision; the first one counts.
    pub fn set_version(&self, version: Version) {
        self.version.get_or_init(|| version);
    }

    /// A new stream of this session.
    pub fn stream(&self) -> (StreamTx, StreamRx) {
        stream(&self.departures, self.key)
    }

    /// Gives messages to the session; waits while its queue is full.
    pub async fn post(&self, messages: Vec<Message>, stream: Option<StreamTx>) -> Result<(), Ended> {
        self.send(Command::Post { session: self.key, messages, stream }).await
    }

    /// Opens a stream to listen on.
    pub async fn listen(&self, after: Option<EventId>) -> Result<StreamRx, Ended> {
        let (stream, rx) = self.stream();
        rx.decide(Carrier::Events);
        self.send(Command::Listen { session: self.key, after, stream }).await?;
        Ok(rx)
    }

    /// The same for a reader in this program: it is not cut for a burst that no network would take at once.
    pub async fn listen_inside(&self) -> Result<StreamRx, Ended> {
        let (stream, rx) = self.stream();
        self.send(Command::Listen { session: self.key, after: None, stream: stream.inside() }).await?;
        Ok(rx)
    }

    /// Ends the session.
    pub async fn close(&self) -> Result<(), Ended> {
        self.send(Command::Close { session: self.key }).await
    }

    /// Ends the session without waiting. When its queue is full, it ends by its idle timeout instead.
    pub fn close_now(&self) {
        drop(self.commands.try_send(Command::Close { session: self.key }));
    }

    async fn send(&self, command: Command) -> Result<(), Ended> {
        self.commands.send(command).await.map_err(|_| Ended)
    }
}

/// Every open session by its name.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Mutex<HashMap<SessionId, SessionHandle>>>);

impl Registry {
    /// Adds a session.
    pub fn insert(&self, handle: SessionHandle) {
        self.lock().insert(handle.id.clone(), handle);
    }

    /// Removes a session.
    pub fn remove(&self, id: &SessionId) {
        self.lock().remove(id);
    }

    /// The session of that name, if it is `caller`'s: to anybody else it does not exist.
    pub fn find(&self, id: &str, caller: &Caller) -> Option<SessionHandle> {
        let found = self.lock().get(&SessionId(id.into())).cloned();
        found.filter(|handle| handle.caller == *caller)
    }

    /// How many there are, this program's own left out.
    pub fn count(&self) -> usize {
        self.lock().values().filter(|handle| *handle.caller.0 != *INTERNAL).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, SessionHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
