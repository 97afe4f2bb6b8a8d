//! The life of one connection.

use std::{
    convert::Infallible,
    error::Error,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, rt::Executor};
use hyper_util::{
    rt::TokioIo,
    server::{conn::auto, graceful::GracefulConnection},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep},
};
use tokio_util::task::TaskTracker;
use tower::Service;
use tracing::Instrument;

use super::{
    FIRST_REQUEST,
    quiet::{Answer, Counted, Use},
    transport::{Transport, Version},
};
use crate::{listen::Peer, shutdown::Drain};

/// What the connections of a server share.
pub(super) struct Connections<S> {
    http1: auto::Builder<Streams>,
    http2: auto::Builder<Streams>,
    drain: Drain,
    service: S,
}

impl<S, B> Connections<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
{
    pub(super) fn new(http: auto::Builder<Streams>, drain: Drain, service: S) -> Self {
        Self { http1: http.clone().http1_only(), http2: http.http2_only(), drain, service }
    }

    /// Serves one connection until it closes.
    pub(super) async fn run<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self: Arc<Self>,
        stream: T,
        peer: Peer,
        _permit: OwnedSemaphorePermit,
    ) {
        let mut draining = pin!(self.drain.started());
        let mut first_request = pin!(sleep(FIRST_REQUEST));
        let mut transport = Transport::new(stream);
        // Throughout: a request that is here already is answered, drain or not.
        let version = tokio::select! {
            biased;
            version = transport.version() => version,
            () = draining.as_mut() => return,
            () = first_request.as_mut() => return tracing::debug!("no request in time"),
        };
        let (asked, in_use) = (Arc::new(AtomicBool::new(false)), Use::none());
        let (service, drain) = (self.service.clone(), self.drain.clone());
        let service = Connected { service, peer, asked: Arc::clone(&asked), in_use: in_use.clone(), drain };
        let http = match version {
            Ok(Version::Http1) => &self.http1,
            Ok(Version::Http2) => &self.http2,
            Err(error) => return tracing::debug!(%error, "connection failed"),
        };
        let closing = async {
            draining.await;
            // A client of HTTP/2 is told which of its requests were taken.
            if matches!(version, Ok(Version::Http1)) {
                in_use.quiet().await;
            }
        };
        let connection = pin!(http.serve_connection(TokioIo::new(transport), service));
        if let Err(error) = drive(connection, pin!(closing), first_request, &asked).await {
            tracing::debug!(%error, "connection failed");
        }
    }
}

/// Runs a connection, asks it to close when it is to, and gives it up when no request came.
async fn drive<C: GracefulConnection>(
    mut connection: Pin<&mut C>,
    mut closing: Pin<&mut impl Future<Output = ()>>,
    mut first_request: Pin<&mut Sleep>,
    asked: &AtomicBool,
) -> Result<(), C::Error> {
    let (mut is_open, mut is_new) = (true, true);
    loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => return result,
            () = closing.as_mut(), if is_open => {
                is_open = false;
                connection.as_mut().graceful_shutdown();
            }
            () = first_request.as_mut(), if is_new => {
                is_new = false;
                if !asked.load(Relaxed) {
                    tracing::debug!("no request in time");
                    return Ok(());
                }
            }
        }
    }
}

/// Adds the peer to each request, and notes that there was one, and when it was answered.
struct Connected<S> {
    service: S,
    peer: Peer,
    asked: Arc<AtomicBool>,
    in_use: Use,
    drain: Drain,
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Connected<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone,
{
    type Response = Response<Counted<B>>;
    type Error = S::Error;
    type Future = Answer<S>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.asked.store(true, Relaxed);
        request.extensions_mut().insert(self.peer);
        Answer::new(self.service.clone(), request, &self.in_use, &self.drain)
    }
}

/// Runs the streams of HTTP/2, for hyper. They end with their connection.
#[derive(Clone, Debug)]
pub(super) struct Streams(pub(super) TaskTracker);

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn(stream.in_current_span());
    }
}
