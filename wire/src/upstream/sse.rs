//! HTTP+SSE (2024-11-05), from the client's side: the session is a stream of events opened by GET, whose first event
//! says where messages are POSTed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use http::StatusCode;
use mcp::envelope::{Ends, Message, RequestId, code};
use mcp::json::Rope;
use mcp::sse::TooLarge;

use super::events::{EventStream, drain, messages};
use super::failure::Failure;
use super::outbox::{Full, Kind, Outbox, Outgoing};
use super::{Site, Target};
use crate::link::{Event, Link};

/// How long the event that names the endpoint is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the server may take to open the stream at all. It may have to be started first.
const OPENING: Duration = Duration::from_secs(30);

/// See the [module](self).
#[derive(Debug)]
pub struct SseLink {
    site: Arc<Site>,
    /// Where messages are posted.
    endpoint: Target,
    stream: EventStream,
    outbox: Outbox,
    running: FuturesUnordered<BoxFuture<'static, Posted>>,
    /// The `initialize` whose answer is waited for.
    initialize: Option<RequestId>,
    ready: VecDeque<Event>,
}

/// What came of a POST.
#[derive(Debug)]
struct Posted {
    kind: Kind,
    id: Option<RequestId>,
    failure: Option<Failure>,
}

impl SseLink {
    /// Opens the stream and waits for its first event.
    pub(super) async fn connect(site: Arc<Site>) -> Result<Self, Failure> {
        let mut stream = open(&site, OPENING).await?;
        let first = tokio::time::timeout(PATIENCE, endpoint(&mut stream)).await;
        let missing = || site.failure(Some(StatusCode::OK), "its event stream names no endpoint; check `transport`");
        let reference = first.ok().flatten().ok_or_else(missing)?;
        let endpoint = site.target.resolve(&reference).map_err(|error| site.failure(None, error))?;
        let outbox = Outbox::default();
        let (running, ready) = (FuturesUnordered::new(), VecDeque::new());
        Ok(Self { site, endpoint, stream, outbox, running, initialize: None, ready })
    }

    fn launch(&mut self) {
        while let Some(Outgoing { kind, id, body }) = self.outbox.pop() {
            if kind == Kind::Initialize {
                self.initialize.clone_from(&id);
            }
            self.running.push(Box::pin(post(Arc::clone(&self.site), self.endpoint.clone(), kind, id, body)));
        }
    }

    fn posted(&mut self, Posted { kind, id, failure }: Posted) {
        // The order of what follows `initialize` depends on its answer, which comes on the stream.
        if kind != Kind::Initialize || failure.is_some() {
            self.outbox.done(kind);
        }
        let Some(failure) = failure else { return };
        self.ready.push_back(match id {
            _ if failure.is_no_session() => Event::Lost(failure.into()),
            Some(id) => {
                Event::Message(Message::error(Some(&id), code::INTERNAL_ERROR, &failure.text, Some(&failure.data())))
            }
            None => {
                tracing::warn!(error = failure.text, "a message did not reach the server");
                return;
            }
        });
    }

    fn take(&mut self, data: &Bytes) {
        let messages = match messages(data.clone(), self.site.max_message, None) {
            Ok(messages) => messages,
            Err(refused) => {
                let ends = Ends::of(data);
                let answers = ends.answers_at_head().or_else(|| ends.answers_at_tail());
                return self.unreadable(answers, format!("the server's answer cannot be read: {refused}"));
            }
        };
        for message in messages {
            if message.is_response() && self.initialize.is_some() && message.id() == self.initialize {
                self.initialize = None;
                self.outbox.done(Kind::Initialize);
            }
            self.ready.push_back(Event::Message(message));
        }
    }

    /// What came cannot be handed on. Whoever waits for it, as far as that is known, is told.
    fn unreadable(&mut self, answers: Option<u64>, reason: String) {
        if answers.is_some() && answers == self.initialize.as_ref().and_then(RequestId::as_u64) {
            self.initialize = None;
            self.outbox.done(Kind::Initialize);
        }
        self.ready.push_back(answers.map_or(Event::Junk, |id| Event::Unreadable { id, reason }));
    }

    fn lost(&self, what: &str) -> Event {
        Event::Lost(self.site.failure(None, what).into())
    }
}

async fn open(site: &Site, limit: Duration) -> Result<EventStream, Failure> {
    let silent = |_| site.failure(None, format!("it does not open an event stream within {} s", limit.as_secs_f32()));
    tokio::time::timeout(limit, site.open(site.listening())).await.map_err(silent).flatten()
}

/// What the event says that names the endpoint; `None` when the stream ends before.
async fn endpoint(stream: &mut EventStream) -> Option<String> {
    loop {
        let event = stream.next().await?.ok()?;
        if event.kind() == "endpoint" {
            return String::from_utf8(event.data.to_vec()).ok();
        }
    }
}

async fn post(site: Arc<Site>, endpoint: Target, kind: Kind, id: Option<RequestId>, body: Bytes) -> Posted {
    let failure = match site.post(&endpoint, site.posting(), body).await {
        Ok(response) => {
            drain(response.into_body()).await;
            None
        }
        Err(failure) => Some(failure),
    };
    Posted { kind, id, failure }
}

impl Link for SseLink {
    fn send(&mut self, message: Rope) {
        if let Err(Full) = self.outbox.push(message) {
            let lost = self.lost("it does not take what is sent to it");
            self.ready.push_back(lost);
        }
    }

    async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            self.launch();
            tokio::select! {
                event = self.stream.next() => match event {
                    Some(Ok(event)) => self.take(&event.data),
                    Some(Err(TooLarge { limit, answers })) => {
                        let reason = format!("the server's answer is longer than the limit of {limit} bytes");
                        self.unreadable(answers, reason);
                    }
                    None => return self.lost("it ended the event stream, and the session with it"),
                },
                Some(posted) = self.running.next(), if !self.running.is_empty() => self.posted(posted),
            }
        }
    }

    async fn stop(self) {
        // The session is the stream.
        drop(self);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Remote, Settings};
    use super::*;
    use crate::client::AddressPolicy;
    use crate::spec::RemoteTransport;

    #[tokio::test]
    async fn a_server_that_takes_the_connection_and_stays_silent_is_not_waited_for_without_end() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/sse", listener.local_addr().unwrap());
        let settings = Settings {
            name: "s",
            url: &url,
            transport: RemoteTransport::Sse,
            headers: &BTreeMap::new(),
            policy: AddressPolicy::Any,
            max_message: 1000,
        };
        let site = Remote::new(&settings).unwrap().site;
        let failure = open(&site, Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(failure.text, "server `s`: it does not open an event stream within 0.05 s");
    }
}
