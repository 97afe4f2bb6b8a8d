//! Sessions of clients of older revisions before a server of 2026-07-28: requests and their answers.

use super::calls::{Asker, Call};
use super::client::Verdict;
use super::folded::Fold;
use super::pending::Pending;
use super::rounds::{Again, Reply};
use super::upkeep::LOG_LEVELS;
use super::{Mux, Relation, Sharing};
use crate::envelope::{Kind, Message, RequestId, code};
use crate::json::{self, Rope};
use crate::modern::may_ask;
use crate::modern::rounds::{Outcome, outcome};
use crate::modern::stamp::Client;
use crate::modern::{DISCOVER, LISTEN, downgrade, probe};
use crate::session::{Clock, SessionKey};

/// What such sessions have together.
#[derive(Debug, Default)]
pub(super) struct Unrolled {
    /// What clients are asked, by the id they know it by.
    pub(super) asked: Pending<Reply>,
    /// The stream of changes.
    pub(super) fold: Fold,
}

impl Unrolled {
    pub(super) fn asked(&self) -> usize {
        self.asked.len()
    }

    pub(super) fn deadline(&self) -> Option<Clock> {
        self.asked.deadline().into_iter().chain(self.fold.due).min()
    }
}

/// What older revisions do not have, or have in another way.
const UNKNOWN: [&str; 7] =
    [DISCOVER, LISTEN, "tasks/get", "tasks/result", "tasks/list", "tasks/cancel", "tasks/update"];

impl Mux {
    /// Whether the session is of an older revision than the server.
    pub(super) fn unrolls(&self, session: SessionKey) -> bool {
        self.config.sharing == Sharing::Exchanges
            && self.sessions.get(&session).is_some_and(|state| state.owner.is_none())
    }

    /// Whether any such session has shaken hands.
    pub(super) fn has_greeted(&self) -> bool {
        self.greeted().next().is_some()
    }

    /// Those that have.
    pub(super) fn greeted(&self) -> impl Iterator<Item = SessionKey> {
        let greeted = |(_, state): &(_, &super::Session)| state.owner.is_none() && state.version.is_some();
        self.sessions.iter().filter(greeted).map(|(session, _)| *session)
    }

    /// Whether the server declares what stands at `path`, as far as it has said.
    pub(super) fn server_declares(&self, path: &[&str]) -> bool {
        let found = json::lookup(&self.unrolled.fold.capabilities, path);
        found.is_some_and(|value| value != "false" && value != "null")
    }

    /// A request of such a session.
    pub(super) fn forward_unrolled(&mut self, session: SessionKey, message: &Message, token: Option<&str>, now: Clock) {
        let verdict = match message.method() {
            "initialize" => self.note_client(session, message),
            "logging/setLevel" => self.note_level(session, message),
            "resources/subscribe" => return self.watch(session, message, now),
            "resources/unsubscribe" => self.unwatch(session, message),
            "tools/call" => self.check_tool(message),
            method if UNKNOWN.contains(&method) => unknown(method),
            _ => Verdict::Forward(None),
        };
        let (Ok(_), Some(id)) = (self.unless_answered(session, message, verdict), message.id()) else { return };
        let mut call = Call::new(Asker::Client { session, id }, message.method());
        call.token = token.map(|token| message.part(token).into_bytes());
        call.wants_log = self.level(session).is_some();
        if may_ask(message.method()) {
            call.again = self.may_keep(message).then(|| Box::new(Again::new(message.clone())));
        }
        let own = self.call(call, now);
        self.send_stamped(session, own, message, "");
    }

    /// Gives a request to the server, in its revision. A call has been entered for it, as `own`.
    pub(super) fn send_stamped(&mut self, session: SessionKey, own: u64, request: &Message, more: &str) {
        let nobody = Client::new("{}");
        let client = self.sessions.get(&session).and_then(|state| state.client.as_deref()).unwrap_or(&nobody);
        let id = RequestId::from(own);
        let sent = match request.method() {
            "initialize" => Ok(Rope::from(Message::call(Some(&id), DISCOVER, Some(&client.params())))),
            _ => client.request(request, &id, self.level(session), more),
        };
        match sent {
            Ok(sent) => self.tell_server(sent),
            Err(error) => {
                self.calls.remove(own);
                let text = format!("`params` cannot be read: {error}");
                self.refuse(session, request, code::INVALID_PARAMS, &text, None);
            }
        }
    }

    /// The answer to a request of such a session.
    pub(super) fn take_unrolled(&mut self, own: u64, call: Call, message: &Message, now: Clock) {
        let Asker::Client { session, id } = &call.asker else { return };
        let (session, id) = (*session, id.clone());
        match outcome(message) {
            Outcome::Complete => {
                let greets = (&*call.method, message.kind()) == ("initialize", Kind::Result);
                let answer = if greets {
                    self.welcome(session, &id, message)
                } else {
                    self.downgrade(session, &id, &call.method, message)
                };
                self.deliver(session, Relation::Answer(id), answer);
                if greets {
                    self.refold(now);
                }
            }
            Outcome::Asks => self.take_round(own, call, message, now),
            Outcome::Foreign => {
                let server = &self.config.server;
                let text = format!("server `{server}` answered with what no client of this revision can have");
                self.fail(call, code::INTERNAL_ERROR, &text, None);
            }
        }
    }

    fn downgrade(&self, session: SessionKey, id: &RequestId, method: &str, message: &Message) -> Rope {
        let tools = &self.config.tools;
        let passes = |tool: &str| {
            let name = json::lookup(tool, &["name"]).and_then(json::string);
            tools.is_open() || name.is_some_and(|name| tools.passes(&name))
        };
        let version = self.version(session).unwrap_or(crate::version::Version::NEWEST_LEGACY);
        message.with_id(id, downgrade::answer(method, version, message, passes))
    }

    /// Takes note of who shakes hands. The server is asked what it is, by that client.
    fn note_client(&mut self, session: SessionKey, message: &Message) -> Verdict {
        if let Some(state) = self.sessions.get_mut(&session) {
            state.client = Some(Box::new(Client::new(message.body().unwrap_or("{}"))));
        }
        Verdict::Forward(None)
    }

    /// What the server is, to a client that shakes hands.
    fn welcome(&mut self, session: SessionKey, id: &RequestId, discovered: &Message) -> Rope {
        let client = self.sessions.get(&session).and_then(|state| state.client.as_deref());
        let version = client.filter(|_| probe::is_yes(discovered)).map(|client| client.version);
        let name = &self.config.server;
        let result = version.zip(discovered.body());
        let result = result.and_then(|(version, found)| downgrade::initialized(found, version, name));
        let Some(result) = result else {
            let text = format!("server `{name}` speaks no revision that is known here");
            return Message::error(Some(id), code::INTERNAL_ERROR, &text, None).into();
        };
        if let Some(state) = self.sessions.get_mut(&session) {
            state.version = version;
        }
        self.unrolled.fold.capabilities = discovered.at(&["capabilities"]).unwrap_or("{}").into();
        Message::result(id, &result).into()
    }

    /// The level is kept here, and each request says it.
    fn note_level(&mut self, session: SessionKey, message: &Message) -> Verdict {
        if !self.server_declares(&["logging"]) {
            return unknown(message.method());
        }
        let level = message.str_at(&["level"]);
        let rank = level.and_then(|level| LOG_LEVELS.iter().position(|known| *known == level));
        match (rank, self.sessions.get_mut(&session)) {
            (Some(rank), Some(state)) => {
                state.log_level = Some(rank);
                Verdict::Answer("{}".to_owned())
            }
            _ => Verdict::Refuse(code::INVALID_PARAMS, format!("`level` must be one of {}", LOG_LEVELS.join(", "))),
        }
    }

    fn level(&self, session: SessionKey) -> Option<&'static str> {
        Some(LOG_LEVELS[self.sessions.get(&session)?.log_level?])
    }

    /// The session has ended.
    pub(super) fn leave_unrolled(&mut self, session: SessionKey) {
        let of = |reply: &Reply| reply.session == session;
        for id in self.unrolled.asked.iter().filter(|(_, reply)| of(reply)).map(|(id, _)| id).collect::<Vec<_>>() {
            self.unrolled.asked.remove(id);
        }
        if self.config.sharing == Sharing::Exchanges && !self.unrolled.fold.is_idle() {
            self.unrolled.fold.due = Some(Clock::ZERO);
        }
    }

    /// Does what is due.
    pub(super) fn expire_unrolled(&mut self, now: Clock) {
        while let Some((id, _)) = self.unrolled.asked.due(now) {
            self.give_up(id, super::calls::REQUEST_TIMEOUT, super::calls::LATE);
        }
        if self.unrolled.fold.due.is_some_and(|due| due <= now) {
            self.restore_unrolled(now);
        }
    }

    /// Goes on where it was, with a server that is there.
    pub(super) fn restore_unrolled(&mut self, now: Clock) {
        if self.config.sharing == Sharing::Exchanges {
            self.repeat_answered(now);
            self.refold(now);
        }
    }
}

fn unknown(method: &str) -> Verdict {
    Verdict::Refuse(code::METHOD_NOT_FOUND, format!("Method not found: {method}"))
}
