//! What the server sends.

use super::client::rank;
use super::{Asker, Call, Loss, Mux, Out, Relation, Sharing};
use crate::envelope::{Kind, Message, RequestId, code};
use crate::json::{self, Rope};
use crate::session::{Clock, SessionKey};

impl Mux {
    /// A message of the server.
    pub fn from_server(&mut self, message: Message, now: Clock) {
        match message.kind() {
            Kind::Result | Kind::Error => self.take_answer(&message, now),
            Kind::Request => self.take_question(&message),
            Kind::Notification => self.take_notification(&message, now),
        }
    }

    /// The server sent an answer to the request `id` that could not be read.
    pub fn unreadable_answer(&mut self, id: u64, reason: &str) {
        match self.calls.remove(&id) {
            Some(Call { asker: Asker::Greeting, .. }) => {
                self.out.push_back(Out::Hopeless(Loss { message: reason.to_owned(), data: None }));
            }
            Some(call) => self.fail(call, code::INTERNAL_ERROR, reason, None),
            None => self.dropped += 1,
        }
    }

    fn take_answer(&mut self, message: &Message, now: Clock) {
        let id = message.id().and_then(|id| id.as_u64());
        let Some((own, call)) = id.and_then(|id| Some((id, self.calls.remove(&id)?))) else {
            self.dropped += 1;
            return;
        };
        match call.asker {
            Asker::Greeting => self.take_greeting(message, now),
            Asker::Restoring => {}
            Asker::Client { session, ref id } => {
                let id = id.clone();
                self.note_answer(session, own, &call, message);
                let answer = self.answer_for(&call, message, &id);
                self.out.push_back(Out::ToClient { session, relation: Relation::Answer(id), message: answer });
            }
        }
    }

    /// What an answer changes here.
    fn note_answer(&mut self, session: SessionKey, own: u64, call: &Call, message: &Message) {
        if &*call.method == "initialize" && message.kind() == Kind::Result {
            self.handshake.accepted = true;
            let version = message.str_at(&["protocolVersion"]).and_then(|text| text.parse().ok());
            if let Some(state) = self.sessions.get_mut(&session) {
                state.version = version;
            }
        }
        if let Some(token) = call.token.clone()
            && message.at(&["task", "taskId"]).is_some()
        {
            self.task_tokens.insert(own, (session, token));
        }
    }

    /// The answer with the client's own id, and without tools the client may not see.
    fn answer_for(&self, call: &Call, message: &Message, id: &RequestId) -> Rope {
        if &*call.method != "tools/list" || self.config.tools.is_open() || message.kind() == Kind::Error {
            return message.with_id(id, None);
        }
        let filtered = self.config.tools.list(message).into_bytes();
        match crate::envelope::parse(filtered, usize::MAX) {
            Ok(crate::envelope::Incoming::Single(filtered)) => filtered.with_id(id, None),
            _ => Message::error(Some(id), code::INTERNAL_ERROR, "the list of tools could not be filtered", None).into(),
        }
    }

    /// The answer to this side's own `initialize`.
    fn take_greeting(&mut self, message: &Message, now: Clock) {
        if message.kind() == Kind::Error {
            let why = message.str_at(&["message"]).unwrap_or_default();
            let message = format!("server `{}` refused to initialize: {why}", self.config.server);
            return self.out.push_back(Out::Hopeless(Loss { message, data: None }));
        }
        if self.config.sharing == Sharing::Common {
            self.handshake.result = message.body().map(Into::into);
            self.handshake.accepted = true;
        }
        self.to_server(Message::call(None, "notifications/initialized", None));
        self.restore(now);
        self.open(now);
    }

    fn take_question(&mut self, message: &Message) {
        let Some(id) = message.id() else { return };
        if message.method() == "ping" {
            return self.to_server(Message::result(&id, "{}"));
        }
        let only = self.sessions.keys().next().copied();
        match (self.config.sharing, only) {
            (Sharing::Exclusive, Some(session)) => self.question(session, message),
            _ => {
                let text = "no client can be asked: this server is shared by many sessions";
                self.to_server(Message::error(Some(&id), code::METHOD_NOT_FOUND, text, None));
            }
        }
    }

    fn take_notification(&mut self, message: &Message, now: Clock) {
        match message.method() {
            "notifications/progress" => self.take_progress(message, now),
            "notifications/cancelled" => self.take_cancel(message),
            _ if self.config.sharing == Sharing::Exclusive => {
                let only = self.sessions.keys().next().copied();
                let Some(session) = only else { return };
                self.notify(session, message);
            }
            "notifications/message" => self.take_log(message),
            "notifications/resources/updated" => self.take_update(message),
            _ => {
                let all: Vec<_> = self.sessions.keys().copied().collect();
                all.into_iter().for_each(|session| self.deliver(session, Relation::None, message.clone().into()));
            }
        }
    }

    fn deliver(&mut self, session: SessionKey, relation: Relation, message: Rope) {
        self.out.push_back(Out::ToClient { session, relation, message });
    }

    /// A notification for the one session of this connection. Log lines are put beside the call that most likely
    /// caused them; changes of the server belong to no call.
    fn notify(&mut self, session: SessionKey, message: &Message) {
        let during = (message.method() == "notifications/message").then(|| self.only_call_of(session)).flatten();
        self.deliver(session, during.map_or(Relation::None, Relation::During), message.clone().into());
    }

    fn take_progress(&mut self, message: &Message, now: Clock) {
        let raw = message.at(&["progressToken"]);
        let own = raw.and_then(|raw| json::string(raw).map_or_else(|| raw.parse().ok(), |text| text.parse().ok()));
        let Some((raw, own)) = raw.zip(own) else { return self.dropped += 1 };
        let found = match self.calls.get_mut(&own) {
            Some(Call {
                asker: Asker::Client { session, id }, token: Some(token), deadline, hard_deadline, ..
            }) => {
                *deadline = (now + self.config.request_timeout).min(*hard_deadline);
                Some((*session, Relation::During(id.clone()), token.clone()))
            }
            Some(_) => None,
            None => self.task_tokens.get(&own).map(|(session, token)| (*session, Relation::None, token.clone())),
        };
        match found {
            Some((session, relation, token)) => {
                let message = message.with([message.edit(raw, token)]);
                self.deliver(session, relation, message);
            }
            None => self.dropped += 1,
        }
    }

    /// The server takes back a question.
    fn take_cancel(&mut self, message: &Message) {
        let Some(raw) = message.at(&["requestId"]) else { return };
        let found = self.questions.iter().find(|(_, question)| question.id.raw() == raw.as_bytes());
        let Some((own, session)) = found.map(|(own, question)| (*own, question.session)) else {
            return self.dropped += 1;
        };
        self.questions.remove(&own);
        let message = message.with([message.edit(raw, own.to_string())]);
        self.deliver(session, Relation::None, message);
    }

    /// A log line of a shared server belongs to a session only when no other can have caused it.
    fn take_log(&mut self, message: &Message) {
        let mut busy = self.calls.values().filter_map(|call| match &call.asker {
            Asker::Client { session, .. } => Some(*session),
            Asker::Greeting | Asker::Restoring => None,
        });
        let Some(session) = busy.next().filter(|first| busy.all(|other| other == *first)) else {
            return self.dropped += 1;
        };
        let level = message.at(&["level"]).and_then(|raw| rank(&message.raw().slice_ref(raw.as_bytes())));
        let wanted = self.sessions.get(&session).and_then(|state| rank(state.log_level.as_ref()?));
        if level.zip(wanted).is_none_or(|(level, wanted)| level >= wanted) {
            let relation = self.only_call_of(session).map_or(Relation::None, Relation::During);
            self.deliver(session, relation, message.clone().into());
        }
    }

    fn take_update(&mut self, message: &Message) {
        let Some(uri) = message.str_at(&["uri"]) else { return };
        // A server may report a part of what was subscribed to.
        let wants = |raw: &bytes::Bytes| {
            let known = std::str::from_utf8(raw).ok().and_then(json::string);
            known.is_some_and(|known| uri.starts_with(&*known))
        };
        let sessions = self.sessions.iter().filter(|(_, state)| state.subscriptions.iter().any(wants));
        let sessions: Vec<_> = sessions.map(|(key, _)| *key).collect();
        sessions.into_iter().for_each(|session| self.deliver(session, Relation::None, message.clone().into()));
    }
}
