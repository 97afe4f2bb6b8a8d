//! One operator works, others stand by: a Lease, with the semantics of client-go.
//!
//! Who holds it writes to it every [`RETRY`]; who cannot for [`RENEW_DEADLINE`] stops working. Others take it when they
//! have not seen it change for its duration, by their own clock: no two clocks are compared. A write names the version
//! that was read, so of two who try at a time one fails.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, Client};
use tokio::time::{Instant, sleep, timeout};

/// After so long without a change the lease is free.
const DURATION: Duration = Duration::from_secs(10);
/// Who could not write to it for so long works no more; below [`DURATION`], so that no two ever work.
const RENEW_DEADLINE: Duration = Duration::from_secs(7);
/// Between two looks at it.
const RETRY: Duration = Duration::from_secs(2);

/// What a look at the lease comes to.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// There is none: make it.
    Create(Box<Lease>),
    /// It is free or one's own: write this.
    Replace(Box<Lease>),
    /// Somebody else holds it.
    Wait,
}

/// The state of one candidate. Pure: the clock is an argument.
#[derive(Debug)]
struct Election {
    identity: String,
    /// The version last seen, and when it was seen first.
    seen: Option<(String, Instant)>,
}

impl Election {
    fn look(&mut self, lease: Option<&Lease>, now: Instant, time: Timestamp) -> Step {
        let Some(lease) = lease else { return Step::Create(Box::new(self.written(&Lease::default(), time))) };
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let since = match &self.seen {
            Some((seen, since)) if *seen == version => *since,
            _ => now,
        };
        self.seen = Some((version, since));
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
        let own = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let duration = own.map_or(DURATION, Duration::from_secs);
        let free = holder.as_ref().is_none_or(|holder| *holder == self.identity)
            || now.saturating_duration_since(since) >= duration;
        if free { Step::Replace(Box::new(self.written(lease, time))) } else { Step::Wait }
    }

    /// The lease as its holder writes it.
    fn written(&self, lease: &Lease, time: Timestamp) -> Lease {
        let old = lease.spec.clone().unwrap_or_default();
        let kept = old.holder_identity.as_deref() == Some(&self.identity);
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: old.acquire_time.filter(|_| kept).or(Some(MicroTime(time))),
            renew_time: Some(MicroTime(time)),
            lease_transitions: Some(old.lease_transitions.unwrap_or_default() + i32::from(!kept)),
            ..LeaseSpec::default()
        };
        Lease { metadata: lease.metadata.clone(), spec: Some(spec) }
    }
}

/// A candidate at work.
#[derive(Debug)]
pub(crate) struct Elector {
    api: Api<Lease>,
    name: String,
    election: Election,
}

impl Elector {
    pub(crate) fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        let election = Election { identity: identity.to_owned(), seen: None };
        Self { api: Api::namespaced(client, namespace), name: name.to_owned(), election }
    }

    /// Waits until the lease is this candidate's. `looked` is told of each look that the API server answered.
    pub(crate) async fn acquire(&mut self, mut looked: impl FnMut()) {
        loop {
            match self.attempt(RETRY * 2).await {
                Ok(true) => return looked(),
                Ok(false) => looked(),
                Err(error) => tracing::warn!(%error, "the lease cannot be looked at"),
            }
            sleep(RETRY).await;
        }
    }

    /// Keeps the lease; ends when it is lost.
    pub(crate) async fn keep(&mut self) {
        let mut renewed = Instant::now();
        while renewed.elapsed() < RENEW_DEADLINE {
            sleep(RETRY.min(RENEW_DEADLINE.saturating_sub(renewed.elapsed()))).await;
            let left = RENEW_DEADLINE.saturating_sub(renewed.elapsed());
            match self.attempt(left).await {
                Ok(true) => renewed = Instant::now(),
                Ok(false) => return,
                Err(error) => tracing::warn!(%error, "the lease was not renewed"),
            }
        }
    }

    /// Gives the lease back, so that another takes it at once.
    pub(crate) async fn release(&mut self) {
        let api = self.api.clone();
        let released = async {
            let mut lease = api.get(&self.name).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(&self.election.identity) {
                spec.holder_identity = None;
                spec.lease_duration_seconds = Some(1);
                api.replace(&self.name, &PostParams::default(), &lease).await?;
            }
            Ok::<_, kube::Error>(())
        };
        match timeout(RETRY, released).await {
            Ok(Ok(())) => tracing::info!("the lease is given back"),
            failed => tracing::warn!(?failed, "the lease was not given back: others wait until it ends"),
        }
    }

    /// Looks once, and writes if it may; whether the lease is this candidate's now.
    async fn attempt(&mut self, limit: Duration) -> Result<bool, String> {
        let once = async {
            let lease = self.api.get_opt(&self.name).await?;
            let written = match self.election.look(lease.as_ref(), Instant::now(), Timestamp::now()) {
                Step::Wait => return Ok(false),
                Step::Create(mut lease) => {
                    lease.metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                    self.api.create(&PostParams::default(), &lease).await
                }
                Step::Replace(lease) => self.api.replace(&self.name, &PostParams::default(), &lease).await,
            };
            match written {
                Ok(_) => Ok(true),
                // Somebody else was faster; the next look tells.
                Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
                Err(error) => Err(error),
            }
        };
        match timeout(limit, once).await {
            Ok(done) => done.map_err(|error: kube::Error| error.to_string()),
            Err(_) => Err(format!("the API server took longer than {limit:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: Option<&str>, version: &str) -> Lease {
        let spec = LeaseSpec {
            holder_identity: holder.map(ToOwned::to_owned),
            lease_duration_seconds: Some(10),
            ..LeaseSpec::default()
        };
        let metadata = ObjectMeta { resource_version: Some(version.to_owned()), ..ObjectMeta::default() };
        Lease { metadata, spec: Some(spec) }
    }

    fn takes(election: &mut Election, lease: &Lease, now: Instant) -> bool {
        matches!(election.look(Some(lease), now, Timestamp::UNIX_EPOCH), Step::Replace(_))
    }

    fn candidate() -> Election {
        Election { identity: "me".to_owned(), seen: None }
    }

    #[test]
    fn a_lease_that_is_missing_free_or_ones_own_is_taken() {
        let (mut election, now) = (candidate(), Instant::now());
        assert!(matches!(election.look(None, now, Timestamp::UNIX_EPOCH), Step::Create(_)));
        assert!(takes(&mut election, &lease(None, "1"), now));
        assert!(takes(&mut election, &lease(Some(""), "2"), now));
        assert!(takes(&mut election, &lease(Some("me"), "3"), now));
    }

    #[test]
    fn anothers_is_taken_when_it_has_not_changed_for_its_duration() {
        let (mut election, start) = (candidate(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!takes(&mut election, &lease(Some("other"), "1"), at(0)));
        assert!(!takes(&mut election, &lease(Some("other"), "1"), at(9)));
        // A renewal starts the time anew, whatever time it names.
        assert!(!takes(&mut election, &lease(Some("other"), "2"), at(10)));
        assert!(!takes(&mut election, &lease(Some("other"), "2"), at(19)));
        assert!(takes(&mut election, &lease(Some("other"), "2"), at(20)));
    }

    #[test]
    fn transitions_count_holders_and_not_renewals() {
        let election = candidate();
        let transitions = |lease: &Lease| lease.spec.as_ref().unwrap().lease_transitions;
        let first = election.written(&lease(Some("other"), "1"), Timestamp::UNIX_EPOCH);
        assert_eq!(transitions(&first), Some(1));
        assert_eq!(transitions(&election.written(&first, Timestamp::UNIX_EPOCH)), Some(1));
    }
}
