//! Reading what a server sends: a stream of events, or a JSON body.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use mcp::envelope::{self, Kind, Message, RequestId, code};
use mcp::sse::{Decoder, Event, TooLarge};

/// How long to wait before a broken stream is taken up again, when the server does not say; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// No server is asked more often than this, whatever it says.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// How long the rest of an answer is waited for, whose end lets its connection carry the next request.
const LINGER: Duration = Duration::from_millis(250);

/// What a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    Events,
    Other,
}

impl Media {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()?.split(';').next());
        match media_type.map(str::trim) {
            Some(text) if text.eq_ignore_ascii_case("application/json") => Self::Json,
            Some(text) if text.eq_ignore_ascii_case("text/event-stream") => Self::Events,
            _ => Self::Other,
        }
    }
}

/// A body that is a stream of events.
#[derive(Debug)]
pub(super) struct EventStream {
    body: Incoming,
    decoder: Decoder,
}

impl EventStream {
    /// Events of up to `max` bytes.
    pub(super) fn new(body: Incoming, max: usize) -> Self {
        Self { body, decoder: Decoder::new(max) }
    }

    /// The next event; `None` when the stream has ended, be it in order or not. Nothing is lost when the future is
    /// dropped.
    pub(super) async fn next(&mut self) -> Option<Result<Event, TooLarge>> {
        loop {
            if let Some(event) = self.decoder.next() {
                return Some(event);
            }
            if let Ok(data) = self.body.frame().await?.ok()?.into_data() {
                self.decoder.push(data);
            }
        }
    }

    pub(super) fn into_body(self) -> Incoming {
        self.body
    }
}

/// Where in a stream to go on when it breaks.
#[derive(Clone, Debug, Default)]
pub(super) struct Position {
    /// The last event.
    pub(super) event: Option<Arc<str>>,
    retry: Option<Duration>,
}

impl Position {
    /// Takes note of how far `stream` has come.
    pub(super) fn follow(&mut self, stream: &EventStream) {
        if let Some(id) = stream.decoder.last_event_id() {
            self.event = (!id.is_empty()).then(|| id.into());
        }
        self.retry = stream.decoder.reconnection_time().or(self.retry);
    }

    /// How long to wait before attempt number `attempt`, counted from 0 since something came, to go on.
    pub(super) fn pause(&self, attempt: u32) -> Duration {
        let first = self.retry.map_or(FIRST_PAUSE, |retry| retry.max(SHORTEST_PAUSE));
        first.saturating_mul(2u32.saturating_pow(attempt.min(16))).min(LONGEST_PAUSE)
    }
}

/// The messages in one body or event. An error that says not what it answers is given the id `asked`.
pub(super) fn messages(
    raw: Bytes,
    max: usize,
    asked: Option<&RequestId>,
) -> Result<impl Iterator<Item = Message>, envelope::Refused> {
    let adopt = move |message: Message| match asked {
        Some(id) if message.kind() == Kind::Error && message.id().is_none() => with_id(&message, id),
        _ => message,
    };
    Ok(envelope::parse(raw, max)?.into_messages().into_iter().map(adopt))
}

/// An error, said to answer the request `id`.
pub(super) fn with_id(error: &Message, id: &RequestId) -> Message {
    let code = error.at(&["code"]).and_then(|code| code.parse().ok()).unwrap_or(code::INTERNAL_ERROR);
    Message::error(Some(id), code, &error.str_at(&["message"]).unwrap_or_default(), error.at(&["data"]))
}

/// Reads a body that is of no interest to its end, unless that is far.
pub(super) async fn drain(mut body: Incoming) {
    let end = async { while !body.is_end_stream() && matches!(body.frame().await, Some(Ok(_))) {} };
    // Otherwise its connection is closed.
    drop(tokio::time::timeout(LINGER, end).await);
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn media_types_are_read_without_parameters_and_case() {
        let of = |text| Media::of(&[(CONTENT_TYPE, HeaderValue::from_static(text))].into_iter().collect());
        assert_eq!(of("Application/JSON; charset=utf-8"), Media::Json);
        assert_eq!(of("text/event-stream"), Media::Events);
        assert_eq!(of("text/html"), Media::Other);
        assert_eq!(Media::of(&HeaderMap::new()), Media::Other);
    }

    #[test]
    fn the_server_says_when_to_come_back_or_else_it_is_left_in_peace_longer_and_longer() {
        let mut position = Position::default();
        let seconds: Vec<_> = (0..7).map(|attempt| position.pause(attempt).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
        position.retry = Some(Duration::from_millis(500));
        let millis: Vec<_> = (0..8).map(|attempt| position.pause(attempt).as_millis()).collect();
        assert_eq!(millis, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    }

    #[test]
    fn a_server_that_wants_to_be_asked_at_once_is_not_asked_without_end() {
        let position = Position { retry: Some(Duration::ZERO), ..Position::default() };
        let millis: Vec<_> = (0..4).map(|attempt| position.pause(attempt).as_millis()).collect();
        assert_eq!(millis, [100, 200, 400, 800]);
        let position = Position { retry: Some(Duration::MAX), ..Position::default() };
        assert_eq!(position.pause(3), LONGEST_PAUSE);
    }

    #[test]
    fn an_error_without_an_id_answers_the_request_it_came_for() {
        let raw = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no \"session\"","data":[1.0]}}"#;
        let id = RequestId::from(7);
        let adopted = messages(raw.into(), 1000, Some(&id)).unwrap().next().unwrap();
        let text = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"no \"session\"","data":[1.0]}}"#;
        assert_eq!(adopted.raw(), text);
    }
}
