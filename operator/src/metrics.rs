//! Figures of the operator. None has a label that users choose, so none outlives what it is about.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds of durations, in seconds.
const BUCKETS: [f64; 8] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

/// See the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    reconciles: Family<Outcome, Counter>,
    duration: Histogram,
    writes: Family<Write, Counter>,
    /// 1 while this operator is the one that works.
    pub(crate) leader: Gauge,
    /// Pods whose sidecar is followed.
    pub(crate) sidecars: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Write {
    resource: String,
}

impl Metrics {
    /// Adds them to a registry.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reconciles: Family::default(),
            duration: Histogram::new(BUCKETS),
            writes: Family::default(),
            leader: Gauge::default(),
            sidecars: Gauge::default(),
        };
        let registry = registry.sub_registry_with_prefix("mcp_operator");
        let (reconciles, duration) = (metrics.reconciles.clone(), metrics.duration.clone());
        registry.register("reconciles", "Servers worked on, by how it ended", reconciles);
        registry.register("reconcile_duration_seconds", "How long that took", duration);
        registry.register("writes", "Objects written or removed, by kind", metrics.writes.clone());
        registry.register("leader", "Whether this operator is the one that works", metrics.leader.clone());
        registry.register("followed_sidecars", "Pods whose status is followed", metrics.sidecars.clone());
        metrics
    }

    /// A server was worked on.
    pub(crate) fn reconciled(&self, result: &'static str, took: Duration) {
        self.reconciles.get_or_create(&Outcome { result }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// An object of this kind was written or removed.
    pub(crate) fn wrote(&self, kind: &str) {
        self.writes.get_or_create(&Write { resource: kind.to_owned() }).inc();
    }
}
