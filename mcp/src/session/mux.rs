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
//! `initialize` from that.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::filter::ToolFilter;
use super::{Clock, SessionKey};
use crate::envelope::{Message, RequestId, code};
use crate::json::Rope;
use crate::version::Version;

mod client;
mod server;

/// The code SDKs use for a request that got no answer in time.
pub const REQUEST_TIMEOUT: i32 = -32001;
/// A server that is asked this much at once has stopped answering; more would only take memory.
const MAX_CALLS: usize = 4096;
/// What waits for a server that is not connected yet, in bytes.
const MAX_QUEUED: usize = 32 << 20;
/// A call may report progress for this many request timeouts, then it ends (lifecycle, "Timeouts": a hard maximum).
const MAX_EXTENSIONS: u32 = 60;

/// Whose the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// One session's alone.
    Exclusive,
    /// Every session's.
    Common,
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

/// See the [module](self).
#[derive(Debug)]
pub struct Mux {
    config: Config,
    link: Link,
    /// Waits for the server, oldest first; see [`Link`].
    queue: VecDeque<Queued>,
    queued_bytes: usize,
    next_id: u64,
    /// Requests sent to the server, by the id it knows them by.
    calls: HashMap<u64, Call>,
    /// Requests of the server that a client has yet to answer, by the id the client knows them by.
    questions: HashMap<u64, Question>,
    /// Progress tokens that outlive their request, because it became a task (2025-11-25, "Tasks").
    task_tokens: HashMap<u64, (SessionKey, Bytes)>,
    deadlines: BinaryHeap<Reverse<(Clock, u64)>>,
    sessions: BTreeMap<SessionKey, Session>,
    next_session: u64,
    handshake: Handshake,
    out: VecDeque<Out>,
    dropped: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// Not connected: what clients send waits.
    Down,
    /// Connected; only the handshake is let through yet.
    Greeting,
    /// Connected and ready.
    Up,
}

#[derive(Debug)]
struct Queued {
    session: SessionKey,
    message: Message,
}

#[derive(Debug)]
struct Call {
    asker: Asker,
    method: Box<str>,
    /// The progress token as the client wrote it; on the way to the server it is the call's id.
    token: Option<Bytes>,
    deadline: Clock,
    hard_deadline: Clock,
}

#[derive(Debug)]
enum Asker {
    Client {
        session: SessionKey,
        id: RequestId,
    },
    /// This side, for the connection's own sake.
    Greeting,
    /// This side, putting back what a client had set before the connection broke.
    Restoring,
}

#[derive(Debug)]
struct Question {
    session: SessionKey,
    /// The id the server wrote.
    id: RequestId,
}

/// What is known of a session.
#[derive(Debug, Default)]
struct Session {
    version: Option<Version>,
    log_level: Option<Bytes>,
    /// Resources subscribed to, as the raw JSON strings the client wrote.
    subscriptions: Vec<Bytes>,
}

#[derive(Debug, Default)]
struct Handshake {
    /// Exclusive: the `params` of the client's `initialize`, to be replayed.
    params: Option<Box<str>>,
    /// Exclusive: whether the server accepted them.
    accepted: bool,
    /// Common: the result every `initialize` is answered from.
    result: Option<Box<str>>,
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
            calls: HashMap::new(),
            questions: HashMap::new(),
            task_tokens: HashMap::new(),
            deadlines: BinaryHeap::new(),
            sessions: BTreeMap::new(),
            next_session: 0,
            handshake: Handshake::default(),
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

    /// Ends a session: its calls are cancelled at the server, its questions answered with an error.
    pub fn detach(&mut self, session: SessionKey) {
        let Some(state) = self.sessions.remove(&session) else { return };
        let ended = "the client's session has ended";
        let mut calls: Vec<u64> = self.calls_of(session).collect();
        calls.sort_unstable();
        for id in calls {
            self.calls.remove(&id);
            self.cancel_at_server(id, Some(ended));
        }
        let questions: Vec<u64> =
            self.questions.iter().filter(|(_, q)| q.session == session).map(|(d, _)| *d).collect();
        for id in questions {
            let Some(question) = self.questions.remove(&id) else { continue };
            self.to_server(Message::error(Some(&question.id), code::INTERNAL_ERROR, ended, None));
        }
        self.task_tokens.retain(|_, (owner, _)| *owner != session);
        self.drop_queued(session);
        if self.config.sharing == Sharing::Common {
            for uri in state.subscriptions {
                self.release(&uri);
            }
        }
    }

    /// The revision a session has negotiated, once it has.
    pub fn version(&self, session: SessionKey) -> Option<Version> {
        self.sessions.get(&session)?.version
    }

    /// Common: the result of the handshake, once it is known.
    pub fn greeting(&self) -> Option<&str> {
        self.handshake.result.as_deref()
    }

    /// Whether the session waits for something: an answer of the server, or a question's answer of its own.
    pub fn is_busy(&self, session: SessionKey) -> bool {
        self.calls_of(session).next().is_some()
            || self.questions.values().any(|question| question.session == session)
            || self.queue.iter().any(|queued| queued.session == session)
    }

    /// Whether a server is needed now: something waits for one, or a session stands open that one had accepted.
    pub fn wants_server(&self) -> bool {
        let settled = self.handshake.accepted || self.config.sharing == Sharing::Common;
        !self.queue.is_empty() || (settled && !self.sessions.is_empty())
    }

    /// Messages of either side that belonged to nobody.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The next thing to send.
    pub fn poll(&mut self) -> Option<Out> {
        self.out.pop_front()
    }

    /// When [`Self::expire`] wants to be called.
    pub fn deadline(&self) -> Option<Clock> {
        self.deadlines.peek().map(|Reverse((at, _))| *at)
    }

    /// Ends the calls whose time is up.
    pub fn expire(&mut self, now: Clock) {
        while let Some(&Reverse((at, id))) = self.deadlines.peek() {
            if at > now {
                return;
            }
            self.deadlines.pop();
            let Some(call) = self.calls.get(&id) else { continue };
            let extended = if self.waits_for_client(call) { now + self.config.request_timeout } else { call.deadline };
            if extended > now {
                self.deadlines.push(Reverse((extended, id)));
            } else {
                self.time_out(id);
            }
        }
    }

    fn time_out(&mut self, id: u64) {
        let Some(call) = self.calls.remove(&id) else { return };
        let (limit, setting) = self.limit(&call.method);
        if &*call.method != "initialize" {
            self.cancel_at_server(id, Some("the request timed out"));
        }
        let text = format!(
            "server `{}` did not answer {} within {} s; a longer `{setting}` gives it more time",
            self.config.server,
            call.method,
            limit.as_secs_f32()
        );
        if matches!(call.asker, Asker::Greeting) {
            return self.out.push_back(Out::Hopeless(Loss { message: text, data: None }));
        }
        self.fail(call, REQUEST_TIMEOUT, &text, None);
    }

    /// How long the server may take, and the setting that says so.
    fn limit(&self, method: &str) -> (Duration, &'static str) {
        match method {
            "initialize" => (self.config.startup_timeout, "startupTimeout"),
            _ => (self.config.request_timeout, "requestTimeout"),
        }
    }

    fn waits_for_client(&self, call: &Call) -> bool {
        let Asker::Client { session, .. } = call.asker else { return false };
        self.questions.values().any(|question| question.session == session)
    }

    /// The server can be written to from now on.
    pub fn connected(&mut self, now: Clock) {
        self.link = Link::Greeting;
        match (self.config.sharing, &self.handshake.params) {
            (Sharing::Common, _) => {
                let params = format!(
                    r#"{{"protocolVersion":"{}","capabilities":{{}},"clientInfo":{{"name":"mcp-gateway","version":"{}"}}}}"#,
                    Version::NEWEST_LEGACY,
                    env!("CARGO_PKG_VERSION")
                );
                self.greet(&params, now);
            }
            (Sharing::Exclusive, Some(params)) if self.handshake.accepted => {
                let params = params.clone();
                self.greet(&params, now);
            }
            (Sharing::Exclusive, _) => self.open(now),
        }
    }

    /// The server is gone. Calls it had been given fail, because nobody knows how far it got with them; what still
    /// waited goes on waiting for the next one, unless this one ended before it had shaken hands: the next may as well.
    pub fn disconnected(&mut self, loss: &Loss) {
        let greeting = std::mem::replace(&mut self.link, Link::Down) == Link::Greeting;
        self.deadlines.clear();
        let mut calls: Vec<_> = self.calls.drain().collect();
        calls.sort_unstable_by_key(|(id, _)| *id);
        for (_, call) in calls {
            self.fail(call, code::INTERNAL_ERROR, &loss.message, loss.data.as_deref());
        }
        let mut questions: Vec<_> = self.questions.drain().collect();
        questions.sort_unstable_by_key(|(id, _)| *id);
        for (id, Question { session, .. }) in questions {
            let params = format!(r#"{{"requestId":{id},"reason":"the server has ended"}}"#);
            let message = Message::call(None, "notifications/cancelled", Some(&params)).into();
            self.out.push_back(Out::ToClient { session, relation: Relation::None, message });
        }
        self.task_tokens.clear();
        if greeting {
            self.refuse_queued(loss);
        }
    }

    /// No server will come: what waits for one is answered, and [`Self::wants_server`] is false until more arrives.
    pub fn unavailable(&mut self, loss: &Loss) {
        self.disconnected(loss);
        self.refuse_queued(loss);
    }

    fn refuse_queued(&mut self, loss: &Loss) {
        self.queued_bytes = 0;
        for Queued { session, message } in std::mem::take(&mut self.queue) {
            self.refuse(session, &message, code::INTERNAL_ERROR, &loss.message, loss.data.as_deref());
        }
    }

    /// Lets through what waited.
    fn open(&mut self, now: Clock) {
        self.link = Link::Up;
        self.queued_bytes = 0;
        for Queued { session, message } in std::mem::take(&mut self.queue) {
            self.forward(session, message, now);
        }
    }

    fn calls_of(&self, session: SessionKey) -> impl Iterator<Item = u64> {
        let of = move |call: &Call| matches!(call.asker, Asker::Client { session: s, .. } if s == session);
        self.calls.iter().filter(move |(_, call)| of(call)).map(|(id, _)| *id)
    }

    /// The call of `session` that is under way, when there is exactly one.
    fn only_call_of(&self, session: SessionKey) -> Option<RequestId> {
        let mut calls = self.calls_of(session);
        let (Some(only), None) = (calls.next(), calls.next()) else { return None };
        match &self.calls[&only].asker {
            Asker::Client { id, .. } => Some(id.clone()),
            Asker::Greeting | Asker::Restoring => None,
        }
    }

    /// Answers a call with an error.
    fn fail(&mut self, call: Call, code: i32, text: &str, data: Option<&str>) {
        let Asker::Client { session, id } = call.asker else { return };
        let message = Message::error(Some(&id), code, text, data).into();
        self.out.push_back(Out::ToClient { session, relation: Relation::Answer(id), message });
    }

    /// Answers a request that was not given to the server; anything else is dropped.
    fn refuse(&mut self, session: SessionKey, message: &Message, code: i32, text: &str, data: Option<&str>) {
        match message.id().filter(|_| !message.is_response()) {
            Some(id) => {
                let message = Message::error(Some(&id), code, text, data).into();
                self.out.push_back(Out::ToClient { session, relation: Relation::Answer(id), message });
            }
            None => self.dropped += 1,
        }
    }

    fn drop_queued(&mut self, session: SessionKey) {
        self.queue.retain(|queued| queued.session != session);
        self.queued_bytes = self.queue.iter().map(|queued| queued.message.raw().len()).sum();
    }

    fn cancel_at_server(&mut self, id: u64, reason: Option<&str>) {
        let reason = reason.map(|text| format!(r#","reason":{}"#, crate::json::quote(text))).unwrap_or_default();
        let params = format!(r#"{{"requestId":{id}{reason}}}"#);
        self.to_server(Message::call(None, "notifications/cancelled", Some(&params)));
    }

    fn to_server(&mut self, message: impl Into<Rope>) {
        if self.link != Link::Down {
            self.out.push_back(Out::ToServer(message.into()));
        }
    }

    /// Makes a call of the next id. The caller sends it.
    fn call(&mut self, asker: Asker, method: &str, token: Option<Bytes>, now: Clock) -> u64 {
        self.next_id += 1;
        let deadline = now + self.limit(method).0;
        let hard_deadline = now + self.config.request_timeout * MAX_EXTENSIONS;
        self.deadlines.push(Reverse((deadline, self.next_id)));
        let call = Call { asker, method: method.into(), token, deadline, hard_deadline };
        self.calls.insert(self.next_id, call);
        self.next_id
    }

    /// Makes a request of this side's own and sends it.
    fn ask(&mut self, asker: Asker, method: &str, params: &str, now: Clock) {
        let id = self.call(asker, method, None, now);
        self.to_server(Message::call(Some(&id.into()), method, Some(params)));
    }

    fn greet(&mut self, params: &str, now: Clock) {
        self.ask(Asker::Greeting, "initialize", params, now);
    }
}

#[cfg(test)]
mod tests;
