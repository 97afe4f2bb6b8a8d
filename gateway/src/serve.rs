//! `mcp-gateway serve`: puts the parts together, and takes them apart in order.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::middleware::from_fn_with_state;
use futures::future::BoxFuture;
use prometheus_client::registry::Registry as Metrics;
use runtime::accept::Server as HttpServer;
use runtime::exit::UsageError;
use runtime::listen::{ListenAddr, Listener};
use runtime::readiness::Readiness;
use runtime::shutdown::{Drain, Shutdown};
use runtime::{admin, metrics};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wire::client::HttpClient;
use wire::guard::{Guard, guard};

use crate::access::Access;
use crate::aggregate::Aggregate;
use crate::api::Api;
use crate::args::ServeArgs;
use crate::backend::Backend;
use crate::config::ConfigFile;
use crate::kubernetes::Peers;
use crate::proxy::Proxy;
use crate::routes::Routes;
use crate::seal::Sealer;
use crate::store::Uid;
use crate::streams::Streams;
use crate::traffic::Traffic;

mod cluster;
mod gate;
mod local;
mod router;
mod settings;

use router::Gates;
use settings::Settings;

/// How often files that may change are looked at.
const RELOAD: Duration = Duration::from_millis(500);
/// What a stop may take beyond the time that calls have to finish: sidecars that do not end are killed.
const LAST_MOMENTS: Duration = Duration::from_secs(12);

/// Where desired state comes from, and all that depends on it.
struct World {
    access: Access,
    sealer: Sealer,
    client: HttpClient,
    backend: Backend,
    /// The other replicas of this gateway.
    peers: Option<Peers>,
    /// This replica, as session handles name it.
    instance: Uid,
    /// Where programs are looked for that are to be started here.
    path: Option<String>,
    /// Makes what runs follow what is desired, until it is told to stop.
    work: BoxFuture<'static, ()>,
    tasks: JoinSet<()>,
}

/// Serves until told to stop. `log` is how sidecars are told to log.
pub async fn serve(args: ServeArgs, log: Vec<String>) -> anyhow::Result<()> {
    let seen = args.config.as_deref().and_then(local::stamp);
    let file = args.config.as_deref().map(ConfigFile::load).transpose().map_err(UsageError::new)?.unwrap_or_default();
    file.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let cluster = args.cluster.settings()?;
    let mut settings = Settings::new(args, file.settings.clone(), log)?;
    let listener = settings.listen.bind("--listen")?;
    let admin = settings.admin.take();
    let admin_is_loopback = admin.as_ref().map(Listener::local_addr).transpose()?.is_some_and(|it| it.is_loopback());
    let shutdown = Shutdown::new();
    let drain = shutdown.drain();
    let readiness = Readiness::new(drain.clone());
    let starting = readiness.token("routes");
    let (routes, stop) = (Routes::default(), CancellationToken::new());
    let streams = Streams::new(settings.max_streams);
    let world = match cluster {
        Some(cluster) => cluster::world(cluster, &settings, &file, &routes, &readiness, &stop).await?,
        None => local::world(&settings, file, seen, &routes, &stop)?,
    };
    announce(&listener, admin.as_ref())?;
    drop(starting);

    let World { access, sealer, client, backend, peers, instance, path, work: desired, mut tasks } = world;
    let aggregate =
        Aggregate::new((routes.clone(), client.clone()), sealer.clone(), instance, access.clone(), settings.names);
    let proxy = Proxy { routes: routes.clone(), sealer, client: client.clone(), access: access.clone() };
    let max_body = settings.max_body;
    let api = Api { backend, access: access.clone(), routes: routes.clone(), client, path, max_body };
    let traffic = Traffic::default();
    let gates = Gates {
        access: access.clone(),
        streams: streams.clone(),
        lists: router::lists(&settings),
        traffic: traffic.clone(),
        peers,
        cors: settings.cors,
    };
    let table = router::table(&aggregate, &proxy, &api, max_body);
    let router = router::router(table, gates, &readiness);

    tasks.spawn(access.clone().keep_views());
    tasks.spawn(end_streams(access, streams));
    tasks.spawn(aggregate.clone().follow());
    let work = async {
        let front = async {
            // Who connects before keys and servers are known waits, instead of being told that there are none: a replica
            // that starts again in its pod is asked before anybody has looked whether it is ready.
            readiness.settled().await;
            serve_until_drained(listener, router, &aggregate, &drain).await;
            tasks.shutdown().await;
        };
        let stop = async {
            drain.started().await;
            // Sidecars finish what is under way; the streams that they end then are what the front waits for.
            stop.cancel();
        };
        tokio::join!(desired, front, stop);
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

/// Ends the streams of those whose credentials are not good any more.
async fn end_streams(access: Access, streams: Streams) {
    loop {
        tokio::time::sleep(RELOAD).await;
        streams.retain(&access.principals().into_iter().collect());
    }
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

fn figures(routes: &Routes, aggregate: &Aggregate, traffic: &Traffic) -> Metrics {
    let mut registry = Metrics::default();
    metrics::register(&mut registry, "mcp-gateway", env!("CARGO_PKG_VERSION"));
    crate::routes::register(&mut registry, routes.clone());
    aggregate.register(&mut registry);
    traffic.register(&mut registry);
    registry
}
