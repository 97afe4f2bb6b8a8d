//! One server connection, and the sessions that talk over it.
//!
//! Every request gets an id of this connection's own, in both directions, and the answer gets back the id its asker
//! wrote, byte for byte. So ids that clients share never meet, a server that spells ids its own way is understood,
//! and an answer that comes late, twice or to nobody is dropped.
//!
//! [`Sharing::Exclusive`] is a connection that one session has for itself: the client's own `initialize` goes to the
//! server, everything unsolicited belongs to that session, and when the connection is replaced the handshake is
//! replayed. [`Sharing::Common`] is a connection that many sessions share: this side shakes hands once, declaring no
//! capabilities, because a server's question carries no mark of the session that caused it, and answers every
//! `initialize` from that. What such a server sends unasked goes to whom it is certain to concern: list changes to all,
//! updates to subscribers, a task's state to its owner. Anything else, log lines among it, is delivered only as long as
//! one session alone has used the connection, for it may speak of any that has.
//!
//! [`Sharing::Exchanges`] is a connection to a server of 2026-07-28 or later. There is no handshake, and a session is one
//! request with what comes up meanwhile: it ends with the answer, and when it ends before, the request is cancelled
//! (Streamable HTTP, "Cancellation"). What such a server sends beside answers names the request that it is about; only
//! log lines do not, and are delivered where a single request under way has asked for any. A task is its owner's alone:
//! the server does not know who asks. Sessions of clients of older revisions share such a connection ([`Mux::attach`], not
//! [`Mux::enter`]): each of their requests is stamped with what the client said of itself, what the server asks by a result
//! is asked of the client, and one stream of changes is held open for all of them (`unrolled`, `rounds`, `folded`).
//!
//! [`Sharing::Adapted`] is the same for clients, before a server of an older revision. This side shakes hands once, and
//! declares what all clients of the connection have declared ([`Config::asking`]): what the server then asks in the middle
//! of a call is told by an answer, and the call goes on when it is sent again. Requests lose what only the newer envelope
//! has, answers get what the newer revision demands (see [`crate::modern::translate`]), and a stream of changes is made
//! here of what the server tells everybody.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use self::calls::{Call, Question};
use self::link::{Link, Queued};
use self::parked::Parked;
use self::pending::Pending;
use self::unrolled::Unrolled;
use super::SessionKey;
use super::filter::ToolFilter;
use crate::envelope::{RequestId, code};
use crate::json::Rope;
use crate::modern::listen::Filter;
use crate::modern::stamp::Client;
use crate::version::Version;

mod adapted;
mod calls;
mod client;
mod exchanges;
mod folded;
mod link;
mod parked;
mod pending;
mod rounds;
mod server;
mod turn;
mod unrolled;
mod upkeep;

pub use self::calls::REQUEST_TIMEOUT;
pub use self::parked::Asking;

/// A server that is asked this much at once has stopped answering; more would only take memory.
const MAX_CALLS: usize = 4096;
/// The same for a client that a server asks.
const MAX_QUESTIONS: usize = 256;
/// Tasks whose progress, and whose owners, are remembered: the newest ones.
const MAX_TASKS: usize = 1024;

/// Whose the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// One session's alone.
    Exclusive,
    /// Every session's.
    Common,
    /// Every request's, each of which stands alone, and every session's of a client of an older revision.
    Exchanges,
    /// The same, where the server is of an older revision.
    Adapted,
}

impl Sharing {
    /// Whether a session is one request.
    fn is_of_exchanges(self) -> bool {
        matches!(self, Self::Exchanges | Self::Adapted)
    }

    /// Whether this side shakes hands once, for everybody.
    fn greets(self) -> bool {
        matches!(self, Self::Common | Self::Adapted)
    }
}

/// What a [`Mux`] needs to know of its server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whose the connection is.
    pub sharing: Sharing,
    /// How long the server may take for an answer; progress, or a question that the client has yet to answer, starts
    /// it anew.
    pub request_timeout: Duration,
    /// The same for the answer to `initialize`.
    pub startup_timeout: Duration,
    /// How long a message may wait for a server that has yet to come up. What brings servers up should fail sooner, and
    /// say why: this sees to it that everybody is answered at last.
    pub connect_timeout: Duration,
    /// Adapted: how clients are asked, where they have declared that they can be.
    pub asking: Option<Asking>,
    /// Which tools clients see.
    pub tools: ToolFilter,
    /// The server's name, for error texts.
    pub server: String,
}

/// What is to be sent, in order.
#[derive(Debug)]
pub enum Out {
    /// Write this to the server.
    ToServer(Rope),
    /// Deliver this to a session.
    ToClient {
        /// Whose it is.
        session: SessionKey,
        /// What it belongs to.
        relation: Relation,
        /// The message.
        message: Rope,
    },
    /// The server does not shake hands: this connection is of no use. What waits for it is to be told so by
    /// [`Mux::unavailable`].
    Hopeless(Loss),
    /// The server does not shake hands, for it is of 2026-07-28: this connection is of no use, and one is wanted that
    /// carries single requests, as [`Sharing::Exchanges`]. See [`Mux::may_turn`].
    Turned,
}

/// What a message to a client belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The one answer to this request of the client.
    Answer(RequestId),
    /// Something that comes up while this request is worked on.
    During(RequestId),
    /// The request was cancelled: there will be no answer. The message is empty.
    Abandoned(RequestId),
    /// No request in particular.
    None,
}

/// Why a connection ended, as its calls are told.
#[derive(Clone, Debug)]
pub struct Loss {
    /// What happened and what to do, for people.
    pub message: String,
    /// The same for programs: a JSON object.
    pub data: Option<String>,
}

/// How much is under way, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Sessions.
    pub sessions: usize,
    /// Requests that the server has yet to answer.
    pub calls: usize,
    /// Requests of the server that clients have yet to answer.
    pub questions: usize,
    /// Messages that wait for a server.
    pub queued: usize,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Mux {
    config: Config,
    link: Link,
    /// Waits for the server, oldest first; see [`Link`].
    queue: VecDeque<Queued>,
    queued_bytes: usize,
    next_id: u64,
    /// By the id the server knows them by.
    calls: Pending<Call>,
    /// By the id the client knows them by.
    questions: Pending<Question>,
    /// Adapted: the calls in which clients are asked.
    parked: Parked,
    /// Progress tokens that outlive their request, because it became a task (2025-11-25, "Tasks").
    task_tokens: BTreeMap<u64, (SessionKey, Bytes)>,
    /// Exchanges: the newest tasks, oldest first, and whose they are.
    owned_tasks: VecDeque<(Box<str>, Arc<str>)>,
    sessions: BTreeMap<SessionKey, Session>,
    next_session: u64,
    handshake: Handshake,
    callers: Callers,
    users: Users,
    unrolled: Unrolled,
    out: VecDeque<Out>,
    dropped: u64,
}

/// What is known of a session.
#[derive(Debug, Default)]
struct Session {
    /// Whose it is, where it is a single request.
    owner: Option<Arc<str>>,
    /// Whether it is this program's own.
    own: bool,
    /// What it said of itself when it shook hands, where the server does not.
    client: Option<Box<Client>>,
    version: Option<Version>,
    /// The place of the level it set in [`upkeep::LOG_LEVELS`].
    log_level: Option<usize>,
    /// The URIs of the resources it is subscribed to.
    subscriptions: Vec<Box<str>>,
    /// Adapted: the changes it listens to.
    listens: Option<Filter>,
    /// The ids of its tasks, oldest first.
    tasks: VecDeque<Box<str>>,
}

#[derive(Debug, Default)]
struct Handshake {
    /// Exclusive: the `params` of an `initialize` that the server has yet to answer.
    proposed: Option<Box<str>>,
    /// Exclusive: the ones it accepted, to be replayed to its successors.
    accepted: Option<Box<str>>,
    /// Common: the result every `initialize` is answered from.
    result: Option<Box<str>>,
    /// Whether this server was told `notifications/initialized`.
    finished: bool,
    /// Whether a server that does not shake hands may be one of the newer era.
    may_turn: bool,
}

/// Whose requests a connection has carried. What a server sends unasked may speak of any of them, whether answered or
/// not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Callers {
    Nobody,
    One(SessionKey),
    Several,
}

/// Adapted: whose requests a connection has carried, in the same sense.
#[derive(Debug, Default)]
struct Users {
    first: Option<Arc<str>>,
    several: bool,
}

impl Callers {
    fn with(self, session: SessionKey) -> Self {
        match self {
            Self::Nobody => Self::One(session),
            Self::One(known) if known == session => self,
            Self::One(_) | Self::Several => Self::Several,
        }
    }
}

impl Mux {
    /// A connection that is not up yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            link: Link::Down,
            queue: VecDeque::new(),
            queued_bytes: 0,
            next_id: 0,
            calls: Pending::default(),
            questions: Pending::default(),
            parked: Parked::default(),
            task_tokens: BTreeMap::new(),
            owned_tasks: VecDeque::new(),
            sessions: BTreeMap::new(),
            next_session: 0,
            handshake: Handshake::default(),
            callers: Callers::Nobody,
            users: Users::default(),
            unrolled: Unrolled::default(),
            out: VecDeque::new(),
            dropped: 0,
        }
    }

    /// Adds a session.
    pub fn attach(&mut self) -> SessionKey {
        self.next_session += 1;
        let key = SessionKey(self.next_session);
        self.sessions.insert(key, Session::default());
        key
    }

    /// Adds a single request of `owner` under a key that the caller sees to be used once.
    pub fn enter(&mut self, session: SessionKey, owner: Arc<str>) {
        self.sessions.insert(session, Session { owner: Some(owner), ..Session::default() });
    }

    /// The same for a request of this program's own.
    pub fn enter_own(&mut self, session: SessionKey, owner: Arc<str>) {
        self.sessions.insert(session, Session { owner: Some(owner), own: true, ..Session::default() });
    }

    /// Ends a session: its calls are cancelled at the server, its questions answered with an error.
    pub fn detach(&mut self, session: SessionKey) {
        let Some(state) = self.sessions.remove(&session) else { return };
        let ended = "the client's session has ended";
        for id in self.calls_of(session).collect::<Vec<_>>() {
            let Some(call) = self.calls.remove(id) else { continue };
            self.cancel_at_server(id, &call, ended);
        }
        let of = |question: &Question| question.session == session;
        let questions: Vec<_> = self.questions.iter().filter(|(_, q)| of(q)).map(|(id, _)| id).collect();
        for id in questions {
            self.take_back(id, ended, Some(code::INTERNAL_ERROR));
        }
        self.task_tokens.retain(|_, (owner, _)| *owner != session);
        self.drop_queued(session);
        if self.config.sharing.greets() {
            for uri in state.subscriptions {
                self.release(&uri);
            }
        }
        self.leave_unrolled(session);
    }

    /// The revision a session has negotiated, once it has.
    pub fn version(&self, session: SessionKey) -> Option<Version> {
        self.sessions.get(&session)?.version
    }

    /// Whether the session waits for an answer; one that listens waits for none. What it was asked itself keeps nobody waiting but the server.
    pub fn is_busy(&self, session: SessionKey) -> bool {
        let mut calls = self.calls_of(session).filter_map(|id| self.calls.get(id));
        calls.any(|call| !call.is_listen()) || self.queue.iter().any(|queued| queued.session == session)
    }

    /// Whether the connection carries single requests of 2026-07-28, from the beginning or since it has turned.
    pub fn is_newer(&self) -> bool {
        self.config.sharing == Sharing::Exchanges
    }

    /// Whether a server is needed now: something waits for one, or a session stands open that one had accepted.
    pub fn wants_server(&self) -> bool {
        let settled = match self.config.sharing {
            Sharing::Common => true,
            Sharing::Exchanges => self.has_greeted(),
            Sharing::Exclusive | Sharing::Adapted => self.handshake.accepted.is_some(),
        };
        !self.queue.is_empty() || (settled && !self.sessions.is_empty())
    }

    /// How much is under way.
    pub fn load(&self) -> Load {
        Load {
            sessions: self.sessions.len(),
            calls: self.calls.len(),
            questions: self.questions.len() + self.parked.questions() + self.unrolled.asked(),
            queued: self.queue.len(),
        }
    }

    /// Messages of either side that belonged to nobody.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The next thing to send.
    pub fn poll(&mut self) -> Option<Out> {
        self.out.pop_front()
    }

    fn tell_server(&mut self, message: impl Into<Rope>) {
        if self.link != Link::Down {
            self.out.push_back(Out::ToServer(message.into()));
        }
    }

    fn deliver(&mut self, session: SessionKey, relation: Relation, message: impl Into<Rope>) {
        self.out.push_back(Out::ToClient { session, relation, message: message.into() });
    }
}

#[cfg(test)]
mod tests;
