//! A session over Streamable HTTP: every message a POST, its answer JSON or a stream of events.

use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;

use super::Answer;
use crate::http::{Connection, Head, MediaType};
use crate::sse::Decoder;

/// A connection, and the head that every request of the session starts with.
#[derive(Debug)]
pub(crate) struct Streamable {
    connection: Connection,
    addr: SocketAddr,
    path: &'static str,
    revision: &'static str,
    session: Option<String>,
    /// The fields that not every client's requests have, each with its CRLF.
    fields: String,
    head: String,
    request: Vec<u8>,
    media_type: MediaType,
    pub(super) strays: u64,
}

impl Streamable {
    pub(super) async fn open(addr: SocketAddr, path: &'static str, revision: &'static str) -> anyhow::Result<Self> {
        let mut session = Self {
            connection: Connection::open(addr).await?,
            addr,
            path,
            revision,
            session: None,
            fields: String::new(),
            head: String::new(),
            request: Vec::new(),
            media_type: MediaType::Other,
            strays: 0,
        };
        session.head = session.head_of("POST");
        Ok(session)
    }

    /// All of a request's head but its length and the empty line.
    fn head_of(&self, method: &str) -> String {
        let Self { addr, path, fields, .. } = self;
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\n{fields}"
        )
    }

    /// Gives further requests these header fields.
    pub(super) fn say(&mut self, fields: String) {
        self.fields = fields;
        self.head = self.head_of("POST");
    }

    pub(super) async fn request(&mut self, id: u64, message: &[u8]) -> anyhow::Result<Bytes> {
        let head = self.post(message).await?;
        self.media_type = head.media_type;
        if let Some(session) = head.session.filter(|_| self.session.is_none()) {
            self.say(format!("Mcp-Session-Id: {session}\r\nMCP-Protocol-Version: {}\r\n", self.revision));
            self.session = Some(session);
        }
        match (head.status, head.media_type) {
            (200, MediaType::Json) => {
                let answer = self.connection.rest().await?;
                ensure!(Answer::parse(&answer)?.id == Some(id), "the answer is for another request");
                Ok(answer)
            }
            (200, MediaType::EventStream) => self.answer_from_events(id).await,
            (status, _) => {
                let text = self.connection.rest().await?;
                bail!("the target answered {status}: {}", String::from_utf8_lossy(&text))
            }
        }
    }

    async fn answer_from_events(&mut self, id: u64) -> anyhow::Result<Bytes> {
        let mut events = Decoder::default();
        let mut answer = None;
        while let Some(piece) = self.connection.piece().await? {
            events.push(&piece);
            while let Some(event) = events.next_event() {
                if Answer::parse(&event.data)?.id == Some(id) && answer.is_none() {
                    answer = Some(event.data);
                } else {
                    self.strays += 1;
                }
            }
        }
        answer.context("the stream ended without the answer")
    }

    pub(super) async fn notify(&mut self, message: &[u8]) -> anyhow::Result<()> {
        let Head { status, .. } = self.post(message).await?;
        let text = self.connection.rest().await?;
        ensure!(status == 202, "the target answered {status} to a notification: {}", String::from_utf8_lossy(&text));
        Ok(())
    }

    async fn post(&mut self, message: &[u8]) -> anyhow::Result<Head> {
        self.frame(message)?;
        self.connection.exchange(&self.request).await
    }

    fn frame(&mut self, message: &[u8]) -> anyhow::Result<()> {
        self.request.clear();
        write!(self.request, "{}Content-Length: {}\r\n\r\n", self.head, message.len())?;
        self.request.extend_from_slice(message);
        Ok(())
    }

    /// Sends a request whose answer nobody will read.
    pub(crate) async fn abandon(mut self, message: &[u8]) -> anyhow::Result<()> {
        self.frame(message)?;
        self.connection.send(&self.request).await
    }

    /// The same session over a new connection.
    pub(crate) async fn again(&self) -> anyhow::Result<Self> {
        let mut session = Self::open(self.addr, self.path, self.revision).await?;
        session.session.clone_from(&self.session);
        session.say(self.fields.clone());
        Ok(session)
    }

    /// Whether the target has given it a session.
    pub(super) fn has_session(&self) -> bool {
        self.session.is_some()
    }

    /// The form of the last answer.
    pub(crate) fn media_type(&self) -> MediaType {
        self.media_type
    }

    pub(super) async fn close(mut self) -> anyhow::Result<()> {
        if self.session.is_none() {
            return Ok(());
        }
        let request = format!("{}Content-Length: 0\r\n\r\n", self.head_of("DELETE"));
        let Head { status, .. } = self.connection.exchange(request.as_bytes()).await?;
        self.connection.rest().await?;
        // A server may refuse to let clients end sessions (405).
        ensure!(status < 300 || status == 405, "the target answered {status} to DELETE");
        Ok(())
    }
}
