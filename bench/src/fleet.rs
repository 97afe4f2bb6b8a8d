//! The programs that a measurement needs, found and started.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use tempfile::TempDir;

use crate::process::Process;
use crate::session::Endpoint;
use crate::target::ours::Mode;
use crate::target::{Target, floor, ours, peers};

/// Targets that are started together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    Direct,
    Floor,
    Sidecar,
    Gateway,
    Supergateway,
    McpProxy,
}

impl Group {
    /// Ours and what is measured beside them must work; a peer may be absent or fail.
    pub(crate) fn is_peer(self) -> bool {
        matches!(self, Self::Supergateway | Self::McpProxy)
    }
}

/// Where the programs are, and a folder for what they write.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) groups: Vec<Group>,
    pub(crate) echo: PathBuf,
    pub(crate) floor: PathBuf,
    sidecar: PathBuf,
    gateway: PathBuf,
    pub(crate) peers: Peers,
    folder: TempDir,
}

/// The peers' programs, where there are any.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) supergateway: Option<PathBuf>,
    pub(crate) mcp_proxy: Option<PathBuf>,
}

/// Running programs and the ways through them.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) processes: Vec<Process>,
    pub(crate) targets: Vec<Target>,
}

/// All that could be started, and why the rest could not.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    pub(crate) targets: Vec<Target>,
    pub(crate) skipped: Vec<String>,
    processes: Vec<Process>,
}

impl Setup {
    /// `folder` holds the programs of this workspace.
    pub(crate) fn new(groups: Vec<Group>, folder: &Path, peers: Peers) -> anyhow::Result<Self> {
        let setup = Self {
            groups,
            echo: folder.join("bench-echo"),
            floor: folder.join("bench-floor"),
            sidecar: folder.join("mcp-sidecar"),
            gateway: folder.join("mcp-gateway"),
            peers,
            folder: TempDir::with_prefix("bench-")?,
        };
        for program in [&setup.echo, &setup.floor] {
            existing(program, "build it with `cargo build --release -p bench`")?;
        }
        Ok(setup)
    }

    /// A folder that ends with the run.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// An empty folder in it.
    pub(crate) fn fresh_folder(&self, prefix: &str) -> anyhow::Result<PathBuf> {
        Ok(tempfile::Builder::new().prefix(prefix).tempdir_in(self.folder())?.keep())
    }

    pub(crate) fn sidecar(&self) -> anyhow::Result<&Path> {
        self.wanted(Group::Sidecar)?;
        existing(&self.sidecar, "build it with `cargo build --release -p sidecar`")
    }

    pub(crate) fn gateway(&self) -> anyhow::Result<&Path> {
        self.wanted(Group::Gateway)?;
        existing(&self.sidecar, "build it with `cargo build --release -p sidecar`")?;
        existing(&self.gateway, "build it with `cargo build --release -p gateway`")
    }

    fn wanted(&self, group: Group) -> anyhow::Result<()> {
        if !self.groups.contains(&group) {
            bail!("left out by --targets");
        }
        Ok(())
    }
}

impl Fleet {
    /// Starts every wanted group; what of ours exists must start.
    pub(crate) async fn start(setup: &Setup) -> anyhow::Result<Self> {
        Self::start_some(setup, |_| true).await
    }

    /// The same, for the groups that `which` picks of those.
    pub(crate) async fn start_some(setup: &Setup, which: fn(Group) -> bool) -> anyhow::Result<Self> {
        let mut fleet = Self::default();
        for &group in setup.groups.iter().filter(|group| which(**group)) {
            if let Some(reason) = missing(setup, group) {
                fleet.skipped.push(format!("{group:?}: {reason}"));
                continue;
            }
            match start(setup, group).await {
                Ok(Started { processes, targets }) => {
                    fleet.processes.extend(processes);
                    fleet.targets.extend(targets);
                }
                Err(error) if group.is_peer() => fleet.skipped.push(format!("{group:?}: {error:#}")),
                Err(error) => return Err(error.context(format!("cannot start {group:?}"))),
            }
        }
        Ok(fleet)
    }
}

/// Why the group cannot be started; `None` when all it needs is there.
fn missing(setup: &Setup, group: Group) -> Option<String> {
    let hint = "not installed: run `hack/tools peers`".to_owned();
    match group {
        Group::Direct | Group::Floor => None,
        Group::Sidecar => setup.sidecar().err().map(|error| error.to_string()),
        Group::Gateway => setup.gateway().err().map(|error| error.to_string()),
        Group::Supergateway => setup.peers.supergateway.is_none().then_some(hint),
        Group::McpProxy => setup.peers.mcp_proxy.is_none().then_some(hint),
    }
}

async fn start(setup: &Setup, group: Group) -> anyhow::Result<Started> {
    match group {
        Group::Direct => {
            let endpoint = Endpoint::Pipe { program: setup.echo.clone() };
            Ok(Started { processes: vec![], targets: vec![Target::new("direct", endpoint, &[])] })
        }
        Group::Floor => floor::start(setup).await,
        Group::Sidecar => ours::start_sidecar(setup).await,
        Group::Gateway => {
            let gateway = ours::start_gateway(setup, Mode::Shared).await?;
            let targets = gateway.targets().to_vec();
            Ok(Started { processes: vec![gateway.process], targets })
        }
        Group::Supergateway => {
            peers::start_supergateway(setup, setup.peers.supergateway.as_deref().context("no supergateway")?).await
        }
        Group::McpProxy => {
            peers::start_mcp_proxy(setup, setup.peers.mcp_proxy.as_deref().context("no mcp-proxy")?).await
        }
    }
}

fn existing<'a>(program: &'a Path, hint: &str) -> anyhow::Result<&'a Path> {
    if !program.is_file() {
        // Without its folder: reports are published.
        bail!("{} does not exist: {hint}", program.file_name().unwrap_or_default().display());
    }
    Ok(program)
}

impl Peers {
    /// Looks for what is not given where `hack/tools` installs it.
    pub(crate) fn find(cache: &Path, supergateway: Option<PathBuf>, mcp_proxy: Option<PathBuf>) -> Self {
        let tools = cache.join("mcp-gateway/tools");
        Self {
            supergateway: supergateway.or_else(|| installed(&tools, "supergateway-", "node_modules/.bin/supergateway")),
            mcp_proxy: mcp_proxy.or_else(|| installed(&tools, "mcp-proxy-", "bin/mcp-proxy")),
        }
    }
}

/// The newest program of a tool, whose folders there end in a checksum.
fn installed(tools: &Path, prefix: &str, program: &str) -> Option<PathBuf> {
    let folders = std::fs::read_dir(tools).ok()?.flatten();
    let mut programs: Vec<_> = folders
        .filter(|folder| folder.file_name().to_str().is_some_and(|name| name.starts_with(prefix)))
        .map(|folder| folder.path().join(program))
        .filter(|program| program.is_file())
        .collect();
    programs.sort_by_key(|program| program.metadata().and_then(|data| data.modified()).ok());
    programs.pop()
}
