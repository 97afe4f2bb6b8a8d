//! The HTTP front ends: HTTP+SSE (2024-11-05) and Streamable HTTP (2025-03-26 to 2025-11-25).
//!
//! [`router`] serves both in front of a [`Door`], which opens sessions and finds them again. Who the caller is has been
//! decided before: the [`Caller`] in the request's extensions, or anonymous.

use std::future::Future;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use mcp::session::streams::Transport;

use crate::session::{Caller, SessionHandle};

mod answer;
mod body;
mod request;
mod sse;
mod streamable;

pub use answer::Problem;
pub use body::{EventBody, KEEP_ALIVE};

/// Opens sessions, and finds open ones.
pub trait Door: Clone + Send + Sync + 'static {
    /// Opens a session for `caller`.
    fn open(
        &self,
        caller: Caller,
        transport: Transport,
    ) -> impl Future<Output = Result<SessionHandle, Unavailable>> + Send;

    /// The open session of that name, if it is `caller`'s.
    fn find(&self, id: &str, caller: &Caller) -> Option<SessionHandle>;
}

/// No session can be opened now.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Unavailable {
    /// Why, and what to do.
    pub reason: String,
    /// When to try again.
    pub retry_after: Duration,
}

/// What the front ends need to know beside the door.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The largest request body, in bytes.
    pub max_body: usize,
    /// Where the client posts messages of an HTTP+SSE session: a path, to which `?sessionId=…` is added.
    pub message_path: String,
}

#[derive(Clone)]
struct Front<D> {
    door: D,
    settings: Settings,
}

/// The routes `/sse`, `/message`, `/mcp` and its alias `/stream`.
pub fn router<D: Door>(door: D, settings: Settings) -> Router {
    let mcp = || {
        post(streamable::post::<D>)
            .get(streamable::get::<D>)
            .delete(streamable::delete::<D>)
            .head(|| answer::not_allowed("GET, POST, DELETE"))
            .options(|| answer::allow("GET, POST, DELETE, OPTIONS"))
            .fallback(|| answer::not_allowed("GET, POST, DELETE, OPTIONS"))
    };
    let sse = get(sse::get::<D>)
        .head(sse::head)
        .options(|| answer::allow("GET, HEAD, OPTIONS"))
        .fallback(|| answer::not_allowed("GET, HEAD, OPTIONS"));
    let message = post(sse::post::<D>)
        .options(|| answer::allow("POST, OPTIONS"))
        .fallback(|| answer::not_allowed("POST, OPTIONS"));
    Router::new()
        .route("/sse", sse)
        .route("/message", message)
        .route("/mcp", mcp())
        .route("/stream", mcp())
        .with_state(Front { door, settings })
}
