//! What is told of a server. Pure: the same sight of the cluster makes the same status, and only a change is written.

use std::collections::HashMap;
use std::sync::Arc;

use api::conditions::{accepted, available, ready, resolved_refs, routable, verified};
use api::status::{MAX_TEXT, ServerInfo};
use api::{McpServer, McpServerStatus};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;

use super::verdict::Verdict;
use crate::probe::SidecarStatus;

mod availability;
mod exits;
mod pods;
#[cfg(test)]
mod tests;
mod verification;

/// What was seen of a server.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) server: &'a McpServer,
    pub(crate) accepted: Verdict,
    pub(crate) references: Verdict,
    pub(crate) deployment: Option<&'a Deployment>,
    /// Its pods, the oldest first.
    pub(crate) pods: &'a [Arc<Pod>],
    /// By the UID of the pod.
    pub(crate) sidecars: &'a HashMap<String, SidecarStatus>,
}

/// The operator's part of the status, without `url` and the condition `Routable`.
pub(crate) fn derive(seen: &Seen<'_>, now: Timestamp) -> McpServerStatus {
    let previous = seen.server.status.clone().unwrap_or_default();
    let available = availability::verdict(seen);
    let verified = verification::verdict(seen);
    let mut references = seen.references.clone();
    if references.reason == resolved_refs::NOT_CHECKED && available.is_true() {
        references = Verdict::yes(resolved_refs::RESOLVED, "pods run with everything that the spec refers to");
    }
    let ready = summary(seen, &references, &available, &verified);
    let verdicts = [
        (accepted::TYPE, seen.accepted.clone()),
        (resolved_refs::TYPE, references),
        (available::TYPE, available),
        (verified::TYPE, verified),
        (ready::TYPE, ready),
    ];
    let generation = seen.server.metadata.generation;
    let old = |kind: &str| previous.conditions.iter().find(|condition| condition.type_ == kind);
    let conditions = verdicts.map(|(kind, verdict)| condition(kind, &verdict, old(kind), generation, now)).into();
    let mut status = McpServerStatus { observed_generation: generation, conditions, url: None, ..previous.clone() };
    let verdict = |list: &[Condition]| list.iter().find(|it| it.type_ == verified::TYPE).map(|it| it.status.clone());
    let told = verdict(&status.conditions);
    if told != verdict(&previous.conditions) && told.is_some_and(|told| told != "Unknown") {
        status.last_verified_time = Some(Time(now));
    }
    counts(&mut status, seen);
    offer(&mut status, seen);
    status
}

/// The same status without what the gateway writes.
pub(crate) fn own_part(status: &McpServerStatus) -> McpServerStatus {
    let mut own = status.clone();
    own.url = None;
    own.conditions.retain(|condition| condition.type_ != routable::TYPE);
    own
}

/// True exactly when the other four are.
fn summary(seen: &Seen<'_>, references: &Verdict, available: &Verdict, verified: &Verdict) -> Verdict {
    let reason = match () {
        () if !seen.accepted.is_true() => (ready::NOT_ACCEPTED, &seen.accepted),
        () if available.reason == available::SUSPENDED => (ready::SUSPENDED, available),
        () if available.reason == available::SCALED_TO_ZERO => (ready::SCALED_TO_ZERO, available),
        () if !references.is_true() => (ready::UNRESOLVED_REFS, references),
        () if !available.is_true() => (ready::NOT_AVAILABLE, available),
        () if !verified.is_true() => (ready::NOT_VERIFIED, verified),
        () => return Verdict::yes(ready::WORKING, "clients can use the server"),
    };
    Verdict::no(reason.0, reason.1.message.clone())
}

fn condition(
    kind: &str,
    verdict: &Verdict,
    old: Option<&Condition>,
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let since = old.filter(|old| old.status == verdict.status).map(|old| old.last_transition_time.clone());
    Condition {
        type_: kind.to_owned(),
        status: verdict.status.to_owned(),
        reason: verdict.reason.to_owned(),
        message: cut(&verdict.message, 4096),
        observed_generation: generation,
        last_transition_time: since.unwrap_or(Time(now)),
    }
}

fn counts(status: &mut McpServerStatus, seen: &Seen<'_>) {
    let deployed = seen.deployment.and_then(|deployment| deployment.status.as_ref());
    status.replicas = Some(deployed.and_then(|it| it.replicas).unwrap_or_default());
    status.ready_replicas = Some(deployed.and_then(|it| it.ready_replicas).unwrap_or_default());
    let labels = seen.deployment.and_then(|it| it.spec.as_ref()?.selector.match_labels.as_ref());
    status.selector = labels.map(|labels| {
        let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join(",")
    });
    let sidecars = || seen.pods.iter().filter_map(|pod| seen.sidecars.get(&pod.uid()?));
    let processes = sidecars().map(|sidecar| i64::try_from(sidecar.restarts).unwrap_or(i64::MAX));
    status.restarts =
        Some(processes.chain(seen.pods.iter().map(|pod| pods::restarts(pod))).fold(0, i64::saturating_add));
    let exits = sidecars().filter_map(|sidecar| sidecar.last_exit.as_ref());
    status.last_exit = exits::last(exits, seen.pods.iter().map(|pod| &**pod)).or_else(|| status.last_exit.take());
}

/// What the server offers: what the oldest pod says that knows. Kept while nobody does.
fn offer(status: &mut McpServerStatus, seen: &Seen<'_>) {
    let sidecars = || seen.pods.iter().filter_map(|pod| seen.sidecars.get(&pod.uid()?));
    if let Some(transport) = sidecars().map(|sidecar| &sidecar.transport).find(|transport| !transport.is_empty()) {
        status.transport = Some(cut(transport, 64));
    }
    let Some(offer) = sidecars().find_map(|sidecar| sidecar.catalogue.as_ref()) else { return };
    let number = |count: usize| i32::try_from(count).ok();
    status.tools = number(offer.tools);
    status.resources = number(offer.resources + offer.resource_templates);
    status.prompts = number(offer.prompts);
    status.protocol_version = Some(cut(&offer.protocol_version, MAX_TEXT)).filter(|version| !version.is_empty());
    status.server_info = offer.server_info.as_ref().map(|info| ServerInfo {
        name: cut(&info.name, MAX_TEXT),
        version: info.version.as_ref().map(|version| cut(version, MAX_TEXT)),
    });
}

fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}
