//! The servers of one machine: a tiny operator.
//!
//! One task, the controller, owns what is desired (the configuration file and what was deployed) and what runs, and
//! makes the second follow the first. Each server is a supervised `mcp-sidecar` process ([`instance`]); the controller
//! itself never starts a user's program. What was deployed is on disk before that is acknowledged.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mcp::names::ServerName;
use tokio::sync::{mpsc, oneshot};

use crate::backend::{Deployed, Refusal};
use crate::spec::ServerSpec;

mod controller;
mod instance;
mod launch;
mod leftovers;

pub use controller::Controller;
pub use instance::Sidecars;

/// Requests that may wait for the controller; each is one API call.
const QUEUE: usize = 64;

/// What the controller is asked for.
#[derive(Debug)]
pub enum Request {
    /// A server is to be.
    Deploy {
        /// Its name.
        name: ServerName,
        /// What it is to be.
        spec: Box<ServerSpec>,
        /// Told once that is durable.
        reply: oneshot::Sender<Result<Deployed, Refusal>>,
    },
    /// A server is to be no more.
    Delete {
        /// Its name.
        name: ServerName,
        /// Told once that is durable; whether there was one.
        reply: oneshot::Sender<Result<bool, Refusal>>,
    },
    /// The configuration file says this now.
    Configure(BTreeMap<ServerName, ServerSpec>),
}

/// Asks the controller. Clones ask the same one.
#[derive(Clone, Debug)]
pub struct Local(mpsc::Sender<Request>);

impl Local {
    /// Makes a server what `spec` says. Returns when that survives a crash.
    pub async fn deploy(&self, name: ServerName, spec: ServerSpec) -> Result<Deployed, Refusal> {
        let spec = Box::new(spec);
        self.ask(|reply| Request::Deploy { name, spec, reply }).await
    }

    /// Removes a server; whether there was one. Returns when that survives a crash.
    pub async fn delete(&self, name: ServerName) -> Result<bool, Refusal> {
        self.ask(|reply| Request::Delete { name, reply }).await
    }

    /// Tells what the configuration file says now.
    pub async fn configure(&self, servers: BTreeMap<ServerName, ServerSpec>) {
        // A controller that has ended has no use for it.
        drop(self.0.send(Request::Configure(servers)).await);
    }

    /// Resolves when the controller takes no requests any more.
    pub async fn stopped(&self) {
        self.0.closed().await;
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> Request) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.0.send(request(reply)).await.map_err(|_| Refusal::Stopping)?;
        answer.await.unwrap_or(Err(Refusal::Stopping))
    }
}

/// What the controller needs to start sidecars.
#[derive(Clone, Debug)]
pub struct LocalSettings {
    /// The sidecar's program.
    pub sidecar: PathBuf,
    /// Where sidecars listen: a directory of this gateway's own.
    pub sockets: PathBuf,
    /// The gateway's default for servers that set none.
    pub request_timeout: Duration,
    /// The largest message.
    pub max_message_bytes: usize,
    /// How long a sidecar may take to finish its calls.
    pub drain_timeout: Duration,
    /// How the sidecars log: handed on as `--log` and `--log-format`.
    pub log: Vec<String>,
}

/// A queue for the controller.
pub fn channel() -> (Local, mpsc::Receiver<Request>) {
    let (tx, rx) = mpsc::channel(QUEUE);
    (Local(tx), rx)
}

/// Shares what an instance needs.
pub type Shared = Arc<LocalSettings>;
