//! HTTP+SSE (2024-11-05, "HTTP with SSE").

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::IntoResponse;
use mcp::session::streams::Transport;
use serde::Deserialize;

use super::{Door, EventBody, Front, NeedsPass, Problem, request};
use crate::session::{Caller, SessionHandle};

#[derive(Deserialize)]
pub(super) struct Session {
    #[serde(rename = "sessionId", alias = "session_id")]
    id: Option<String>,
}

/// Opens a session, or attaches to an open one, and streams what its server says.
pub(super) async fn get<D: Door>(
    State(front): State<Front<D>>,
    caller: Caller,
    pass: Option<Extension<NeedsPass>>,
    Query(session): Query<Session>,
) -> Result<Response<Body>, Problem> {
    let handle = match session.id {
        Some(id) => find(&front, &id, &caller)?,
        None => front.door.open(caller, Transport::Sse).await?,
    };
    let frames = handle.listen(None).await.map_err(|_| Problem::no_session())?;
    let path = format!("{}?sessionId={}", front.settings.message_path, front.door.present(&handle, pass.is_some()));
    Ok(EventBody::new(frames, false).endpoint(&path).into_response())
}

/// Says what GET would answer, without opening a session.
pub(super) async fn head() -> impl IntoResponse {
    [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache, no-transform")]
}

/// Takes messages; their answers go on the stream.
pub(super) async fn post<D: Door>(
    State(front): State<Front<D>>,
    caller: Caller,
    Query(session): Query<Session>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let Some(id) = session.id else {
        let text = "`sessionId` is missing: post to the address that the stream's `endpoint` event gave";
        return Err(Problem::new(StatusCode::BAD_REQUEST, text));
    };
    let handle = find(&front, &id, &caller)?;
    let incoming = request::messages(&headers, body, front.settings.max_body).await?;
    let messages = request::unbatched(incoming, handle.version())?;
    handle.post(messages, None).await.map_err(|_| Problem::no_session())?;
    Ok((StatusCode::ACCEPTED, "Accepted"))
}

fn find<D: Door>(front: &Front<D>, id: &str, caller: &Caller) -> Result<SessionHandle, Problem> {
    let found = front.door.find(id, caller).filter(|handle| handle.transport == Transport::Sse);
    found.ok_or_else(Problem::no_session)
}
