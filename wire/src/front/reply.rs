//! How the response to a POST begins, and the one that is plain JSON.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, Response};
use http_body_util::StreamBody;
use mcp::envelope::{self, Incoming, Kind, Message};
use mcp::json::Rope;
use mcp::session::streams::Carrier;

use super::request::Accepts;
use crate::session::{Frame, RefusedRequest, StreamRx};

impl Accepts {
    /// What the response is, as far as the client has said so.
    pub(super) fn carrier(self) -> Carrier {
        match self {
            Self { json: false, .. } => Carrier::Events,
            Self { events: false, .. } => Carrier::Plain,
            Self { events_first: true, .. } => Carrier::Events,
            Self { .. } => Carrier::Undecided,
        }
    }
}

/// How a response begins.
pub(super) enum First {
    /// The only thing there is to say.
    Plain(Rope),
    /// A stream, which may begin with a frame.
    Stream(Option<Frame>),
    /// The client has cancelled what it asked for.
    Nothing,
    /// The request was not accepted.
    Refused(RefusedRequest),
    /// The session has ended.
    Ended,
}

impl First {
    /// Waits for it. An answer that comes within `patience`, with nothing before it, is plain; after it the response
    /// becomes an event stream.
    pub(super) async fn of(frames: &mut StreamRx, accepts: Accepts, patience: Duration) -> Self {
        loop {
            let next = match tokio::time::timeout(patience, frames.next()).await {
                Ok(next) => next,
                Err(_) if accepts.events && frames.decide(Carrier::Events) == Carrier::Events => {
                    return Self::Stream(None);
                }
                // A client that reads JSON only waits; or the answer has just been sent, and is to be plain.
                Err(_) => frames.next().await,
            };
            match next {
                None => return Self::Ended,
                Some(Frame::Refused(refused)) => return Self::Refused(*refused),
                Some(Frame::Message(delivery)) if delivery.last && delivery.message.is_empty() => return Self::Nothing,
                // An error is plain whenever it can be: its status says something, too.
                Some(Frame::Message(delivery))
                    if delivery.last
                        && accepts.json
                        && (!accepts.events_first || error(&delivery.message).is_some()) =>
                {
                    return Self::Plain(delivery.message);
                }
                Some(frame) if accepts.events => return Self::Stream(Some(frame)),
                // A client that reads JSON only gets the answer and nothing else.
                Some(_) => {}
            }
        }
    }
}

/// An answer as JSON, written from the pieces it is in.
pub(super) fn plain(answer: Rope) -> Response<Body> {
    let length = answer.len();
    let body = match answer.chunks() {
        [_] => Body::from(answer.into_bytes()),
        _ if length <= 16 << 10 => Body::from(answer.into_bytes()),
        _ => {
            let frames =
                answer.into_iter().map(|chunk| Ok::<_, std::convert::Infallible>(http_body::Frame::data(chunk)));
            Body::new(StreamBody::new(futures::stream::iter(frames)))
        }
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}

/// The error that an answer is, if it is one. The protocol's own are short: a longer text is not looked into.
pub(super) fn error(answer: &Rope) -> Option<Message> {
    const LONGEST: usize = 64 << 10;
    let parsed = (answer.len() <= LONGEST).then(|| envelope::parse(answer.clone().into_bytes(), LONGEST))?;
    let Ok(Incoming::Single(message)) = parsed else { return None };
    Some(message).filter(|message| message.kind() == Kind::Error)
}
