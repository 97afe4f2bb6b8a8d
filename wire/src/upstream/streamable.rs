//! Streamable HTTP (2025-03-26 to 2025-11-25), from the client's side.
//!
//! Every message is a POST of its own, whose answer is JSON or a stream of events; what belongs to no request comes on a
//! stream opened by GET. All of them run inside [`Link::next`], in the task that owns the link: nothing is spawned, and
//! what they bring passes through one bounded channel, so that a server is read no faster than its messages are taken.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{AbortHandle, Abortable, BoxFuture};
use futures::stream::FuturesUnordered;
use mcp::envelope::RequestId;
use mcp::json::Rope;
use mcp::session::mux::Loss;
use tokio::sync::mpsc;

use super::Site;
use super::events::drain;
use super::outbox::{Kind, Outbox};
use crate::link::{Event, Link};

mod exchange;
mod listen;
mod session;

use exchange::{Done, Exchange};
pub(super) use session::Session;

/// Messages that may have come and not been taken; while there are so many, no more are read.
const QUEUE: usize = 16;
/// How long ending the session at the server may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// See the [module](self).
#[derive(Debug)]
pub struct StreamableLink {
    session: Arc<Session>,
    outbox: Outbox,
    running: FuturesUnordered<Abortable<BoxFuture<'static, Ended>>>,
    /// Ends requests that nobody waits for any more.
    calls: HashMap<RequestId, AbortHandle>,
    events: mpsc::Receiver<Event>,
    sender: mpsc::Sender<Event>,
    listening: bool,
    lost: Option<Loss>,
}

/// What one of the running futures was for, and what came of it.
#[derive(Debug)]
struct Ended {
    kind: Kind,
    id: Option<RequestId>,
    done: Done,
}

impl StreamableLink {
    /// A link over which nothing has been sent; connections are made when there is.
    pub fn new(site: Arc<Site>) -> Self {
        let (sender, events) = mpsc::channel(QUEUE);
        Self {
            session: Arc::new(Session::new(site)),
            outbox: Outbox::default(),
            running: FuturesUnordered::new(),
            calls: HashMap::new(),
            events,
            sender,
            listening: false,
            lost: None,
        }
    }

    /// Whether no request is under way or waits to be sent.
    pub fn is_quiet(&self) -> bool {
        self.calls.is_empty() && self.outbox.is_empty()
    }

    /// Starts what may be sent now.
    fn launch(&mut self) {
        while let Some(outgoing) = self.outbox.pop() {
            let (kind, id) = (outgoing.kind, outgoing.id.clone());
            let exchange = Exchange::new(&self.session, &self.sender, &outgoing);
            let call = self.run(kind, id.clone(), exchange.run(outgoing.body));
            if let Some(id) = id.filter(|_| kind == Kind::Call) {
                self.calls.insert(id, call);
            }
        }
    }

    fn run(&self, kind: Kind, id: Option<RequestId>, work: impl Future<Output = Done> + Send + 'static) -> AbortHandle {
        let (handle, registration) = AbortHandle::new_pair();
        let ended = async move { Ended { kind, id, done: work.await } };
        self.running.push(Abortable::new(Box::pin(ended), registration));
        handle
    }

    fn ended(&mut self, Ended { kind, id, done }: Ended) {
        match done {
            Done::Over(None) => {}
            Done::Over(Some(rest)) => {
                let rest = async {
                    drain(rest).await;
                    Done::Over(None)
                };
                self.run(Kind::Aside, None, rest);
            }
            Done::Lost(loss) => self.lost = Some(loss),
        }
        match kind {
            Kind::Call => self.release(id.as_ref()),
            _ => self.outbox.done(kind),
        }
        if kind == Kind::Initialized && !std::mem::replace(&mut self.listening, true) {
            let listen = listen::listen(Arc::clone(&self.session), self.sender.clone());
            self.run(Kind::Aside, None, listen);
        }
    }

    /// Makes room for another request, now that this one has ended or is given up.
    fn release(&mut self, id: Option<&RequestId>) {
        if let Some(call) = id.and_then(|id| self.calls.remove(id)) {
            call.abort();
            self.outbox.done(Kind::Call);
        }
    }
}

impl Link for StreamableLink {
    fn send(&mut self, message: Rope) {
        let Ok(cancelled) = self.outbox.push(message) else {
            let failure = self.session.site.failure(None, "it does not take what is sent to it");
            self.lost = Some(failure.into());
            return;
        };
        self.release(cancelled.as_ref());
    }

    async fn next(&mut self) -> Event {
        loop {
            self.launch();
            // What was said before something ended comes before that end.
            if let Ok(event) = self.events.try_recv() {
                return event;
            }
            if let Some(loss) = self.lost.take() {
                return Event::Lost(loss);
            }
            tokio::select! {
                Some(event) = self.events.recv() => return event,
                ended = self.running.next(), if !self.running.is_empty() => {
                    // One that was given up has been accounted for.
                    if let Some(Ok(ended)) = ended {
                        self.ended(ended);
                    }
                }
            }
        }
    }

    async fn stop(self) {
        drop(self.running);
        drop(tokio::time::timeout(FAREWELL, self.session.delete()).await);
    }
}
