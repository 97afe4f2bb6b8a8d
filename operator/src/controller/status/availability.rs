//! Whether pods run and are ready, and if not, what keeps them from it.

use api::conditions::available as reason;
use kube::ResourceExt as _;

use super::{Seen, pods};
use crate::controller::verdict::Verdict;
use wire::status::Phase;

pub(super) fn verdict(seen: &Seen<'_>) -> Verdict {
    if seen.server.spec.suspend {
        return Verdict::no(reason::SUSPENDED, "the server is suspended: spec.suspend is true");
    }
    let Some(deployment) = seen.deployment else {
        return Verdict::unknown(reason::NOT_ATTEMPTED, "no pods were made");
    };
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    if wanted == 0 {
        return Verdict::no(reason::SCALED_TO_ZERO, "the server is scaled to no pods");
    }
    let ready = seen.pods.iter().filter(|pod| pods::is_ready(pod)).count();
    let failure = seen.pods.iter().filter_map(|pod| pods::failure(pod)).max_by_key(|failure| failure.weight);
    if ready > 0 {
        let more = failure.map(|failure| format!("; a pod is not: {}", failure.message)).unwrap_or_default();
        return Verdict::yes(reason::PODS_READY, format!("{ready} of {wanted} pods are ready{more}"));
    }
    if let Some(failure) = failure {
        return Verdict::no(failure.reason, failure.message);
    }
    let refused = deployment.status.as_ref().and_then(|status| {
        let mut conditions = status.conditions.iter().flatten();
        conditions.find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")
    });
    if let Some(message) = refused.filter(|_| seen.pods.is_empty()).and_then(|refused| refused.message.clone()) {
        return Verdict::no(reason::PODS_REFUSED, message);
    }
    told(seen).unwrap_or_else(|| Verdict::no(reason::PROGRESSING, format!("0 of {wanted} pods are ready")))
}

/// What the sidecars say keeps them.
fn told(seen: &Seen<'_>) -> Option<Verdict> {
    let (pod, sidecar) = seen.pods.iter().rev().find_map(|pod| Some((pod, seen.sidecars.get(&pod.uid()?)?)))?;
    Some(match sidecar.phase {
        Phase::Installing => Verdict::no(reason::INSTALLING, &sidecar.message),
        Phase::Failing if pods::is_installing(pod) => Verdict::no(reason::INSTALL_FAILED, &sidecar.message),
        Phase::Failing => Verdict::no(reason::PODS_NOT_READY, &sidecar.message),
        Phase::Starting | Phase::Ready | Phase::Suspended => return None,
    })
}
