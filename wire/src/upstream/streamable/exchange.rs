//! One POST, and what comes back.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use mcp::envelope::{Kind as MessageKind, Message, RequestId, code};
use mcp::modern::code::UNSUPPORTED_VERSION;
use mcp::session::mux::Loss;
use tokio::sync::mpsc;

use super::Session;
use crate::link::Event;
use crate::upstream::detect::is_elsewhere;
use crate::upstream::events::{EventStream, Media, Position, messages, with_id};
use crate::upstream::failure::Failure;
use crate::upstream::outbox::{Kind, Outgoing};

/// How often in a row a stream that broke may fail to be taken up again.
const MAX_FAILURES: u32 = 5;

/// What an exchange leaves.
#[derive(Debug)]
pub(super) enum Done {
    /// It is over, but perhaps for the end of the answer's body.
    Over(Option<Incoming>),
    /// And with it the session.
    Lost(Loss),
}

/// See the [module](self).
pub(super) struct Exchange {
    session: Arc<Session>,
    events: mpsc::Sender<Event>,
    /// Of the request, which gets exactly one answer; `None` when something else is sent.
    id: Option<RequestId>,
    initializes: bool,
}

impl Exchange {
    pub(super) fn new(session: &Arc<Session>, events: &mpsc::Sender<Event>, outgoing: &Outgoing) -> Self {
        let initializes = outgoing.kind == Kind::Initialize;
        Self { session: Arc::clone(session), events: events.clone(), id: outgoing.id.clone(), initializes }
    }

    /// Sends the message. Everything the answer brings goes to the events; if it brings no answer to the request, an
    /// error is made that says why.
    pub(super) async fn run(self, message: Bytes) -> Done {
        let response = match self.session.post(message).await {
            Ok(response) => response,
            Err(failure) => return self.failed(failure).await,
        };
        let (head, body) = response.into_parts();
        if self.initializes {
            self.session.learn_id(&head.headers);
        }
        match Media::of(&head.headers) {
            _ if self.id.is_none() => Done::Over(Some(body)),
            Media::Json => self.json(body).await,
            Media::Events => self.stream(body).await,
            // Some servers take a request this way, and answer it on the stream opened by GET.
            Media::Other if body.is_end_stream() => Done::Over(None),
            Media::Other => self.fail("its answer is neither JSON nor an event stream; check `url`").await,
        }
    }

    async fn json(&self, body: Incoming) -> Done {
        let max = self.session.site.max_message;
        let body = match Limited::new(body, max).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return self.fail(too_large(max)).await,
            Err(error) => return self.fail(format!("its answer broke off: {error}")).await,
        };
        match self.take(body).await {
            Ok(true) => Done::Over(None),
            Ok(false) => self.fail("what it sent does not answer the request").await,
            Err(reason) => self.fail(reason).await,
        }
    }

    async fn stream(&self, body: Incoming) -> Done {
        let mut stream = EventStream::new(body, self.session.site.max_message);
        let mut position = Position::default();
        let mut unread = None;
        let mut quiet = 0;
        loop {
            while let Some(event) = stream.next().await {
                quiet = 0;
                let taken = match event {
                    // Such an event only says where to go on.
                    Ok(event) if event.data.is_empty() => Ok(false),
                    Ok(event) => self.take(event.data).await,
                    Err(event) => Err(too_large(event.limit)),
                };
                match taken {
                    Ok(true) => return Done::Over(Some(stream.into_body())),
                    Ok(false) => {}
                    Err(reason) => unread = Some(reason),
                }
            }
            position.follow(&stream);
            stream = match (unread.take(), &position.event) {
                (Some(reason), _) => return self.fail(reason).await,
                (None, None) => return self.fail("its stream ended before the answer, and cannot be resumed").await,
                (None, Some(after)) => match self.resume(after, &position, quiet).await {
                    Ok(stream) => stream,
                    Err(failure) => return self.failed(failure).await,
                },
            };
            quiet += 1;
        }
    }

    /// Takes up the stream behind the event `after`, when the server wants it; `quiet` is how many attempts before have
    /// brought nothing.
    async fn resume(&self, after: &str, position: &Position, quiet: u32) -> Result<EventStream, Failure> {
        let mut failures = 0;
        loop {
            tokio::time::sleep(position.pause(quiet + failures)).await;
            failures += 1;
            match self.session.open(Some(after)).await {
                Err(failure) if failure.is_passing() && failures < MAX_FAILURES => {}
                opened => return opened,
            }
        }
    }

    /// Hands on the messages of a body or an event; tells whether the answer was among them, or why it cannot be read.
    async fn take(&self, raw: Bytes) -> Result<bool, String> {
        let read = messages(raw, self.session.site.max_message, self.id.as_ref());
        let mut answered = false;
        for message in read.map_err(|refused| format!("its answer cannot be read: {refused}"))? {
            let answers = message.is_response() && message.id() == self.id;
            if answers && self.initializes && message.kind() == MessageKind::Result {
                self.session.learn_version(&message);
            }
            answered |= answers;
            self.tell(message).await;
        }
        Ok(answered)
    }

    /// The POST, or what took its place, failed.
    async fn failed(&self, failure: Failure) -> Done {
        if let Some(loss) = self.session.loss(&failure) {
            return Done::Lost(loss);
        }
        if self.initializes && is_elsewhere(&failure) || failure.has_code(UNSUPPORTED_VERSION) {
            self.session.site.doubts.add();
        }
        match (&self.id, &failure.error) {
            (None, _) => tracing::warn!(error = failure.text, "a message did not reach the server"),
            // The server's own words, unless it is for whoever configured the server to act.
            (Some(id), Some(error)) if !failure.is_access() => self.tell(with_id(error, id)).await,
            (Some(id), _) => {
                let data = failure.data();
                self.tell(Message::error(Some(id), code::INTERNAL_ERROR, &failure.text, Some(&data))).await;
            }
        }
        Done::Over(None)
    }

    async fn fail(&self, what: impl std::fmt::Display) -> Done {
        self.failed(self.session.site.failure(None, what)).await
    }

    async fn tell(&self, message: Message) {
        // Nobody is left to be told when the link is gone.
        let _ = self.events.send(Event::Message(message)).await;
    }
}

fn too_large(limit: usize) -> String {
    format!("its answer is larger than {limit} bytes; a higher limit would let it through")
}
