//! Requests that stand alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderName, HeaderValue};
use mcp::envelope::Message;
use mcp::modern::mirrored::Mirrored;
use mcp::session::SessionKey;
use mcp::session::streams::Carrier;
use tokio::sync::{mpsc, watch};

use super::stream::stream;
use super::{Caller, Command, Departures, Ended, StreamRx};

/// Sends requests of 2026-07-28 to the task that owns a server connection. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Exchanges {
    commands: mpsc::Sender<Command>,
    departures: Arc<Departures>,
    next: Arc<AtomicU64>,
    mirrored: watch::Sender<Arc<Mirrored>>,
}

impl Exchanges {
    /// For the task that takes `commands` and is told of connections that end by `departures`. All requests to one task
    /// must come from clones of one value.
    pub fn new(commands: mpsc::Sender<Command>, departures: Arc<Departures>) -> Self {
        Self { commands, departures, next: Arc::default(), mirrored: watch::Sender::default() }
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
        let command = Command::Exchange { key, caller, message, repeated, stream };
        self.commands.send(command).await.map_err(|_| Ended)?;
        Ok(frames)
    }
}
