//! What the status of a pod says to people.

use api::conditions::available as reason;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;

use super::exits;
use crate::build::{SERVER, SIDECAR, SIDECAR_CONTAINERS};

/// Why a pod does not run. Of several the one with the most weight is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) weight: u8,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// The weight of what has passed: who knows what is the matter now is heard first.
pub(super) const PASSED: u8 = 1;

/// Whether it takes requests.
pub(super) fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && condition(pod, "Ready").is_some_and(|(status, _)| status == "True")
}

/// Whether its package is still being installed.
pub(super) fn is_installing(pod: &Pod) -> bool {
    let statuses = pod.status.as_ref().and_then(|status| status.init_container_statuses.as_ref());
    let install = statuses.into_iter().flatten().find(|status| status.name == "install");
    install.and_then(|status| status.state.as_ref()).is_some_and(|state| state.terminated.is_none())
}

/// How often the program's container and the sidecar were started again.
pub(super) fn restarts(pod: &Pod) -> i64 {
    let lasting = containers(pod).filter(|container| [SERVER, SIDECAR].contains(&container.name.as_str()));
    lasting.map(|container| i64::from(container.restart_count)).sum()
}

/// What keeps a pod from running, if something does.
pub(super) fn failure(pod: &Pod) -> Option<Failure> {
    if pod.metadata.deletion_timestamp.is_some() || is_ready(pod) {
        return None;
    }
    let status = pod.status.as_ref()?;
    let of_container = containers(pod).filter_map(|container| container_failure(pod, container));
    let unschedulable = condition(pod, "PodScheduled").filter(|(status, _)| *status == "False").map(|(_, message)| {
        let message = format!("no node takes pod `{}`: {message}", pod.name_any());
        Failure { weight: 3, reason: reason::UNSCHEDULABLE, message }
    });
    // Evicted, for example: a node was short of something, or a volume grew beyond its limit.
    let failed = (status.phase.as_deref() == Some("Failed")).then(|| {
        let told = [&status.reason, &status.message].map(|text| text.as_deref().unwrap_or_default());
        let message = format!("pod `{}` has failed: {}", pod.name_any(), told.join(": "));
        Failure { weight: PASSED, reason: reason::PODS_NOT_READY, message }
    });
    of_container.chain(unschedulable).chain(failed).max_by_key(|failure| failure.weight)
}

/// All its containers, as far as they are known.
pub(super) fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let lists = status.map(|status| [&status.init_container_statuses, &status.container_statuses]);
    lists.into_iter().flatten().flatten().flatten()
}

fn container_failure(pod: &Pod, container: &ContainerStatus) -> Option<Failure> {
    let name = format!("container `{}` of pod `{}`", container.name, pod.name_any());
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    let (kind, detail) = waiting.map_or(("", ""), |waiting| {
        (waiting.reason.as_deref().unwrap_or_default(), waiting.message.as_deref().unwrap_or_default())
    });
    let failure = |weight, reason, message: String| Some(Failure { weight, reason, message });
    let ended = exits::bad(container);
    if ended.is_some_and(exits::is_out_of_memory) {
        return failure(6, reason::OUT_OF_MEMORY, format!("{name} {}", out_of_memory(&container.name)));
    }
    match kind {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => failure(
            5,
            reason::IMAGE_PULL_FAILED,
            format!("{name}: image `{}` cannot be pulled: {detail}", container.image),
        ),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            failure(5, reason::CONFIG_ERROR, format!("{name} cannot be made: {detail}"))
        }
        _ => {
            // Between two attempts it runs for a while, or has just ended: that is no progress.
            let waits = kind == "CrashLoopBackOff";
            if !waits && (ended.is_none() || container.restart_count == 0) {
                return None;
            }
            let last = ended.map(|ended| format!("; at last it {}", exits::describe(ended))).unwrap_or_default();
            let runs = container.state.as_ref().is_some_and(|state| state.running.is_some());
            let weight = if runs { PASSED } else { 4 };
            failure(weight, reason::CRASH_LOOP, format!("{name} ends again and again{last}"))
        }
    }
}

/// What happened to a container that used too much memory, and what to do.
pub(super) fn out_of_memory(container: &str) -> String {
    let used = "used more memory than it may";
    if SIDECAR_CONTAINERS.contains(&container) {
        return format!("{used}: raise spec.sidecar.resources.limits.memory");
    }
    format!("{used}: raise spec.resources.limits.memory, or lower spec.process.maxProcesses")
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<(&'a str, &'a str)> {
    let condition = pod.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == kind)?;
    Some((&condition.status, condition.message.as_deref().unwrap_or_default()))
}
