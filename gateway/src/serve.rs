//! `mcp-gateway serve`: puts the parts together, and takes them apart in order.

use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use axum::Router;
use axum::middleware::from_fn_with_state;
use prometheus_client::registry::Registry as Metrics;
use runtime::accept::Server as HttpServer;
use runtime::exit::UsageError;
use runtime::listen::{ListenAddr, Listener};
use runtime::readiness::Readiness;
use runtime::shutdown::{Drain, Shutdown};
use runtime::{admin, metrics};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wire::client::{AddressPolicy, HttpClient};
use wire::guard::{Guard, guard};

use crate::access::Access;
use crate::aggregate::Aggregate;
use crate::api::Api;
use crate::args::ServeArgs;
use crate::config::ConfigFile;
use crate::keys::{KeyFile, KeyWatch, Principal, Scopes};
use crate::local::{self, Controller, Local, Sidecars};
use crate::proxy::Proxy;
use crate::routes::Routes;
use crate::seal::Sealer;
use crate::store::{Store, Timestamp};
use crate::streams::Streams;
use crate::traffic::Traffic;

mod gate;
mod router;
mod settings;

use router::Gates;
use settings::Settings;

/// How often files that may change are looked at.
const RELOAD: Duration = Duration::from_millis(500);
/// Sidecars that may be starting at the same time.
const STARTS_AT_ONCE: usize = 8;

/// What a stop may take beyond the time that calls have to finish: sidecars that do not end are killed.
const LAST_MOMENTS: Duration = Duration::from_secs(12);

/// Serves until told to stop. `log` is how sidecars are told to log.
pub async fn serve(args: ServeArgs, log: Vec<String>) -> anyhow::Result<()> {
    let seen = args.config.as_deref().and_then(stamp);
    let file = args.config.as_deref().map(ConfigFile::load).transpose().map_err(UsageError::new)?.unwrap_or_default();
    file.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let mut settings = Settings::new(args, file.settings.clone(), log)?;
    let listener = settings.listen.bind("--listen")?;
    let admin = settings.admin.take();
    let admin_is_loopback = admin.as_ref().map(Listener::local_addr).transpose()?.is_some_and(|it| it.is_loopback());
    let store = Store::open(&settings.state_dir)?;
    let sealer = Sealer::load_or_create(&settings.state_dir)?;
    let keys = KeyWatch::open(KeyFile::new(&settings.state_dir))?;
    if settings.needs_key() {
        first_key(&settings.state_dir, &keys)?;
    }
    let access = Access::new(settings.needs_key(), settings.query_keys, keys.keys(), sealer.clone());
    let (routes, client) = (Routes::default(), HttpClient::new(AddressPolicy::Any));
    let (local, requests) = local::channel();
    let sidecars = Sidecars::new(Arc::new(settings.local()?), STARTS_AT_ONCE);
    let mut controller = Controller::new(store, sidecars, settings.request_timeout, routes.clone());

    let shutdown = Shutdown::new();
    let drain = shutdown.drain();
    let readiness = Readiness::new(drain.clone());
    let restored = readiness.token("routes");
    controller.restore(file.servers.clone())?;
    announce(&listener, admin.as_ref())?;
    drop(restored);

    let aggregate = Aggregate::new(routes.clone(), client.clone(), sealer.clone());
    let proxy = Proxy { routes: routes.clone(), sealer, client: client.clone() };
    let api = Api {
        local: local.clone(),
        routes: routes.clone(),
        client,
        path: settings.path.clone(),
        max_body: settings.max_body,
    };
    let streams = Streams::new(settings.max_streams);
    let traffic = Traffic::default();
    let gates = Gates {
        access: access.clone(),
        streams: streams.clone(),
        lists: router::lists(&settings),
        traffic: traffic.clone(),
        cors: settings.cors,
    };
    let table = router::table(&aggregate, &proxy, &api, settings.max_body);
    let router = router::router(table, gates, &readiness);

    let mut tasks = JoinSet::new();
    tasks.spawn(reload_keys(keys, access, streams));
    if let Some(path) = settings.config.clone() {
        tasks.spawn(reload_config(path, seen, file, local));
    }
    tasks.spawn(aggregate.clone().follow());
    let stop = CancellationToken::new();
    let work = async {
        let controller = controller.run(requests, stop.clone());
        let front = async {
            serve_until_drained(listener, router, &aggregate, &drain).await;
            tasks.shutdown().await;
        };
        let stop = async {
            drain.started().await;
            // Sidecars finish what is under way; the streams that they end then are what the front waits for.
            stop.cancel();
        };
        tokio::join!(controller, front, stop);
    };
    let grace = settings.drain_timeout + LAST_MOMENTS;
    let admin_routes = admin::routes(&readiness, Arc::new(figures(&routes, &aggregate, &traffic)))
        .layer(from_fn_with_state(Guard::of_admin(admin_is_loopback), guard));
    Box::pin(shutdown.run(grace, admin::beside(admin, admin_routes, work))).await?;
    Ok(())
}

/// Serves until the drain has begun and what was under way is done.
async fn serve_until_drained(listener: Listener, router: Router, aggregate: &Aggregate, drain: &Drain) {
    let http = HttpServer::new(listener).serve(router, drain.clone());
    let sessions = async {
        drain.started().await;
        aggregate.drain(drain.forced()).await;
    };
    tokio::join!(http, sessions);
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

/// Says on standard output where clients connect, and what to try.
fn announce(listener: &Listener, admin: Option<&Listener>) -> anyhow::Result<()> {
    let origin = |listener: &Listener| -> anyhow::Result<String> {
        Ok(match listener.local_addr()? {
            addr @ ListenAddr::Unix(_) => addr.to_string(),
            addr @ (ListenAddr::Tcp(_) | ListenAddr::AllInterfaces(_)) => format!("http://{addr}"),
        })
    };
    let base = origin(listener)?;
    let mut out = std::io::stdout();
    writeln!(out, "listening on {base}")?;
    if let Some(admin) = admin {
        writeln!(out, "admin on {}", origin(admin)?)?;
    }
    writeln!(
        out,
        "all servers: {base}/mcp (Streamable HTTP), {base}/sse (HTTP+SSE); one: {base}/NAME/mcp, {base}/NAME/sse"
    )?;
    writeln!(out, "try: curl {base}/servers")?;
    out.flush().context("cannot write to standard output")
}

/// Puts keys in force as they are made and revoked, and ends the streams of those whose keys are not good any more.
async fn reload_keys(mut keys: KeyWatch, access: Access, streams: Streams) {
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
        let good = keys.keys();
        let known = good.principals(Timestamp::from(SystemTime::now())).chain([Principal::Anonymous.hash()]);
        streams.retain(&known.collect());
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
type Stamp = (u64, u64, SystemTime);

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.modified().ok()?))
}

fn figures(routes: &Routes, aggregate: &Aggregate, traffic: &Traffic) -> Metrics {
    let mut registry = Metrics::default();
    metrics::register(&mut registry, "mcp-gateway", env!("CARGO_PKG_VERSION"));
    crate::routes::register(&mut registry, routes.clone());
    aggregate.register(&mut registry);
    traffic.register(&mut registry);
    registry
}
