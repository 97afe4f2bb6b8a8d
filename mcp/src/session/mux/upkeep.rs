//! What sessions set at the server: it is kept when the server is replaced, and with a shared one it is kept apart.

use std::collections::BTreeSet;

use super::calls::Asker;
use super::client::Verdict;
use super::link::Link;
use super::{Mux, Session, Sharing};
use crate::envelope::{Message, RequestId, code};
use crate::json;
use crate::session::{Clock, SessionKey};

/// The levels of `logging/setLevel`, the most talkative first.
pub(super) const LOG_LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
/// What a session may be subscribed to: the URIs together, in bytes.
const MAX_SUBSCRIBED: usize = 256 << 10;

impl Mux {
    /// A shared server logs at the most talkative level any session asked for; each session is given its own.
    pub(super) fn set_log_level(&mut self, session: SessionKey, message: &Message) -> Verdict {
        let (level, rank) = (message.at(&["level"]), rank(message));
        if let Some(state) = self.sessions.get_mut(&session).filter(|_| rank.is_some()) {
            state.log_level = rank;
        }
        let shared = level.zip(rank).filter(|_| self.config.sharing == Sharing::Common);
        Verdict::Forward(shared.map(|(level, rank)| {
            let lowest = self.lowest_log_level().unwrap_or(rank);
            message.edit(level, json::quote(LOG_LEVELS[lowest]))
        }))
    }

    pub(super) fn lowest_log_level(&self) -> Option<usize> {
        self.sessions.values().filter_map(|state| state.log_level).min()
    }

    /// Whether a session wants the log line, as far as it has said so.
    pub(super) fn wants_log(&self, session: SessionKey, line: &Message) -> bool {
        let wanted = self.sessions.get(&session).and_then(|state| state.log_level);
        rank(line).zip(wanted).is_none_or(|(level, wanted)| level >= wanted)
    }

    pub(super) fn subscribe(&mut self, session: SessionKey, message: &Message) -> Verdict {
        let (Some(uri), Some(state)) = (message.str_at(&["uri"]), self.sessions.get_mut(&session)) else {
            return Verdict::Forward(None);
        };
        if state.subscriptions.iter().any(|known| **known == *uri) {
            return Verdict::Forward(None);
        }
        if !state.has_room_for(&uri) {
            let text = "this session is subscribed to too much already; unsubscribe from something first";
            return Verdict::Refuse(code::INTERNAL_ERROR, text.to_owned());
        }
        state.subscriptions.push(uri.into());
        Verdict::Forward(None)
    }

    pub(super) fn unsubscribe(&mut self, session: SessionKey, message: &Message) -> Verdict {
        let Some(uri) = message.str_at(&["uri"]) else { return Verdict::Forward(None) };
        if let Some(state) = self.sessions.get_mut(&session) {
            state.subscriptions.retain(|known| **known != *uri);
        }
        if self.is_subscribed(&uri) { Verdict::Answer("{}".to_owned()) } else { Verdict::Forward(None) }
    }

    /// Whether any session is subscribed to the resource.
    pub(super) fn is_subscribed(&self, uri: &str) -> bool {
        self.sessions.values().any(|state| state.subscriptions.iter().any(|known| **known == *uri))
    }

    /// The sessions that are subscribed to the resource, or to one that it is a part of: servers may report either.
    pub(super) fn subscribers(&self, uri: &str) -> Vec<SessionKey> {
        let wants = |known: &str| uri.strip_prefix(known).is_some_and(|rest| is_part(known, rest));
        let subscribed = self.sessions.iter().filter(|(_, state)| state.subscriptions.iter().any(|uri| wants(uri)));
        subscribed.map(|(session, _)| *session).collect()
    }

    /// Unsubscribes at the server when no session is left that wants the resource.
    pub(super) fn release(&mut self, uri: &str) {
        if self.link == Link::Up && !self.is_subscribed(uri) {
            let params = format!(r#"{{"uri":{}}}"#, json::quote(uri));
            self.next_id += 1;
            let id = RequestId::from(self.next_id);
            // The answer is of no interest, and is dropped like any that nobody waits for.
            self.tell_server(Message::call(Some(&id), "resources/unsubscribe", Some(&params)));
        }
    }

    /// Puts back what sessions had set at the server before it was replaced.
    pub(super) fn restore(&mut self, now: Clock) {
        if let Some(level) = self.lowest_log_level() {
            let params = format!(r#"{{"level":"{}"}}"#, LOG_LEVELS[level]);
            self.ask(Asker::Upkeep, "logging/setLevel", &params, now);
        }
        let uris: BTreeSet<_> = self.sessions.values().flat_map(|state| state.subscriptions.iter().cloned()).collect();
        for uri in uris {
            let params = format!(r#"{{"uri":{}}}"#, json::quote(&uri));
            self.ask(Asker::Upkeep, "resources/subscribe", &params, now);
        }
    }
}

impl Session {
    /// Whether it may be subscribed to one more resource.
    pub(super) fn has_room_for(&self, uri: &str) -> bool {
        let cost = |uri: &str| size_of::<Box<str>>() + uri.len();
        self.subscriptions.iter().map(|uri| cost(uri)).sum::<usize>() + cost(uri) <= MAX_SUBSCRIBED
    }
}

/// The place of a message's `level` in [`LOG_LEVELS`].
fn rank(message: &Message) -> Option<usize> {
    let level = message.str_at(&["level"])?;
    LOG_LEVELS.iter().position(|known| *known == level)
}

/// Whether a URI that goes on with `rest` behind that of a `whole` is a part of it: `/a/1#x` is one of `/a/1`, `/a/10`
/// is not (RFC 3986, 2.3: what can continue a name).
fn is_part(whole: &str, rest: &str) -> bool {
    let in_name = |char: char| char.is_alphanumeric() || matches!(char, '-' | '.' | '_' | '~' | '%');
    !(whole.ends_with(in_name) && rest.starts_with(in_name))
}
