//! The load generator's HTTP/1.1: one keep-alive connection, decoded by hand so that little of the machine's time is
//! the generator's own.

mod body;
mod head;

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::body::{Body, Step};
pub(crate) use self::head::{Head, MediaType};

/// A head larger than this is not an answer of any target.
const MAX_HEAD: usize = 64 * 1024;

/// A connection with at most one exchange under way.
#[derive(Debug)]
pub(crate) struct Connection {
    addr: SocketAddr,
    io: TcpStream,
    buffer: BytesMut,
    body: Body,
    reusable: bool,
}

impl Connection {
    pub(crate) async fn open(addr: SocketAddr) -> anyhow::Result<Self> {
        let io = connect(addr).await?;
        Ok(Self { addr, io, buffer: BytesMut::with_capacity(16 * 1024), body: Body::Length(0), reusable: true })
    }

    /// Sends a whole request and reads the head of its answer; the last answer's body must have been read.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Head> {
        if !self.reusable {
            self.io = connect(self.addr).await?;
            self.buffer.clear();
        }
        self.send(request).await?;
        let (head, body) = self.head().await?;
        self.reusable = !head.close && !matches!(body, Body::UntilClose);
        self.body = body;
        Ok(head)
    }

    /// Sends bytes and awaits nothing.
    pub(crate) async fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.io.write_all(request).await.context("cannot send the request")
    }

    /// The next piece of the answer's body; `None` at its end.
    pub(crate) async fn piece(&mut self) -> anyhow::Result<Option<Bytes>> {
        loop {
            match self.body.step(&mut self.buffer)? {
                Step::Data(piece) => return Ok(Some(piece)),
                Step::End => return Ok(None),
                Step::More => {}
            }
            if !self.fill().await? {
                ensure!(matches!(self.body, Body::UntilClose), "the connection closed inside an answer");
                return Ok(None);
            }
        }
    }

    /// What is left of the answer's body, as one.
    pub(crate) async fn rest(&mut self) -> anyhow::Result<Bytes> {
        let first = self.piece().await?.unwrap_or_default();
        let Some(second) = self.piece().await? else { return Ok(first) };
        let mut whole = BytesMut::from(first);
        whole.extend_from_slice(&second);
        while let Some(piece) = self.piece().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    async fn head(&mut self) -> anyhow::Result<(Head, Body)> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                let head = self.buffer.split_to(end + 4);
                return Head::parse(&head[..end]);
            }
            ensure!(self.buffer.len() < MAX_HEAD, "the answer's head is larger than {MAX_HEAD} bytes");
            ensure!(self.fill().await?, "the connection closed before an answer");
        }
    }

    async fn fill(&mut self) -> anyhow::Result<bool> {
        self.buffer.reserve(4 * 1024);
        Ok(self.io.read_buf(&mut self.buffer).await.context("cannot read the answer")? > 0)
    }
}

async fn connect(addr: SocketAddr) -> anyhow::Result<TcpStream> {
    let io = TcpStream::connect(addr).await.with_context(|| format!("cannot connect to {addr}"))?;
    io.set_nodelay(true)?;
    Ok(io)
}
