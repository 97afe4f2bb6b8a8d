//! Streamable HTTP of 2026-07-28, from the client's side: each request is a POST of its own, whose response ends with the
//! answer. Ending it before cancels the request ("Cancellation"). There is no session, so that nothing can be lost but
//! requests under way.
//!
//! As with older revisions ([`super::streamable`]) all of them run inside [`Link::next`], and what they bring passes
//! through one bounded channel.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::{AbortHandle, Abortable, BoxFuture};
use futures::stream::FuturesUnordered;
use mcp::envelope::{self, Incoming, Message, RequestId, code};
use mcp::json::Rope;
use mcp::modern::LISTEN;
use mcp::session::mux::Loss;
use tokio::sync::mpsc;

use super::Site;
use crate::link::{Event, Link};

mod exchange;

pub(super) use exchange::Rules;
use exchange::Shared;

/// Messages that may have come and not been taken; while there are so many, no more are read.
const QUEUE: usize = 16;
/// Requests under way at a time, streams of changes left out; what is more waits.
const MAX_CALLS: usize = 256;
/// What may wait, in bytes.
const MAX_WAITING: usize = 64 << 20;

/// See the [module](self).
#[derive(Debug)]
pub struct ModernLink {
    shared: Arc<Shared>,
    waiting: VecDeque<Message>,
    waiting_bytes: usize,
    running: FuturesUnordered<Abortable<BoxFuture<'static, RequestId>>>,
    /// Ends requests that nobody waits for any more.
    calls: HashMap<RequestId, Call>,
    /// How many of those are no streams of changes.
    busy: usize,
    /// Answers to what is not sent.
    refused: VecDeque<Message>,
    events: mpsc::Receiver<Event>,
    /// How often the server was doubted when the link was made.
    doubts: u64,
}

/// A request under way.
#[derive(Debug)]
struct Call {
    handle: AbortHandle,
    listens: bool,
}

impl ModernLink {
    /// A link over which nothing has been sent; connections are made when there is. `rules` are what is known of the
    /// server's tools, and get to know what passes over this link.
    pub(super) fn new(site: Arc<Site>, rules: Rules) -> Self {
        let (sender, events) = mpsc::channel(QUEUE);
        Self {
            doubts: site.doubts.count(),
            shared: Arc::new(Shared::new(site, rules, sender)),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            running: FuturesUnordered::new(),
            calls: HashMap::new(),
            busy: 0,
            refused: VecDeque::new(),
            events,
        }
    }

    /// Starts what may be sent now.
    fn launch(&mut self) {
        while self.busy < MAX_CALLS {
            let Some(message) = self.waiting.pop_front() else { return };
            self.waiting_bytes -= message.raw().len();
            // A notification has no answer to wait for; none is defined that a client sends.
            let Some(id) = message.id() else { continue };
            let (handle, registration) = AbortHandle::new_pair();
            let listens = message.method() == LISTEN;
            self.release(&id);
            self.busy += usize::from(!listens);
            self.calls.insert(id.clone(), Call { handle, listens });
            let call = Arc::clone(&self.shared).call(id, message);
            self.running.push(Abortable::new(Box::pin(call), registration));
        }
    }

    fn push(&mut self, message: Message) {
        let refuse = |code, text| message.id().map(|id| Message::error(Some(&id), code, text, None));
        let refusal = if message.method() == "initialize" {
            // Whoever speaks older revisions, too, learns by this that the server does not.
            refuse(code::METHOD_NOT_FOUND, "the server does not shake hands: it speaks 2026-07-28 or later")
        } else if self.waiting_bytes + message.raw().len() > MAX_WAITING && !self.waiting.is_empty() {
            refuse(code::INTERNAL_ERROR, "the server takes requests more slowly than they come; try again later")
        } else {
            self.waiting_bytes += message.raw().len();
            self.waiting.push_back(message);
            return;
        };
        self.refused.extend(refusal);
    }

    /// Ends a request: the server takes the end of the response for that.
    fn cancel(&mut self, id: &RequestId) {
        if let Some(at) = self.waiting.iter().position(|waiting| waiting.id().as_ref() == Some(id)) {
            let removed = self.waiting.remove(at);
            self.waiting_bytes -= removed.map_or(0, |removed| removed.raw().len());
        }
        self.release(id);
    }

    /// Makes room for another request, now that this one has ended or is given up.
    fn release(&mut self, id: &RequestId) {
        if let Some(Call { handle, listens }) = self.calls.remove(id) {
            handle.abort();
            self.busy -= usize::from(!listens);
        }
    }
}

impl Link for ModernLink {
    fn send(&mut self, message: Rope) {
        let Ok(Incoming::Single(message)) = envelope::parse(message.into_bytes(), usize::MAX) else { return };
        if message.method() != "notifications/cancelled" {
            return self.push(message);
        }
        let named = message.at(&["requestId"]);
        if let Some(id) = named.and_then(|raw| RequestId::from_raw(Bytes::copy_from_slice(raw.as_bytes()))) {
            self.cancel(&id);
        }
    }

    fn over(&self) -> Option<Loss> {
        let changed = || self.shared.site.failure(None, "it has changed; send the request again").into();
        (self.shared.site.doubts.count() != self.doubts).then(changed)
    }

    async fn next(&mut self) -> Event {
        if let Some(refusal) = self.refused.pop_front() {
            return Event::Message(refusal);
        }
        loop {
            self.launch();
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => return event,
                ended = self.running.next(), if !self.running.is_empty() => {
                    if let Some(Ok(id)) = ended {
                        self.release(&id);
                    }
                }
            }
        }
    }

    async fn stop(self) {}
}
