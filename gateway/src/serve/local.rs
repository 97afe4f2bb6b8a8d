//! The servers of this machine: what the state directory and the configuration file say.

use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wire::client::{AddressPolicy, HttpClient};

use super::settings::Settings;
use super::{RELOAD, World};
use crate::access::Access;
use crate::backend::Backend;
use crate::config::ConfigFile;
use crate::keys::{KeyFile, KeyWatch, Scopes};
use crate::local::{self, Controller, Local, Sidecars};
use crate::routes::Routes;
use crate::seal::Sealer;
use crate::store::{Store, Timestamp, Uid};

/// Sidecars that may be starting at the same time.
const STARTS_AT_ONCE: usize = 8;

/// Brings back what was deployed, beside what `file` says, which is followed from `seen` on.
pub(super) fn world(
    settings: &Settings,
    file: ConfigFile,
    seen: Option<Stamp>,
    routes: &Routes,
    stop: &CancellationToken,
) -> anyhow::Result<World> {
    let state_dir = settings.state_dir()?;
    settings.sidecar_program()?;
    let store = Store::open(state_dir)?;
    let sealer = Sealer::load_or_create(state_dir)?;
    let keys = KeyWatch::open(KeyFile::new(state_dir))?;
    if settings.needs_key() {
        first_key(state_dir, &keys)?;
    }
    let access = Access::new(settings.needs_key(), settings.query_keys, keys.keys(), sealer.clone());
    let (local, requests) = local::channel();
    let sidecars = Sidecars::new(Arc::new(settings.local(state_dir)?), STARTS_AT_ONCE);
    let mut controller = Controller::new(store, sidecars, settings.request_timeout, routes.clone());
    controller.restore(file.servers.clone())?;
    let mut tasks = JoinSet::new();
    tasks.spawn(reload_keys(keys, access.clone()));
    if let Some(path) = settings.config.clone() {
        tasks.spawn(reload_config(path, seen, file, local.clone()));
    }
    Ok(World {
        access,
        sealer,
        client: HttpClient::new(AddressPolicy::Any),
        backend: Backend::Local(local),
        peers: None,
        instance: Uid::random(),
        path: Some(settings.path.clone()),
        work: Box::pin(controller.run(requests, stop.clone())),
        tasks,
    })
}

/// Where a key is demanded there must be one. The first is made here, if somebody is there to see it.
fn first_key(state_dir: &Path, keys: &KeyWatch) -> anyhow::Result<()> {
    let now = Timestamp::from(SystemTime::now());
    if !keys.keys().none_valid(now) {
        return Ok(());
    }
    if !std::io::stdout().is_terminal() {
        tracing::warn!("nobody can call: there is no key yet; make one with `mcp-gateway keys create NAME`");
        return Ok(());
    }
    let (_, key) = KeyFile::new(state_dir).create("first", Scopes::ALL, now, None)?;
    writeln!(std::io::stdout(), "the first key, shown only now: {}", key.reveal())
        .context("cannot write to standard output")
}

/// Puts keys in force as they are made and revoked.
async fn reload_keys(mut keys: KeyWatch, access: Access) {
    loop {
        tokio::time::sleep(RELOAD).await;
        match keys.reload_if_changed() {
            Ok(Some(keys)) => {
                tracing::info!("the keys have changed");
                access.set_keys(keys);
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "the keys cannot be read; those read before stay in force"),
        }
    }
}

/// Tells the controller what the configuration file says when that changes. `seen` is the file that `current` was read
/// from.
async fn reload_config(path: PathBuf, mut seen: Option<Stamp>, mut current: ConfigFile, local: Local) {
    let mut last = seen;
    loop {
        tokio::time::sleep(RELOAD).await;
        let now = stamp(&path);
        // One that changes from look to look is still being written.
        if now != std::mem::replace(&mut last, now) || now == seen || now.is_none() {
            continue;
        }
        seen = now;
        match ConfigFile::load(&path) {
            Ok(file) => {
                tracing::info!(servers = file.servers.len(), "the configuration has changed");
                file.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                if file.settings != current.settings {
                    tracing::warn!("settings other than servers take effect when the gateway is started again");
                }
                local.configure(file.servers.clone()).await;
                current = file;
            }
            Err(error) => {
                tracing::error!("the configuration is not taken, what was read before stays in force: {error}");
            }
        }
    }
}

/// What tells two versions of a file apart.
pub(super) type Stamp = (u64, u64, SystemTime);

pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.modified().ok()?))
}
