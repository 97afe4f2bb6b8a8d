//! How long a connection of HTTP/1 has been quiet, so that the drain closes none that is in use.
//!
//! An answer that has begun cannot say any more that the connection will close after it. A client that sends its next request
//! at once would send it into the void, and could not know whether it was received. So a connection that was just used
//! is kept for [`QUIET`]; what is asked meanwhile is answered, with the word that it is the last.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tower::{Service, ServiceExt as _, util::Oneshot};

use crate::shutdown::Drain;

/// The drain closes a connection that nothing was asked on for so long after the last answer.
pub(super) const QUIET: Duration = Duration::from_millis(500);

/// When the last answer ended; `None` while there is one under way. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Use(Arc<watch::Sender<Option<Instant>>>);

impl Use {
    /// Of a connection on which nothing has been asked.
    pub(super) fn none() -> Self {
        let long_ago = Instant::now().checked_sub(QUIET).unwrap_or_else(Instant::now);
        Self(Arc::new(watch::Sender::new(Some(long_ago))))
    }

    /// Waits until nothing has been asked for a while, and no answer is under way.
    pub(super) async fn quiet(&self) {
        let mut changes = self.0.subscribe();
        loop {
            let last = *changes.borrow_and_update();
            let quiet = async {
                match last {
                    Some(last) => sleep_until(last + QUIET).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased; // whatever was asked in the last moment counts
                changed = changes.changed() => if changed.is_err() { return },
                () = quiet => return,
            }
        }
    }

    fn begin(&self) -> InUse {
        self.0.send_replace(None);
        InUse(self.clone())
    }
}

/// An answer that is under way.
#[derive(Debug)]
struct InUse(Use);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.0.send_replace(Some(Instant::now()));
    }
}

/// An answer on its way.
#[derive(Debug)]
pub(super) struct Answer<S: Service<Request<Incoming>>> {
    future: Pin<Box<Oneshot<S, Request<Incoming>>>>,
    in_use: Option<InUse>,
    /// Whether answers are to say that the connection closes after them.
    drain: Option<Drain>,
}

impl<S: Service<Request<Incoming>>> Answer<S> {
    /// The answer of `service` to a request on `connection`.
    pub(super) fn new(service: S, request: Request<Incoming>, connection: &Use, drain: &Drain) -> Self {
        let drain = (request.version() < Version::HTTP_2).then(|| drain.clone());
        Self { future: Box::pin(service.oneshot(request)), in_use: Some(connection.begin()), drain }
    }
}

impl<S, B> Future for Answer<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
{
    type Output = Result<Response<Counted<B>>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = ready!(self.future.as_mut().poll(cx))?;
        if self.drain.as_ref().is_some_and(Drain::is_draining) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let in_use = self.in_use.take();
        Poll::Ready(Ok(response.map(|body| Counted { body, _in_use: in_use })))
    }
}

/// A body whose end is noticed.
#[derive(Debug)]
pub(super) struct Counted<B> {
    body: B,
    _in_use: Option<InUse>,
}

impl<B: Body + Unpin> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_quiet_a_while_after_the_last_answer() {
        let connection = Use::none();
        assert!(connection.quiet().now_or_never().is_some(), "nothing was ever asked");
        let first = connection.begin();
        let waits = async {
            connection.quiet().await;
            Instant::now()
        };
        let asks = async {
            tokio::time::sleep(10 * QUIET).await;
            drop(first);
            tokio::time::sleep(QUIET / 2).await;
            drop(connection.begin());
            Instant::now()
        };
        let (quiet, last) = tokio::join!(waits, asks);
        assert_eq!(quiet - last, QUIET);
    }
}
