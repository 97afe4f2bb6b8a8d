//! The sidecar alone, and the gateway with the sidecars it starts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{Role, Target, free_addr};
use crate::echo::TOOLS;
use crate::era::Era;
use crate::fleet::{Setup, Started};
use crate::process::Process;

/// Whether sessions share a child (`process.mode` of a server, `--mode` of the sidecar).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Shared,
    PerSession,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::PerSession => "perSession",
        }
    }
}

/// A running gateway with the server `echo`.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) process: Process,
    pub(crate) sidecar: u32,
    pub(crate) addr: SocketAddr,
}

/// The command that starts a sidecar in front of a child of that era.
pub(crate) fn sidecar_command(setup: &Setup, listen: SocketAddr, mode: Mode, era: Era) -> anyhow::Result<Command> {
    let mut command = Command::new(setup.sidecar()?);
    command.args(["serve", "--listen", &listen.to_string(), "--mode", mode.name(), "--"]);
    command.arg(&setup.echo).arg(era_flag(era));
    Ok(command)
}

fn era_flag(era: Era) -> String {
    format!("--era={}", era.name())
}

/// The command that starts a gateway with these servers and an empty state directory.
pub(crate) fn gateway_command(
    setup: &Setup,
    listen: SocketAddr,
    servers: &BTreeMap<String, Value>,
) -> anyhow::Result<Command> {
    let folder = setup.fresh_folder("gateway")?;
    let config = folder.join("mcp.json");
    std::fs::write(&config, json!({ "mcpServers": servers }).to_string())
        .context("cannot write the gateway's configuration")?;
    let mut command = Command::new(setup.gateway()?);
    command.args(["serve", "--listen", &listen.to_string()]);
    command.arg("--state-dir").arg(folder.join("state")).arg("--config").arg(config);
    Ok(command)
}

/// A server's entry in the configuration.
pub(crate) fn server(echo: &Path, mode: Mode, era: Era, tools: u16) -> Value {
    let args = [era_flag(era), format!("--tools={tools}")];
    json!({ "command": echo, "args": args, "process": { "mode": mode.name() } })
}

/// A sidecar alone.
pub(crate) async fn start_sidecar(setup: &Setup) -> anyhow::Result<Started> {
    let addr = free_addr()?;
    let mut process =
        Process::start("sidecar", sidecar_command(setup, addr, Mode::Shared, Era::Legacy)?, setup.folder())?;
    let roles = [Role::of(&process)];
    let targets = vec![
        Target::streamable("sidecar /mcp", addr, "/mcp", &roles),
        Target::sse("sidecar /sse", addr, "/sse", &roles),
    ];
    targets[0].ready(&mut process).await?;
    Ok(Started { processes: vec![process], targets })
}

/// A gateway that serves the child as `echo`, ready on all its endpoints.
pub(crate) async fn start_gateway(setup: &Setup, mode: Mode) -> anyhow::Result<Gateway> {
    start_gateway_with(setup, mode, 0).await
}

/// The same, with so many `others` beside it that are suspended: they have a route and no process.
pub(crate) async fn start_gateway_with(setup: &Setup, mode: Mode, others: usize) -> anyhow::Result<Gateway> {
    let suspended = json!({ "command": setup.echo, "suspend": true });
    let others = (0..others).map(|number| (format!("other{number:04}"), suspended.clone()));
    let echo = ("echo".to_owned(), server(&setup.echo, mode, Era::Legacy, TOOLS));
    start_gateway_of(setup, &others.chain([echo]).collect()).await
}

/// The same with these servers, one of which must be the child, as `echo`.
pub(crate) async fn start_gateway_of(setup: &Setup, servers: &BTreeMap<String, Value>) -> anyhow::Result<Gateway> {
    let addr = free_addr()?;
    let mut process = Process::start("gateway", gateway_command(setup, addr, servers)?, setup.folder())?;
    let [per_server, _, aggregate, _] = gateway_targets(addr, &[]);
    per_server.ready(&mut process).await?;
    aggregate.ready(&mut process).await?;
    let sidecar = process.descendant("mcp-sidecar").context("the gateway has no mcp-sidecar below it")?;
    Ok(Gateway { process, sidecar, addr })
}

impl Gateway {
    pub(crate) fn targets(&self) -> [Target; 4] {
        gateway_targets(self.addr, &self.roles())
    }

    /// Kills every child behind the gateway, as a crash would; returns how many there were.
    pub(crate) fn kill_children(&self) -> usize {
        self.process.kill_descendants("bench-echo")
    }

    pub(crate) fn roles(&self) -> [Role; 2] {
        [Role::of(&self.process), Role { name: "sidecar", pid: self.sidecar }]
    }
}

fn gateway_targets(addr: SocketAddr, roles: &[Role]) -> [Target; 4] {
    [
        Target::streamable("gateway /mcp", addr, "/echo/mcp", roles),
        Target::sse("gateway /sse", addr, "/echo/sse", roles),
        Target::streamable("aggregate /mcp", addr, "/mcp", roles).with_prefix("echo-"),
        Target::sse("aggregate /sse", addr, "/sse", roles).with_prefix("echo-"),
    ]
}
