//! Streamable HTTP (2025-03-26 to 2025-11-25).

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::ALLOW;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use mcp::envelope::{Incoming, Kind, Message};
use mcp::header::{LAST_EVENT_ID, MCP_PROTOCOL_VERSION, MCP_SESSION_ID};
use mcp::json::Rope;
use mcp::session::streams::Transport;
use mcp::version::{Era, Version};

use super::reply::{self, First, plain};
use super::request::{self, Accepts};
use super::{Door, EventBody, Front, Problem, modern};
use crate::session::{Caller, Frame, RefusedRequest, SessionHandle, StreamRx, StreamTx};

/// An answer that comes within this time, with nothing before it, is sent as plain JSON; after it the response
/// becomes an event stream, so that what is between does not take it for dead.
const PLAIN_ANSWER: Duration = Duration::from_millis(100);

const SESSION: HeaderName = HeaderName::from_static(MCP_SESSION_ID);
const VERSION: HeaderName = HeaderName::from_static(MCP_PROTOCOL_VERSION);
const LAST_EVENT: HeaderName = HeaderName::from_static(LAST_EVENT_ID);

/// Takes messages; answers on the response.
pub(super) async fn post<D: Door>(
    State(front): State<Front<D>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response<Body>, Problem> {
    let accepts = Accepts::of(&headers);
    if !accepts.json && !accepts.events {
        let text = "send the header `Accept: application/json, text/event-stream`";
        return Err(Problem::new(StatusCode::NOT_ACCEPTABLE, text));
    }
    let incoming = request::messages(&headers, body, front.settings.max_body).await?;
    if let Some(message) = modern::exchange(&headers, &incoming)
        && let Some(exchanges) = front.door.exchanges(&caller, message).await?
    {
        return modern::post((&exchanges, caller), &headers, message.clone(), accepts).await;
    }
    check_version(&headers)?;
    match request::text(&headers, &SESSION) {
        Some(id) => {
            let handle = find(&front, id, &caller)?;
            let messages = request::unbatched(incoming, handle.version())?;
            exchange(&handle, messages, accepts).await
        }
        None => initialize(&front, caller, incoming, accepts).await,
    }
}

/// Opens a session with the `initialize` that a client without one must send.
async fn initialize<D: Door>(
    front: &Front<D>,
    caller: Caller,
    incoming: Incoming,
    accepts: Accepts,
) -> Result<Response<Body>, Problem> {
    let Incoming::Single(message) = incoming else {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "a session is opened by a single `initialize` request"));
    };
    if message.method() != "initialize" || message.kind() != Kind::Request {
        let text = "the header `Mcp-Session-Id` is missing: open a session with `initialize` first";
        return Err(Problem::new(StatusCode::BAD_REQUEST, text));
    }
    let handle = Opening(Some(front.door.open(caller, Transport::Streamable).await?));
    let Some(session) = handle.0.clone() else { return Err(Problem::no_session()) };
    let id = HeaderValue::from_str(&front.door.present(&session, false)).map_err(|_| Problem::no_session())?;
    let (stream, mut frames) = begin(&session, accepts);
    session.post(vec![message], Some(stream)).await.map_err(|_| Problem::no_session())?;
    let mut response = match First::of(&mut frames, accepts, PLAIN_ANSWER).await {
        First::Ended => return Err(Problem::no_session()),
        First::Refused(refused) => return Err(refused_request(refused)),
        First::Nothing => return Ok(StatusCode::ACCEPTED.into_response()),
        First::Plain(answer) => {
            let opened = handle.answered(&answer);
            let response = plain(answer);
            if !opened {
                return Ok(response);
            }
            response
        }
        First::Stream(frame) => {
            let body = EventBody::new(frames, true).opening(handle);
            frame.into_iter().fold(body, EventBody::then).into_response()
        }
    };
    response.headers_mut().insert(SESSION, id);
    Ok(response)
}

/// A session whose `initialize` has not been answered: ends when that is refused, or the client does not wait for it.
#[derive(Debug)]
pub(super) struct Opening(Option<SessionHandle>);

impl Opening {
    /// The answer to `initialize` has come. Whether the session is open now.
    pub(super) fn answered(mut self, answer: &Rope) -> bool {
        let opened = reply::error(answer).is_none();
        if opened {
            self.0 = None;
        }
        opened
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(session) = &self.0 {
            session.close_now();
        }
    }
}

/// Posts messages to an open session.
async fn exchange(handle: &SessionHandle, messages: Vec<Message>, accepts: Accepts) -> Result<Response<Body>, Problem> {
    let asks = messages.iter().any(|message| message.kind() == Kind::Request);
    if !asks {
        handle.post(messages, None).await.map_err(|_| Problem::no_session())?;
        return Ok(StatusCode::ACCEPTED.into_response());
    }
    let (stream, mut frames) = begin(handle, accepts);
    handle.post(messages, Some(stream)).await.map_err(|_| Problem::no_session())?;
    let first = First::of(&mut frames, accepts, PLAIN_ANSWER).await;
    respond(first, frames, accepts, handle.version())
}

/// A stream for what answers a POST.
fn begin(handle: &SessionHandle, accepts: Accepts) -> (StreamTx, StreamRx) {
    let (stream, frames) = handle.stream();
    frames.decide(accepts.carrier());
    (stream, frames)
}

fn refused_request(refused: RefusedRequest) -> Problem {
    match refused {
        RefusedRequest::Gone => Problem::no_session(),
        RefusedRequest::IdInUse(id) => Problem::id_in_use(id),
        RefusedRequest::UnknownEvent => Problem::new(
            StatusCode::BAD_REQUEST,
            "`Last-Event-ID` names no event of this session; open the stream without it",
        ),
    }
}

fn respond(
    first: First,
    frames: StreamRx,
    accepts: Accepts,
    version: Option<Version>,
) -> Result<Response<Body>, Problem> {
    match first {
        First::Ended => Err(Problem::no_session()),
        First::Refused(refused) => Err(refused_request(refused)),
        First::Nothing => Ok(StatusCode::ACCEPTED.into_response()),
        First::Plain(answer) => Ok(plain(answer)),
        First::Stream(frame) => {
            debug_assert!(accepts.events, "a stream is for a client that reads one");
            let body = events(frames, version);
            Ok(frame.into_iter().fold(body, EventBody::then).into_response())
        }
    }
}

fn events(frames: StreamRx, version: Option<Version>) -> EventBody {
    let body = EventBody::new(frames, true);
    if version.is_some_and(Version::primes_streams) { body.primed() } else { body }
}

/// Opens, or resumes, a stream for what answers no request.
pub(super) async fn get<D: Door>(
    State(front): State<Front<D>>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response<Body>, Response<Body>> {
    if let Some(refused) = modern::only_posts(&headers).await {
        return Err(refused);
    }
    let Some(id) = request::text(&headers, &SESSION) else {
        let text = "GET opens a stream of a session: send its `Mcp-Session-Id`, or open one by POST of `initialize`";
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, text);
        return Err(([(ALLOW, "POST, DELETE, OPTIONS")], problem).into_response());
    };
    listen(&front, caller, id, &headers).await.map_err(IntoResponse::into_response)
}

async fn listen<D: Door>(
    front: &Front<D>,
    caller: Caller,
    id: &str,
    headers: &HeaderMap,
) -> Result<Response<Body>, Problem> {
    if !Accepts::of(headers).events {
        let text = "GET answers with an event stream: send the header `Accept: text/event-stream`";
        return Err(Problem::new(StatusCode::NOT_ACCEPTABLE, text));
    }
    check_version(headers)?;
    let handle = find(front, id, &caller)?;
    let after = request::text(headers, &LAST_EVENT).map(str::parse).transpose();
    let after = after.map_err(|_| refused_request(RefusedRequest::UnknownEvent))?;
    let mut frames = handle.listen(after).await.map_err(|_| Problem::no_session())?;
    match frames.accepted().await {
        Some(None) => Err(Problem::no_session()),
        Some(Some(Frame::Refused(refused))) => Err(refused_request(*refused)),
        first => {
            let body = events(frames, primed_version(&handle, after.is_some()));
            Ok(first.flatten().into_iter().fold(body, EventBody::then).into_response())
        }
    }
}

/// A resumed stream has events to resume from already.
fn primed_version(handle: &SessionHandle, resumed: bool) -> Option<Version> {
    handle.version().filter(|_| !resumed)
}

/// Ends the session.
pub(super) async fn delete<D: Door>(
    State(front): State<Front<D>>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<StatusCode, Response<Body>> {
    match modern::only_posts(&headers).await {
        Some(refused) => Err(refused),
        None => close(&front, &caller, &headers).await.map_err(IntoResponse::into_response),
    }
}

async fn close<D: Door>(front: &Front<D>, caller: &Caller, headers: &HeaderMap) -> Result<StatusCode, Problem> {
    check_version(headers)?;
    let Some(id) = request::text(headers, &SESSION) else {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "the header `Mcp-Session-Id` says which session is to end"));
    };
    find(front, id, caller)?.close().await.map_err(|_| Problem::no_session())?;
    Ok(StatusCode::NO_CONTENT)
}

fn find<D: Door>(front: &Front<D>, id: &str, caller: &Caller) -> Result<SessionHandle, Problem> {
    let found = front.door.find(id, caller).filter(|handle| handle.transport == Transport::Streamable);
    found.ok_or_else(Problem::no_session)
}

/// A revision that is not spoken here is refused (2025-06-18, "Protocol Version Header").
fn check_version(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(VERSION) else { return Ok(()) };
    let version = value.to_str().ok().and_then(|text| text.parse::<Version>().ok());
    if version.is_some_and(|version| version.era() == Era::Legacy) {
        return Ok(());
    }
    let spoken: Vec<_> = Version::ALL.iter().filter(|v| v.era() == Era::Legacy).map(|v| v.as_str()).collect();
    let text = format!("Unsupported protocol version in `MCP-Protocol-Version` (supported: {})", spoken.join(", "));
    Err(Problem::new(StatusCode::BAD_REQUEST, text))
}
