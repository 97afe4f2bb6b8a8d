//! A server elsewhere, as all connections to it see it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use hyper::body::Incoming;

use super::Target;
use super::events::{EventStream, Media};
use super::failure::Failure;
use crate::client::{Body, HttpClient, empty, full};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const EITHER: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("mcp-gateway/", env!("CARGO_PKG_VERSION")));

/// Where a server is and how it is reached.
#[derive(Clone)]
pub struct Site {
    /// Its name, for error texts.
    pub name: Arc<str>,
    /// Its endpoint.
    pub target: Target,
    /// Sent with every request to it, and to nobody else.
    pub headers: HeaderMap,
    /// Sends messages.
    pub calls: HttpClient,
    /// Opens streams that stay open.
    pub streams: HttpClient,
    /// The largest message it may send, in bytes.
    pub max_message: usize,
    /// Whether it still is what it was found to be.
    pub doubts: Doubts,
}

/// Counts how often a server did not understand what it was found to speak. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Doubts(Arc<AtomicU64>);

impl Doubts {
    /// It happened once more: what was found out before is void.
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Site {
    /// The headers of every POST.
    pub(super) fn posting(&self) -> HeaderMap {
        let mut headers = self.asking(EITHER);
        headers.insert(CONTENT_TYPE, JSON);
        headers
    }

    /// The headers of a POST with these in addition. One that cannot be sent is left out.
    pub(super) fn posting_of(&self, own: impl IntoIterator<Item = (impl AsRef<str>, String)>) -> HeaderMap {
        let mut all = self.posting();
        for (name, value) in own {
            if let (Ok(name), Ok(value)) = (name.as_ref().parse::<HeaderName>(), HeaderValue::try_from(value)) {
                all.insert(name, value);
            }
        }
        all
    }

    /// The headers of every GET.
    pub(super) fn listening(&self) -> HeaderMap {
        self.asking(EVENTS)
    }

    fn asking(&self, accept: HeaderValue) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.entry(USER_AGENT).or_insert(AGENT);
        headers.insert(ACCEPT, accept);
        headers
    }

    /// POSTs a message; gives back an answer that says it was taken.
    pub(super) async fn post(
        &self,
        target: &Target,
        headers: HeaderMap,
        message: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        self.post_by(&self.calls, target, headers, message).await
    }

    /// The same by this client.
    pub(super) async fn post_by(
        &self,
        client: &HttpClient,
        target: &Target,
        headers: HeaderMap,
        message: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        self.send(client, Method::POST, target, headers, full(message)).await
    }

    /// Opens a stream of events by GET.
    pub(super) async fn open(&self, headers: HeaderMap) -> Result<EventStream, Failure> {
        let response = self.send(&self.streams, Method::GET, &self.target, headers, empty()).await?;
        match Media::of(response.headers()) {
            Media::Events => Ok(EventStream::new(response.into_body(), self.max_message)),
            _ => Err(self.failure(Some(response.status()), "its address has no event stream; check `url`")),
        }
    }

    /// Ends a session.
    pub(super) async fn delete(&self, headers: HeaderMap) -> Result<(), Failure> {
        self.send(&self.calls, Method::DELETE, &self.target, headers, empty()).await.map(drop)
    }

    pub(super) fn failure(&self, status: Option<http::StatusCode>, what: impl fmt::Display) -> Failure {
        Failure::new(&self.name, status, what)
    }

    async fn send(
        &self,
        client: &HttpClient,
        method: Method,
        target: &Target,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = target.path.clone().into();
        *request.headers_mut() = headers;
        let response = client.request(&target.endpoint, request).await;
        let response = response.map_err(|error| self.failure(None, error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        Err(Failure::refused(&self.name, head, body).await)
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers hold credentials.
        f.debug_struct("Site").field("name", &self.name).field("target", &self.target).finish_non_exhaustive()
    }
}
