//! The body of an SSE stream.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

use super::Bridge;

/// Events as they come; when the client leaves, the bridge forgets the stream.
pub(super) struct Events {
    receive: mpsc::Receiver<Bytes>,
    stream: u64,
    bridge: Arc<Bridge>,
}

impl Events {
    pub(super) fn new(receive: mpsc::Receiver<Bytes>, stream: u64, bridge: Arc<Bridge>) -> Self {
        Self { receive, stream, bridge }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.receive.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.bridge.close(self.stream);
    }
}
