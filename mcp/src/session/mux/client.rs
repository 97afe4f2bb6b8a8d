//! What clients send.

use bytes::Bytes;

use super::{Asker, Link, MAX_CALLS, MAX_QUEUED, Mux, Out, Question, Queued, Relation, Sharing};
use crate::envelope::{Kind, Message, RequestId, code};
use crate::json;
use crate::session::{Clock, SessionKey};
use crate::version::Version;

/// The levels of `logging/setLevel`, the most talkative first.
pub(super) const LOG_LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

impl Mux {
    /// A message of `session`. Its ids must not be in use already ([`super::super::streams::Streams`] sees to it).
    pub fn from_client(&mut self, session: SessionKey, message: Message, now: Clock) {
        if !self.sessions.contains_key(&session) {
            self.dropped += 1;
        } else if message.method() == "ping" && message.kind() == Kind::Request {
            self.answer(session, &message, "{}");
        } else if self.link == Link::Up {
            self.forward(session, message, now);
        } else {
            self.wait(session, message);
        }
    }

    /// Keeps a message until the server can be written to.
    fn wait(&mut self, session: SessionKey, message: Message) {
        if let Some(id) = cancelled_id(&message)
            && let Some(at) =
                self.queue.iter().position(|q| q.session == session && q.message.id().as_ref() == Some(&id))
        {
            self.queue.remove(at);
            return self.abandon(session, id);
        }
        if self.queued_bytes + message.raw().len() > MAX_QUEUED {
            let text = format!("server `{}` is not up, and too much waits for it already", self.config.server);
            return self.refuse(session, &message, code::INTERNAL_ERROR, &text, None);
        }
        self.queued_bytes += message.raw().len();
        self.queue.push_back(Queued { session, message });
    }

    /// Gives a message to the server that is up.
    pub(super) fn forward(&mut self, session: SessionKey, message: Message, now: Clock) {
        match message.kind() {
            Kind::Request => self.forward_request(session, &message, now),
            Kind::Notification => self.forward_notification(session, message),
            Kind::Result | Kind::Error => self.forward_answer(session, &message),
        }
    }

    fn forward_request(&mut self, session: SessionKey, message: &Message, now: Clock) {
        let Some(id) = message.id() else { return };
        if self.calls.len() >= MAX_CALLS {
            let text = format!("server `{}` has {MAX_CALLS} requests to answer already; try later", self.config.server);
            return self.refuse(session, message, code::INTERNAL_ERROR, &text, None);
        }
        if let Some(edit) = match self.before_request(session, message) {
            Verdict::Forward => Some(None),
            Verdict::Edit(edit) => Some(Some(edit)),
            Verdict::Done => None,
        } {
            let token = progress_token(message);
            let raw_token = token.map(|token| message.raw().slice_ref(token.as_bytes()));
            let call = self.call(Asker::Client { session, id }, message.method(), raw_token, now);
            let own = RequestId::from(call);
            let token_edit = token.map(|token| message.edit(token, own.raw().clone()));
            self.to_server(message.with_id(&own, edit.into_iter().chain(token_edit)));
        }
    }

    /// What has to happen with a request before, or instead of, its way to the server.
    fn before_request(&mut self, session: SessionKey, message: &Message) -> Verdict {
        match (message.method(), self.config.sharing) {
            ("initialize", Sharing::Exclusive) => {
                self.handshake.params = message.body().map(Into::into);
                Verdict::Forward
            }
            ("initialize", Sharing::Common) => self.answer_initialize(session, message),
            ("tools/call", _) => self.check_tool(session, message),
            ("logging/setLevel", _) => self.set_log_level(session, message),
            ("resources/subscribe", _) => self.subscribe(session, message),
            ("resources/unsubscribe", _) => self.unsubscribe(session, message),
            _ => Verdict::Forward,
        }
    }

    fn answer_initialize(&mut self, session: SessionKey, message: &Message) -> Verdict {
        let version = Version::negotiate(&message.str_at(&["protocolVersion"]).unwrap_or_default());
        let result = self.handshake.result.clone().unwrap_or_else(|| "{}".into());
        let raw = Bytes::from(result.into_string());
        let text = std::str::from_utf8(&raw).unwrap_or("{}");
        let edits = json::lookup(text, &["protocolVersion"])
            .map(|old| json::Edit { range: json::span(text, old), with: json::quote(version.as_str()).into() });
        let result = json::splice(&raw, edits.into_iter().collect()).into_bytes();
        if let Some(state) = self.sessions.get_mut(&session) {
            state.version = Some(version);
        }
        self.answer(session, message, std::str::from_utf8(&result).unwrap_or("{}"));
        Verdict::Done
    }

    fn check_tool(&mut self, session: SessionKey, message: &Message) -> Verdict {
        if self.config.tools.is_open() {
            return Verdict::Forward;
        }
        match message.str_at(&["name"]) {
            Some(name) if !self.config.tools.passes(&name) => {
                let text = format!("Unknown tool: {name}");
                self.refuse(session, message, code::INVALID_PARAMS, &text, None);
                Verdict::Done
            }
            _ => Verdict::Forward,
        }
    }

    /// A shared server logs at the most talkative level any session asked for; each session is given its own.
    fn set_log_level(&mut self, session: SessionKey, message: &Message) -> Verdict {
        let Some(level) = message.at(&["level"]) else { return Verdict::Forward };
        if let Some(state) = self.sessions.get_mut(&session) {
            state.log_level = Some(message.raw().slice_ref(level.as_bytes()));
        }
        if self.config.sharing == Sharing::Exclusive {
            return Verdict::Forward;
        }
        let levels = self.sessions.values().filter_map(|state| rank(state.log_level.as_ref()?));
        let wanted = levels.min().and_then(|rank| LOG_LEVELS.get(rank));
        wanted.map_or(Verdict::Forward, |wanted| Verdict::Edit(message.edit(level, json::quote(wanted))))
    }

    fn subscribe(&mut self, session: SessionKey, message: &Message) -> Verdict {
        if let (Some(uri), Some(state)) = (message.at(&["uri"]), self.sessions.get_mut(&session))
            && !state.subscriptions.iter().any(|known| known == uri.as_bytes())
        {
            state.subscriptions.push(message.raw().slice_ref(uri.as_bytes()));
        }
        Verdict::Forward
    }

    fn unsubscribe(&mut self, session: SessionKey, message: &Message) -> Verdict {
        let Some(uri) = message.at(&["uri"]) else { return Verdict::Forward };
        if let Some(state) = self.sessions.get_mut(&session) {
            state.subscriptions.retain(|known| known != uri.as_bytes());
        }
        if !self.is_subscribed(uri.as_bytes()) {
            return Verdict::Forward;
        }
        self.answer(session, message, "{}");
        Verdict::Done
    }

    /// Whether any session is subscribed to the resource.
    pub(super) fn is_subscribed(&self, uri: &[u8]) -> bool {
        self.sessions.values().any(|state| state.subscriptions.iter().any(|known| known == uri))
    }

    /// Unsubscribes at the server when no session is left that wants the resource.
    pub(super) fn release(&mut self, uri: &Bytes) {
        if self.link == Link::Up && !self.is_subscribed(uri) {
            let params = format!(r#"{{"uri":{}}}"#, String::from_utf8_lossy(uri));
            self.next_id += 1;
            let id = RequestId::from(self.next_id);
            // The answer is of no interest, and is dropped like any that nobody waits for.
            self.to_server(Message::call(Some(&id), "resources/unsubscribe", Some(&params)));
        }
    }

    fn forward_notification(&mut self, session: SessionKey, message: Message) {
        if let Some(id) = cancelled_id(&message) {
            return self.forward_cancel(session, &id, &message);
        }
        // A shared server shook hands with this side, which has neither roots nor progress to report.
        if self.config.sharing == Sharing::Exclusive {
            self.to_server(message);
        }
    }

    fn forward_cancel(&mut self, session: SessionKey, id: &RequestId, message: &Message) {
        let of = |asker: &Asker| matches!(asker, Asker::Client { session: s, id: i } if *s == session && i == id);
        let found = self.calls.iter().find(|(_, call)| of(&call.asker)).map(|(own, call)| (*own, &*call.method));
        match found {
            Some((_, "initialize")) | None => self.dropped += 1,
            Some((own, _)) => {
                self.calls.remove(&own);
                let raw = message.at(&["requestId"]).map(|raw| message.edit(raw, own.to_string()));
                self.to_server(message.with(raw));
                self.abandon(session, id.clone());
            }
        }
    }

    fn abandon(&mut self, session: SessionKey, id: RequestId) {
        let message = json::Rope::default();
        self.out.push_back(Out::ToClient { session, relation: Relation::Abandoned(id), message });
    }

    fn forward_answer(&mut self, session: SessionKey, message: &Message) {
        let id = message.id().and_then(|id| id.as_u64());
        match id.and_then(|id| Some((id, self.questions.get(&id)?))) {
            Some((id, question)) if question.session == session => {
                let answer = message.with_id(&question.id, None);
                self.questions.remove(&id);
                self.to_server(answer);
            }
            _ => self.dropped += 1,
        }
    }

    /// Answers a client's request from here.
    fn answer(&mut self, session: SessionKey, request: &Message, result: &str) {
        let Some(id) = request.id() else { return };
        let message = Message::result(&id, result).into();
        self.out.push_back(Out::ToClient { session, relation: Relation::Answer(id), message });
    }

    /// Hands a request of the server to a session.
    pub(super) fn question(&mut self, session: SessionKey, message: &Message) {
        let Some(id) = message.id() else { return };
        self.next_id += 1;
        let own = self.next_id;
        self.questions.insert(own, Question { session, id });
        let relation = self.only_call_of(session).map_or(Relation::None, Relation::During);
        self.out.push_back(Out::ToClient { session, relation, message: message.with_id(&own.into(), None) });
    }
}

/// What becomes of a client's request.
enum Verdict {
    Forward,
    Edit(json::Edit),
    Done,
}

/// The id that a `notifications/cancelled` names.
fn cancelled_id(message: &Message) -> Option<RequestId> {
    if message.method() != "notifications/cancelled" {
        return None;
    }
    RequestId::from_raw(message.raw().slice_ref(message.at(&["requestId"])?.as_bytes()))
}

/// The raw progress token of a request.
fn progress_token(message: &Message) -> Option<&str> {
    // Most requests have none, and a search is cheaper than a look into `params`.
    memchr::memmem::find(message.raw(), b"progressToken")?;
    message.at(&["_meta", "progressToken"])
}

/// The place of a raw log level in [`LOG_LEVELS`].
pub(super) fn rank(raw: &Bytes) -> Option<usize> {
    let level = json::string(std::str::from_utf8(raw).ok()?)?;
    LOG_LEVELS.iter().position(|known| *known == level)
}

impl Mux {
    /// Puts back what sessions had set at the server before it was replaced.
    pub(super) fn restore(&mut self, now: Clock) {
        let mut requests = Vec::new();
        let level = self.sessions.values().filter_map(|s| Some((rank(s.log_level.as_ref()?)?, s.log_level.clone()?)));
        requests.extend(level.min_by_key(|(rank, _)| *rank).map(|(_, raw)| ("logging/setLevel", "level", raw)));
        let mut uris: Vec<_> = self.sessions.values().flat_map(|s| s.subscriptions.iter().cloned()).collect();
        uris.dedup();
        requests.extend(uris.into_iter().map(|uri| ("resources/subscribe", "uri", uri)));
        for (method, key, raw) in requests {
            let params = format!(r#"{{"{key}":{}}}"#, String::from_utf8_lossy(&raw));
            self.ask(Asker::Restoring, method, &params, now);
        }
    }
}
