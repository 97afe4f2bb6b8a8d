//! Whether the server has shaken hands.

use api::conditions::verified as reason;
use kube::ResourceExt as _;
use wire::status::Phase;

use super::{Seen, pods};
use crate::controller::verdict::Verdict;
use crate::probe::SidecarStatus;

pub(super) fn verdict(seen: &Seen<'_>) -> Verdict {
    let sidecars = || seen.pods.iter().filter_map(|pod| seen.sidecars.get(&pod.uid()?));
    if sidecars().any(|sidecar| sidecar.phase == Phase::Ready) {
        return Verdict::yes(reason::HANDSHAKE_SUCCEEDED, "the server has shaken hands and listed what it offers");
    }
    // The readiness probe asks the same sidecar, and reaches it where the operator may not.
    if seen.pods.iter().any(|pod| pods::is_ready(pod)) && sidecars().all(|sidecar| sidecar.phase == Phase::Starting) {
        return Verdict::yes(reason::HANDSHAKE_SUCCEEDED, "the sidecar tells its probe that the server works");
    }
    match sidecars().find(|sidecar| sidecar.phase == Phase::Failing) {
        Some(sidecar) => Verdict::no(failure(sidecar), &sidecar.message),
        None => Verdict::unknown(reason::NOT_ATTEMPTED, "no pod is up that could tell"),
    }
}

/// The kind of failure, by the sidecar's words.
fn failure(sidecar: &SidecarStatus) -> &'static str {
    let message = sidecar.message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    match () {
        () if says(&["401", "403", "unauthorized", "forbidden", "credential"]) => reason::AUTHENTICATION_REQUIRED,
        () if says(&["did not answer", "timed out", "took longer", "in time"]) => reason::TIMEOUT,
        () if says(&["cannot connect", "unreachable", "cannot be reached"]) => reason::UNREACHABLE,
        () if says(&["exited", "exit code", "signal", "was killed", "not found"]) => reason::PROCESS_FAILED,
        () => reason::HANDSHAKE_FAILED,
    }
}
