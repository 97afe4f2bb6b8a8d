//! The targets: what can be called, and the programs behind it.

pub(crate) mod eras;
pub(crate) mod floor;
pub(crate) mod ours;
pub(crate) mod peers;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::time::sleep;

use crate::load::Caller;
use crate::process::Process;
use crate::session::Endpoint;

/// How long a program may take until the first call through it succeeds.
const START_LIMIT: Duration = Duration::from_secs(30);

/// One way to reach the child.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) endpoint: Endpoint,
    /// What stands before the child's tool names here.
    pub(crate) prefix: &'static str,
    /// The processes on the way; the child itself and what cannot be told apart is left out.
    pub(crate) roles: Vec<Role>,
    /// Whether it is somebody else's, which may fail without failing the run.
    pub(crate) peer: bool,
}

/// A process, by the part it plays.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    pub(crate) name: &'static str,
    pub(crate) pid: u32,
}

impl Role {
    pub(crate) fn of(process: &Process) -> Self {
        Self { name: process.role(), pid: process.pid() }
    }
}

impl Target {
    pub(crate) fn new(name: &'static str, endpoint: Endpoint, roles: &[Role]) -> Self {
        Self { name, endpoint, prefix: "", roles: roles.to_vec(), peer: false }
    }

    pub(crate) fn streamable(name: &'static str, addr: SocketAddr, path: &'static str, roles: &[Role]) -> Self {
        Self::new(name, Endpoint::streamable(addr, path), roles)
    }

    pub(crate) fn sse(name: &'static str, addr: SocketAddr, path: &'static str, roles: &[Role]) -> Self {
        Self::new(name, Endpoint::Sse { addr, path }, roles)
    }

    pub(crate) fn of_peer(self) -> Self {
        Self { peer: true, ..self }
    }

    pub(crate) fn with_prefix(self, prefix: &'static str) -> Self {
        Self { prefix, ..self }
    }

    /// What the child's tool is called here.
    pub(crate) fn tool(&self, name: &str) -> String {
        [self.prefix, name].concat()
    }

    /// Waits until a call succeeds.
    pub(crate) async fn ready(&self, process: &mut Process) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let Err(error) = self.try_call().await else { return Ok(()) };
            process.check()?;
            if Instant::now() > deadline {
                return Err(error.context(format!(
                    "{} does not answer; its log ends: {}",
                    self.name,
                    process.last_words()
                )));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn try_call(&self) -> anyhow::Result<()> {
        let attempt = async {
            let mut caller = Caller::open(self, 0).await?;
            caller.call().await?;
            caller.close().await
        };
        tokio::time::timeout(Duration::from_secs(5), attempt).await.context("no answer within 5 s")?
    }
}

/// A loopback address that was free a moment ago: the programs cannot all tell which port they were given.
pub(crate) fn free_addr() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
    Ok(listener.local_addr()?)
}
