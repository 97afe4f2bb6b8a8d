//! What a server of 2026-07-28 sends beside answers, each of which names the request it is about; and whose its tasks are.

use super::calls::{Asker, Call};
use super::client::Verdict;
use super::{MAX_TASKS, Mux, Relation};
use crate::envelope::{Message, RequestId, code};
use crate::json::{self, Edit};
use crate::modern::{LISTEN, meta};
use crate::session::{Clock, SessionKey};

impl Mux {
    /// Something on a stream that a request opened, or a log line, which names none: it is delivered where one request
    /// alone can have caused it.
    pub(super) fn take_aside(&mut self, message: &Message, now: Clock) {
        let own = subscription(message).and_then(|raw| RequestId::from_raw(message.part(raw).into_bytes())?.as_u64());
        if let Some(own) = own.filter(|own| self.unrolled.is_folded(*own)) {
            return self.take_folded(own, message, now);
        }
        let asker = match own {
            Some(own) => self.calls.get(own).and_then(asker),
            None if message.method() == "notifications/message" => self.only_one_that_logs(),
            None => None,
        };
        let Some((session, id)) = asker else { return self.dropped += 1 };
        if self.unrolls(session) && !self.wants_log(session, message) {
            return;
        }
        let text = message.with(subscription_edit(message, &id));
        self.deliver(session, Relation::During(id), text);
    }

    /// The server ends a stream that a request opened, which on standard output it does by cancelling that request
    /// ("Subscriptions"). To the client it is the end that HTTP has for it: the result.
    pub(super) fn take_end(&mut self, message: &Message, now: Clock) {
        let raw = message.at(&["requestId"]);
        let own = raw.and_then(|raw| RequestId::from_raw(message.part(raw).into_bytes())?.as_u64());
        if let Some(own) = own.filter(|own| self.unrolled.is_folded(*own)) {
            self.calls.remove(own);
            return self.end_folded(own, None, now);
        }
        let ended = own.filter(|own| self.calls.get(*own).is_some_and(Call::is_listen));
        let Some(call) = ended.and_then(|own| self.calls.remove(own)) else { return self.dropped += 1 };
        self.end_listening(&call);
    }

    /// Ends what a session listens to, as this program is about to stop.
    pub fn stop_listening(&mut self, session: SessionKey) {
        let of = |own: &u64| self.calls.get(*own).is_some_and(Call::is_listen);
        for own in self.calls_of(session).filter(of).collect::<Vec<_>>() {
            let Some(call) = self.calls.remove(own) else { continue };
            self.cancel_at_server(own, &call, "the client is sent away");
            self.end_listening(&call);
        }
    }

    fn end_listening(&mut self, call: &Call) {
        let Some((session, id)) = asker(call) else { return };
        let raw = String::from_utf8_lossy(id.raw());
        let result = format!(r#"{{"resultType":"complete","_meta":{{"{}":{raw}}}}}"#, meta::SUBSCRIPTION_ID);
        let message = Message::result(&id, &result);
        self.deliver(session, Relation::Answer(id), message);
    }

    /// Takes note of whose task the result of a call is, if it is one.
    pub(super) fn note_task(&mut self, session: SessionKey, answer: &Message) {
        let owner = self.sessions.get(&session).and_then(|session| session.owner.clone());
        if answer.str_at(&["resultType"]).as_deref() == Some("task")
            && let Some((id, owner)) = answer.str_at(&["taskId"]).zip(owner)
        {
            self.owned_tasks.push_back((id.into(), owner));
            if self.owned_tasks.len() > MAX_TASKS {
                self.owned_tasks.pop_front();
            }
        }
    }

    /// Lets through what is about no task of somebody else, and of a client that has any.
    pub(super) fn check_tasks(&self, session: SessionKey, message: &Message) -> Verdict {
        let named: Vec<_> = match message.method() {
            "tasks/get" | "tasks/update" | "tasks/cancel" => vec![message.str_at(&["taskId"])],
            LISTEN => {
                let listed = message.at(&["notifications", "taskIds"]).and_then(json::elements).unwrap_or_default();
                listed.into_iter().map(json::string).collect()
            }
            _ => Vec::new(),
        };
        let extension = ["_meta", meta::CLIENT_CAPABILITIES, "extensions", crate::modern::TASKS_EXTENSION];
        if !named.is_empty() && message.at(&extension).is_none() {
            return Verdict::Lacks(r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#);
        }
        let owner = self.sessions.get(&session).and_then(|session| session.owner.as_ref());
        let owns = |id: &str| self.owned_tasks.iter().any(|(known, whose)| **known == *id && Some(whose) == owner);
        if named.iter().all(|id| id.as_deref().is_some_and(owns)) {
            return Verdict::Forward(None);
        }
        Verdict::Refuse(
            code::INVALID_PARAMS,
            "Unknown task: it has ended, or never was, or is somebody else's".to_owned(),
        )
    }

    /// The request that wants log lines, when there is exactly one.
    pub(super) fn only_one_that_logs(&self) -> Option<(SessionKey, RequestId)> {
        let mut wanting = self.calls.iter().filter(|(_, call)| call.wants_log).filter_map(|(_, call)| asker(call));
        let (Some(only), None) = (wanting.next(), wanting.next()) else { return None };
        Some(only)
    }
}

fn asker(call: &Call) -> Option<(SessionKey, RequestId)> {
    match &call.asker {
        Asker::Client { session, id } => Some((*session, id.clone())),
        Asker::Parked | Asker::Greeting | Asker::Upkeep => None,
    }
}

fn subscription(message: &Message) -> Option<&str> {
    message.at(&["_meta", meta::SUBSCRIPTION_ID])
}

/// What gives a message of a stream back the id by which its client knows that stream.
pub(super) fn subscription_edit(message: &Message, id: &RequestId) -> Option<Edit> {
    Some(message.edit(subscription(message)?, id.raw().clone()))
}
