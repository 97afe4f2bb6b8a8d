//! What the sidecar serves beside the protocol: its status and the server's log.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, State as Shared};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use mcp::sse::{COMMENT_KEEPALIVE, EventHead, encode};
use runtime::shutdown::Drain;
use serde::Deserialize;
use tokio::time::timeout;
use wire::front::{KEEP_ALIVE, Problem};
use wire::internal::check_capabilities;
use wire::link::Connect;
use wire::logbook::Logbook;
use wire::status::Status;

use crate::profile::Profiles;
use crate::state::State;

/// Changes of the status that come faster than this are sent as one.
const STATUS_DEBOUNCE: Duration = Duration::from_millis(20);
/// How many log lines are shown unless told otherwise.
const LOG_LINES: usize = 100;

#[derive(Clone)]
struct Observed {
    state: State,
    logbook: Logbook,
    drain: Drain,
}

/// `GET /status[?watch][?capabilities=JSON]` and `GET /logs[?lines=N][&follow]`.
pub fn routes<C: Connect>(state: State, logbook: Logbook, drain: Drain, profiles: Arc<Profiles<C>>) -> Router {
    let status = async move |observed, query: Query<StatusQuery>| match &query.capabilities {
        Some(capabilities) => profile(&profiles, observed, capabilities).await,
        None => status(observed, &query),
    };
    Router::new().route("/status", get(status)).route("/logs", get(logs)).with_state(Observed { state, logbook, drain })
}

#[derive(Deserialize)]
struct StatusQuery {
    watch: Option<String>,
    /// Raw JSON: the status is to tell what clients that declare this are offered.
    capabilities: Option<String>,
}

async fn profile<C: Connect>(
    profiles: &Profiles<C>,
    Shared(observed): Shared<Observed>,
    capabilities: &str,
) -> Response<Body> {
    if let Err(error) = check_capabilities(capabilities) {
        return Problem::new(StatusCode::BAD_REQUEST, error.to_string()).into_response();
    }
    let catalogue = profiles.get(capabilities).await;
    Json(Status { catalogue, ..observed.state.now() }).into_response()
}

fn status(Shared(observed): Shared<Observed>, query: &StatusQuery) -> Response<Body> {
    if query.watch.is_none() {
        return Json(observed.state.now()).into_response();
    }
    let state = observed.state.clone();
    let mut changes = state.follow();
    changes.mark_changed();
    let events = futures::stream::unfold(changes, move |mut changes| {
        let state = state.clone();
        async move {
            let chunk = match timeout(KEEP_ALIVE, changes.changed()).await {
                Ok(Ok(())) => {
                    tokio::time::sleep(STATUS_DEBOUNCE).await;
                    let status = changes.borrow_and_update().clone();
                    event(&serde_json::to_vec(&state.complete(status)).unwrap_or_default())
                }
                Ok(Err(_)) => return None,
                Err(_) => Bytes::from_static(COMMENT_KEEPALIVE),
            };
            Some((chunk, changes))
        }
    });
    stream("text/event-stream", events, &observed.drain)
}

fn event(json: &[u8]) -> Bytes {
    let chunks = encode(&EventHead { event: Some("status"), ..EventHead::default() }, [Bytes::copy_from_slice(json)]);
    chunks.concat().into()
}

#[derive(Deserialize)]
struct LogsQuery {
    lines: Option<usize>,
    follow: Option<String>,
}

async fn logs(Shared(observed): Shared<Observed>, Query(query): Query<LogsQuery>) -> Response<Body> {
    let text = |lines: Vec<Arc<str>>| Bytes::from(lines.iter().flat_map(|line| [line, "\n"]).collect::<String>());
    let (lines, position) = observed.logbook.last(query.lines.unwrap_or(LOG_LINES));
    let first = text(lines);
    if query.follow.is_none() {
        return ([(CONTENT_TYPE, "text/plain; charset=utf-8")], first).into_response();
    }
    let book = observed.logbook.clone();
    let rest = futures::stream::unfold(position, move |position| {
        let book = book.clone();
        async move {
            let (lines, position) = book.after(position).await;
            Some((text(lines), position))
        }
    });
    let first = futures::stream::iter((!first.is_empty()).then_some(first));
    stream("text/plain; charset=utf-8", first.chain(rest), &observed.drain)
}

/// A response that goes on until the program stops.
fn stream(
    content_type: &'static str,
    chunks: impl Stream<Item = Bytes> + Send + 'static,
    drain: &Drain,
) -> Response<Body> {
    let chunks = chunks.map(Ok::<_, std::convert::Infallible>).take_until(drain.started());
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-cache, no-transform")];
    (headers, Body::from_stream(chunks)).into_response()
}
