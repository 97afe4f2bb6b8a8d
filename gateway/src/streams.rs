//! The streams that callers hold open: how many each may have, and that they end with the caller's key.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures::stream::TakeUntil;
use futures::{Stream, StreamExt as _};
use http_body::Body as _;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
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

/// The open streams of one caller.
#[derive(Debug, Default)]
struct Open {
    count: u32,
    end: CancellationToken,
}

/// Counts one stream for as long as it lives.
#[derive(Debug)]
struct Place {
    streams: Streams,
    principal: PrincipalHash,
}

impl Streams {
    /// No streams yet; `limit` for each caller.
    pub fn new(limit: Option<NonZeroU32>) -> Self {
        Self(Arc::new(Inner { limit, open: Mutex::default() }))
    }

    /// Ends the streams of those who are not `known` any more.
    pub fn retain(&self, known: &HashSet<PrincipalHash>) {
        let open = self.open();
        open.iter().filter(|(principal, _)| !known.contains(principal)).for_each(|(_, open)| open.end.cancel());
    }

    /// A place for one more stream, and what ends it; `None` when the caller has as many as it may.
    fn enter(&self, principal: PrincipalHash) -> Option<(Place, CancellationToken)> {
        let mut all = self.open();
        let open = all.entry(principal).or_default();
        if self.0.limit.is_some_and(|limit| open.count >= limit.get()) {
            return None;
        }
        open.count += 1;
        Some((Place { streams: self.clone(), principal }, open.end.clone()))
    }

    fn open(&self) -> MutexGuard<'_, HashMap<PrincipalHash, Open>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.streams.open();
        if let Some(open) = all.get_mut(&self.principal) {
            open.count -= 1;
            if open.count == 0 {
                all.remove(&self.principal);
            }
        }
    }
}

/// The layer that counts streams: the answers to GET whose end is not known.
pub async fn hold(State(streams): State<Streams>, caller: Caller, request: Request, next: Next) -> Response {
    let Some(principal) = caller.0.parse().ok().filter(|_| request.method() == Method::GET) else {
        return next.run(request).await;
    };
    let Some((place, end)) = streams.enter(principal) else {
        let text = "as many streams are open as one caller may have (`maxStreamsPerPrincipal`); close one first";
        return ApiError::new(StatusCode::TOO_MANY_REQUESTS, text).retry_after(RETRY_AFTER).into_response();
    };
    let (parts, body) = next.run(request).await.into_parts();
    if body.size_hint().exact().is_some() {
        return Response::from_parts(parts, body);
    }
    let stream = body.into_data_stream().take_until(end.cancelled_owned());
    Response::from_parts(parts, Body::from_stream(Held { stream, _place: place }))
}

/// A body that has a place.
struct Held {
    stream: TakeUntil<BodyDataStream, WaitForCancellationFutureOwned>,
    _place: Place,
}
