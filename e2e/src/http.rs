//! One HTTP request over a connection of its own, to `http://…` or, as `unix:SOCKET:/path`, to a Unix socket.
//!
//! Nothing is done behind the test's back: no redirect is followed, no header added but `Host`, no connection kept.

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{HeaderMap, Request, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

use crate::sse::EventStream;
use crate::wait::{PATIENCE, within};

/// No connection was made, so that the request reached nobody.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot connect to {0}")]
pub struct NotSent(String);

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The body, up to its end.
    pub body: Bytes,
}

impl Response {
    /// The first header of that name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none; the error shows status and body.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("no JSON came with status {}: {}", self.status, self.text()))
    }

    /// Itself, if the status is as expected.
    ///
    /// # Errors
    /// Otherwise; the error shows status and body.
    pub fn expect(self, status: u16) -> Result<Self> {
        ensure!(self.status == status, "expected status {status}, got {}: {}", self.status, self.text());
        Ok(self)
    }
}

/// An answer whose body is still to be read. Dropping it cuts the connection at once.
#[derive(Debug)]
pub struct Opened {
    /// Status code.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    body: Incoming,
    connection: JoinSet<()>,
}

impl Opened {
    /// Reads the body to its end.
    ///
    /// # Errors
    /// When the connection breaks before.
    pub async fn collect(self) -> Result<Response> {
        let body = self.body.collect().await.context("cannot read the body of the answer")?;
        Ok(Response { status: self.status, headers: self.headers, body: body.to_bytes() })
    }

    /// Reads the next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(bytes) = frame.context("the answer broke off")?.into_data() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// Reads the body as server-sent events.
    pub fn events(self) -> EventStream {
        EventStream::new(self.body, self.connection)
    }

    /// As [`Self::events`], if this is an event stream.
    ///
    /// # Errors
    /// When the status is not 200 or the content type another.
    pub async fn into_events(self) -> Result<EventStream> {
        let kind = self.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if self.status != 200 || !kind.starts_with("text/event-stream") {
            let answer = self.collect().await?;
            bail!("expected an event stream, got status {}: {}", answer.status, answer.text());
        }
        Ok(self.events())
    }
}

/// Sends a request and reads the whole answer.
///
/// # Errors
/// When connecting, sending or reading fails, or takes longer than [`PATIENCE`].
pub async fn http(method: &str, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Result<Response> {
    let body = body.into();
    within(PATIENCE, format!("{method} {url}"), async { open(method, url, headers, body).await?.collect().await }).await
}

/// Sends a request and gives the answer as soon as its headers are there.
///
/// # Errors
/// As [`http`].
pub async fn open(method: &str, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Result<Opened> {
    let target = Target::parse(url)?;
    let host = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
    let mut request = Request::builder().method(method).uri(&target.path);
    if !host {
        request = request.header("host", &target.host);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).with_context(|| format!("cannot build {method} {url}"))?;
    within(PATIENCE, format!("the headers of {method} {url}"), async {
        let mut connection = JoinSet::new();
        let mut sender = target.connect(&mut connection).await.with_context(|| NotSent(url.to_owned()))?;
        let answer = sender.send_request(request).await.with_context(|| format!("{method} {url} failed"))?;
        let (head, body) = answer.into_parts();
        Ok(Opened { status: head.status.as_u16(), headers: head.headers, body, connection })
    })
    .await
}

#[derive(Debug)]
struct Target {
    /// A socket's path; TCP otherwise.
    socket: Option<String>,
    host: String,
    /// The host with its port.
    address: String,
    /// Path and query.
    path: String,
}

impl Target {
    fn parse(url: &str) -> Result<Self> {
        if let Some(rest) = url.strip_prefix("unix:") {
            let (socket, path) = rest.split_once(':').context("a Unix URL is unix:SOCKET:/path")?;
            let (host, address) = ("localhost".into(), String::new());
            return Ok(Self { socket: Some(socket.into()), host, address, path: path.into() });
        }
        let uri: Uri = url.parse().with_context(|| format!("{url} is no URL"))?;
        ensure!(uri.scheme_str() == Some("http"), "{url} is not http://");
        let host = uri.authority().context("the URL has no host")?.to_string();
        let path = uri.path_and_query().map_or_else(|| "/".into(), ToString::to_string);
        let address = if uri.port().is_some() { host.clone() } else { format!("{host}:80") };
        Ok(Self { socket: None, host, address, path })
    }

    async fn connect(&self, connection: &mut JoinSet<()>) -> Result<SendRequest<Full<Bytes>>> {
        match &self.socket {
            Some(socket) => shake_hands(UnixStream::connect(socket).await?, connection).await,
            None => shake_hands(TcpStream::connect(&self.address).await?, connection).await,
        }
    }
}

async fn shake_hands(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    tasks: &mut JoinSet<()>,
) -> Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tasks.spawn(async move {
        // What breaks the connection is told to whoever reads the answer.
        let _ = connection.await;
    });
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_host_or_a_socket() {
        let target = Target::parse("http://127.0.0.1:80/a?b=c").unwrap();
        assert_eq!((target.host.as_str(), target.path.as_str()), ("127.0.0.1:80", "/a?b=c"));
        let target = Target::parse("http://name/").unwrap();
        assert_eq!((target.host.as_str(), target.address.as_str()), ("name", "name:80"));
        let target = Target::parse("unix:/run/x.sock:/status?watch").unwrap();
        assert_eq!((target.socket.as_deref(), target.path.as_str()), (Some("/run/x.sock"), "/status?watch"));
        assert!(Target::parse("https://example.org/").is_err());
        assert!(Target::parse("nonsense").is_err());
    }

    #[tokio::test]
    async fn a_unix_socket_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper::service::service_fn(async |request: Request<Incoming>| {
                anyhow::Ok(hyper::Response::new(Full::new(Bytes::from(request.uri().to_string()))))
            });
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.unwrap();
        };
        let url = format!("unix:{}:/status?watch", socket.display());
        let ((), answer) = tokio::join!(server, http("GET", &url, &[], ""));
        assert_eq!(answer.unwrap().expect(200).unwrap().text(), "/status?watch");
    }
}
