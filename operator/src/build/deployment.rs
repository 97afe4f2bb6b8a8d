//! The pods of a server, and how they are replaced.

use std::collections::BTreeMap;

use api::labels;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::ObjectMeta;

use super::{Surroundings, pod};
use crate::controller::validate::ValidatedServer;
use crate::settings::Settings;

/// How many old versions are kept for those who look what changed.
const HISTORY: i32 = 3;
/// What is added to the times that a start may take before Kubernetes says that there is no progress, in seconds.
const PROGRESS_MARGIN: u64 = 120;

pub(super) fn build(server: &ValidatedServer, settings: &Settings, around: &Surroundings) -> Deployment {
    let process = &server.process;
    let deadline = process.install_timeout().as_secs() + process.startup_timeout().as_secs() + PROGRESS_MARGIN;
    Deployment {
        metadata: server.meta_with(server.name.clone(), server.children.deployment.as_ref()),
        spec: Some(DeploymentSpec {
            replicas: replicas(server, around),
            revision_history_limit: Some(HISTORY),
            progress_deadline_seconds: Some(i32::try_from(deadline).unwrap_or(i32::MAX)),
            selector: LabelSelector { match_labels: Some(server.selector()), ..LabelSelector::default() },
            strategy: Some(strategy(server)),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(pod_labels(server)),
                    annotations: Some(annotations(server, around)),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod::build(server, settings)),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

/// `None` where somebody else decides, at once: a number that the operator held back would be written again and again by
/// two. Else more than one pod of a package runner waits for the lock, so that all run the same versions; unless there is
/// none to come.
fn replicas(server: &ValidatedServer, around: &Surroundings) -> Option<i32> {
    let unlocked = server.requested().is_some() && around.lock.is_none() && !around.unresolved;
    let already = around.replicas.unwrap_or(1).max(1);
    server.replicas.map(|replicas| if unlocked { replicas.min(already) } else { replicas })
}

fn strategy(server: &ValidatedServer) -> DeploymentStrategy {
    if server.is_exclusive() {
        return DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None };
    }
    DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_unavailable: Some(IntOrString::Int(0)),
            max_surge: Some(IntOrString::Int(1)),
        }),
    }
}

fn pod_labels(server: &ValidatedServer) -> BTreeMap<String, String> {
    let given = server.resource.spec.pod_metadata.as_ref().map(|metadata| metadata.labels.clone());
    server.labels_beside(given.unwrap_or_default())
}

fn annotations(server: &ValidatedServer, around: &Surroundings) -> BTreeMap<String, String> {
    let given = server.resource.spec.pod_metadata.as_ref().map(|metadata| metadata.annotations.clone());
    let mut annotations = given.unwrap_or_default();
    annotations.insert("kubectl.kubernetes.io/default-container".to_owned(), pod::main_container(server).to_owned());
    if !around.references.is_empty() {
        annotations.insert(labels::REFERENCES.to_owned(), around.references.clone());
    }
    annotations.extend(server.requested().map(|requested| (labels::LOCKED_FOR.to_owned(), requested)));
    annotations
}
