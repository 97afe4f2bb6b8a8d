//! Frames on a Unix socket: four bytes of length, big-endian, and so many bytes of JSON. File descriptors travel with
//! the first byte of the frame that they belong to.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// The largest frame, in bytes: more than Linux takes as arguments and environment of a process, as JSON.
pub const MAX_FRAME: usize = 8 << 20;
/// The most file descriptors with one frame.
pub const MAX_FDS: usize = 3;
/// The bytes that tell a frame's length.
const HEADER: usize = 4;

/// See the [module](self).
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
    /// The frame that is being received, its length first; as long as it will be, as far as that is known.
    frame: Vec<u8>,
    filled: usize,
    /// What came with it.
    fds: Vec<OwnedFd>,
}

impl Channel {
    /// Frames on this socket.
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, frame: vec![0; HEADER], filled: 0, fds: Vec::new() }
    }

    /// Sends one frame. When the future is dropped, the channel is of no use any more.
    ///
    /// # Errors
    /// When the frame is larger than [`MAX_FRAME`], or the other side is gone.
    pub async fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut frame = vec![0; HEADER];
        serde_json::to_writer(&mut frame, message)?;
        let length = frame.len() - HEADER;
        let header = u32::try_from(length).ok().filter(|_| length <= MAX_FRAME);
        let header = header.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, too_large(length)))?;
        frame[..HEADER].copy_from_slice(&header.to_be_bytes());
        let mut sent = 0;
        while sent < frame.len() {
            self.stream.writable().await?;
            let fds = if sent == 0 { fds } else { &[] };
            sent += again(self.stream.try_io(Interest::WRITABLE, || write(&self.stream, &frame[sent..], fds)))?;
        }
        Ok(())
    }

    /// The next frame and what came with it; `None` when the other side has ended, whether or not it has read all.
    /// Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// When it is too large, not understood, cut off, or carries too many file descriptors.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        loop {
            self.stream.readable().await?;
            let Self { stream, frame, filled, fds } = self;
            // Reading on only to the end of the frame, all that comes with it is the frame's.
            match stream.try_io(Interest::READABLE, || read(stream, &mut frame[*filled..], fds)) {
                Ok(0) if *filled == 0 => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset && *filled == 0 => return Ok(None),
                read => *filled += again(read)?,
            }
            if *filled == HEADER && frame.len() == HEADER {
                frame.resize(HEADER + length(frame)?, 0);
            } else if *filled == frame.len() {
                *filled = 0;
                let frame = std::mem::replace(frame, vec![0; HEADER]);
                return Ok(Some((serde_json::from_slice(&frame[HEADER..])?, std::mem::take(fds))));
            }
        }
    }
}

/// The length of a frame, as it begins with it.
fn length(frame: &[u8]) -> io::Result<usize> {
    let header = frame.first_chunk::<HEADER>().copied().unwrap_or_default();
    let length = usize::try_from(u32::from_be_bytes(header)).unwrap_or(usize::MAX);
    let problem = match length {
        0 => "an empty frame".to_owned(),
        1..=MAX_FRAME => return Ok(length),
        _ => too_large(length),
    };
    Err(io::Error::new(io::ErrorKind::InvalidData, problem))
}

fn too_large(length: usize) -> String {
    format!("a frame of {length} bytes, where {MAX_FRAME} are possible")
}

/// Nothing was done that could not be done yet.
fn again(outcome: io::Result<usize>) -> io::Result<usize> {
    match outcome {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
        outcome => outcome,
    }
}

fn write(stream: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many file descriptors"));
    }
    Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
}

fn read(stream: &UnixStream, bytes: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    // Where this process may open no more of them, some are missing, and whoever wants them sees that.
    let received = recvmsg(stream, &mut [IoSliceMut::new(bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if fds.len() > MAX_FDS {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too many file descriptors"));
    }
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// What is received of `bytes`, written in pieces of these sizes, and why it ended.
    fn receive(bytes: &[u8], sizes: &[usize]) -> (Vec<serde_json::Value>, io::Result<()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let (near, mut far) = UnixStream::pair().unwrap();
            let write = async move {
                let (mut rest, mut sizes) = (bytes, sizes.iter().cycle());
                while let Some(size) = sizes.next().filter(|_| !rest.is_empty()) {
                    let (piece, more) = rest.split_at(rest.len().min(*size));
                    // What is not understood is not read on.
                    let Ok(()) = far.write_all(piece).await else { return };
                    tokio::task::yield_now().await;
                    rest = more;
                }
            };
            let read = async move {
                let (mut channel, mut received) = (Channel::new(near), Vec::new());
                loop {
                    match channel.receive().await {
                        Ok(Some((value, _))) => received.push(value),
                        Ok(None) => return (received, Ok(())),
                        Err(error) => return (received, Err(error)),
                    }
                    assert!(channel.frame.len() <= HEADER + MAX_FRAME);
                }
            };
            tokio::join!(read, write).0
        })
    }

    proptest! {
        #[test]
        fn frames_are_received_however_they_are_cut(texts in vec(".{0,300}", 0..6), sizes in vec(1..200usize, 1..10)) {
            let frame = |text: &String| {
                let json = serde_json::to_vec(text).unwrap();
                [&u32::try_from(json.len()).unwrap().to_be_bytes()[..], &json].concat()
            };
            let bytes: Vec<u8> = texts.iter().flat_map(frame).collect();
            let (received, end) = receive(&bytes, &sizes);
            prop_assert!(end.is_ok());
            prop_assert_eq!(received, texts.into_iter().map(serde_json::Value::from).collect::<Vec<_>>());
        }

        #[test]
        fn what_is_no_frame_ends_the_channel(bytes in vec(any::<u8>(), 0..64), sizes in vec(1..9usize, 1..5)) {
            let (received, end) = receive(&bytes, &sizes);
            prop_assert!(end.is_err() || bytes.is_empty() || !received.is_empty());
        }
    }
}
