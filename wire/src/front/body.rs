//! The body of an event stream.

use std::convert::Infallible;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Response};
use bytes::Bytes;
use futures::Stream;
use mcp::session::streams::Delivery;
use mcp::sse::{COMMENT_KEEPALIVE, Chunks, EventHead, encode, encode_text};
use tokio::time::{Instant, Sleep, sleep};

use super::streamable::Opening;
use crate::session::{Frame, StreamRx};

/// How often an idle stream says that it is there. Proxies cut streams that are silent for 30 s and more.
pub const KEEP_ALIVE: Duration = Duration::from_secs(14);

/// Tells a client to connect again soon, when the program ends its stream because it stops: whoever starts in its place
/// should find it. No event: there is no data.
const RECONNECT: &[u8] = b"retry: 500\n\n";

/// After what time a client is to resume a stream that breaks: what SDKs wait by themselves.
const RESUME: Duration = Duration::from_secs(1);

/// A session's stream as a response body.
#[derive(Debug)]
pub struct EventBody {
    frames: StreamRx,
    /// Encoded and not yet sent, in reverse order.
    ready: Vec<Bytes>,
    keep_alive: Pin<Box<Sleep>>,
    /// Whether events carry ids, so that the stream can be resumed.
    ids: bool,
    /// The session that the last event opens, unless it refuses to.
    opening: Option<Opening>,
    ended: bool,
}

impl EventBody {
    /// The events of `frames`.
    pub fn new(frames: StreamRx, ids: bool) -> Self {
        Self { frames, ready: Vec::new(), keep_alive: Box::pin(sleep(KEEP_ALIVE)), ids, opening: None, ended: false }
    }

    /// Ends with the answer to `initialize`.
    #[must_use]
    pub(super) fn opening(self, session: Opening) -> Self {
        Self { opening: Some(session), ..self }
    }

    /// Starts with the event that names the endpoint for messages (2024-11-05, "HTTP with SSE").
    #[must_use]
    pub fn endpoint(mut self, path: &str) -> Self {
        let head = EventHead { event: Some("endpoint"), ..EventHead::default() };
        self.put(encode_text(&head, Bytes::copy_from_slice(path.as_bytes())));
        self
    }

    /// Starts with an event without data, so that the client can resume from here, and is told when (2025-11-25).
    #[must_use]
    pub fn primed(mut self) -> Self {
        if let Some(stream) = self.frames.id() {
            let id = mcp::session::streams::EventId { stream, number: 0 }.to_string();
            let head = EventHead { id: Some(&id), retry: Some(RESUME), ..EventHead::default() };
            self.put(encode(&head, []));
        }
        self
    }

    /// Continues with a frame that was taken from the stream already.
    #[must_use]
    pub fn then(mut self, frame: Frame) -> Self {
        self.take(frame);
        self
    }

    /// The response.
    pub fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from_stream(self));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
        // nginx would otherwise hold events back.
        headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        response
    }

    fn take(&mut self, frame: Frame) {
        let Frame::Message(delivery) = frame else { return };
        let Delivery { event, message, last, .. } = *delivery;
        if last && let Some(session) = self.opening.take() {
            session.answered(&message);
        }
        if !message.is_empty() {
            let id = self.ids.then(|| event.to_string());
            let head = EventHead { id: id.as_deref(), event: Some("message"), retry: None };
            self.put(encode(&head, message));
        }
    }

    fn put(&mut self, chunks: Chunks) {
        self.ready.splice(0..0, chunks.into_iter().rev());
    }
}

impl Stream for EventBody {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(chunk) = self.ready.pop() {
                self.keep_alive.as_mut().reset(Instant::now() + KEEP_ALIVE);
                return Poll::Ready(Some(Ok(chunk)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match self.frames.poll_next(cx) {
                Poll::Ready(Some(frame)) => self.take(frame),
                Poll::Ready(None) => {
                    self.ended = true;
                    if self.frames.is_sent_away() {
                        self.ready.push(Bytes::from_static(RECONNECT));
                    }
                }
                Poll::Pending => {
                    ready!(self.keep_alive.as_mut().poll(cx));
                    self.ready.push(Bytes::from_static(COMMENT_KEEPALIVE));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use mcp::session::SessionKey;
    use mcp::session::mux::Relation;
    use mcp::session::streams::{EventId, StreamId};

    use super::*;
    use crate::session::stream;

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_says_now_and_then_that_it_is_there_and_a_busy_one_does_not() {
        let (tx, rx) = stream(&std::sync::Arc::default(), SessionKey(1));
        let mut body = EventBody::new(rx, false);
        let began = Instant::now();
        for beat in 1..4 {
            assert_eq!(body.next().await.unwrap().unwrap(), COMMENT_KEEPALIVE);
            assert_eq!(began.elapsed().as_secs(), beat * KEEP_ALIVE.as_secs());
        }
        tokio::time::sleep(KEEP_ALIVE / 2).await;
        let event = EventId { stream: StreamId::COMMON, number: 1 };
        let message = Bytes::from_static(b"{}").into();
        let delivery = Delivery { event, relation: Relation::None, message, last: false };
        tx.offer(Frame::Message(Box::new(delivery))).unwrap();
        let spoken = Instant::now();
        let mut chunks = Vec::new();
        while !chunks.ends_with(COMMENT_KEEPALIVE) {
            chunks.extend(body.next().await.unwrap().unwrap());
        }
        assert!(chunks.starts_with(b"event: message\ndata: {}\n\n"), "{}", String::from_utf8_lossy(&chunks));
        assert_eq!(spoken.elapsed().as_secs(), KEEP_ALIVE.as_secs());
        drop(tx);
        assert!(body.next().await.is_none());
    }

    #[tokio::test]
    async fn only_a_client_that_is_sent_away_is_told_to_connect_again() {
        for sent_away in [true, false] {
            let (tx, rx) = stream(&std::sync::Arc::default(), SessionKey(1));
            if sent_away {
                tx.send_away();
            }
            drop(tx);
            let chunks: Vec<_> = EventBody::new(rx, true).map(Result::unwrap).collect().await;
            assert_eq!(chunks.concat(), if sent_away { RECONNECT } else { b"" });
        }
    }
}
