//! When a new key of the gateway may sign: once every pod that takes requests knows it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use tokio::time::{Duration, Instant};

use crate::probe::SidecarStatus;

/// How long a pod is waited for whose sidecar says nothing: kubelets bring a changed ConfigMap within two minutes, and
/// one lost node must not keep an old key in use.
const SILENT: Duration = Duration::from_secs(600);

/// The key that is to sign next, and since when it is known here.
#[derive(Debug, Default)]
pub(crate) struct Rotation {
    waiting: Option<(String, Instant)>,
}

impl Rotation {
    /// Whether all these pods know the key, each with what its sidecar said last. One that has said nothing yet is
    /// waited for, but not for ever; one that says it does not know the key would be cut off.
    pub(crate) fn is_known(
        &mut self,
        kid: &str,
        mut pods: impl Iterator<Item = (Option<SidecarStatus>, Arc<Pod>)>,
        now: Instant,
    ) -> bool {
        let since = match &self.waiting {
            Some((waiting, since)) if waiting == kid => *since,
            _ => self.waiting.insert((kid.to_owned(), now)).1,
        };
        let patient = now.duration_since(since) < SILENT;
        pods.all(|(status, pod)| match status {
            Some(status) => {
                let knows = status.hop_keys.iter().any(|known| known == kid);
                // What is told of one whose node is lost stays what it was.
                knows || is_over(&pod) || (!patient && pod.metadata.deletion_timestamp.is_some())
            }
            // One that is starting may have mounted the older keys already.
            None => !patient || is_over(&pod),
        })
    }
}

/// Whether it will never run again.
fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(phase: &str) -> Arc<Pod> {
        Arc::new(serde_json::from_value(json!({"metadata": {}, "status": {"phase": phase}})).unwrap())
    }

    fn leaving() -> Arc<Pod> {
        let metadata = json!({"deletionTimestamp": "2026-11-27T00:00:00Z"});
        Arc::new(serde_json::from_value(json!({"metadata": metadata, "status": {"phase": "Running"}})).unwrap())
    }

    fn says(keys: &[&str]) -> SidecarStatus {
        let hop_keys = keys.iter().map(ToString::to_string).collect();
        SidecarStatus { hop_keys, ..SidecarStatus::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_signs_when_every_pod_knows_it_and_who_is_silent_is_waited_for_so_long() {
        let later = SILENT + Duration::from_secs(1);
        for (status, pod, at_once, in_the_end) in [
            (Some(says(&["old", "new"])), pod("Running"), true, true),
            (Some(says(&["old"])), pod("Running"), false, false),
            (None, pod("Running"), false, true),
            (None, pod("Pending"), false, true),
            (None, pod("Failed"), true, true),
            (Some(says(&["old"])), pod("Succeeded"), true, true),
            (Some(says(&["old"])), leaving(), false, true),
        ] {
            let mut rotation = Rotation::default();
            let mut known = |now| rotation.is_known("new", [(status.clone(), Arc::clone(&pod))].into_iter(), now);
            let start = Instant::now();
            assert_eq!((known(start), known(start + later)), (at_once, in_the_end), "{status:?} {pod:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_key_has_its_own_time() {
        let mut rotation = Rotation::default();
        let (start, pod) = (Instant::now(), pod("Running"));
        let mut known = |kid, now| rotation.is_known(kid, [(None, Arc::clone(&pod))].into_iter(), now);
        assert!(!known("first", start));
        assert!(!known("second", start + SILENT));
        assert!(known("second", start + SILENT * 2));
    }

    #[test]
    fn where_there_are_no_pods_nobody_is_waited_for() {
        assert!(Rotation::default().is_known("new", std::iter::empty(), Instant::now()));
    }
}
