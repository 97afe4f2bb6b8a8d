//! The connection coming and going, and what waits for it.

use super::calls::{Asker, REQUEST_TIMEOUT};
use super::{Callers, Loss, Mux, Sharing, Users};
use crate::envelope::{Kind, Message, RequestId, code};
use crate::session::{Clock, SessionKey};
use crate::version::Version;

/// What waits for a server that is not connected yet, in bytes.
const MAX_QUEUED: usize = 32 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Not connected: what clients send waits.
    Down,
    /// Connected; only the handshake is let through yet.
    Greeting,
    /// Connected and ready.
    Up,
}

#[derive(Debug)]
pub(super) struct Queued {
    pub(super) session: SessionKey,
    pub(super) message: Message,
    /// When its sender is told that no server has come.
    pub(super) deadline: Clock,
}

impl Queued {
    /// What it takes, in bytes.
    fn cost(&self) -> usize {
        size_of::<Self>() + self.message.raw().len()
    }
}

impl Mux {
    /// The server can be written to from now on.
    pub fn connected(&mut self, now: Clock) {
        self.link = Link::Greeting;
        self.callers = Callers::Nobody;
        self.users = Users::default();
        self.handshake.finished = false;
        let params = match self.config.sharing {
            Sharing::Exclusive => self.handshake.accepted.clone(),
            Sharing::Common | Sharing::Adapted => {
                Some(own_greeting(self.config.asking.as_ref().map_or("{}", |asking| &asking.capabilities)))
            }
            Sharing::Exchanges => None,
        };
        match params {
            Some(params) => self.ask(Asker::Greeting, "initialize", &params, now),
            None => self.open(now),
        }
    }

    /// The server is gone. Calls it had been given fail, because nobody knows how far it got with them; what still
    /// waited goes on waiting for the next one, unless this one ended before it had shaken hands: the next may as well.
    pub fn disconnected(&mut self, loss: &Loss) {
        let greeting = std::mem::replace(&mut self.link, Link::Down) == Link::Greeting;
        let questions: Vec<_> = self.questions.iter().map(|(id, _)| id).collect();
        for id in questions {
            self.take_back(id, "the server has ended", None);
        }
        let (asking, lost) = self.calls.drain().partition::<Vec<_>, _>(|(_, call)| call.is_asking());
        for (_, call) in lost {
            self.fail(call, code::INTERNAL_ERROR, &loss.message, loss.data.as_deref());
        }
        self.keep(asking);
        self.unrolled.lose();
        self.parked.forget();
        self.handshake.proposed = None;
        self.task_tokens.clear();
        self.owned_tasks.clear();
        self.sessions.values_mut().for_each(|session| session.tasks.clear());
        if greeting {
            self.refuse_queued(loss);
        }
    }

    /// No server will come: what waits for one is answered.
    pub fn unavailable(&mut self, loss: &Loss) {
        self.disconnected(loss);
        self.refuse_queued(loss);
    }

    fn refuse_queued(&mut self, loss: &Loss) {
        self.queued_bytes = 0;
        for Queued { session, message, .. } in std::mem::take(&mut self.queue) {
            self.refuse(session, &message, code::INTERNAL_ERROR, &loss.message, loss.data.as_deref());
        }
    }

    /// Lets through what waited.
    pub(super) fn open(&mut self, now: Clock) {
        self.link = Link::Up;
        self.queued_bytes = 0;
        for Queued { session, message, .. } in std::mem::take(&mut self.queue) {
            self.forward(session, message, now);
        }
        self.restore_unrolled(now);
    }

    /// Keeps a message until the server can be written to.
    pub(super) fn wait(&mut self, session: SessionKey, message: Message, now: Clock) {
        if message.kind() == Kind::Notification && (self.config.sharing.greets() || self.unrolls(session)) {
            return self.dropped += 1;
        }
        let deadline = now.saturating_add(self.config.connect_timeout);
        let queued = Queued { session, message, deadline };
        if self.queued_bytes + queued.cost() > MAX_QUEUED {
            let text = format!("server `{}` is not up, and too much waits for it already", self.config.server);
            return self.refuse(session, &queued.message, code::INTERNAL_ERROR, &text, None);
        }
        self.queued_bytes += queued.cost();
        self.queue.push_back(queued);
    }

    /// Answers what has waited for a server long enough. All wait equally long, so that the oldest is due first.
    pub(super) fn expire_queued(&mut self, now: Clock) {
        while self.queue.front().is_some_and(|queued| queued.deadline <= now) {
            let Some(queued) = self.queue.pop_front() else { return };
            self.queued_bytes -= queued.cost();
            let (server, limit) = (&self.config.server, self.config.connect_timeout.as_secs_f32());
            let text = format!("server `{server}` has not come up within {limit} s; see its log");
            self.refuse(queued.session, &queued.message, REQUEST_TIMEOUT, &text, None);
        }
    }

    /// Takes back a request that still waits; whether there was one.
    pub(super) fn unqueue(&mut self, session: SessionKey, id: &RequestId) -> bool {
        let is = |queued: &Queued| {
            let request = &queued.message;
            queued.session == session && request.id().as_ref() == Some(id) && request.method() != "initialize"
        };
        let found = self.queue.iter().position(is).and_then(|at| self.queue.remove(at));
        self.queued_bytes -= found.as_ref().map_or(0, Queued::cost);
        found.is_some()
    }

    pub(super) fn drop_queued(&mut self, session: SessionKey) {
        self.queue.retain(|queued| queued.session != session);
        self.queued_bytes = self.queue.iter().map(Queued::cost).sum();
    }
}

/// The `params` with which this side greets a server that many sessions share.
fn own_greeting(capabilities: &str) -> Box<str> {
    let (revision, version) = (Version::NEWEST_LEGACY, env!("CARGO_PKG_VERSION"));
    let client = format!(r#"{{"name":"mcp-gateway","version":"{version}"}}"#);
    format!(r#"{{"protocolVersion":"{revision}","capabilities":{capabilities},"clientInfo":{client}}}"#).into()
}
