//! A client's session with a target: `initialize`, calls one after another, an orderly end.

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
    },
    Sse {
        addr: SocketAddr,
        path: &'static str,
    },
}

/// An open session of any transport.
#[derive(Debug)]
pub(crate) enum Session {
    Pipe(Pipe),
    Streamable(Streamable),
    Sse(Sse),
}

impl Session {
    /// Connects and shakes hands.
    pub(crate) async fn open(endpoint: &Endpoint) -> anyhow::Result<Self> {
        let mut session = Self::connect(endpoint).await?;
        session.shake_hands().await.context("cannot initialize a session")?;
        Ok(session)
    }

    /// Connects and says nothing.
    pub(crate) async fn connect(endpoint: &Endpoint) -> anyhow::Result<Self> {
        Ok(match endpoint {
            Endpoint::Pipe { program } => Self::Pipe(Pipe::open(program)?),
            Endpoint::Streamable { addr, path } => Self::Streamable(Streamable::open(*addr, path).await?),
            Endpoint::Sse { addr, path } => Self::Sse(Sse::open(*addr, path).await?),
        })
    }

    async fn shake_hands(&mut self) -> anyhow::Result<()> {
        let initialize = format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{REVISION}","capabilities":{{}},"clientInfo":{{"name":"bench","version":"1"}}}}}}"#
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
        }
    }

    async fn notify(&mut self, message: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Pipe(pipe) => pipe.send(message).await,
            Self::Streamable(streamable) => streamable.notify(message).await,
            Self::Sse(sse) => sse.notify(message).await,
        }
    }

    /// Messages that answered none of this session's requests.
    pub(crate) fn strays(&self) -> u64 {
        match self {
            Self::Pipe(_) => 0,
            Self::Streamable(streamable) => streamable.strays,
            Self::Sse(sse) => sse.strays,
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
            Self::Pipe(_) | Self::Sse(_) => Ok(()),
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
