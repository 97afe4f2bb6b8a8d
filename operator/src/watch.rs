//! What is watched: the servers, their pods, and the metadata of what was made for them.

use std::time::Duration;

use api::{Guarded, labels};
use backon::ExponentialBuilder;
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::utils::{Backoff, ResetTimerBackoff};
use kube::runtime::watcher::ExponentialBackoff;
use kube::runtime::{PredicateConfig, WatchStreamExt as _, predicates, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};

use crate::sidecars::Sidecars;

/// The name of a server.
pub(crate) type Server = ObjectRef<Guarded>;

/// All objects of a kind in one namespace, or in all.
pub(crate) fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// The server that an object was made for, by its labels.
pub(crate) fn server_of<K: Resource>(object: &K) -> Option<Server> {
    let name = object.meta().labels.as_ref()?.get(labels::SERVER)?;
    Some(Server::new(name).within(object.meta().namespace.as_deref()?))
}

/// Between two attempts of a watch. After an outage a watch fails once more, because what it had is too old by then: the
/// library's 30 s made minutes of that.
fn pauses() -> impl Backoff {
    let (first, longest) = (Duration::from_millis(250), Duration::from_secs(2));
    let growing = ExponentialBuilder::default().with_min_delay(first).with_max_delay(longest).without_max_times();
    ResetTimerBackoff::new(ExponentialBackoff::from(growing.with_jitter()), Duration::from_secs(30))
}

/// No pause for all watches because one of them failed: each makes its own. The controller's own pauses of up to 30 s,
/// one for each failure of nine watches, kept everything waiting for minutes after an outage.
#[derive(Debug)]
pub(crate) struct AtOnce;

impl Iterator for AtOnce {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

impl Backoff for AtOnce {
    fn reset(&mut self) {}
}

fn ours() -> watcher::Config {
    watcher::Config::default().labels(&format!("{}={}", labels::MANAGED_BY, labels::OPERATOR))
}

/// The servers: each when its spec changes.
pub(crate) fn servers(
    api: Api<Guarded>,
) -> (Store<Guarded>, impl Stream<Item = Result<Guarded, watcher::Error>> + Send + 'static) {
    let (reader, writer) = store();
    let stream = watcher(api, watcher::Config::default().any_semantic())
        .backoff(pauses())
        .modify(|server| server.managed_fields_mut().clear())
        .reflect(writer)
        .applied_objects()
        .predicate_filter(predicates::generation::<Guarded>, PredicateConfig::default());
    (reader, stream)
}

/// What was made for servers: each when anything of it changes, so that it is put right.
pub(crate) fn owned<K>(
    client: &Client,
    namespace: Option<&str>,
) -> impl Stream<Item = Result<PartialObjectMeta<K>, watcher::Error>> + Send + 'static + use<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    let api: Api<PartialObjectMeta<K>> = api(client, namespace);
    watcher(api, ours())
        .backoff(pauses())
        .touched_objects()
        .predicate_filter(predicates::resource_version::<PartialObjectMeta<K>>, PredicateConfig::default())
}

/// The pods, slimmed; their sidecars are followed on the way.
pub(crate) fn pods(
    api: Api<Pod>,
    servers: Store<Guarded>,
    sidecars: Sidecars,
) -> (Store<Pod>, impl Stream<Item = Result<Pod, watcher::Error>> + Send + 'static) {
    let (reader, writer) = store();
    let known = reader.clone();
    let stream = watcher(api, ours())
        .backoff(pauses())
        .modify(slim)
        .reflect(writer)
        .inspect(move |event| match event {
            Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => {
                let server = server_of(pod).and_then(|server| servers.get(&server));
                if let Some(uid) = server.and_then(|server| server.uid()) {
                    sidecars.follow(pod, &uid);
                }
            }
            Ok(watcher::Event::Delete(pod)) => sidecars.forget(pod.uid().as_deref().unwrap_or_default()),
            Ok(watcher::Event::InitDone) => {
                sidecars.retain(&known.state().iter().filter_map(|pod| pod.uid()).collect());
            }
            _ => {}
        })
        .touched_objects();
    (reader, stream)
}

/// Keeps what is looked at: a thousand pods are a few megabytes then.
fn slim(pod: &mut Pod) {
    pod.managed_fields_mut().clear();
    let kept = [labels::LOCKED_FOR, labels::REFERENCES];
    pod.annotations_mut().retain(|name, _| kept.contains(&name.as_str()));
    pod.spec = None;
    if let Some(status) = pod.status.take() {
        pod.status = Some(PodStatus {
            conditions: status.conditions,
            container_statuses: status.container_statuses,
            init_container_statuses: status.init_container_statuses,
            message: status.message,
            phase: status.phase,
            pod_ip: status.pod_ip,
            reason: status.reason,
            ..PodStatus::default()
        });
    }
}
