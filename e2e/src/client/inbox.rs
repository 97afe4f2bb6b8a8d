//! Where a client's messages wait: answers for those who asked, everything else in a queue.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use anyhow::bail;
use tokio::sync::{Notify, oneshot};

use super::Message;

/// Events kept; more than any test leaves untaken. The oldest goes first.
const EVENTS: usize = 100_000;

/// An answer, or why there will be none.
pub(super) type Answer = Result<Message, String>;

#[derive(Debug, Default)]
struct State {
    /// By id, as JSON text.
    waiting: HashMap<String, oneshot::Sender<Answer>>,
    events: VecDeque<Message>,
    closed: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    changed: Notify,
}

impl Inbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while holding it")
    }

    /// The answer to `id`, when it comes.
    pub(super) fn expect(&self, id: &str) -> oneshot::Receiver<Answer> {
        let (answered, answer) = oneshot::channel();
        let mut state = self.state();
        match &state.closed {
            // The receiver is right here.
            Some(reason) => drop(answered.send(Err(reason.clone()))),
            None => drop(state.waiting.insert(id.into(), answered)),
        }
        answer
    }

    pub(super) fn expects(&self, id: &str) -> bool {
        self.state().waiting.contains_key(id)
    }

    /// Ends the wait for an answer.
    pub(super) fn abandon(&self, id: &str, reason: &str) {
        if let Some(waiting) = self.state().waiting.remove(id) {
            // Whoever waited may have given up first.
            let _ = waiting.send(Err(reason.into()));
        }
    }

    pub(super) fn deliver(&self, message: Message) {
        let mut state = self.state();
        let waiting = match message.id() {
            Some(id) if message.method().is_none() => state.waiting.remove(id),
            _ => None,
        };
        let left = match waiting {
            Some(waiting) => waiting.send(Ok(message)).err().and_then(Result::ok),
            None => Some(message),
        };
        // An answer nobody waits for is an event: a duplicate, a stranger's, or one that came too late.
        if let Some(event) = left {
            if state.events.len() == EVENTS {
                state.events.pop_front();
            }
            state.events.push_back(event);
            self.changed.notify_waiters();
        }
    }

    /// Fails all waits, now and later. The first reason stays.
    pub(super) fn close(&self, reason: String) {
        let mut state = self.state();
        for (_, waiting) in state.waiting.drain() {
            // Whoever waited may have given up first.
            let _ = waiting.send(Err(reason.clone()));
        }
        state.closed.get_or_insert(reason);
        self.changed.notify_waiters();
    }

    pub(super) fn events(&self) -> Vec<Message> {
        self.state().events.iter().cloned().collect()
    }

    pub(super) async fn take(&self, wanted: &(dyn Fn(&Message) -> bool + Sync)) -> anyhow::Result<Message> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state();
                if let Some(at) = state.events.iter().position(wanted)
                    && let Some(event) = state.events.remove(at)
                {
                    return Ok(event);
                }
                if let Some(reason) = &state.closed {
                    bail!("no event: {reason}");
                }
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(raw: &str) -> Message {
        Message::parse(raw).unwrap()
    }

    #[tokio::test]
    async fn an_answer_goes_to_the_one_who_asked_and_a_second_one_is_an_event() {
        let inbox = Inbox::default();
        let answer = inbox.expect("1");
        inbox.deliver(message(r#"{"id":"1","result":0}"#));
        inbox.deliver(message(r#"{"id":1,"result":1}"#));
        inbox.deliver(message(r#"{"id":1,"result":2}"#));
        assert_eq!(answer.await.unwrap().unwrap().into_result().unwrap(), 1);
        let left: Vec<_> = inbox.events().into_iter().map(|event| event.into_result().unwrap()).collect();
        assert_eq!(left, [0, 2]);
    }

    #[tokio::test]
    async fn closing_fails_waits_with_the_reason() {
        let inbox = Inbox::default();
        let answer = inbox.expect("1");
        inbox.close("stream ended".into());
        assert_eq!(answer.await.unwrap().unwrap_err(), "stream ended");
        assert_eq!(inbox.expect("2").await.unwrap().unwrap_err(), "stream ended");
        assert!(inbox.take(&|_| true).await.unwrap_err().to_string().contains("stream ended"));
    }

    #[tokio::test]
    async fn taking_leaves_the_other_events() {
        let inbox = Inbox::default();
        inbox.deliver(message(r#"{"method":"a"}"#));
        inbox.deliver(message(r#"{"method":"b"}"#));
        let taken = inbox.take(&|event| event.method() == Some("b")).await.unwrap();
        assert_eq!((taken.method(), inbox.events().len()), (Some("b"), 1));
    }
}
