//! The byte stream below HTTP: knows the version before hyper allocates, and closes without taking
//! the last answer back.
//!
//! hyper-util can tell the versions apart as well. But it hands its first bytes on in a read of their
//! own, for which hyper doubles its buffer: 5 KiB of memory for each idle connection.
//!
//! A server that refuses a large body answers before it has read everything. If it closed then, the
//! kernel would reset the connection because of the unread bytes, and the client would see a failed
//! write instead of the answer (RFC 9112 §9.6). So the writing side is closed first, and what keeps
//! arriving is read and dropped for a while.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// What a client with prior knowledge of HTTP/2 sends first, RFC 9113 §3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long bytes are dropped before the connection is closed regardless.
const LINGER: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// A connection's bytes.
#[derive(Debug)]
pub(super) struct Transport<T> {
    inner: T,
    /// Bytes that [`Transport::version`] took, and hyper has yet to read: `start..end` of them.
    first: [u8; PREFACE.len()],
    start: usize,
    end: usize,
    closing: Closing,
}

#[derive(Debug)]
enum Closing {
    No,
    /// The peer can read the end; nothing was dropped yet.
    Shut,
    /// The peer is sending: bytes are dropped until it ends or this does.
    Dropping(Pin<Box<Sleep>>),
}

impl<T: AsyncRead + Unpin> Transport<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, first: [0; _], start: 0, end: 0, closing: Closing::No }
    }

    /// Waits for the bytes that tell the version. They stay to be read.
    pub(super) async fn version(&mut self) -> io::Result<Version> {
        while PREFACE.starts_with(&self.first[..self.end]) {
            if self.end == PREFACE.len() {
                return Ok(Version::Http2);
            }
            let read = self.inner.read(&mut self.first[self.end..]).await?;
            if read == 0 {
                break;
            }
            self.end += read;
        }
        Ok(Version::Http1)
    }

    /// Reads and drops; `false` at the end.
    fn poll_drop(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut buffer = ReadBuf::uninit(&mut space);
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer));
        Poll::Ready(read.is_ok() && !buffer.filled().is_empty())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Transport<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = buffer.remaining().min(self.end - self.start);
        buffer.put_slice(&self.first[self.start..][..count]);
        self.start += count;
        // The rest of the request is here too, most often.
        match Pin::new(&mut self.inner).poll_read(cx, buffer) {
            Poll::Pending if count > 0 => Poll::Ready(Ok(())),
            read => read,
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Transport<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.closing {
                Closing::No => {
                    ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
                    self.closing = Closing::Shut;
                }
                // Idle clients may not notice the end for long: only one that is sending is waited for.
                Closing::Shut => match self.poll_drop(cx) {
                    Poll::Ready(true) => self.closing = Closing::Dropping(Box::pin(sleep(LINGER))),
                    Poll::Ready(false) | Poll::Pending => return Poll::Ready(Ok(())),
                },
                Closing::Dropping(end) => {
                    if end.as_mut().poll(cx).is_ready() || !ready!(self.poll_drop(cx)) {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
