//! The HTTP front ends: HTTP+SSE (2024-11-05), and Streamable HTTP with sessions (2025-03-26 to 2025-11-25) or without
//! (2026-07-28).
//!
//! [`router`] serves them in front of a [`Door`], which opens sessions and finds them again. Who the caller is has been
//! decided before: the [`Caller`] in the request's extensions, or anonymous.

use std::future::Future;
use std::time::Duration;

use axum::Router;
use axum::routing::{MethodRouter, get, post};
use mcp::envelope::Message;
use mcp::session::streams::Transport;

use crate::session::{Caller, Exchanges, SessionHandle};

mod answer;
mod body;
mod modern;
mod reply;
mod request;
mod sse;
mod streamable;

pub use answer::{Problem, allow, not_allowed};
pub use body::{EventBody, KEEP_ALIVE};

/// A request's extension: its client can send no credential but in the URL of an event stream, so that the address it
/// is told to post to must carry one (design: "Secure by default").
#[derive(Clone, Copy, Debug)]
pub struct NeedsPass;

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

    /// Where `message` of `caller`, which is of 2026-07-28, goes; `None` where that revision is not spoken: then it is
    /// refused as by a server that has never heard of it, so that a client which speaks both goes on with `initialize`.
    fn exchanges(&self, caller: &Caller, message: &Message) -> impl Future<Output = Option<Exchanges>> + Send {
        let _ = (caller, message);
        std::future::ready(None)
    }

    /// The name a client is told for its session. With `pass`, whoever presents it needs no other credential to post
    /// messages to that session.
    fn present(&self, session: &SessionHandle, pass: bool) -> String {
        let _ = pass;
        session.id.as_str().to_owned()
    }
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
    routes(door, settings).into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods))
}

/// The same one by one.
pub fn routes<D: Door>(door: D, settings: Settings) -> Vec<(&'static str, MethodRouter)> {
    let front = Front { door, settings };
    let mcp = || {
        post(streamable::post::<D>)
            .get(streamable::get::<D>)
            .delete(streamable::delete::<D>)
            .head(|| answer::not_allowed("GET, POST, DELETE, OPTIONS"))
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
    let routes = [("/sse", sse), ("/message", message), ("/mcp", mcp()), ("/stream", mcp())];
    routes.into_iter().map(|(path, methods)| (path, methods.with_state(front.clone()))).collect()
}
