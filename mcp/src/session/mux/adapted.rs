//! Clients of 2026-07-28 before a server of an older revision.

use std::sync::Arc;

use super::calls::{Asker, Call};
use super::client::Verdict;
use super::upkeep::LOG_LEVELS;
use super::{Mux, Relation, Sharing};
use crate::envelope::{Message, RequestId, code};
use crate::json::{self, Edit};
use crate::modern::listen::{Filter, marked};
use crate::modern::{LISTEN, meta, translate};
use crate::session::{Clock, SessionKey};

impl Mux {
    /// Gives a request to the server as one of an older revision. A call has been entered for it, as `own`.
    pub(super) fn forward_adapted(&mut self, session: SessionKey, message: &Message, own: u64) {
        let id = RequestId::from(own);
        match translate::request(message, id.text()) {
            Ok(edit) => self.tell_server(message.with_id(&id, edit)),
            Err(error) => {
                self.calls.remove(own);
                let text = format!("`_meta` cannot be read: {error}");
                self.refuse(session, message, code::INVALID_PARAMS, &text, None);
            }
        }
    }

    /// What the server is, from its handshake.
    pub(super) fn discover(&self) -> Verdict {
        Verdict::Answer(translate::discovered(self.handshake.result.as_deref().unwrap_or("{}")))
    }

    /// What makes of an answer one of the newer revision.
    pub(super) fn adapt(&self, call: &Call, message: &Message) -> Vec<Edit> {
        let passes = |tool: &str| {
            let name = json::lookup(tool, &["name"]).and_then(json::string);
            self.config.tools.is_open() || name.is_some_and(|name| self.config.tools.passes(&name))
        };
        translate::answer((&call.method, call.uri.as_deref()), message, passes)
    }

    /// Opens a stream of changes, which the server knows nothing of but the resources that are watched.
    pub(super) fn listen(&mut self, session: SessionKey, message: &Message, now: Clock) {
        let Some(id) = message.id() else { return };
        let hello = self.handshake.result.as_deref().unwrap_or("{}");
        let capabilities = json::lookup(hello, &["capabilities"]).unwrap_or("{}");
        let Some(filter) = Filter::of(message, capabilities) else {
            let text = "this stream asks for too many resources";
            return self.refuse(session, message, code::INVALID_PARAMS, text, None);
        };
        self.call(Call::new(Asker::Client { session, id: id.clone() }, LISTEN), now);
        self.deliver(session, Relation::During(id.clone()), filter.acknowledged(&id));
        let new: Vec<_> = filter.updates.iter().filter(|uri| !self.is_subscribed(uri)).cloned().collect();
        if let Some(state) = self.sessions.get_mut(&session) {
            state.subscriptions.clone_from(&filter.updates);
            state.listens = Some(filter);
        }
        for uri in new {
            self.ask(Asker::Upkeep, "resources/subscribe", &format!(r#"{{"uri":{}}}"#, json::quote(&uri)), now);
        }
    }

    /// A request may want log lines: whether it does. A server of an older revision is told of the level beforehand.
    pub(super) fn note_log_level(&mut self, session: SessionKey, message: &Message, now: Clock) -> bool {
        let level = message.str_at(&["_meta", meta::LOG_LEVEL]);
        let Some(wanted) = level.and_then(|level| LOG_LEVELS.iter().position(|known| *known == level)) else {
            return false;
        };
        let before = self.lowest_log_level();
        let Some(state) = self.sessions.get_mut(&session) else { return false };
        state.log_level = Some(wanted);
        let logs = self.handshake.result.as_deref().and_then(|hello| json::lookup(hello, &["capabilities", "logging"]));
        if self.config.sharing == Sharing::Adapted && logs.is_some() && before.is_none_or(|before| wanted < before) {
            let params = format!(r#"{{"level":"{}"}}"#, LOG_LEVELS[wanted]);
            self.ask(Asker::Upkeep, "logging/setLevel", &params, now);
        }
        true
    }

    /// Something that the server tells unasked: a change, to those who listen to it, or a log line.
    pub(super) fn take_change(&mut self, message: &Message) {
        let listeners: Vec<_> = match message.method() {
            "notifications/cancelled" => return self.take_cancel(message),
            "notifications/message" => return self.take_line(message),
            "notifications/resources/updated" => {
                message.str_at(&["uri"]).map(|uri| self.subscribers(&uri)).unwrap_or_default()
            }
            method => {
                let wants = |filter: &Filter| filter.wants_list(method);
                let all = self.sessions.iter().filter(|(_, state)| state.listens.as_ref().is_some_and(wants));
                all.map(|(session, _)| *session).collect()
            }
        };
        for session in listeners {
            if let Some(id) = self.only_call_of(session)
                && let Some(marked) = marked(message, &id)
            {
                self.deliver(session, Relation::During(id), marked);
            }
        }
    }

    /// A request of `session` is about to use the connection.
    pub(super) fn note_user(&mut self, session: SessionKey) {
        // What this program asks for itself is nobody's secret.
        let state = self.sessions.get(&session).filter(|state| !state.own);
        let Some(owner) = state.and_then(|state| state.owner.as_ref()) else { return };
        let first = self.users.first.get_or_insert_with(|| Arc::clone(owner));
        self.users.several |= first != owner;
    }

    /// A log line, which is delivered where one request alone can have caused it, and wants it; and never where it may
    /// speak of somebody else's.
    fn take_line(&mut self, message: &Message) {
        if self.users.several {
            return self.dropped += 1;
        }
        let Some((session, id)) = self.only_one_that_logs().filter(|(session, _)| self.wants_log(*session, message))
        else {
            return self.dropped += 1;
        };
        self.deliver(session, Relation::During(id), message.clone());
    }
}
