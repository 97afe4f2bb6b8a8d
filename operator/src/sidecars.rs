//! The sidecars that are followed: one task for each pod, and what it heard last.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::mpsc;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use tokio::task::JoinHandle;
use wire::status::Phase;

use crate::metrics::Metrics;
use crate::probe::{Probe, SidecarStatus};
use crate::watch::{Server, server_of};

/// Between two attempts to follow a sidecar.
const PAUSE: Duration = Duration::from_secs(1);
/// Once it could not be followed for some attempts, each is so much later.
const LONG_PAUSE: Duration = Duration::from_secs(10);
/// After so many attempts what a sidecar said is not taken for true any more.
const SILENT: u32 = 5;
/// So many attempts count as a start: a sidecar is not there as soon as its pod has an address.
const EARLY: u32 = 20;

/// See the [module](self). Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Sidecars {
    pods: Arc<Mutex<HashMap<String, Followed>>>,
    probe: Probe,
    changed: mpsc::Sender<Server>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Followed {
    address: String,
    status: Option<SidecarStatus>,
    task: JoinHandle<()>,
    /// Counts those of all namespaces.
    metrics: Metrics,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.metrics.sidecars.dec();
        self.task.abort();
    }
}

impl Sidecars {
    /// `changed` gets the server whose sidecar said something new.
    pub(crate) fn new(probe: Probe, changed: mpsc::Sender<Server>, metrics: Metrics) -> Self {
        Self { pods: Arc::default(), probe, changed, metrics }
    }

    /// Follows the sidecar of a pod that has an address; `audience` is the UID of its server.
    pub(crate) fn follow(&self, pod: &Pod, audience: &str) {
        let (Some(uid), Some(server)) = (pod.uid(), server_of(pod)) else { return };
        let Some(address) = pod.status.as_ref().and_then(|status| status.pod_ip.clone()) else { return };
        let mut pods = self.pods();
        if pods.get(&uid).is_some_and(|followed| followed.address == address) {
            return;
        }
        let this = self.clone();
        let (key, to, audience) = (uid.clone(), address.clone(), audience.to_owned());
        let task = tokio::spawn(async move { this.run(&key, &to, &audience, server).await });
        self.metrics.sidecars.inc();
        pods.insert(uid, Followed { address, status: None, task, metrics: self.metrics.clone() });
    }

    /// Forgets a pod that is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.pods().remove(uid);
    }

    /// Forgets all but these.
    pub(crate) fn retain(&self, uids: &HashSet<String>) {
        self.pods().retain(|uid, _| uids.contains(uid));
    }

    /// What the sidecar of a pod said last.
    pub(crate) fn status(&self, uid: &str) -> Option<SidecarStatus> {
        self.pods().get(uid)?.status.clone()
    }

    async fn run(&self, uid: &str, address: &str, audience: &str, server: Server) {
        let mut failures = 0_u32;
        loop {
            let mut heard = false;
            let told = |status| {
                heard = true;
                self.told(uid, status, &server);
            };
            let why = self.probe.follow(address, audience, told).await;
            failures = if heard { 0 } else { failures.saturating_add(1) };
            if failures == SILENT {
                self.silent(uid, &server);
            }
            tracing::debug!(pod = uid, address, why, "a sidecar is not followed any more");
            tokio::time::sleep(if failures > EARLY { LONG_PAUSE } else { PAUSE }).await;
        }
    }

    fn told(&self, uid: &str, status: SidecarStatus, server: &Server) {
        let mut pods = self.pods();
        let Some(followed) = pods.get_mut(uid) else { return };
        let news = followed.status.as_ref().is_none_or(|old| old.differs(&status));
        followed.status = Some(status);
        drop(pods);
        if !news {
            return;
        }
        // When so many wait already, the next look at all servers finds it.
        self.changed.clone().try_send(server.clone()).ok();
    }

    /// A sidecar that once spoke does not any more: how its server is now, nobody knows.
    fn silent(&self, uid: &str, server: &Server) {
        let known = self.pods().get(uid).and_then(|followed| followed.status.clone());
        if let Some(status) = known {
            let message = "the sidecar does not answer".to_owned();
            self.told(uid, SidecarStatus { phase: Phase::Starting, message, ..status }, server);
        }
    }

    fn pods(&self) -> MutexGuard<'_, HashMap<String, Followed>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
