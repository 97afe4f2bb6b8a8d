//! Requests that stand alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderName, HeaderValue};
use mcp::envelope::Message;
use mcp::modern::mirrored::Mirrored;
use mcp::session::SessionKey;
use mcp::session::streams::{Carrier, Transport};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::stream::stream;
use super::{Attach, Caller, Command, Departures, Ended, SessionHandle, SessionId, StreamRx};

/// The key of the first; sessions of the same task are counted from 1 on.
const FIRST: u64 = 1 << 63;

/// Sends requests of 2026-07-28, and opens sessions, at the task that owns a server connection. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Exchanges {
    commands: mpsc::Sender<Command>,
    departures: Arc<Departures>,
    next: Arc<AtomicU64>,
    mirrored: watch::Sender<Arc<Mirrored>>,
    lease: Option<Lease>,
}

/// The right to be the one call in which a server may ask something. It ends with its last clone.
#[derive(Clone, Debug)]
pub struct Lease {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl From<OwnedSemaphorePermit> for Lease {
    fn from(permit: OwnedSemaphorePermit) -> Self {
        Self { _permit: Arc::new(permit) }
    }
}

impl Exchanges {
    /// For the task that takes `commands` and is told of connections that end by `departures`. All requests to one task
    /// must come from clones of one value.
    pub fn new(commands: mpsc::Sender<Command>, departures: Arc<Departures>) -> Self {
        let (next, mirrored) = (Arc::new(AtomicU64::new(FIRST)), watch::Sender::default());
        Self { commands, departures, next, mirrored, lease: None }
    }

    /// The same with a lease, which the task holds until the call that is sent has ended.
    #[must_use]
    pub fn leased(self, lease: Lease) -> Self {
        Self { lease: Some(lease), ..self }
    }

    /// The same without one.
    #[must_use]
    pub fn unleased(&self) -> Self {
        Self { lease: None, ..self.clone() }
    }

    /// Whether the task still takes any.
    pub fn is_open(&self) -> bool {
        !self.commands.is_closed()
    }

    /// Which arguments of the server's tools are repeated in headers, as far as that is known.
    pub fn mirrored(&self) -> Arc<Mirrored> {
        self.mirrored.borrow().clone()
    }

    /// Says which they are.
    pub fn set_mirrored(&self, mirrored: Mirrored) {
        self.mirrored.send_replace(Arc::new(mirrored));
    }

    /// Opens a session over the same connection.
    pub async fn attach(&self, id: SessionId, caller: Caller, transport: Transport) -> Result<SessionHandle, Ended> {
        let (reply, opened) = oneshot::channel();
        self.commands.send(Command::Attach(Attach { id, caller, transport, reply })).await.map_err(|_| Ended)?;
        opened.await.map_err(|_| Ended)
    }

    /// Sends a request or notification; waits while the task's queue is full. What comes back ends with the answer. Who
    /// drops it before has cancelled the request.
    pub async fn send(&self, caller: Caller, message: Message, carrier: Carrier) -> Result<StreamRx, Ended> {
        self.send_with(Vec::new(), caller, message, carrier).await
    }

    /// The same, with the headers that repeat arguments of a tool.
    pub async fn send_with(
        &self,
        repeated: Vec<(HeaderName, HeaderValue)>,
        caller: Caller,
        message: Message,
        carrier: Carrier,
    ) -> Result<StreamRx, Ended> {
        let key = SessionKey(self.next.fetch_add(1, Ordering::Relaxed));
        let (stream, frames) = stream(&self.departures, key);
        frames.decide(carrier);
        let lease = self.lease.clone();
        let command = Command::Exchange { key, caller, message, repeated, stream, lease };
        self.commands.send(command).await.map_err(|_| Ended)?;
        Ok(frames)
    }
}
