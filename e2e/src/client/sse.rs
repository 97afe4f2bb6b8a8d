//! HTTP+SSE (2024-11-05): one stream for all that comes, POSTs to the endpoint that its first event names.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde_json::Value;
use tokio::task::JoinSet;

use super::pool::{Pool, text};
use super::{Client, ClientOptions, Core, Future};
use crate::http;
use crate::sse::EventStream;
use crate::wait::within;

/// A client of HTTP+SSE. Dropping it cuts the stream.
#[derive(Debug)]
pub struct SseClient {
    inner: Arc<Inner>,
    _reader: JoinSet<()>,
}

#[derive(Debug)]
struct Inner {
    core: Core,
    pool: Pool,
    endpoint: String,
}

impl SseClient {
    /// Opens the stream at `url` and shakes hands, as a client of 2024-11-05 that declares nothing.
    ///
    /// # Errors
    /// As [`Self::open`], and when the handshake is refused.
    pub async fn connect(url: &str) -> Result<Self> {
        Self::connect_with(url, ClientOptions::new("2024-11-05")).await
    }

    /// As [`Self::connect`], with options.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_with(url: &str, options: ClientOptions) -> Result<Self> {
        let client = Self::open(url, options).await?;
        client.initialize().await?;
        Ok(client)
    }

    /// Opens the stream and waits for the `endpoint` event; no handshake.
    ///
    /// # Errors
    /// When the answer is no event stream, its first event is another, or time is up.
    pub async fn open(url: &str, options: ClientOptions) -> Result<Self> {
        let mut headers = options.pairs();
        headers.push(("accept", "text/event-stream"));
        let mut stream = http::open("GET", url, &headers, "").await?.into_events().await?;
        let first =
            within(options.timeout, format!("the endpoint event of {url}"), stream.data(options.timeout)).await?;
        ensure!(first.event.as_deref() == Some("endpoint"), "the first event is no endpoint: {first:?}");
        let endpoint = resolve(url, &first.data.unwrap_or_default())?;
        let inner = Arc::new(Inner { core: Core::new(options), pool: Pool::new(), endpoint });
        let mut reader = JoinSet::new();
        reader.spawn(read(Arc::clone(&inner), stream));
        Ok(Self { inner, _reader: reader })
    }

    /// URL that messages are POSTed to.
    pub fn endpoint(&self) -> &str {
        &self.inner.endpoint
    }
}

impl Client for SseClient {
    fn core(&self) -> &Core {
        &self.inner.core
    }

    fn post(&self, body: Bytes) -> Future<'_, ()> {
        Box::pin(self.inner.post(body))
    }

    fn welcome(&self, _: &Value) {}
}

impl Inner {
    async fn post(&self, body: Bytes) -> Result<()> {
        text(self.pool.post(&self.endpoint, &self.core.options.pairs(), body).await?).await.map(drop)
    }
}

async fn read(inner: Arc<Inner>, mut stream: EventStream) {
    let reason = loop {
        let event = match stream.next().await {
            Ok(Some(event)) => event,
            Ok(None) => break "the event stream ended".into(),
            Err(error) => break format!("{error:#}"),
        };
        let Some(data) = event.data else { continue };
        for reply in inner.core.receive(&data) {
            if let Err(error) = inner.post(reply).await {
                inner.core.inbox.close(format!("cannot answer the server: {error:#}"));
            }
        }
    };
    inner.core.inbox.close(reason);
}

/// `endpoint` may be a URL of the same origin, or, as it should, a path.
fn resolve(url: &str, endpoint: &str) -> Result<String> {
    let after_scheme = url.find("://").context("the URL has no scheme")? + 3;
    let origin = url[after_scheme..].find('/').map_or(url, |at| &url[..after_scheme + at]);
    if endpoint.starts_with('/') {
        return Ok(format!("{origin}{endpoint}"));
    }
    ensure!(endpoint.starts_with(&format!("{origin}/")), "the endpoint {endpoint} is not of the origin {origin}");
    Ok(endpoint.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_is_a_path_or_a_url_of_the_same_origin() {
        let url = "http://h:1/time/sse";
        assert_eq!(resolve(url, "/time/message?sessionId=a").unwrap(), "http://h:1/time/message?sessionId=a");
        assert_eq!(resolve(url, "http://h:1/m").unwrap(), "http://h:1/m");
        assert!(resolve(url, "http://h:12/m").is_err());
        assert!(resolve(url, "m").is_err());
    }
}
