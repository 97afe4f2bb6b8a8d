//! How connections are made.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::Uri;
use http::uri::Scheme;
use hyper::rt::{Read, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::OnceCell;
use tower::{Service, ServiceExt as _};

use super::{AddressPolicy, BoxError, endpoint};

/// How long making a connection may take: names, TCP and TLS together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection over which nothing comes for this long is checked, so that a server that has vanished is noticed.
const TCP_KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Why a connection was not made, where no system call says so.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It took longer than [`CONNECT_TIMEOUT`].
    #[error("it does not answer within {} s; see that it runs, and that no firewall is between", CONNECT_TIMEOUT.as_secs())]
    Timeout,
    /// [`AddressPolicy::PublicOnly`] does not admit it.
    #[error("its address {0} is not a public one, and only those may be connected to here")]
    NotPublic(IpAddr),
    /// No certificate authorities.
    #[error("TLS cannot be set up: {0}; install the system's CA certificates or name a file of them in SSL_CERT_FILE")]
    Tls(io::Error),
}

/// Makes connections of all kinds. Clones share the TLS configuration.
#[derive(Clone)]
pub(super) struct Connector(Arc<Inner>);

struct Inner {
    tcp: HttpConnector<Resolver>,
    tls: OnceCell<HttpsConnector<HttpConnector<Resolver>>>,
    policy: AddressPolicy,
}

impl Connector {
    pub(super) fn new(policy: AddressPolicy) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver { system: GaiResolver::new(), policy });
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEP_ALIVE));
        tcp.set_keepalive_interval(Some(TCP_KEEP_ALIVE / 3));
        Self(Arc::new(Inner { tcp, tls: OnceCell::new(), policy }))
    }
}

impl Inner {
    async fn connect(&self, uri: Uri) -> Result<Stream, BoxError> {
        if let Some(path) = endpoint::socket(&uri) {
            return self.unix(&path).await;
        }
        // A host that is an address is not resolved.
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse()
            && !self.policy.admits(address)
        {
            return Err(ConnectError::NotPublic(address).into());
        }
        if uri.scheme() == Some(&Scheme::HTTPS) {
            let tls = self.tls.get_or_try_init(|| with_tls(self.tcp.clone())).await?;
            return Ok(Box::new(tls.clone().oneshot(uri).await?));
        }
        Ok(Box::new(self.tcp.clone().oneshot(uri).await?))
    }

    async fn unix(&self, path: &Path) -> Result<Stream, BoxError> {
        Ok(Box::new(TokioIo::new(UnixStream::connect(path).await?)))
    }
}

/// Reads the certificate authorities, which takes a while, where it holds nobody up.
async fn with_tls(tcp: HttpConnector<Resolver>) -> Result<HttpsConnector<HttpConnector<Resolver>>, ConnectError> {
    let build = || {
        let builder = HttpsConnectorBuilder::new().try_with_platform_verifier().map_err(io::Error::other)?;
        Ok(builder.https_only().enable_http1().wrap_connector(tcp))
    };
    let built = tokio::task::spawn_blocking(build).await.map_err(io::Error::other).flatten();
    built.map_err(ConnectError::Tls)
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Stream, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let connected = tokio::time::timeout(CONNECT_TIMEOUT, inner.connect(uri)).await;
            connected.map_err(|_| ConnectError::Timeout)?
        })
    }
}

/// The system's resolver, all of whose addresses must be admitted.
#[derive(Clone, Debug)]
struct Resolver {
    system: GaiResolver,
    policy: AddressPolicy,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (system, policy) = (self.system.clone(), self.policy);
        Box::pin(async move {
            let addresses: Vec<_> = system.oneshot(name).await?.collect();
            match addresses.iter().find(|address| !policy.admits(address.ip())) {
                Some(refused) => Err(ConnectError::NotPublic(refused.ip()).into()),
                None => Ok(addresses.into_iter()),
            }
        })
    }
}

/// A connection of any kind.
pub(super) type Stream = Box<dyn ReadWrite>;

/// What HTTP is spoken over.
pub(super) trait ReadWrite: Read + Write + Send + Unpin {}
impl<T: Read + Write + Send + Unpin> ReadWrite for T {}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
