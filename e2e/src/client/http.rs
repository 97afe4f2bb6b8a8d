//! Streamable HTTP (2025-03-26 to 2025-11-25): every POST has its answer, as JSON or as a stream; GET brings the rest.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use serde_json::Value;
use tokio::task::JoinSet;

use super::pool::{Pool, text};
use super::{Client, ClientOptions, Core, Future, Message, StatusError};
use crate::http::{self, Opened, Response};
use crate::sse::EventStream;

/// A client of Streamable HTTP. Dropping it cuts its streams and leaves the session to the server.
#[derive(Debug)]
pub struct HttpClient {
    inner: Arc<Inner>,
    readers: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Inner {
    core: Core,
    pool: Pool,
    url: String,
    session: Mutex<Session>,
}

#[derive(Debug, Clone, Default)]
struct Session {
    id: Option<String>,
    /// The negotiated revision, from when on it has a header.
    version: Option<String>,
}

impl HttpClient {
    /// Shakes hands at `url` as a client of `version` that declares nothing, and opens the stream of GET if there is one.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn connect(url: &str, version: &str) -> Result<Self> {
        Self::connect_with(url, ClientOptions::new(version)).await
    }

    /// As [`Self::connect`], with options.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_with(url: &str, options: ClientOptions) -> Result<Self> {
        let listen = options.listen;
        let client = Self::open(url, options);
        client.initialize().await?;
        if listen {
            client.listen().await?;
        }
        Ok(client)
    }

    /// A client that has not sent anything yet.
    pub fn open(url: &str, options: ClientOptions) -> Self {
        let inner = Inner { core: Core::new(options), pool: Pool::new(), url: url.into(), session: Mutex::default() };
        Self { inner: Arc::new(inner), readers: Mutex::default() }
    }

    /// The id the server gave, if any.
    pub fn session(&self) -> Option<String> {
        self.inner.session().id
    }

    /// The endpoint.
    pub fn url(&self) -> &str {
        &self.inner.url
    }

    /// Opens the stream of GET and reads it in the background. A server without one (405) is no error.
    ///
    /// # Errors
    /// When the server refuses otherwise.
    pub async fn listen(&self) -> Result<()> {
        let answer = self.request_http("GET", &[("accept", "text/event-stream")], "").await?;
        match answer.status {
            405 => {}
            200 => self.read(answer.into_events().await?, Vec::new()),
            status => return Err(StatusError { status, body: answer.collect().await?.text() }.into()),
        }
        Ok(())
    }

    /// Goes on with the stream that had the event `last_event_id`.
    ///
    /// # Errors
    /// When no event stream comes.
    pub async fn resume(&self, last_event_id: &str) -> Result<EventStream> {
        self.inner.resume(last_event_id).await
    }

    /// Ends the session.
    ///
    /// # Errors
    /// When the connection fails; a refusal is an answer.
    pub async fn delete(&self) -> Result<Response> {
        self.request_http("DELETE", &[], "").await?.collect().await
    }

    /// POSTs `body` over a connection of its own and gives the answer unread.
    ///
    /// # Errors
    /// When the connection fails; a refusal is an answer.
    pub async fn post_raw(&self, body: impl Into<Bytes>) -> Result<Opened> {
        let kinds = [("content-type", "application/json"), ("accept", ACCEPT)];
        self.request_http("POST", &kinds, body).await
    }

    /// Any request to the endpoint, with the headers of this session and `headers`, over a connection of its own.
    ///
    /// # Errors
    /// When the connection fails; a refusal is an answer.
    pub async fn request_http(&self, method: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Result<Opened> {
        self.inner.request(method, headers, body.into()).await
    }

    fn read(&self, stream: EventStream, ids: Vec<String>) {
        let mut readers = self.readers.lock().expect("nothing panics while holding it");
        while readers.try_join_next().is_some() {}
        readers.spawn(read(Arc::clone(&self.inner), stream, ids));
    }
}

const ACCEPT: &str = "application/json, text/event-stream";

impl Client for HttpClient {
    fn core(&self) -> &Core {
        &self.inner.core
    }

    fn post(&self, body: Bytes) -> Future<'_, ()> {
        Box::pin(async move {
            let ids = requests(&body);
            if let Some(stream) = self.inner.post(body).await? {
                self.read(stream, ids);
            }
            Ok(())
        })
    }

    fn welcome(&self, result: &Value) {
        let version = result["protocolVersion"].as_str().filter(|version| *version >= "2025-06-18");
        self.inner.session.lock().expect("nothing panics while holding it").version = version.map(Into::into);
    }
}

impl Inner {
    fn session(&self) -> Session {
        self.session.lock().expect("nothing panics while holding it").clone()
    }

    /// Takes an answer of JSON, or gives the stream that carries it.
    async fn post(&self, body: Bytes) -> Result<Option<EventStream>> {
        let session = self.session();
        let mut headers = self.headers(&session);
        headers.push(("accept", ACCEPT));
        let answer = self.pool.post(&self.url, &headers, body).await?;
        if let Some(id) = answer.headers().get("mcp-session-id") {
            let id = id.to_str().context("the session id is no text")?;
            self.session.lock().expect("nothing panics while holding it").id = Some(id.into());
        }
        let kind = answer.headers().get("content-type").map_or(&b""[..], |kind| kind.as_bytes());
        if answer.status() == 200 && kind.starts_with(b"text/event-stream") {
            return Ok(Some(EventStream::new(answer.into_body(), JoinSet::new())));
        }
        let body = text(answer).await?;
        if !body.trim().is_empty() {
            self.receive(&body).await;
        }
        Ok(None)
    }

    fn headers<'a>(&'a self, session: &'a Session) -> Vec<(&'a str, &'a str)> {
        let mut headers = self.core.options.pairs();
        headers.extend(session.id.as_deref().map(|id| ("mcp-session-id", id)));
        headers.extend(session.version.as_deref().map(|version| ("mcp-protocol-version", version)));
        headers
    }

    async fn request(&self, method: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Opened> {
        let session = self.session();
        let headers = [&self.headers(&session), headers].concat();
        http::open(method, &self.url, &headers, body).await
    }

    async fn resume(&self, last_event_id: &str) -> Result<EventStream> {
        let headers = [("accept", "text/event-stream"), ("last-event-id", last_event_id)];
        self.request("GET", &headers, Bytes::new()).await?.into_events().await
    }

    async fn receive(&self, raw: &str) {
        for reply in self.core.receive(raw) {
            if let Err(error) = Box::pin(self.post(reply)).await {
                self.core.inbox.close(format!("cannot answer the server: {error:#}"));
            }
        }
    }
}

/// Reads a stream and, when it ends before the answers to `ids`, goes on where it ended, as long as it has event ids.
async fn read(inner: Arc<Inner>, mut stream: EventStream, ids: Vec<String>) {
    let (mut last, mut pause) = (None, Duration::ZERO);
    loop {
        let end = loop {
            match stream.next().await {
                Ok(Some(event)) => {
                    last = event.id.or(last);
                    pause = event.retry.map_or(pause, Duration::from_millis);
                    if let Some(data) = event.data.filter(|data| !data.is_empty()) {
                        inner.receive(&data).await;
                    }
                }
                Ok(None) => break "the stream ended before the answer".into(),
                Err(error) => break format!("{error:#}"),
            }
        };
        if !ids.iter().any(|id| inner.core.inbox.expects(id)) {
            return;
        }
        let next = match &last {
            None => Err(end),
            Some(last) => {
                tokio::time::sleep(pause).await;
                inner.resume(last).await.map_err(|error| format!("{end}, and cannot be resumed: {error:#}"))
            }
        };
        match next {
            Ok(next) => stream = next,
            Err(reason) => return ids.iter().for_each(|id| inner.core.inbox.abandon(id, &reason)),
        }
    }
}

/// Ids of the requests in a body; none when it is no JSON-RPC.
fn requests(body: &[u8]) -> Vec<String> {
    let messages = std::str::from_utf8(body).ok().and_then(|body| Message::parse_all(body).ok());
    let requests = messages.into_iter().flatten().filter(|message| message.method().is_some());
    requests.filter_map(|message| message.id().map(Into::into)).collect()
}
