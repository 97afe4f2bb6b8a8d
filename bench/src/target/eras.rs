//! Clients and servers of both eras: four ways through the sidecar, and four through the gateway.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::ours::{self, Mode};
use super::{Role, Target, free_addr};
use crate::echo::TOOLS;
use crate::era::{Era, LEGACY};
use crate::fleet::{Setup, Started};
use crate::process::Process;
use crate::session::Endpoint;

/// The passthrough of the sidecar a second time.
pub(crate) const AGAIN: &str = "sidecar modern → modern again";

/// What clients of ours enter by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Sidecar,
    Gateway,
}

impl Door {
    pub(crate) const BOTH: [Self; 2] = [Self::Sidecar, Self::Gateway];

    pub(crate) fn role(self) -> &'static str {
        match self {
            Self::Sidecar => "sidecar",
            Self::Gateway => "gateway",
        }
    }

    /// Whether its programs were built, and are wanted.
    pub(crate) fn is_there(self, setup: &Setup) -> bool {
        let program = match self {
            Self::Sidecar => setup.sidecar(),
            Self::Gateway => setup.gateway(),
        };
        program.is_ok()
    }

    /// The way of a client of one era to a server of the other, or of the same.
    pub(crate) fn way(self, client: Era, server: Era) -> &'static str {
        match (self, client, server) {
            (Self::Sidecar, Era::Modern, Era::Modern) => "sidecar modern → modern",
            (Self::Sidecar, Era::Modern, Era::Legacy) => "sidecar modern → legacy",
            (Self::Sidecar, Era::Legacy, Era::Modern) => "sidecar legacy → modern",
            (Self::Sidecar, Era::Legacy, Era::Legacy) => "sidecar legacy → legacy",
            (Self::Gateway, Era::Modern, Era::Modern) => "gateway modern → modern",
            (Self::Gateway, Era::Modern, Era::Legacy) => "gateway modern → legacy",
            (Self::Gateway, Era::Legacy, Era::Modern) => "gateway legacy → modern",
            (Self::Gateway, Era::Legacy, Era::Legacy) => "gateway legacy → legacy",
        }
    }

    /// One program for each era of the child; clients of both use it. All clients share one process: that is how requests of
    /// the newer era are served in any case, so that in no other mode the ways differ by their translation alone.
    pub(crate) async fn start(self, setup: &Setup) -> anyhow::Result<Started> {
        let mut started = Started { processes: Vec::new(), targets: Vec::new() };
        for era in [Era::Modern, Era::Legacy] {
            let (mut process, addr, path, roles) = match self {
                Self::Sidecar => sidecar(setup, era)?,
                Self::Gateway => gateway(setup, era).await?,
            };
            for target in self.targets(era, (addr, path), &roles) {
                target.ready(&mut process).await?;
                started.targets.push(target);
            }
            started.processes.push(process);
        }
        Ok(started)
    }

    fn targets(self, server: Era, (addr, path): (SocketAddr, &'static str), roles: &[Role]) -> Vec<Target> {
        let modern = |name| Target::new(name, Endpoint::Modern { addr, path, capabilities: "{}" }, roles);
        let legacy = |name| Target::new(name, Endpoint::Streamable { addr, path, revision: LEGACY }, roles);
        let again = (self == Self::Sidecar && server == Era::Modern).then(|| modern(AGAIN));
        let targets = [modern(self.way(Era::Modern, server)), legacy(self.way(Era::Legacy, server))];
        targets.into_iter().chain(again).collect()
    }
}

type Entered = (Process, SocketAddr, &'static str, Vec<Role>);

fn sidecar(setup: &Setup, era: Era) -> anyhow::Result<Entered> {
    let addr = free_addr()?;
    let command = ours::sidecar_command(setup, addr, Mode::Shared, era)?;
    let process = Process::start(Door::Sidecar.role(), command, setup.folder())?;
    let roles = vec![Role::of(&process)];
    Ok((process, addr, "/mcp", roles))
}

async fn gateway(setup: &Setup, era: Era) -> anyhow::Result<Entered> {
    let servers = BTreeMap::from([("echo".to_owned(), ours::server(&setup.echo, Mode::Shared, era, TOOLS))]);
    let gateway = ours::start_gateway_of(setup, &servers).await?;
    let roles = gateway.roles().to_vec();
    Ok((gateway.process, gateway.addr, "/echo/mcp", roles))
}
