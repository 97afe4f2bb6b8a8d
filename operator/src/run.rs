//! The life of the operator: it stands by until the lease is its own, works, and gives the lease back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use futures::channel::mpsc;
use futures::{StreamExt as _, future};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{Config, Controller, Error as ControllerError};
use kube::runtime::reflector::Store;
use kube::{Client, ResourceExt as _};
use prometheus_client::registry::Registry;
use runtime::admin;
use runtime::readiness::Readiness;
use runtime::shutdown::{Drain, Shutdown};
use tokio::sync::watch;
use tokio::time::Instant;
use wire::hop::{Issuer, Signer};

use crate::args::RunArgs;
use crate::controller::{ClientHandle, Context, error_policy, reconcile};
use crate::events::Events;
use crate::keys::{Hop, Keys};
use crate::lease::Elector;
use crate::metrics::Metrics;
use crate::probe::Probe;
use crate::rotation::Rotation;
use crate::settings::Settings;
use crate::sidecars::Sidecars;
use crate::watch::{AtOnce, api, owned, pods, server_of, servers};

/// How long work under way may take at the end.
const GRACE: Duration = Duration::from_secs(20);
/// Events of one server that come faster than this are one.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// How often is looked whether keys have changed.
const KEYS: Duration = Duration::from_secs(15);
/// Servers whose sidecars said something and that nobody looked at yet: more are found by the regular look.
const CHANGED: usize = 4096;

/// What all scopes share.
struct Shared {
    client: Client,
    settings: Arc<Settings>,
    keys: Keys,
    events: Events,
    metrics: Metrics,
    concurrency: u16,
}

/// Works until told to stop.
///
/// # Errors
/// When there is no cluster, and when the lease is lost.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    let config =
        kube::Config::infer().await.context("there is no cluster: neither a pod's credentials nor a kubeconfig")?;
    let namespace = args.namespace.clone().filter(|name| !name.is_empty());
    let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
    let identity = args.identity.clone().or_else(|| args.hostname.clone()).unwrap_or_else(|| "mcp-operator".to_owned());
    let settings = Arc::new(args.pods.settings(&namespace)?);
    let client = Client::try_from(config).context("cannot make a client for the cluster")?;
    let shutdown = Shutdown::new();
    let readiness = Readiness::new(shutdown.drain());
    let mut registry = Registry::default();
    runtime::metrics::register(&mut registry, "mcp-operator", env!("CARGO_PKG_VERSION"));
    let metrics = Metrics::register(&mut registry);
    let reached = readiness.token("the API server has answered");
    let admin = args.admin.bind()?;
    let routes = admin::routes(&readiness, Arc::new(registry));
    let shared = Shared {
        keys: Keys::new(client.clone(), &namespace, args.secrets.clone()),
        events: Events::new(client.clone(), &identity),
        client: client.clone(),
        settings,
        metrics,
        concurrency: args.concurrency,
    };
    let elector = Elector::new(client, &namespace, &args.lease_name, &identity);
    let mut reached = Some(reached);
    let work = lead(elector, shared, args.namespaces, shutdown.drain(), move || drop(reached.take()));
    Box::pin(shutdown.run(GRACE, admin::beside(admin, routes, work))).await?
}

async fn lead(
    mut elector: Elector,
    shared: Shared,
    namespaces: Vec<String>,
    drain: Drain,
    looked: impl FnMut(),
) -> anyhow::Result<()> {
    tokio::select! {
        biased; // who is told to stop does not begin
        () = drain.started() => return Ok(()),
        () = elector.acquire(looked) => {}
    }
    tracing::info!("this operator works now");
    shared.metrics.leader.set(1);
    let done = tokio::select! {
        () = elector.keep() => anyhow::bail!("the lease was lost: another operator may work"),
        done = work(&shared, namespaces, &drain) => done,
    };
    shared.metrics.leader.set(0);
    elector.release().await;
    done
}

async fn work(shared: &Shared, namespaces: Vec<String>, drain: &Drain) -> anyhow::Result<()> {
    let Some(hop) = keys(shared, drain).await else { return Ok(()) };
    let (jwks, seen) = watch::channel(hop.jwks());
    let signer = Arc::new(Signer::new(Issuer::Operator, hop.into_own()));
    let probe = Probe::new(Arc::clone(&signer));
    let namespaces: Vec<_> = namespaces.into_iter().filter(|name| !name.is_empty()).map(Some).collect();
    let namespaces = if namespaces.is_empty() { vec![None] } else { namespaces };
    let mut scopes = Vec::new();
    let mut pods = Vec::new();
    for namespace in namespaces {
        let (store, sidecars, run) = scope(shared, namespace.as_deref(), &probe, &seen, drain);
        pods.push((store, sidecars));
        scopes.push(run);
    }
    tokio::select! {
        _ = future::join_all(scopes) => Ok(()),
        never = follow_keys(shared, &signer, &jwks, &pods) => match never {},
    }
}

/// The keys, as soon as they can be had; `None` when it is told to stop before.
async fn keys(shared: &Shared, drain: &Drain) -> Option<Hop> {
    loop {
        match shared.keys.load().await {
            Ok(hop) => return Some(hop),
            Err(error) => tracing::warn!(error = format!("{error:#}"), "there are no keys to work with"),
        }
        tokio::select! {
            () = drain.started() => return None,
            () = tokio::time::sleep(KEYS) => {}
        }
    }
}

/// Tells of keys that were added, and has a new one sign when every pod knows it.
async fn follow_keys(
    shared: &Shared,
    signer: &Signer,
    jwks: &watch::Sender<String>,
    pods: &[(Store<Pod>, Sidecars)],
) -> std::convert::Infallible {
    let mut rotation = Rotation::default();
    loop {
        tokio::time::sleep(KEYS).await;
        // Before all pods have been listed nobody knows who does not know it.
        for (store, sidecars) in pods {
            drop(store.wait_until_ready().await);
            // One that was looked at while it went may be followed still.
            sidecars.retain(&store.state().iter().filter_map(|pod| pod.uid()).collect());
        }
        let turned = async {
            let mut hop = shared.keys.load().await?;
            let text = hop.jwks();
            let changed = jwks.send_if_modified(|old| {
                let changed = *old != text;
                *old = text;
                changed
            });
            let listed = pods.iter().flat_map(|(store, sidecars)| {
                let told = |pod: Arc<Pod>| (sidecars.status(&pod.uid().unwrap_or_default()), pod);
                store.state().into_iter().map(told)
            });
            let known = hop.new_key().is_some_and(|kid| rotation.is_known(&kid, listed, Instant::now()));
            let turned = if known { shared.keys.rotate(&mut hop).await } else { Ok(()) };
            if changed {
                signer.replace(hop.into_own());
            }
            turned
        };
        if let Err(error) = turned.await {
            tracing::warn!(error = format!("{error:#}"), "the keys cannot be looked after");
        }
    }
}

/// The servers of one namespace, or of all.
fn scope(
    shared: &Shared,
    namespace: Option<&str>,
    probe: &Probe,
    jwks: &watch::Receiver<String>,
    drain: &Drain,
) -> (Store<Pod>, Sidecars, impl Future<Output = ()> + use<>) {
    let client = &shared.client;
    let (changed, told) = mpsc::channel(CHANGED);
    let sidecars = Sidecars::new(probe.clone(), changed, shared.metrics.clone());
    let (reader, main) = servers(api(client, namespace));
    let (pods, pod_events) = pods(api(client, namespace), reader.clone(), sidecars.clone());
    let context = Arc::new(Context {
        client: ClientHandle(client.clone()),
        settings: Arc::clone(&shared.settings),
        jwks: jwks.clone(),
        pods: pods.clone(),
        sidecars: sidecars.clone(),
        events: shared.events.clone(),
        metrics: shared.metrics.clone(),
        failures: Mutex::default(),
    });
    let keys = futures::stream::unfold(jwks.clone(), async |mut jwks| jwks.changed().await.ok().map(|()| ((), jwks)));
    let of = |object: PartialObjectMeta<ConfigMap>| server_of(&object);
    let stop = drain.started();
    let controller = Controller::for_stream(main, reader)
        .owns_stream(owned::<Deployment>(client, namespace))
        .owns_stream(owned::<Service>(client, namespace))
        .owns_stream(owned::<ServiceAccount>(client, namespace))
        .owns_stream(owned::<NetworkPolicy>(client, namespace))
        .owns_stream(owned::<PodDisruptionBudget>(client, namespace))
        .owns_stream(owned::<PersistentVolumeClaim>(client, namespace))
        .watches_stream(owned::<ConfigMap>(client, namespace), of)
        .watches_stream(pod_events, |pod| server_of(&pod))
        .reconcile_on(told)
        .reconcile_all_on(keys.boxed())
        .trigger_backoff(AtOnce)
        .with_config(Config::default().concurrency(shared.concurrency).debounce(DEBOUNCE))
        .graceful_shutdown_on(stop)
        .run(reconcile, error_policy, context);
    let run = controller.for_each(|result| {
        match result {
            Err(ControllerError::QueueError(error)) => {
                tracing::warn!(%error, "the cluster does not tell what there is");
            }
            Err(error) => tracing::debug!(%error, "a turn ended early"),
            Ok(_) => {}
        }
        future::ready(())
    });
    (pods, sidecars, run)
}
