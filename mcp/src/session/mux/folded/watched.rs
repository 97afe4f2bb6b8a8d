//! Subscriptions of clients of older revisions to resources.

use std::collections::BTreeSet;

use super::super::client::Verdict;
use super::{Asker, Call, Mux, Relation};
use crate::envelope::{Kind, Message, code};
use crate::session::{Clock, SessionKey};

/// The URIs of the resources that all sessions together are subscribed to, in bytes: they are one message.
const MAX_WATCHED: usize = 1 << 20;

/// A client that is told of its subscription when the server has acknowledged it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) call: u64,
    pub(super) uri: Box<str>,
    session: SessionKey,
}

impl Mux {
    /// Subscribes a session to a resource.
    pub(in super::super) fn watch(&mut self, session: SessionKey, message: &Message, now: Clock) {
        let uri = match self.may_watch(session, message) {
            Ok(uri) => uri,
            Err((code, text)) => return self.refuse(session, message, code, &text, None),
        };
        let Some(id) = message.id() else { return };
        let watched = self.unrolled.fold.open.as_ref().is_some_and(|open| open.wanted.updates.contains(&uri));
        if watched {
            self.note_watched(session, uri);
            return self.answer(session, message, "{}");
        }
        let call = self.call(Call::new(Asker::Client { session, id }, message.method()), now);
        let calls = &self.calls;
        self.unrolled.fold.waiting.retain(|waiting| calls.get(waiting.call).is_some());
        self.unrolled.fold.waiting.push(Waiting { call, uri, session });
        self.refold(now);
    }

    fn may_watch(&self, session: SessionKey, message: &Message) -> Result<Box<str>, (i32, String)> {
        if !self.server_declares(&["resources", "subscribe"]) || self.unrolled.fold.rests == Clock::MAX {
            return Err((code::METHOD_NOT_FOUND, format!("Method not found: {}", message.method())));
        }
        let Some(uri) = message.str_at(&["uri"]) else {
            return Err((code::INVALID_PARAMS, "`uri` is missing".to_owned()));
        };
        let state = self.sessions.get(&session);
        let all: usize = self.wanted().updates.iter().map(|uri| size_of::<Box<str>>() + uri.len()).sum();
        if state.is_some_and(|state| !state.has_room_for(&uri)) || all + uri.len() > MAX_WATCHED {
            let text = "too many resources are subscribed to already; unsubscribe from something first";
            return Err((code::INTERNAL_ERROR, text.to_owned()));
        }
        Ok(uri.into())
    }

    fn note_watched(&mut self, session: SessionKey, uri: Box<str>) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        if !state.subscriptions.contains(&uri) {
            state.subscriptions.push(uri);
        }
    }

    /// Ends a session's subscription. The stream changes when there is time.
    pub(in super::super) fn unwatch(&mut self, session: SessionKey, message: &Message) -> Verdict {
        let Some(uri) = message.str_at(&["uri"]) else {
            return Verdict::Refuse(code::INVALID_PARAMS, "`uri` is missing".to_owned());
        };
        if let Some(state) = self.sessions.get_mut(&session) {
            state.subscriptions.retain(|known| **known != *uri);
        }
        self.unrolled.fold.due = Some(Clock::ZERO);
        Verdict::Answer("{}".to_owned())
    }

    /// Answers a client whose subscription has come to the server.
    pub(super) fn settle(&mut self, waiting: Waiting, call: Call, agreed: Option<&BTreeSet<Box<str>>>) {
        let Waiting { session, uri, .. } = waiting;
        if agreed.is_some_and(|agreed| !agreed.contains(&uri)) {
            let text = format!("server `{}` does not tell when this resource changes", self.config.server);
            return self.fail(call, code::INVALID_PARAMS, &text, None);
        }
        self.note_watched(session, uri);
        if let Asker::Client { session, id } = call.asker {
            let message = Message::result(&id, "{}");
            self.deliver(session, Relation::Answer(id), message);
        }
    }

    /// Nobody is told of what the server does not tell.
    pub(super) fn refuse_waiting(&mut self, answer: Option<&Message>) {
        let error = answer.filter(|answer| answer.kind() == Kind::Error);
        if error.and_then(|error| error.at(&["code"])?.parse().ok()) == Some(code::METHOD_NOT_FOUND) {
            self.unrolled.fold.rests = Clock::MAX;
        }
        let why =
            error.and_then(|error| error.str_at(&["message"])).unwrap_or_else(|| "it has ended the stream".into());
        let text = format!("server `{}` does not tell of changes: {why}", self.config.server);
        for waiting in std::mem::take(&mut self.unrolled.fold.waiting) {
            if let Some(call) = self.calls.remove(waiting.call) {
                self.fail(call, code::INTERNAL_ERROR, &text, None);
            }
        }
    }
}
