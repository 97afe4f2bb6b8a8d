//! What survives a drain of nodes: all pods but one, where there are several.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::controller::validate::ValidatedServer;

/// `current` is how many pods there are where the spec leaves it to others.
pub(super) fn build(server: &ValidatedServer, current: Option<i32>) -> Option<PodDisruptionBudget> {
    server.replicas.or(current).filter(|replicas| *replicas > 1)?;
    Some(PodDisruptionBudget {
        metadata: server.meta(server.name.clone()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector { match_labels: Some(server.selector()), ..LabelSelector::default() }),
            // A pod that does not work protects nobody.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}
