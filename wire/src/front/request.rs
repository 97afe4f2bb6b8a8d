//! What both front ends ask of a request.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use mcp::envelope::{self, Incoming, Message};
use mcp::version::Version;

use super::Problem;
use crate::session::Caller;

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_else(Self::anonymous))
    }
}

/// A header's text, if it is there and is visible ASCII.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// How long a body is waited for.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Without a byte of it.
    silence: Duration,
    /// From its beginning to its end.
    whole: Duration,
}

/// A connection is not held for whoever has no more to say. The whole is what the largest message takes on a slow line.
const PATIENCE: Patience = Patience { silence: Duration::from_secs(30), whole: Duration::from_secs(600) };

/// Reads the messages of a POST.
pub(super) async fn messages(headers: &HeaderMap, body: Body, max: usize) -> Result<Incoming, Problem> {
    let media_type = text(headers, &CONTENT_TYPE).and_then(|value| value.split(';').next()).map(str::trim);
    if !media_type.is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json")) {
        let text = "the body must be JSON: send the header `Content-Type: application/json`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    if headers.contains_key(CONTENT_ENCODING) {
        let text = "the body must not be compressed: leave out `Content-Encoding`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    Ok(envelope::parse(read(body, max, PATIENCE).await?, max)?)
}

/// Reads a body to its end, as long as it comes on.
async fn read(body: Body, max: usize, patience: Patience) -> Result<Bytes, Problem> {
    let mut body = Limited::new(body, max);
    let mut chunks = Vec::new();
    let all = async {
        while let Some(frame) = tokio::time::timeout(patience.silence, body.frame()).await.map_err(|_| slow())? {
            let frame = frame.map_err(|error| unread(&*error, max))?;
            chunks.extend(frame.into_data().ok());
        }
        Ok::<_, Problem>(())
    };
    tokio::time::timeout(patience.whole, all).await.map_err(|_| slow())??;
    Ok(match chunks.len() {
        1 => chunks.swap_remove(0),
        _ => chunks.concat().into(),
    })
}

fn slow() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time; send it again")
}

fn unread(error: &(dyn std::error::Error + 'static), max: usize) -> Problem {
    if error.is::<LengthLimitError>() {
        let text = format!("the body is larger than the limit of {max} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    } else {
        Problem::new(StatusCode::BAD_REQUEST, format!("the body could not be read: {error}"))
    }
}

/// The messages of a session that speaks `version`: only 2025-03-26 has batches.
pub(super) fn unbatched(incoming: Incoming, version: Option<Version>) -> Result<Vec<Message>, Problem> {
    match incoming {
        Incoming::Batch(_) if version != Some(Version::V2025_03_26) => {
            let text = "batches are part of protocol version 2025-03-26 only: send one message per POST";
            Err(Problem::from(envelope::Refused {
                code: envelope::code::INVALID_REQUEST,
                reason: text.to_owned(),
                id: None,
            }))
        }
        incoming => Ok(incoming.into_messages()),
    }
}

/// What the client can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepts {
    pub(super) json: bool,
    pub(super) events: bool,
    /// Whether it names events before JSON, as those do that would rather have a stream.
    pub(super) events_first: bool,
}

impl Accepts {
    /// From the `Accept` headers; a client that sends none takes anything (RFC 9110, 12.5.1).
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let anything = !headers.contains_key(ACCEPT);
        let mut accepts = Self { json: anything, events: anything, events_first: false };
        let values = headers.get_all(ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
        for range in values.flat_map(|value| value.split(',')) {
            match range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
                "*/*" => accepts = Self { json: true, events: true, ..accepts },
                "application/json" | "application/*" => {
                    accepts.events_first = accepts.events && !accepts.json;
                    accepts.json = true;
                }
                "text/event-stream" | "text/*" => accepts.events = true,
                _ => {}
            }
        }
        accepts
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_on_is_given_up_and_a_slow_one_is_not() {
        let patience = Patience { silence: Duration::from_secs(3), whole: Duration::from_secs(10) };
        for (chunks, pause, read_as) in [(4, 2, Ok("xxxx")), (2, 4, Err(408)), (40, 1, Err(408)), (9, 0, Err(413))] {
            let chunk = move |left: usize| async move {
                tokio::time::sleep(Duration::from_secs(pause)).await;
                let chunk = Ok::<_, Infallible>(Bytes::from_static(b"x"));
                (left > 0).then(|| (chunk, left - 1))
            };
            let max = if pause == 0 { 8 } else { 100 };
            let body = read(Body::from_stream(futures::stream::unfold(chunks, chunk)), max, patience).await;
            let status = body.map_err(|problem| problem.into_response().status().as_u16());
            assert_eq!(status, read_as.map(|text: &str| Bytes::from_static(text.as_bytes())));
        }
    }

    #[test]
    fn accept_is_read_as_ranges_and_its_absence_as_anything() {
        let of = |value: Option<&'static str>| {
            let headers = value.map(|value| (ACCEPT, axum::http::HeaderValue::from_static(value)));
            let Accepts { json, events, events_first } = Accepts::of(&headers.into_iter().collect());
            (json, events, events_first)
        };
        assert_eq!(of(None), (true, true, false));
        assert_eq!(of(Some("*/*")), (true, true, false));
        assert_eq!(of(Some("application/json, text/event-stream")), (true, true, false));
        assert_eq!(of(Some("text/event-stream, application/json")), (true, true, true));
        assert_eq!(of(Some("Application/JSON;q=0.9")), (true, false, false));
        assert_eq!(of(Some("text/html")), (false, false, false));
    }
}
