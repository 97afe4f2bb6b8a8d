//! A session over HTTP+SSE (2024-11-05): a stream for everything the server says, and POSTs beside it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;

use super::Answer;
use crate::http::Connection;
use crate::sse::{Decoder, Event, Kind};

/// The stream and the connection for POSTs.
#[derive(Debug)]
pub(crate) struct Sse {
    stream: Stream,
    posts: Posts,
    pub(super) strays: u64,
}

impl Sse {
    pub(super) async fn open(addr: SocketAddr, path: &str) -> anyhow::Result<Self> {
        let (stream, endpoint) = Stream::open(addr, path).await?;
        let posts = Posts::open(addr, &endpoint).await?;
        Ok(Self { stream, posts, strays: 0 })
    }

    pub(super) async fn request(&mut self, id: u64, message: &[u8]) -> anyhow::Result<Bytes> {
        let Self { stream, posts, strays } = self;
        let answer = async {
            loop {
                let message = stream.message().await?;
                if Answer::parse(&message)?.id == Some(id) {
                    return Ok(message);
                }
                *strays += 1;
            }
        };
        // The answer may overtake the 202.
        let ((), answer) = tokio::try_join!(posts.post(message), answer)?;
        Ok(answer)
    }

    pub(super) async fn notify(&mut self, message: &[u8]) -> anyhow::Result<()> {
        self.posts.post(message).await
    }

    pub(super) async fn listen(&mut self, time: Duration) {
        let listening = async {
            while self.stream.message().await.is_ok() {
                self.strays += 1;
            }
        };
        // Silence until the time is over is what is hoped for.
        drop(tokio::time::timeout(time, listening).await);
    }

    /// Keeps the stream and gives up the connection for POSTs, as idle clients do.
    pub(crate) fn into_stream(self) -> Stream {
        self.stream
    }

    /// Sends a request and leaves before its answer.
    pub(crate) async fn abandon(mut self, message: &[u8]) -> anyhow::Result<()> {
        self.posts.frame(message)?;
        self.posts.connection.send(&self.posts.request).await
    }
}

/// The server's half.
#[derive(Debug)]
pub(crate) struct Stream {
    connection: Connection,
    events: Decoder,
}

impl Stream {
    /// Opens the stream and awaits the `endpoint` event; returns the path that it names.
    pub(crate) async fn open(addr: SocketAddr, path: &str) -> anyhow::Result<(Self, String)> {
        let mut connection = Connection::open(addr).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nAccept: text/event-stream\r\n\r\n");
        let status = connection.exchange(request.as_bytes()).await?.status;
        ensure!(status == 200, "the target answered {status} to GET {path}");
        let mut stream = Self { connection, events: Decoder::default() };
        let Event { kind, data } = stream.event().await?;
        ensure!(kind == Kind::Endpoint, "the stream's first event is not the endpoint");
        let endpoint = str::from_utf8(&data).context("the endpoint is not text")?;
        // Peers name it with scheme and host, as a full URL.
        let path = endpoint.split_once("://").and_then(|(_, rest)| rest.find('/').map(|slash| &rest[slash..]));
        let path = path.unwrap_or(endpoint).to_owned();
        Ok((stream, path))
    }

    async fn message(&mut self) -> anyhow::Result<Bytes> {
        loop {
            if let Event { kind: Kind::Message, data } = self.event().await? {
                return Ok(data);
            }
        }
    }

    async fn event(&mut self) -> anyhow::Result<Event> {
        loop {
            if let Some(event) = self.events.next_event() {
                return Ok(event);
            }
            let piece = self.connection.piece().await?.context("the stream ended")?;
            self.events.push(&piece);
        }
    }
}

/// The client's half.
#[derive(Debug)]
struct Posts {
    connection: Connection,
    head: String,
    request: Vec<u8>,
}

impl Posts {
    async fn open(addr: SocketAddr, path: &str) -> anyhow::Result<Self> {
        let head = format!("POST {path} HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/json\r\n");
        Ok(Self { connection: Connection::open(addr).await?, head, request: Vec::new() })
    }

    fn frame(&mut self, message: &[u8]) -> anyhow::Result<()> {
        self.request.clear();
        write!(self.request, "{}Content-Length: {}\r\n\r\n", self.head, message.len())?;
        self.request.extend_from_slice(message);
        Ok(())
    }

    async fn post(&mut self, message: &[u8]) -> anyhow::Result<()> {
        self.frame(message)?;
        let status = self.connection.exchange(&self.request).await?.status;
        let text = self.connection.rest().await?;
        ensure!((200..300).contains(&status), "the target answered {status}: {}", String::from_utf8_lossy(&text));
        Ok(())
    }
}
