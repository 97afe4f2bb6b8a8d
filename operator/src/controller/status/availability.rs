//! Whether pods run and are ready, and if not, what keeps them from it.

use api::conditions::available as reason;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;

use super::{Seen, pods};
use crate::build::SERVER;
use crate::controller::advice::advised;
use crate::controller::verdict::Verdict;
use crate::probe::SidecarStatus;
use wire::status::{Failure, Phase};

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
    let refused = refused(deployment);
    if ready > 0 {
        let more = match (failure, refused) {
            (_, Some(refused)) => format!("; more are refused: {refused}"),
            (Some(failure), _) => format!("; a pod is not: {}", failure.message),
            (None, _) => String::new(),
        };
        return Verdict::yes(reason::PODS_READY, format!("{ready} of {wanted} pods are ready{more}"));
    }
    let (passed, failure): (Vec<_>, Vec<_>) = failure.into_iter().partition(|it| it.weight <= pods::PASSED);
    let verdict = |failure: pods::Failure| Verdict::no(failure.reason, failure.message);
    let failing = failure.into_iter().next().map(verdict);
    failing
        .or_else(|| refused.map(|message| Verdict::no(reason::PODS_REFUSED, message)))
        .or_else(|| told(seen))
        .or_else(|| passed.into_iter().next().map(verdict))
        .unwrap_or_else(|| Verdict::no(reason::PROGRESSING, format!("0 of {wanted} pods are ready")))
}

/// Why no pod, or no further one, is let in: a quota, Pod Security, an admission policy.
fn refused(deployment: &Deployment) -> Option<String> {
    let mut conditions = deployment.status.as_ref()?.conditions.iter().flatten();
    let refused = conditions.find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")?;
    refused.message.as_deref().map(advised)
}

/// What the sidecars say keeps them.
fn told(seen: &Seen<'_>) -> Option<Verdict> {
    let mut staying = seen.pods.iter().rev().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let (pod, sidecar) = staying.find_map(|pod| Some((pod, seen.sidecars.get(&pod.uid()?)?)))?;
    Some(match sidecar.phase {
        // How far it is changes each second: the status does not.
        Phase::Installing => Verdict::no(reason::INSTALLING, sidecar.message.split(" (").next().unwrap_or_default()),
        Phase::Failing if pods::is_installing(pod) => Verdict::no(reason::INSTALL_FAILED, &sidecar.message),
        Phase::Failing => failing(sidecar),
        Phase::Starting | Phase::Ready | Phase::Suspended => return None,
    })
}

fn failing(sidecar: &SidecarStatus) -> Verdict {
    // What cannot be started at all has no exit.
    let ended = sidecar.last_exit.as_ref().filter(|_| sidecar.failure == Some(Failure::Process));
    match ended {
        Some(exit) if exit.out_of_memory => {
            let text = format!("container `{SERVER}` {}: {}", pods::out_of_memory(SERVER), sidecar.message);
            Verdict::no(reason::OUT_OF_MEMORY, text)
        }
        Some(_) => {
            Verdict::no(reason::CRASH_LOOP, format!("its process ends again and again: {}", advised(&sidecar.message)))
        }
        None => Verdict::no(reason::PODS_NOT_READY, &sidecar.message),
    }
}
