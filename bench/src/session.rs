//! A client's session with a target: `initialize`, calls one after another, an orderly end.

mod modern;
mod pipe;
mod sse;
mod streamable;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

pub(crate) use self::modern::Modern;
pub(crate) use self::pipe::Pipe;
pub(crate) use self::sse::{Sse, Stream};
pub(crate) use self::streamable::Streamable;

/// The newest revision that every target, the peers included, speaks.
pub(crate) const REVISION: &str = "2025-06-18";

/// How a target is reached.
#[derive(Clone, Debug)]
pub(crate) enum Endpoint {
    /// The child itself, started by the session.
    Pipe {
        program: PathBuf,
    },
    Streamable {
        addr: SocketAddr,
        path: &'static str,
        revision: &'static str,
    },
    Sse {
        addr: SocketAddr,
        path: &'static str,
    },
    /// Streamable HTTP of 2026-07-28: nothing is opened but a connection.
    Modern {
        addr: SocketAddr,
        path: &'static str,
        /// What clients can be asked: JSON.
        capabilities: &'static str,
    },
}

impl Endpoint {
    /// Streamable HTTP of the revision that everything speaks.
    pub(crate) fn streamable(addr: SocketAddr, path: &'static str) -> Self {
        Self::Streamable { addr, path, revision: REVISION }
    }

    /// Over which revision hands are shaken, if they are.
    fn handshake(&self) -> Option<&'static str> {
        match self {
            Self::Streamable { revision, .. } => Some(revision),
            Self::Pipe { .. } | Self::Sse { .. } => Some(REVISION),
            Self::Modern { .. } => None,
        }
    }
}

/// An open session of any transport.
#[derive(Debug)]
pub(crate) enum Session {
    Pipe(Pipe),
    Streamable(Streamable),
    Sse(Sse),
    Modern(Modern),
}

impl Session {
    /// Connects, and shakes hands where that is done.
    pub(crate) async fn open(endpoint: &Endpoint) -> anyhow::Result<Self> {
        let mut session = Self::connect(endpoint).await?;
        if let Some(revision) = endpoint.handshake() {
            session.shake_hands(revision).await.context("cannot initialize a session")?;
        }
        Ok(session)
    }

    /// Connects and says nothing.
    pub(crate) async fn connect(endpoint: &Endpoint) -> anyhow::Result<Self> {
        Ok(match endpoint {
            Endpoint::Pipe { program } => Self::Pipe(Pipe::open(program)?),
            Endpoint::Streamable { addr, path, revision } => {
                Self::Streamable(Streamable::open(*addr, path, revision).await?)
            }
            Endpoint::Sse { addr, path } => Self::Sse(Sse::open(*addr, path).await?),
            Endpoint::Modern { addr, path, capabilities } => {
                Self::Modern(Modern::open(*addr, path, capabilities).await?)
            }
        })
    }

    async fn shake_hands(&mut self, revision: &str) -> anyhow::Result<()> {
        let initialize = format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{revision}","capabilities":{{}},"clientInfo":{{"name":"bench","version":"1"}}}}}}"#
        );
        let answer = self.request(0, initialize.as_bytes()).await?;
        Answer::parse(&answer)?.result()?;
        self.notify(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await
    }

    /// Sends a request and returns the message that answers `id`; what answers another id is counted as a stray.
    pub(crate) async fn request(&mut self, id: u64, message: &[u8]) -> anyhow::Result<Bytes> {
        match self {
            Self::Pipe(pipe) => pipe.request(id, message).await,
            Self::Streamable(streamable) => streamable.request(id, message).await,
            Self::Sse(sse) => sse.request(id, message).await,
            Self::Modern(modern) => modern.request(id, message).await,
        }
    }

    async fn notify(&mut self, message: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Pipe(pipe) => pipe.send(message).await,
            Self::Streamable(streamable) => streamable.notify(message).await,
            Self::Sse(sse) => sse.notify(message).await,
            Self::Modern(_) => bail!("there is nothing to be told of without a session"),
        }
    }

    /// Messages that answered none of this session's requests.
    pub(crate) fn strays(&self) -> u64 {
        match self {
            Self::Pipe(_) => 0,
            Self::Streamable(streamable) => streamable.strays,
            Self::Sse(sse) => sse.strays,
            Self::Modern(modern) => modern.strays(),
        }
    }

    /// Counts what still comes unasked within the time.
    pub(crate) async fn listen(&mut self, time: Duration) {
        if let Self::Sse(sse) = self {
            sse.listen(time).await;
        }
    }

    /// Ends the session where the transport has a word for it.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        match self {
            Self::Streamable(streamable) => streamable.close().await,
            Self::Pipe(_) | Self::Sse(_) | Self::Modern(_) => Ok(()),
        }
    }
}

/// The envelope of an answer, or of anything else a server says.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer<'a> {
    pub(crate) id: Option<u64>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl<'a> Answer<'a> {
    pub(crate) fn parse(message: &'a [u8]) -> anyhow::Result<Self> {
        serde_json::from_slice(message).with_context(|| {
            let start = String::from_utf8_lossy(&message[..message.len().min(200)]);
            format!("a server's message is not JSON-RPC: {start}")
        })
    }

    /// The result, or the error as an error.
    pub(crate) fn result(self) -> anyhow::Result<&'a str> {
        match (self.result, self.error) {
            (Some(result), None) => Ok(result.get()),
            (None, Some(error)) => bail!("the call was refused: {error}"),
            _ => bail!("the message is not an answer"),
        }
    }
}
