//! The order in which messages leave, where each is an HTTP request of its own and may overtake another.
//!
//! Nothing follows `initialize` before its answer, or a notification before the server has taken it: what follows may
//! rely on it. Requests do not wait for each other, up to a limit. What refers to a request under way (an answer to the
//! server's question, a cancellation, progress) waits for nothing, because that request waits for it.

use std::collections::VecDeque;

use bytes::Bytes;
use mcp::envelope::RequestId;
use mcp::json::{self, Object, Rope};

/// Requests under way at a time; what is more waits. Each may hold a connection of its own.
const MAX_CALLS: usize = 256;
/// What may wait, in bytes. More, and the server counts as broken.
const MAX_WAITING: usize = 64 << 20;

/// What a message means for those that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `initialize`.
    Initialize,
    /// `notifications/initialized`.
    Initialized,
    /// Any other request.
    Call,
    /// Any other notification.
    Notification,
    /// It refers to what is under way.
    Aside,
}

/// A message to be sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) kind: Kind,
    /// Of a request.
    pub(super) id: Option<RequestId>,
    pub(super) body: Bytes,
}

/// More waits than may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Outbox {
    asides: VecDeque<Outgoing>,
    waiting: VecDeque<Outgoing>,
    waiting_bytes: usize,
    /// Something is under way that the rest must not overtake.
    closed: bool,
    calls: usize,
}

impl Outbox {
    /// Adds a message. When it cancels a request that is under way, names that.
    pub(super) fn push(&mut self, message: Rope) -> Result<Option<RequestId>, Full> {
        let (outgoing, cancelled) = Outgoing::read(message.into_bytes());
        if let Some(id) = &cancelled
            && let Some(at) = self.waiting.iter().position(|waiting| waiting.id.as_ref() == Some(id))
        {
            // The server has not seen the request, and need not see either.
            let removed = self.waiting.remove(at);
            self.waiting_bytes -= removed.map_or(0, |removed| removed.body.len());
            return Ok(None);
        }
        if self.waiting_bytes + outgoing.body.len() > MAX_WAITING && !self.is_empty() {
            return Err(Full);
        }
        self.waiting_bytes += outgoing.body.len();
        let queue = if outgoing.kind == Kind::Aside { &mut self.asides } else { &mut self.waiting };
        queue.push_back(outgoing);
        Ok(cancelled)
    }

    /// The next message that may leave now.
    pub(super) fn pop(&mut self) -> Option<Outgoing> {
        let next = match self.asides.pop_front() {
            Some(aside) => aside,
            None if self.closed || self.calls >= MAX_CALLS => return None,
            None => self.waiting.pop_front()?,
        };
        self.waiting_bytes -= next.body.len();
        match next.kind {
            Kind::Initialize | Kind::Initialized | Kind::Notification => self.closed = true,
            Kind::Call => self.calls += 1,
            Kind::Aside => {}
        }
        Some(next)
    }

    /// A message of that kind has arrived; a request, has been answered.
    pub(super) fn done(&mut self, kind: Kind) {
        match kind {
            Kind::Initialize | Kind::Initialized | Kind::Notification => self.closed = false,
            Kind::Call => self.calls -= 1,
            Kind::Aside => {}
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.asides.is_empty()
    }
}

impl Outgoing {
    /// Reads as much of a message as decides on its order, and which request it cancels.
    fn read(body: Bytes) -> (Self, Option<RequestId>) {
        let text = std::str::from_utf8(&body).unwrap_or_default();
        let object = Object::parse(text).unwrap_or_default();
        let id_of = |raw: &str| RequestId::from_raw(body.slice_ref(raw.as_bytes()));
        let id = object.get("id").and_then(id_of);
        let method = object.get("method").and_then(json::string);
        let mut cancelled = None;
        let kind = match (method.as_deref(), &id) {
            (Some("initialize"), Some(_)) => Kind::Initialize,
            (Some("notifications/initialized"), None) => Kind::Initialized,
            (Some("notifications/cancelled"), None) => {
                cancelled =
                    object.get("params").and_then(|params| json::lookup(params, &["requestId"])).and_then(id_of);
                Kind::Aside
            }
            (Some("notifications/progress"), None) | (None, _) => Kind::Aside,
            (Some(_), Some(_)) => Kind::Call,
            (Some(_), None) => Kind::Notification,
        };
        let id = id.filter(|_| method.is_some());
        drop((object, method));
        (Self { kind, id, body }, cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
    const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    const ROOTS: &str = r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#;
    const ANSWER: &str = r#"{"jsonrpc":"2.0","id":7,"result":{}}"#;

    fn call(id: usize) -> String {
        format!(r#"{{"jsonrpc":"2.0","method":"tools/call","params":{{"id":0}},"id":{id}}}"#)
    }

    fn cancel(id: usize) -> String {
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#)
    }

    fn push(outbox: &mut Outbox, text: impl Into<String>) -> Option<RequestId> {
        outbox.push(text.into().into()).unwrap()
    }

    fn kinds(outbox: &mut Outbox) -> Vec<Kind> {
        std::iter::from_fn(|| outbox.pop()).map(|outgoing| outgoing.kind).collect()
    }

    #[test]
    fn nothing_overtakes_the_handshake() {
        let mut outbox = Outbox::default();
        for text in [INITIALIZE, INITIALIZED, &call(2), &call(3)] {
            push(&mut outbox, text);
        }
        assert_eq!(kinds(&mut outbox), [Kind::Initialize]);
        outbox.done(Kind::Initialize);
        assert_eq!(kinds(&mut outbox), [Kind::Initialized]);
        outbox.done(Kind::Initialized);
        assert_eq!(kinds(&mut outbox), [Kind::Call, Kind::Call]);
    }

    #[test]
    fn a_notification_is_taken_before_what_follows_it() {
        let mut outbox = Outbox::default();
        for text in [&call(2), ROOTS, &call(3), ANSWER] {
            push(&mut outbox, text);
        }
        assert_eq!(kinds(&mut outbox), [Kind::Aside, Kind::Call, Kind::Notification]);
        push(&mut outbox, ANSWER);
        assert_eq!(kinds(&mut outbox), [Kind::Aside]);
        outbox.done(Kind::Notification);
        assert_eq!(kinds(&mut outbox), [Kind::Call]);
    }

    #[test]
    fn requests_beyond_the_limit_wait_but_not_what_frees_their_place() {
        let mut outbox = Outbox::default();
        (0..=MAX_CALLS).for_each(|id| drop(push(&mut outbox, call(id))));
        assert_eq!(kinds(&mut outbox).len(), MAX_CALLS);
        assert_eq!(push(&mut outbox, cancel(5)), Some(5.into()));
        assert_eq!(kinds(&mut outbox), [Kind::Aside]);
        outbox.done(Kind::Call);
        assert_eq!(kinds(&mut outbox), [Kind::Call]);
    }

    #[test]
    fn a_request_cancelled_before_it_left_is_never_sent() {
        let mut outbox = Outbox::default();
        push(&mut outbox, INITIALIZE);
        push(&mut outbox, call(2));
        assert_eq!(push(&mut outbox, cancel(2)), None);
        assert_eq!(kinds(&mut outbox), [Kind::Initialize]);
        outbox.done(Kind::Initialize);
        assert_eq!(kinds(&mut outbox), []);
        assert_eq!(outbox.waiting_bytes, 0);
    }

    #[test]
    fn what_waits_is_bounded_but_a_single_message_may_be_of_any_size() {
        let mut outbox = Outbox::default();
        let large = format!(r#"{{"jsonrpc":"2.0","method":"x","params":{{"a":"{}"}}}}"#, "x".repeat(MAX_WAITING));
        push(&mut outbox, large);
        assert_eq!(outbox.push(call(1).into()), Err(Full));
    }
}
