//! Whether the server has shaken hands.

use api::conditions::verified as reason;
use kube::ResourceExt as _;
use wire::status::{Failure, Phase};

use super::{Seen, pods};
use crate::controller::verdict::Verdict;
use crate::probe::SidecarStatus;

pub(super) fn verdict(seen: &Seen<'_>) -> Verdict {
    // What one said that is about to go says nothing about those that stay.
    let staying = || seen.pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let sidecars = || staying().filter_map(|pod| seen.sidecars.get(&pod.uid()?));
    if sidecars().any(|sidecar| sidecar.phase == Phase::Ready) {
        return Verdict::yes(reason::HANDSHAKE_SUCCEEDED, "the server has shaken hands and listed what it offers");
    }
    // The readiness probe asks the same sidecar, and reaches it where the operator may not.
    if staying().any(|pod| pods::is_ready(pod)) && sidecars().all(|sidecar| sidecar.phase == Phase::Starting) {
        return Verdict::yes(reason::HANDSHAKE_SUCCEEDED, "the sidecar tells its probe that the server works");
    }
    match sidecars().find(|sidecar| sidecar.phase == Phase::Failing) {
        Some(sidecar) => Verdict::no(failure(sidecar), &sidecar.message),
        None => Verdict::unknown(reason::NOT_ATTEMPTED, "no pod is up that could tell"),
    }
}

fn failure(sidecar: &SidecarStatus) -> &'static str {
    match sidecar.failure {
        Some(Failure::Access) => reason::AUTHENTICATION_REQUIRED,
        Some(Failure::Timeout) => reason::TIMEOUT,
        Some(Failure::Unreachable) => reason::UNREACHABLE,
        Some(Failure::Process) => reason::PROCESS_FAILED,
        Some(Failure::Handshake) | None => reason::HANDSHAKE_FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_kind_that_the_sidecar_names_whatever_its_words_are() {
        for (kind, expected) in [
            (Some(Failure::Access), "AuthenticationRequired"),
            (Some(Failure::Timeout), "Timeout"),
            (Some(Failure::Unreachable), "Unreachable"),
            (Some(Failure::Process), "ProcessFailed"),
            (Some(Failure::Handshake), "HandshakeFailed"),
            (None, "HandshakeFailed"),
        ] {
            let message = "exited with 401, timed out".to_owned();
            let sidecar = SidecarStatus { failure: kind, message, ..SidecarStatus::default() };
            assert_eq!(failure(&sidecar), expected);
        }
    }
}
