//! The streams that callers hold open: how many each may have, and that they end with the caller's key.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use http_body::Body as _;
use mcp::header::MCP_METHOD;
use mcp::modern::LISTEN;
use tokio_util::sync::CancellationToken;
use wire::session::Caller;

use crate::api::ApiError;
use crate::keys::PrincipalHash;

/// When a caller that has too many may try again, in seconds.
const RETRY_AFTER: u64 = 5;

/// See the [module](self). Clones share it.
#[derive(Clone, Debug)]
pub struct Streams(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The most of one caller; `None` = any number.
    limit: Option<NonZeroU32>,
    open: Mutex<HashMap<PrincipalHash, Open>>,
}

/// What one caller has open.
#[derive(Debug, Default)]
struct Open {
    /// Streams that the caller opened, which the limit is about.
    streams: u32,
    /// Those, and answers that go on.
    bodies: u32,
    end: CancellationToken,
}

/// Counts one body for as long as it lives.
#[derive(Debug)]
struct Place {
    streams: Streams,
    principal: PrincipalHash,
    is_stream: bool,
}

impl Streams {
    /// No streams yet; `limit` for each caller.
    pub fn new(limit: Option<NonZeroU32>) -> Self {
        Self(Arc::new(Inner { limit, open: Mutex::default() }))
    }

    /// Ends the streams of those who are not `known` any more.
    pub fn retain(&self, known: &HashSet<PrincipalHash>) {
        let mut all = self.open();
        let unknown = all.iter_mut().filter(|(principal, _)| !known.contains(principal));
        unknown.for_each(|(_, open)| std::mem::take(&mut open.end).cancel());
    }

    /// A place for one more stream, or for one more answer that goes on, and what ends it; `None` when the caller has as
    /// many streams as it may.
    fn enter(&self, principal: PrincipalHash, is_stream: bool) -> Option<(Place, CancellationToken)> {
        let mut all = self.open();
        let streams = all.get(&principal).map_or(0, |open| open.streams);
        if is_stream && self.0.limit.is_some_and(|limit| streams >= limit.get()) {
            return None;
        }
        let open = all.entry(principal).or_default();
        open.streams += u32::from(is_stream);
        open.bodies += 1;
        Some((Place { streams: self.clone(), principal, is_stream }, open.end.clone()))
    }

    /// Runs a request, and counts its answer if that is a stream: an answer to GET, or to a request to listen, whose end is
    /// not known. Whatever goes on ends with the caller's key.
    pub async fn hold(&self, request: Request, next: Next) -> Response {
        let caller = request.extensions().get::<Caller>().and_then(|caller| caller.0.parse().ok());
        let Some(principal) = caller else { return next.run(request).await };
        let early = if opens_stream(request.method(), request.headers()) {
            let Some(place) = self.enter(principal, true) else {
                let text =
                    "as many streams are open as one caller may have (`maxStreamsPerPrincipal`); close one first";
                return ApiError::new(StatusCode::TOO_MANY_REQUESTS, text).retry_after(RETRY_AFTER).into_response();
            };
            Some(place)
        } else {
            None
        };
        let (parts, body) = next.run(request).await.into_parts();
        if body.size_hint().exact().is_some() {
            return Response::from_parts(parts, body);
        }
        let Some((place, end)) = early.or_else(|| self.enter(principal, false)) else {
            return Response::from_parts(parts, body);
        };
        // The place is left when the body is dropped.
        let stream = body.into_data_stream().take_until(end.cancelled_owned()).inspect(move |_| _ = &place);
        Response::from_parts(parts, Body::from_stream(stream))
    }

    fn open(&self) -> MutexGuard<'_, HashMap<PrincipalHash, Open>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the request is for a stream that goes on by itself. What the header says, the sidecar compares with the body.
pub fn opens_stream(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::GET || headers.get(MCP_METHOD).is_some_and(|method| method.as_bytes() == LISTEN.as_bytes())
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.streams.open();
        if let Some(open) = all.get_mut(&self.principal) {
            open.streams -= u32::from(self.is_stream);
            open.bodies -= 1;
            if open.bodies == 0 {
                all.remove(&self.principal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::extract::State;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    const ONE: PrincipalHash = PrincipalHash::from_bytes([1; 16]);
    const OTHER: PrincipalHash = PrincipalHash::from_bytes([2; 16]);

    fn router(streams: &Streams) -> Router {
        let endless = async || Body::from_stream(futures::stream::pending::<Result<String, std::io::Error>>());
        let routes = Router::new().route("/stream", get(endless).post(endless)).route("/text", get(async || "text"));
        let hold = async |State(streams): State<Streams>, request, next| streams.hold(request, next).await;
        routes.layer(from_fn_with_state(streams.clone(), hold))
    }

    async fn send(router: &Router, method: Method, path: &str, principal: PrincipalHash) -> Response {
        let request = Request::builder().method(method).uri(path).extension(Caller(principal.to_string().into()));
        router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn a_caller_has_as_many_streams_as_it_may_and_other_requests_do_not_count() {
        let router = router(&Streams::new(NonZeroU32::new(2)));
        let mut held = Vec::new();
        for _ in 0..2 {
            assert_eq!(send(&router, Method::GET, "/text", ONE).await.status(), StatusCode::OK);
            held.push(send(&router, Method::GET, "/stream", ONE).await);
        }
        let refused = send(&router, Method::GET, "/stream", ONE).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(refused.headers().contains_key("retry-after"));
        assert_eq!(send(&router, Method::POST, "/stream", ONE).await.status(), StatusCode::OK);
        let caller = Caller(ONE.to_string().into());
        let listen = Request::post("/stream").header(MCP_METHOD, LISTEN).extension(caller).body(Body::empty()).unwrap();
        let refused = router.clone().oneshot(listen).await.unwrap();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(send(&router, Method::GET, "/stream", OTHER).await.status(), StatusCode::OK);
        held.pop();
        assert_eq!(send(&router, Method::GET, "/stream", ONE).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn streams_end_with_the_key_of_their_caller() {
        let streams = Streams::new(None);
        let router = router(&streams);
        let bodies = [(Method::GET, ONE), (Method::POST, ONE), (Method::GET, OTHER)]
            .map(|(method, who)| send(&router, method, "/stream", who));
        let [ended, answer, open] = bodies;
        let (ended, answer, open) = (ended.await.into_body(), answer.await.into_body(), open.await.into_body());
        streams.retain(&HashSet::from([OTHER]));
        assert!(ended.into_data_stream().next().await.is_none());
        assert!(answer.into_data_stream().next().await.is_none());
        assert!(futures::poll!(open.into_data_stream().next()).is_pending());
        assert_eq!(streams.open().keys().collect::<Vec<_>>(), Vec::<&PrincipalHash>::new());
    }
}
