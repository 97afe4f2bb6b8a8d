//! Everything that flags, environment and file decide.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use mcp::names::Style;
use runtime::exit::UsageError;
use runtime::listen::{ListenAddr, Listener};
use sha2::{Digest as _, Sha256};

use crate::args::ServeArgs;
use crate::config;
use crate::keys::hex;
use crate::local::LocalSettings;

/// See the [module](self).
pub(super) struct Settings {
    pub(super) listen: ListenAddr,
    pub(super) admin: Option<Listener>,
    pub(super) config: Option<PathBuf>,
    /// `None` when there is no home directory to have it in.
    pub(super) state_dir: Option<PathBuf>,
    pub(super) allow_anonymous: bool,
    pub(super) query_keys: bool,
    pub(super) hosts: Vec<String>,
    pub(super) origins: Vec<String>,
    pub(super) cors: bool,
    /// How tools and prompts of all servers together are named.
    pub(super) names: Style,
    pub(super) max_streams: Option<NonZeroU32>,
    pub(super) request_timeout: Duration,
    pub(super) drain_timeout: Duration,
    pub(super) max_body: usize,
    pub(super) sidecar: Option<PathBuf>,
    pub(super) path: String,
    pub(super) log: Vec<String>,
}

impl Settings {
    /// Flags and environment go before the file, which goes before the defaults. Binds the admin port.
    pub(super) fn new(args: ServeArgs, file: config::Settings, log: Vec<String>) -> anyhow::Result<Self> {
        let local = || ListenAddr::Tcp(([127, 0, 0, 1], 8080).into());
        let admin = args.admin.admin.or(file.admin);
        let or = |flags: Vec<String>, file: Option<Vec<String>>| {
            if flags.is_empty() { file.unwrap_or_default() } else { flags }
        };
        let max_body = args.max_body_bytes.or(file.max_body_bytes).unwrap_or(16 << 20);
        Ok(Self {
            listen: args.listen.or(file.listen).unwrap_or_else(local),
            admin: admin.map(|addr| addr.bind("--admin")).transpose()?,
            config: args.config,
            state_dir: args.state.directory(file.state_dir),
            allow_anonymous: args.allow_anonymous || file.allow_anonymous.unwrap_or_default(),
            query_keys: args.query_keys.or(file.query_keys).unwrap_or(true),
            hosts: or(args.public_host, file.public_hosts),
            origins: or(args.allowed_origin, file.allowed_origins),
            cors: args.cors.or(file.cors).unwrap_or_default(),
            names: if args.no_prefix.or(file.no_prefix).unwrap_or_default() { Style::Bare } else { Style::Prefixed },
            max_streams: args.max_streams_per_principal.or(file.max_streams_per_principal),
            request_timeout: args.request_timeout.or(file.request_timeout).unwrap_or(Duration::from_secs(60)),
            drain_timeout: args.drain_timeout.or(file.drain_timeout).unwrap_or(Duration::from_secs(25)),
            max_body: usize::try_from(max_body).unwrap_or(usize::MAX),
            sidecar: args.sidecar,
            path: args.path,
            log,
        })
    }

    /// Whether callers must present a key.
    pub(super) fn needs_key(&self) -> bool {
        !self.listen.is_loopback() && !self.allow_anonymous
    }

    /// The state directory.
    pub(super) fn state_dir(&self) -> anyhow::Result<&Path> {
        let nowhere = || UsageError::new("there is no home directory to keep state in: give --state-dir");
        Ok(self.state_dir.as_deref().ok_or_else(nowhere)?)
    }

    /// The program that serves one server.
    pub(super) fn sidecar_program(&self) -> anyhow::Result<PathBuf> {
        let beside = || Ok::<_, anyhow::Error>(std::env::current_exe()?.with_file_name("mcp-sidecar"));
        let program = self.sidecar.clone().map_or_else(beside, Ok)?;
        if !program.exists() {
            let text = format!(
                "{} is not there: build or install mcp-sidecar beside this program, or give --sidecar",
                program.display()
            );
            anyhow::bail!(UsageError::new(text));
        }
        Ok(program)
    }

    /// What the servers' sidecars are started with. Makes the directory of their sockets, which the caller must own: it
    /// holds the lock of the state directory.
    pub(super) fn local(&self, state_dir: &Path) -> anyhow::Result<LocalSettings> {
        Ok(LocalSettings {
            sidecar: self.sidecar_program()?,
            sockets: sockets(state_dir)?,
            request_timeout: self.request_timeout,
            max_message_bytes: self.max_body,
            drain_timeout: self.drain_timeout,
            log: self.log.clone(),
        })
    }
}

/// A directory for sockets: in the state directory, unless that has too long a name for one.
fn sockets(state_dir: &Path) -> anyhow::Result<PathBuf> {
    let state_dir = std::path::absolute(state_dir)?;
    let inside = state_dir.join("run");
    let directory = if inside.as_os_str().len() < 80 {
        inside
    } else {
        let hash = Sha256::digest(state_dir.as_os_str().as_encoded_bytes());
        std::env::temp_dir().join(format!("mcp-gateway-{}", hex(&hash[..8])))
    };
    // Whatever is in it belongs to a gateway that has ended: this one holds the lock of the state directory.
    drop(std::fs::remove_dir_all(&directory));
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&directory).with_context(|| format!("cannot make the directory {}", directory.display()))?;
    Ok(directory)
}
