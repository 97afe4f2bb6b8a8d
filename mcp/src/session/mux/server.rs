//! What the server sends.

use super::calls::{Asker, Call, Question};
use super::exchanges::subscription_edit;
use super::{Callers, Loss, MAX_QUESTIONS, MAX_TASKS, Mux, Out, Relation, Sharing};
use crate::envelope::{self, Incoming, Kind, Message, code};
use crate::json::{self, Edit, Rope};
use crate::session::filter::keep;
use crate::session::{Clock, SessionKey};

pub(super) const UNHEARD: &str = "the client cannot be asked: it takes no event stream";

impl Mux {
    /// A message of the server.
    pub fn from_server(&mut self, message: Message, now: Clock) {
        match message.kind() {
            Kind::Result | Kind::Error => self.take_answer(&message, now),
            Kind::Request => self.take_question(&message, now),
            Kind::Notification => self.take_notification(message, now),
        }
    }

    /// The server sent an answer to the request `id` that could not be read.
    pub fn unreadable_answer(&mut self, id: u64, reason: &str) {
        match self.calls.remove(id) {
            Some(Call { asker: Asker::Greeting, .. }) => {
                self.out.push_back(Out::Hopeless(Loss { message: reason.to_owned(), data: None }));
            }
            Some(call) => self.fail(call, code::INTERNAL_ERROR, reason, None),
            None => self.dropped += 1,
        }
    }

    fn take_answer(&mut self, message: &Message, now: Clock) {
        let id = message.id().and_then(|id| id.as_u64());
        let Some((own, call)) = id.and_then(|id| Some((id, self.calls.remove(id)?))) else {
            return self.dropped += 1;
        };
        if self.is_of_newer(&call, message) {
            return self.turn(call, now);
        }
        match &call.asker {
            Asker::Greeting => self.take_greeting(message, now),
            Asker::Upkeep if call.is_listen() => self.end_folded(own, Some(message), now),
            Asker::Upkeep => {}
            Asker::Parked => self.keep_answer(call, message.clone()),
            Asker::Client { session, .. } if self.unrolls(*session) => self.take_unrolled(own, call, message, now),
            Asker::Client { session, id } => {
                self.note_answer(*session, own, &call, message);
                let answer = match self.config.sharing {
                    Sharing::Adapted => self.adapted(own, id, &call, message, now),
                    Sharing::Exchanges if call.is_listen() => message.with_id(id, subscription_edit(message, id)),
                    _ => message.with_id(id, self.answer_edit(*session, &call, message)),
                };
                self.deliver(*session, Relation::Answer(id.clone()), answer);
            }
        }
    }

    /// What an answer changes here.
    fn note_answer(&mut self, session: SessionKey, own: u64, call: &Call, message: &Message) {
        if message.kind() == Kind::Error {
            return;
        }
        if self.config.sharing.is_of_exchanges() {
            if call.as_task {
                self.note_task(session, message);
            }
            return;
        }
        let Some(state) = self.sessions.get_mut(&session) else { return };
        if &*call.method == "initialize" {
            if let Some(params) = self.handshake.proposed.take() {
                self.handshake.accepted = Some(params);
            }
            state.version = message.str_at(&["protocolVersion"]).and_then(|text| text.parse().ok());
        }
        if call.as_task
            && let Some(task) = message.str_at(&["task", "taskId"])
        {
            state.tasks.push_back(task.into());
            if state.tasks.len() > MAX_TASKS {
                state.tasks.pop_front();
            }
            self.task_tokens.extend(call.token.clone().map(|token| (own, (session, token))));
            if self.task_tokens.len() > MAX_TASKS {
                self.task_tokens.pop_first();
            }
        }
    }

    /// What a client may not see of an answer is left out: hidden tools, and the tasks of others.
    fn answer_edit(&self, session: SessionKey, call: &Call, message: &Message) -> Option<Edit> {
        match (&*call.method, self.config.sharing) {
            _ if message.kind() == Kind::Error => None,
            ("tools/list", _) if !self.config.tools.is_open() => self.config.tools.list(message),
            ("tasks/list", Sharing::Common) => keep(message, "tasks", |task| {
                let id = json::lookup(task, &["taskId"]).and_then(json::string);
                id.is_some_and(|id| self.owns_task(session, &id))
            }),
            _ => None,
        }
    }

    /// The answer to this side's own `initialize`.
    fn take_greeting(&mut self, message: &Message, now: Clock) {
        if message.kind() == Kind::Error {
            let why = message.str_at(&["message"]).unwrap_or_default();
            let message = format!("server `{}` refused to initialize: {why}", self.config.server);
            return self.out.push_back(Out::Hopeless(Loss { message, data: None }));
        }
        if self.config.sharing.greets() {
            self.handshake.result = message.body().map(Into::into);
        }
        self.handshake.finished = true;
        self.tell_server(Message::call(None, "notifications/initialized", None));
        self.restore(now);
        self.open(now);
    }

    fn take_question(&mut self, message: &Message, now: Clock) {
        let Some(id) = message.id() else { return };
        if message.method() == "ping" {
            return self.tell_server(Message::result(&id, "{}"));
        }
        if self.config.sharing == Sharing::Adapted {
            return self.ask_in_call(message, now);
        }
        let session = self.owner().filter(|_| self.config.sharing == Sharing::Exclusive);
        let (code, text) = match session {
            Some(session) if self.questions.len() < MAX_QUESTIONS => return self.question(session, message, now),
            Some(_) => (code::INTERNAL_ERROR, "the client has too many questions to answer already"),
            None => (code::METHOD_NOT_FOUND, "no client can be asked: this server is shared by many sessions"),
        };
        self.tell_server(Message::error(Some(&id), code, text, None));
    }

    /// Hands a request of the server to a session.
    fn question(&mut self, session: SessionKey, message: &Message, now: Clock) {
        let Some(id) = message.id() else { return };
        self.next_id += 1;
        let own = self.next_id;
        let relation = self.only_call_of(session).map_or(Relation::None, Relation::During);
        let question = Question { session, id, relation: relation.clone() };
        self.questions.insert(own, now.saturating_add(self.hard_limit()), question);
        self.deliver(session, relation, message.with_id(&own.into(), None));
    }

    /// The session has nobody to read `message`, which was to be delivered to it. Whether that was a question: it is
    /// answered then, for nobody else will.
    pub fn refuse_unheard(&mut self, message: &Rope) -> bool {
        let parsed = envelope::parse(message.clone().into_bytes(), usize::MAX);
        let Ok(Incoming::Single(message)) = parsed else { return false };
        if self.give_up_unheard(&message) {
            return true;
        }
        let asked = message.id().filter(|_| message.kind() == Kind::Request).and_then(|id| id.as_u64());
        let Some(question) = asked.and_then(|id| self.questions.remove(id)) else { return false };
        self.tell_server(Message::error(Some(&question.id), code::INTERNAL_ERROR, UNHEARD, None));
        true
    }

    /// The session that what the server sends unasked belongs to. With a shared server that can be told only as long
    /// as one session alone has used it: what was worked on for others may go on after their answers.
    fn owner(&self) -> Option<SessionKey> {
        match (self.config.sharing, self.callers) {
            (Sharing::Exclusive, _) => self.sessions.keys().next().copied(),
            (Sharing::Common, Callers::One(session)) => Some(session).filter(|key| self.sessions.contains_key(key)),
            _ => None,
        }
    }

    fn take_notification(&mut self, message: Message, now: Clock) {
        match (message.method(), self.config.sharing) {
            ("notifications/progress", _) => self.take_progress(&message, now),
            ("notifications/cancelled", Sharing::Exchanges) => self.take_end(&message, now),
            (_, Sharing::Exchanges) => self.take_aside(&message, now),
            (_, Sharing::Adapted) => self.take_change(&message),
            ("notifications/cancelled", _) => self.take_cancel(&message),
            (
                "notifications/tools/list_changed"
                | "notifications/prompts/list_changed"
                | "notifications/resources/list_changed",
                Sharing::Common,
            ) => {
                // A client that has not shaken hands yet does not know what it is told of.
                let greeted = self.sessions.iter().filter(|(_, state)| state.version.is_some());
                self.notify(greeted.map(|(session, _)| *session).collect(), &message);
            }
            ("notifications/resources/updated", Sharing::Common) => {
                let subscribers = message.str_at(&["uri"]).map(|uri| self.subscribers(&uri));
                self.notify(subscribers.unwrap_or_default(), &message);
            }
            ("notifications/tasks/status", Sharing::Common) => {
                let id = message.str_at(&["taskId"]).unwrap_or_default();
                let owner = self.sessions.keys().copied().find(|session| self.owns_task(*session, &id));
                self.notify(owner.into_iter().collect(), &message);
            }
            _ => self.take_unasked(message),
        }
    }

    pub(super) fn notify(&mut self, sessions: Vec<SessionKey>, message: &Message) {
        for session in sessions {
            self.deliver(session, Relation::None, message.clone());
        }
    }

    /// A log line is put beside the call that most likely caused it; anything else belongs to no call.
    fn take_unasked(&mut self, message: Message) {
        let is_log = message.method() == "notifications/message";
        let Some(session) = self.owner() else { return self.dropped += 1 };
        if is_log && self.config.sharing == Sharing::Common && !self.wants_log(session, &message) {
            return;
        }
        let during = self.only_call_of(session).filter(|_| is_log);
        self.deliver(session, during.map_or(Relation::None, Relation::During), message);
    }

    fn take_progress(&mut self, message: &Message, now: Clock) {
        let raw = message.at(&["progressToken"]);
        let own = raw.and_then(|raw| json::string(raw).map_or_else(|| raw.parse().ok(), |text| text.parse().ok()));
        let Some((raw, own)) = raw.zip(own) else { return self.dropped += 1 };
        let found = match self.calls.get(own) {
            Some(Call { asker: Asker::Client { session, id }, token: Some(token), .. }) => {
                Some((*session, Relation::During(id.clone()), token.clone()))
            }
            Some(_) => None,
            None => self.task_tokens.get(&own).map(|(session, token)| (*session, Relation::None, token.clone())),
        };
        let Some((session, relation, token)) = found else { return self.dropped += 1 };
        self.renew(own, now);
        self.deliver(session, relation, message.with([message.edit(raw, token)]));
    }

    /// The server takes back a question.
    pub(super) fn take_cancel(&mut self, message: &Message) {
        let raw = message.at(&["requestId"]).unwrap_or_default();
        if self.unask(raw) {
            return;
        }
        let found = self.questions.iter().find(|(_, question)| question.id.raw() == raw.as_bytes()).map(|(own, _)| own);
        let Some((own, question)) = found.and_then(|own| Some((own, self.questions.remove(own)?))) else {
            return self.dropped += 1;
        };
        let message = message.with([message.edit(raw, own.to_string())]);
        self.deliver(question.session, question.relation, message);
    }
}
