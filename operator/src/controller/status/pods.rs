//! What the status of a pod says to people.

use api::conditions::available as reason;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;

/// Why a pod does not run. Of several the one with the most weight is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) weight: u8,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

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

/// What keeps a pod from running, if something does.
pub(super) fn failure(pod: &Pod) -> Option<Failure> {
    if pod.metadata.deletion_timestamp.is_some() || is_ready(pod) {
        return None;
    }
    let status = pod.status.as_ref()?;
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let of_container = containers.filter_map(|container| container_failure(pod, container));
    let unschedulable = condition(pod, "PodScheduled").filter(|(status, _)| *status == "False").map(|(_, message)| {
        let message = format!("no node takes pod `{}`: {message}", pod.name_any());
        Failure { weight: 3, reason: reason::UNSCHEDULABLE, message }
    });
    of_container.chain(unschedulable).max_by_key(|failure| failure.weight)
}

fn container_failure(pod: &Pod, container: &ContainerStatus) -> Option<Failure> {
    let name = format!("container `{}` of pod `{}`", container.name, pod.name_any());
    let last = [&container.last_state, &container.state];
    let ended = last.into_iter().flatten().filter_map(|state| state.terminated.as_ref()).next_back();
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    let (kind, detail) = waiting.map_or(("", ""), |waiting| {
        (waiting.reason.as_deref().unwrap_or_default(), waiting.message.as_deref().unwrap_or_default())
    });
    let failure = |weight, reason, message: String| Some(Failure { weight, reason, message });
    if ended.is_some_and(|ended| ended.reason.as_deref() == Some("OOMKilled")) {
        let text =
            "used more memory than it may: raise spec.resources.limits.memory, or lower spec.process.maxProcesses";
        return failure(6, reason::OUT_OF_MEMORY, format!("{name} {text}"));
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
        "CrashLoopBackOff" => {
            let how = ended.map(|ended| format!(" with exit code {}", ended.exit_code)).unwrap_or_default();
            failure(4, reason::CRASH_LOOP, format!("{name} ends again and again{how}"))
        }
        _ => None,
    }
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<(&'a str, &'a str)> {
    let condition = pod.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == kind)?;
    Some((&condition.status, condition.message.as_deref().unwrap_or_default()))
}
