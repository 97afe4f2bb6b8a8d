//! HTTP requests to servers: over TCP, TLS or a unix socket, on pooled connections.
//!
//! One [`HttpClient`] serves a whole program. It follows no redirect, because headers with credentials would follow it
//! (assurance T16), and sends no request twice that may have reached the server. [`AddressPolicy`] says where it may
//! connect at all. TLS is set up when the first `https` address is connected to, and not before.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderName, LOCATION};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use mcp::header::HOP_TOKEN;

use crate::hop::{self, SignError, Signer};

mod connect;
mod endpoint;
mod policy;

use connect::Connector;
pub use connect::{CONNECT_TIMEOUT, ConnectError};
pub use endpoint::{Endpoint, InvalidEndpoint};
pub use policy::AddressPolicy;

/// Whatever breaks a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of a request: bytes that are there, or a stream of any kind.
pub type Body = Either<Full<Bytes>, UnsyncBoxBody<Bytes, BoxError>>;

/// How long a connection is kept that carries nothing. Node and uvicorn close theirs after 5 s; a request that meets
/// the close on its way would fail.
const KEPT_IDLE: Duration = Duration::from_secs(4);
/// What one HTTP/2 stream may have under way that nobody reads; the connection, which many streams share, may have so
/// much that none of them waits for another.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 30;

/// A body of bytes that are there.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Either::Left(Full::new(bytes.into()))
}

/// No body.
pub fn empty() -> Body {
    full(Bytes::new())
}

/// A body that comes piece by piece.
pub fn streamed<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    Either::Right(UnsyncBoxBody::new(http_body_util::BodyExt::map_err(body, Into::into)))
}

/// See the [module](self). Clones share connections.
#[derive(Clone)]
pub struct HttpClient {
    pools: Arc<Pools>,
    protocol: Protocol,
    signer: Option<Arc<Signer>>,
    /// Whom tokens are made for.
    audience: Option<Arc<str>>,
}

struct Pools {
    http1: Client<Connector, Body>,
    http2: Client<Connector, Body>,
}

#[derive(Clone, Copy, Debug)]
enum Protocol {
    Http1,
    Http2,
}

impl HttpClient {
    /// A client that connects where `policy` lets it. It speaks HTTP/1.1, one request at a time on a connection: a call
    /// costs the least so, and no server's limit of streams makes one wait for another.
    pub fn new(policy: AddressPolicy) -> Self {
        let connector = Connector::new(policy);
        let builder = || {
            let mut builder = Client::builder(TokioExecutor::new());
            builder.pool_timer(TokioTimer::new()).pool_idle_timeout(KEPT_IDLE);
            builder
        };
        let http1 = builder().build(connector.clone());
        let http2 = builder()
            .http2_only(true)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .build(connector);
        Self { pools: Arc::new(Pools { http1, http2 }), protocol: Protocol::Http1, signer: None, audience: None }
    }

    /// The same client, whose requests to one endpoint share one HTTP/2 connection, spoken without asking first: for
    /// servers known to understand it, and streams that stay open and carry little.
    pub fn long_streams(&self) -> Self {
        Self { protocol: Protocol::Http2, ..self.clone() }
    }

    /// The same client, whose requests [to a server](Self::for_server) carry a token of `signer`.
    pub fn signing(&self, signer: Arc<Signer>) -> Self {
        Self { signer: Some(signer), ..self.clone() }
    }

    /// The same client for requests to the server of this identity; nothing is different unless it is [signing](
    /// Self::signing).
    pub fn for_server(&self, identity: impl fmt::Display) -> Self {
        let audience = self.signer.as_ref().map(|_| identity.to_string().into());
        Self { audience, ..self.clone() }
    }

    /// Sends a request to `endpoint` and returns when the head of the answer is there. Of the request's address only
    /// path and query matter. Nothing but connecting has a time limit; dropping the future gives the request up.
    pub async fn request(
        &self,
        endpoint: &Endpoint,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, ClientError> {
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = endpoint.uri(path.clone());
        // What a proxied request came by does not matter.
        *request.version_mut() = Version::HTTP_11;
        if let (Some(signer), Some(audience)) = (&self.signer, &self.audience) {
            let token = signer.token(audience, hop::now())?;
            let token = HeaderValue::from_str(&token).map_err(|_| SignError)?;
            request.headers_mut().insert(HeaderName::from_static(HOP_TOKEN), token);
        }
        let pool = match self.protocol {
            Protocol::Http1 => {
                if endpoint.is_unix() && !request.headers().contains_key(HOST) {
                    request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
                }
                &self.pools.http1
            }
            Protocol::Http2 => &self.pools.http2,
        };
        let response = pool.request(request).await.map_err(|error| ClientError::new(endpoint, &error))?;
        match response.headers().get(LOCATION) {
            Some(location) if response.status().is_redirection() => Err(ClientError::Redirect {
                from: endpoint.to_string(),
                status: response.status(),
                target: describe_target(location, &path),
            }),
            _ => Ok(response),
        }
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpClient({:?})", self.protocol)
    }
}

/// Why a request brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no connection: nothing was sent.
    #[error("cannot connect to {to}: {reason}")]
    Connect {
        /// Where to.
        to: String,
        /// Why not.
        reason: String,
        /// Whether nobody listens there; otherwise it cannot be told.
        refused: bool,
    },
    /// The connection broke when the request had been sent, at least in part.
    #[error("the connection to {to} broke before an answer came: {reason}")]
    Broken {
        /// Where to.
        to: String,
        /// How.
        reason: String,
    },
    /// It could not be signed: nothing was sent.
    #[error(transparent)]
    Unsigned(#[from] SignError),
    /// The answer is a redirect.
    #[error("{from} redirects ({status}) to {target}, which is not followed; configure that address if it is right")]
    Redirect {
        /// Whose answer it is.
        from: String,
        /// The status.
        status: StatusCode,
        /// Where it points, without the query.
        target: String,
    },
}

impl ClientError {
    fn new(endpoint: &Endpoint, error: &legacy::Error) -> Self {
        let (to, cause) = (endpoint.to_string(), root_cause(error));
        let reason = cause.to_string();
        if !error.is_connect() {
            return Self::Broken { to, reason };
        }
        let hint = if cause.is::<ConnectError>() {
            ""
        } else if is_tls(cause) {
            "; if its certificate comes from an authority of your own, name a file with that in SSL_CERT_FILE (on Kubernetes: caRef)"
        } else {
            "; see that it runs and that the address is right"
        };
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let refused = matches!(io, Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound));
        Self::Connect { to, reason: reason + hint, refused }
    }
}

fn is_tls(cause: &(dyn std::error::Error + 'static)) -> bool {
    let mut inner = cause;
    // One in another, where each layer makes an error of the system's of what it gets.
    while let Some(next) = inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        inner = next;
    }
    matches!(inner.downcast_ref(), Some(rustls::Error::InvalidCertificate(_)))
}

/// What is below all the layers that only say where it happened.
fn root_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

/// A redirect's target for people. What else its address holds is left out, and a path that is known already as well:
/// either may be secret.
fn describe_target(location: &HeaderValue, path: &PathAndQuery) -> String {
    let Some(target) = location.to_str().ok().and_then(|text| text.parse::<Uri>().ok()) else {
        return "an address that cannot be read".to_owned();
    };
    let host = target.host().map(|host| match (target.scheme_str(), target.port()) {
        (Some(scheme), Some(port)) => format!("{scheme}://{host}:{port}"),
        (scheme, _) => format!("{}://{host}", scheme.unwrap_or_default()),
    });
    let same = target.path().trim_end_matches('/') == path.path().trim_end_matches('/');
    match (host, same) {
        (Some(host), true) => format!("{host} and the same path, {}", slash(target.path())),
        (Some(host), false) => format!("{host}{}", target.path()),
        (None, true) => format!("the same path, {}", slash(target.path())),
        (None, false) => target.path().to_owned(),
    }
}

fn slash(path: &str) -> &'static str {
    if path.ends_with('/') { "with a slash at its end" } else { "without a slash at its end" }
}

#[cfg(test)]
mod tests;
