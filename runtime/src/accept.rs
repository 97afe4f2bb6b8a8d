//! HTTP connections on a [`Listener`]: HTTP/1.1, and HTTP/2 with prior knowledge, on one port.
//!
//! What a connection may cost is bounded: their number by a permit that is taken before accepting,
//! their buffers by [`MAX_BUFFER`], the time until the first request by [`FIRST_REQUEST`] and
//! between requests by [`KEEP_ALIVE`]. Time limits of a request's body are the handler's.
//!
//! When the drain begins, the listener closes, idle connections close, and each of the others closes
//! after the answers it owes: with an answer that says so, or after a quiet moment. A stream has to end itself: `stream.take_until(drain.started())`.

use std::{convert::Infallible, error::Error, pin::pin, sync::Arc, time::Duration};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::{rt::TokioTimer, server::conn::auto};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;
use tower::Service;
use tracing::Instrument;

use crate::{limits, listen::Listener, shutdown::Drain};

mod acceptor;
mod connection;
mod quiet;
mod transport;

use acceptor::Acceptor;
use connection::{Connections, Streams};

/// A connection is closed when the head of its first request is not complete so long after it was
/// accepted.
pub const FIRST_REQUEST: Duration = Duration::from_secs(10);

/// A connection is closed when the head of its next request is not complete so long after the last
/// answer. Load balancers often keep theirs for 60 s, and must close first: a request that meets a
/// closing connection is lost. Our own clients keep connections for less.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Bytes that a connection, or a stream of HTTP/2, buffers in each direction; also the limit of a
/// request's head. hyper's own 400 KiB would stay with an idle connection after one large request.
pub const MAX_BUFFER: usize = 64 * 1024;

/// Bytes of request bodies that may be on their way: on one stream of HTTP/2, and on a connection.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// HTTP/2 connections may idle for ever (clients keep them in reserve), but their peer must be alive.
const PING: Duration = Duration::from_secs(20);

/// Serves HTTP on a bound listener.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    max_connections: usize,
    max_streams: u32,
}

impl Server {
    /// By default, three quarters of the open files allowed may be connections, and 250 requests may
    /// be in progress on each connection of HTTP/2.
    pub fn new(listener: Listener) -> Self {
        Self { listener, max_connections: limits::connections(limits::open_files()), max_streams: 250 }
    }

    /// How many connections may be open. More wait in the kernel's backlog.
    pub fn max_connections(self, max_connections: usize) -> Self {
        Self { max_connections, ..self }
    }

    /// How many requests, streams included, may be in progress on one connection of HTTP/2. Clients
    /// that share one connection wait without a word for the next to end.
    pub fn max_streams(self, max_streams: u32) -> Self {
        Self { max_streams, ..self }
    }

    /// Serves until the drain began and every connection has closed, or until the stop is forced.
    /// Requests carry their [`Peer`](crate::listen::Peer) as an extension. No error ends it; dropping
    /// it ends all connections.
    pub async fn serve<S, B>(self, service: S, drain: Drain)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
    {
        let streams = Streams(TaskTracker::new());
        let http = http(streams.clone(), self.max_streams);
        let connections = Arc::new(Connections::new(http, drain.clone(), service));
        let mut acceptor = Acceptor::new(self.listener, self.max_connections);
        let mut tasks = JoinSet::new();
        let mut draining = pin!(drain.started());
        loop {
            tokio::select! {
                biased; // nothing is accepted once the drain began
                () = draining.as_mut() => break,
                Some(ended) = tasks.join_next() => report(ended),
                (stream, peer, permit) = acceptor.next() => {
                    let connection = Arc::clone(&connections).run(stream, peer, permit);
                    let span = tracing::debug_span!("connection", ?peer);
                    tasks.spawn(connection.instrument(span));
                }
            }
        }
        drop(acceptor); // refuses what comes now; in the backlog it would wait for nothing
        tokio::select! {
            () = drain.forced() => tracing::warn!(open = tasks.len(), "closing busy connections"),
            () = async {
                while let Some(ended) = tasks.join_next().await {
                    report(ended);
                }
                streams.0.close();
                streams.0.wait().await;
            } => {}
        }
    }
}

fn http(streams: Streams, max_streams: u32) -> auto::Builder<Streams> {
    let mut http = auto::Builder::new(streams);
    // Without timers, hyper's time limits do nothing.
    http.http1().timer(TokioTimer::new()).header_read_timeout(KEEP_ALIVE).max_buf_size(MAX_BUFFER);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(max_streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(MAX_BUFFER);
    http
}

/// A panic ends its connection only.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}

#[cfg(test)]
mod tests;
