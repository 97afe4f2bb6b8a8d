//! What clients send.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::calls::{Asker, Call};
use super::link::Link;
use super::{MAX_CALLS, Mux, Relation, Sharing};
use crate::envelope::{Kind, Message, RequestId, code};
use crate::json::{self, Edit, Rope};
use crate::modern::{self, DISCOVER, LISTEN, TASKS_EXTENSION, meta};
use crate::session::{Clock, SessionKey};
use crate::version::Version;

/// What becomes of a client's request.
pub(super) enum Verdict {
    Forward(Option<Edit>),
    /// With this raw result, from here.
    Answer(String),
    Refuse(i32, String),
    /// For the lack of these client capabilities, as JSON.
    Lacks(&'static str),
}

/// A request that has its answer, and is not to be forwarded.
pub(super) struct Answered;

impl Mux {
    /// A message of `session`. Its ids must not be in use already ([`super::super::streams::Streams`] sees to it).
    pub fn from_client(&mut self, session: SessionKey, message: Message, now: Clock) {
        if !self.sessions.contains_key(&session) {
            self.dropped += 1;
            return;
        }
        match message.kind() {
            Kind::Result | Kind::Error => self.forward_answer(session, &message, now),
            Kind::Request if message.method() == "ping" => self.answer(session, &message, "{}"),
            Kind::Notification if message.method() == "notifications/cancelled" => self.cancel(session, &message),
            Kind::Request | Kind::Notification if self.link == Link::Up => self.forward(session, message, now),
            Kind::Request | Kind::Notification => self.wait(session, message, now),
        }
    }

    /// Gives a message to the server that is up.
    pub(super) fn forward(&mut self, session: SessionKey, message: Message, now: Clock) {
        match message.kind() {
            Kind::Request => self.forward_request(session, &message, now),
            _ => self.forward_notification(session, message),
        }
    }

    fn forward_request(&mut self, session: SessionKey, message: &Message, now: Clock) {
        let Some(id) = message.id() else { return };
        if self.calls.len() >= MAX_CALLS {
            let text = format!("server `{}` has {MAX_CALLS} requests to answer already; try later", self.config.server);
            return self.refuse(session, message, code::INTERNAL_ERROR, &text, None);
        }
        let token = match progress_token(message) {
            Ok(token) => token,
            Err(error) => {
                let text = format!("the progress token cannot be read: {error}");
                return self.refuse(session, message, code::INVALID_PARAMS, &text, None);
            }
        };
        if self.config.sharing == Sharing::Adapted && message.method() == LISTEN {
            return self.listen(session, message, now);
        }
        if self.config.sharing == Sharing::Adapted && may_name(message, &STATE) && self.resume(session, message, now) {
            return;
        }
        if self.unrolls(session) {
            return self.forward_unrolled(session, message, token, now);
        }
        let verdict = self.before_request(session, message);
        let Ok(edit) = self.unless_answered(session, message, verdict) else { return };
        let mut call = Call::new(Asker::Client { session, id }, message.method());
        call.token = token.map(|token| message.part(token).into_bytes());
        if self.config.sharing.is_of_exchanges() {
            call.as_task = self.config.sharing == Sharing::Exchanges && may_name(message, &TASKS);
            call.wants_log = may_name(message, &LOG_LEVEL) && self.note_log_level(session, message, now);
        } else {
            call.as_task = may_name(message, &TASK) && message.at(&["task"]).is_some();
        }
        if self.config.sharing == Sharing::Adapted && message.method() == "resources/read" {
            call.uri = message.at(&["uri"]).map(Into::into);
        }
        self.callers = self.callers.with(session);
        let own = self.call(call, now);
        if self.config.sharing == Sharing::Adapted {
            self.note_user(session);
            self.lend(session, message, own);
            return self.forward_adapted(session, message, own);
        }
        let own = RequestId::from(own);
        let token = token.map(|token| message.edit(token, own.raw().clone()));
        self.tell_server(message.with_id(&own, edit.into_iter().chain(token)));
    }

    /// Answers a request that is not to be forwarded; else the edit to be made of it.
    pub(super) fn unless_answered(
        &mut self,
        session: SessionKey,
        message: &Message,
        verdict: Verdict,
    ) -> Result<Option<Edit>, Answered> {
        match verdict {
            Verdict::Forward(edit) => return Ok(edit),
            Verdict::Answer(result) => self.answer(session, message, &result),
            Verdict::Refuse(code, text) => self.refuse(session, message, code, &text, None),
            Verdict::Lacks(needed) => {
                let data = format!(r#"{{"requiredCapabilities":{needed}}}"#);
                let text = "Missing required client capability";
                self.refuse(session, message, modern::code::MISSING_CAPABILITY, text, Some(&data));
            }
        }
        Err(Answered)
    }

    /// What has to happen with a request before, or instead of, its way to the server.
    fn before_request(&mut self, session: SessionKey, message: &Message) -> Verdict {
        match (message.method(), self.config.sharing) {
            ("tools/call", _) => self.check_tool(message),
            ("initialize", Sharing::Exclusive) => {
                self.handshake.proposed = message.body().map(Into::into);
                Verdict::Forward(None)
            }
            ("initialize", Sharing::Common) => self.answer_initialize(session, message),
            (_, Sharing::Exchanges) => self.check_tasks(session, message),
            (DISCOVER, Sharing::Adapted) => self.discover(),
            ("tasks/get" | "tasks/update" | "tasks/cancel", Sharing::Adapted) => {
                Verdict::Refuse(code::METHOD_NOT_FOUND, "this server has no tasks for its clients".to_owned())
            }
            (_, Sharing::Adapted) => Verdict::Forward(None),
            ("tasks/get" | "tasks/result" | "tasks/cancel", Sharing::Common) => self.check_task(session, message),
            ("logging/setLevel", _) => self.set_log_level(session, message),
            ("resources/subscribe", _) => self.subscribe(session, message),
            ("resources/unsubscribe", _) => self.unsubscribe(session, message),
            _ => Verdict::Forward(None),
        }
    }

    fn answer_initialize(&mut self, session: SessionKey, message: &Message) -> Verdict {
        let version = Version::negotiate(&message.str_at(&["protocolVersion"]).unwrap_or_default());
        if let Some(state) = self.sessions.get_mut(&session) {
            state.version = Some(version);
        }
        let mut result = self.handshake.result.as_deref().unwrap_or("{}").to_owned();
        if let Some(range) = json::lookup(&result, &["protocolVersion"]).map(|old| json::span(&result, old)) {
            result.replace_range(range, &json::quote(version.as_str()));
        }
        Verdict::Answer(result)
    }

    /// A name that cannot be read, or is given twice, may be another one to the server.
    pub(super) fn check_tool(&self, message: &Message) -> Verdict {
        let tools = &self.config.tools;
        if tools.is_open() {
            return Verdict::Forward(None);
        }
        match message.str_at(&["name"]) {
            Some(name) if tools.passes(&name) => Verdict::Forward(None),
            name => Verdict::Refuse(code::INVALID_PARAMS, format!("Unknown tool: {}", name.unwrap_or_default())),
        }
    }

    /// A task of a shared server is its owner's alone.
    fn check_task(&self, session: SessionKey, message: &Message) -> Verdict {
        let id = message.str_at(&["taskId"]);
        if id.is_some_and(|id| self.owns_task(session, &id)) {
            return Verdict::Forward(None);
        }
        Verdict::Refuse(code::INVALID_PARAMS, "no task of this session has that `taskId`".to_owned())
    }

    pub(super) fn owns_task(&self, session: SessionKey, id: &str) -> bool {
        self.sessions.get(&session).is_some_and(|state| state.tasks.iter().any(|known| **known == *id))
    }

    fn forward_notification(&mut self, session: SessionKey, message: Message) {
        // A shared server shook hands with this side, which has neither roots nor progress to report. One of the newer
        // revision is told nothing but cancellations.
        if self.config.sharing.greets() || self.unrolls(session) {
            return;
        }
        if message.method() == "notifications/initialized" && std::mem::replace(&mut self.handshake.finished, true) {
            self.dropped += 1;
            return;
        }
        self.tell_server(message);
    }

    /// Takes back a request, wherever it is. `initialize` is never cancelled (lifecycle, "Cancellation").
    fn cancel(&mut self, session: SessionKey, message: &Message) {
        let named = message.at(&["requestId"]);
        let named = named.and_then(|raw| Some((raw, RequestId::from_raw(message.part(raw).into_bytes())?)));
        let Some((raw, id)) = named else { return self.dropped += 1 };
        if self.unqueue(session, &id) {
            return self.abandon(session, id);
        }
        let of = |asker: &Asker| matches!(asker, Asker::Client { session: s, id: i } if *s == session && *i == id);
        let found = self.calls.iter().find(|(_, call)| of(&call.asker));
        match found.map(|(own, call)| (own, &*call.method)) {
            Some((_, "initialize")) | None => self.dropped += 1,
            Some((own, _)) => {
                if self.calls.remove(own).is_some_and(|call| self.is_at_server(&call)) {
                    self.tell_server(message.with([message.edit(raw, own.to_string())]));
                }
                self.forget_asked(own, "the request was cancelled");
                self.abandon(session, id);
            }
        }
    }

    fn abandon(&mut self, session: SessionKey, id: RequestId) {
        self.deliver(session, Relation::Abandoned(id), Rope::default());
    }

    /// The answer to a question, which takes the question's place: the calls it may belong to go on now.
    fn forward_answer(&mut self, session: SessionKey, message: &Message, now: Clock) {
        if self.unrolls(session) {
            return self.take_reply(session, message, now);
        }
        let id = message.id().and_then(|id| id.as_u64());
        let asked = id.filter(|id| self.questions.get(*id).is_some_and(|question| question.session == session));
        let Some(question) = asked.and_then(|id| self.questions.remove(id)) else { return self.dropped += 1 };
        self.tell_server(message.with_id(&question.id, None));
        for call in self.calls_of(session).collect::<Vec<_>>() {
            self.renew(call, now);
        }
    }

    /// Answers a client's request from here.
    pub(super) fn answer(&mut self, session: SessionKey, request: &Message, result: &str) {
        let Some(id) = request.id() else { return };
        let message = Message::result(&id, result);
        self.deliver(session, Relation::Answer(id), message);
    }
}

/// The raw progress token of a request. Fails when the server might read another one than this side.
fn progress_token(message: &Message) -> Result<Option<&str>, serde_json::Error> {
    match message.body() {
        Some(params) if may_name(message, &PROGRESS_TOKEN) => json::find(params, &["_meta", "progressToken"]),
        _ => Ok(None),
    }
}

static PROGRESS_TOKEN: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(r#""progressToken""#));
static TASKS: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(TASKS_EXTENSION));
static LOG_LEVEL: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(meta::LOG_LEVEL));
static STATE: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(r#""requestState""#));
static TASK: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(r#""task""#));
/// Letters can be written as escapes, too.
static ESCAPE: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(r"\u"));

/// Whether a key can be among those of a message. A search is cheaper than a look, and most have none such.
fn may_name(message: &Message, key: &Finder<'_>) -> bool {
    key.find(message.raw()).is_some() || ESCAPE.find(message.raw()).is_some()
}
