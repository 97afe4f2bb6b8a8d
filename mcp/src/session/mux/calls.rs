//! Requests that wait for an answer, and their deadlines.

use std::time::Duration;

use bytes::Bytes;

use super::rounds::Again;
use super::{Loss, Mux, Out, Relation, Sharing};
use crate::envelope::{Message, RequestId};
use crate::json;
use crate::modern::LISTEN;
use crate::session::{Clock, SessionKey};

/// The code SDKs use for a request that got no answer in time.
pub const REQUEST_TIMEOUT: i32 = -32001;
/// A request may be worked on for this many request timeouts, whatever is reported of it, and a question may wait for
/// its answer as long (lifecycle, "Timeouts": a hard maximum).
const MAX_EXTENSIONS: u32 = 60;
pub(super) const LATE: &str = "the client did not answer in time";

/// A request that the server has yet to answer.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) asker: Asker,
    pub(super) method: Box<str>,
    /// The progress token as the client wrote it; on the way to the server it is the call's id.
    pub(super) token: Option<Bytes>,
    /// Whether the client asked for a task (2025-11-25, "Tasks"), or may get one (2026-07-28, the extension).
    pub(super) as_task: bool,
    /// Adapted: the URI of a resource that is read, as raw JSON.
    pub(super) uri: Option<Box<str>>,
    /// Whether the client asked for log lines (2026-07-28, "Logging").
    pub(super) wants_log: bool,
    /// What it takes to make it again, where a server of 2026-07-28 may ask a client of an older revision meanwhile.
    pub(super) again: Option<Box<Again>>,
    hard_deadline: Clock,
}

#[derive(Debug)]
pub(super) enum Asker {
    Client {
        session: SessionKey,
        id: RequestId,
    },
    /// Nobody at the moment: its client has been asked something, and will come again.
    Parked,
    /// This side, for the connection's own sake.
    Greeting,
    /// This side, keeping what clients have set at the server.
    Upkeep,
}

/// A request of the server that a client has yet to answer.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) session: SessionKey,
    /// The id the server wrote.
    pub(super) id: RequestId,
    /// What the client was asked beside; what takes the question back has to come the same way.
    pub(super) relation: Relation,
}

impl Call {
    pub(super) fn new(asker: Asker, method: &str) -> Self {
        let (token, uri, hard_deadline) = (None, None, Clock::MAX);
        Self { asker, method: method.into(), token, as_task: false, uri, wants_log: false, again: None, hard_deadline }
    }

    /// Whether it goes on until somebody ends it (2026-07-28, "Subscriptions").
    pub(super) fn is_listen(&self) -> bool {
        &*self.method == LISTEN
    }

    /// Whether it waits for its client, and for nobody else.
    pub(super) fn is_asking(&self) -> bool {
        self.again.as_ref().is_some_and(|again| again.is_asking())
    }

    fn is_of(&self, session: SessionKey) -> bool {
        matches!(self.asker, Asker::Client { session: asker, .. } if asker == session)
    }
}

impl Mux {
    /// When [`Self::expire`] wants to be called.
    pub fn deadline(&self) -> Option<Clock> {
        let queued = self.queue.front().map(|queued| queued.deadline);
        let own = [self.parked.deadline(), self.unrolled.deadline()];
        let others = [self.calls.deadline(), self.questions.deadline()];
        queued.into_iter().chain(own.into_iter().chain(others).flatten()).min()
    }

    /// Ends the calls and questions whose time is up, and the waiting for a server.
    pub fn expire(&mut self, now: Clock) {
        self.expire_queued(now);
        self.expire_parked(now);
        while let Some((id, call)) = self.calls.due(now) {
            let extended = now.saturating_add(self.config.request_timeout).min(call.hard_deadline);
            if extended > now && self.waits_for_client(call) {
                self.calls.postpone(id, extended);
            } else {
                self.time_out(id, now);
            }
        }
        while let Some((id, _)) = self.questions.due(now) {
            self.take_back(id, LATE, Some(REQUEST_TIMEOUT));
        }
        self.expire_unrolled(now);
    }

    fn waits_for_client(&self, call: &Call) -> bool {
        if call.is_asking() {
            return true;
        }
        let Asker::Client { session, .. } = call.asker else { return matches!(call.asker, Asker::Parked) };
        self.questions.iter().any(|(_, question)| question.session == session)
    }

    fn time_out(&mut self, id: u64, now: Clock) {
        let Some(call) = self.calls.remove(id) else { return };
        let (mut limit, setting) = self.limit(&call.method);
        if now >= call.hard_deadline {
            limit = self.hard_limit();
        }
        let text = format!(
            "server `{}` did not answer {} within {} s; a longer `{setting}` gives it more time",
            self.config.server,
            call.method,
            limit.as_secs_f32()
        );
        if matches!(call.asker, Asker::Greeting) {
            return self
                .out
                .push_back(Out::Hopeless(Loss { message: text, data: Some(r#"{"failure":"timeout"}"#.to_owned()) }));
        }
        self.cancel_at_server(id, &call, "the request timed out");
        self.forget_asked(id, "the request timed out");
        self.fail(call, REQUEST_TIMEOUT, &text, None);
    }

    /// How long the server may take, and the setting that says so.
    fn limit(&self, method: &str) -> (Duration, &'static str) {
        match method {
            "initialize" => (self.config.startup_timeout, "startupTimeout"),
            LISTEN => (Duration::MAX, "requestTimeout"),
            _ => (self.config.request_timeout, "requestTimeout"),
        }
    }

    pub(super) fn hard_limit(&self) -> Duration {
        self.config.request_timeout.saturating_mul(MAX_EXTENSIONS)
    }

    /// Enters a call under the next id. The caller sends it.
    pub(super) fn call(&mut self, mut call: Call, now: Clock) -> u64 {
        self.next_id += 1;
        let limit = self.limit(&call.method).0;
        call.hard_deadline = now.saturating_add(limit.max(self.hard_limit()));
        self.calls.insert(self.next_id, now.saturating_add(limit), call);
        self.next_id
    }

    /// Enters a call again; its hard limit stays.
    pub(super) fn reenter(&mut self, id: u64, call: Call, now: Clock) {
        let deadline = now.saturating_add(self.limit(&call.method).0).min(call.hard_deadline);
        self.calls.insert(id, deadline, call);
    }

    /// Enters calls again that wait for their clients.
    pub(super) fn keep(&mut self, asking: Vec<(u64, Call)>) {
        for (id, call) in asking {
            self.calls.insert(id, call.hard_deadline, call);
        }
    }

    /// Makes a request of this side's own and sends it.
    pub(super) fn ask(&mut self, asker: Asker, method: &str, params: &str, now: Clock) {
        let id = self.call(Call::new(asker, method), now);
        self.tell_server(Message::call(Some(&id.into()), method, Some(params)));
    }

    /// The call is making progress: its time starts anew.
    pub(super) fn renew(&mut self, id: u64, now: Clock) {
        let Some(call) = self.calls.get(id) else { return };
        let deadline = now.saturating_add(self.config.request_timeout).min(call.hard_deadline);
        self.calls.postpone(id, deadline);
    }

    /// The ids of the calls of `session` that are under way, oldest first.
    pub(super) fn calls_of(&self, session: SessionKey) -> impl Iterator<Item = u64> {
        self.calls.iter().filter(move |(_, call)| call.is_of(session)).map(|(id, _)| id)
    }

    /// The call of `session` that is under way, when there is exactly one.
    pub(super) fn only_call_of(&self, session: SessionKey) -> Option<RequestId> {
        let mut calls = self.calls_of(session);
        let (Some(only), None) = (calls.next(), calls.next()) else { return None };
        match &self.calls.get(only)?.asker {
            Asker::Client { id, .. } => Some(id.clone()),
            Asker::Parked | Asker::Greeting | Asker::Upkeep => None,
        }
    }

    /// Answers a call with an error.
    pub(super) fn fail(&mut self, call: Call, code: i32, text: &str, data: Option<&str>) {
        let (session, id) = match call.asker {
            Asker::Client { session, ref id } => (session, id.clone()),
            Asker::Parked => {
                return self.keep_answer(call, Message::error(Some(&RequestId::from(0)), code, text, data));
            }
            Asker::Greeting | Asker::Upkeep => return,
        };
        let message = Message::error(Some(&id), code, text, data);
        self.deliver(session, Relation::Answer(id), message);
    }

    /// Answers a request that was not given to the server; anything else is dropped.
    pub(super) fn refuse(&mut self, session: SessionKey, message: &Message, code: i32, text: &str, data: Option<&str>) {
        match message.id().filter(|_| !message.is_response()) {
            Some(id) => {
                let message = Message::error(Some(&id), code, text, data);
                self.deliver(session, Relation::Answer(id), message);
            }
            None => self.dropped += 1,
        }
    }

    /// Tells the server that a call is of no interest any more. `initialize` is never cancelled (lifecycle,
    /// "Cancellation").
    pub(super) fn cancel_at_server(&mut self, id: u64, call: &Call, reason: &str) {
        if &*call.method != "initialize" && self.is_at_server(call) {
            let params = format!(r#"{{"requestId":{id},"reason":{}}}"#, json::quote(reason));
            self.tell_server(Message::call(None, "notifications/cancelled", Some(&params)));
        }
    }

    /// Whether the server knows of a call: not of what is made here, nor of what is asked of a client between two requests.
    pub(super) fn is_at_server(&self, call: &Call) -> bool {
        match self.config.sharing {
            Sharing::Adapted => !call.is_listen(),
            Sharing::Exchanges => !call.is_asking() && &*call.method != "resources/subscribe",
            Sharing::Exclusive | Sharing::Common => true,
        }
    }

    /// Takes a question back from the client and, with a `code`, answers it.
    pub(super) fn take_back(&mut self, id: u64, reason: &str, code: Option<i32>) {
        let Some(Question { session, id: asked, relation }) = self.questions.remove(id) else { return };
        if let Some(code) = code {
            self.tell_server(Message::error(Some(&asked), code, reason, None));
        }
        if self.sessions.contains_key(&session) {
            let params = format!(r#"{{"requestId":{id},"reason":{}}}"#, json::quote(reason));
            self.deliver(session, relation, Message::call(None, "notifications/cancelled", Some(&params)));
        }
    }
}
