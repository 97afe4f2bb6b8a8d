//! The objects of a server. Pure: the same server, settings and surroundings make the same objects, to the byte.

use std::collections::BTreeMap;

use api::labels;
use api::spec::Metadata;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::ObjectMeta;

use crate::controller::validate::{Cache, Certificates, Source, ValidatedServer};
use crate::settings::Settings;

mod config;
mod container;
mod deployment;
mod network_policy;
mod pdb;
mod pod;
mod pvc;
mod security;
mod service;
mod service_account;
#[cfg(test)]
mod tests;

pub use config::{CA_FILE, LOCK_FILE};
pub(crate) use container::{SERVER, SIDECAR, SIDECAR_CONTAINERS};

/// What a server's objects depend on beside its spec.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The public keys of the hop.
    pub jwks: String,
    /// A digest of what the spec refers to.
    pub references: String,
    /// The lock of what is requested now, if it is known: the file's content.
    pub lock: Option<String>,
    /// Whether a pod works that has resolved nothing: its command line is left to the runner as it stands.
    pub unresolved: bool,
    /// How many pods the Deployment has now, by whoever decides that.
    pub replicas: Option<i32>,
}

/// All objects of a server; `None` for those that are not to be there.
#[derive(Clone, Debug, PartialEq)]
pub struct Resources {
    /// The identity of its pods.
    pub service_account: Option<ServiceAccount>,
    /// Who may call.
    pub hop: ConfigMap,
    /// Certificates of authorities.
    pub certificates: Option<ConfigMap>,
    /// Exact versions.
    pub lock: Option<ConfigMap>,
    /// The package cache.
    pub cache: Option<PersistentVolumeClaim>,
    /// Who may connect.
    pub network_policy: NetworkPolicy,
    /// Where it is.
    pub service: Service,
    /// What survives a drain.
    pub disruption_budget: Option<PodDisruptionBudget>,
    /// Its pods.
    pub deployment: Deployment,
}

/// Builds them.
pub fn build(server: &ValidatedServer, settings: &Settings, around: &Surroundings) -> Resources {
    let own_account = server.resource.spec.service_account_name.is_none();
    Resources {
        service_account: own_account.then(|| service_account::build(server)),
        hop: config::hop(server, &around.jwks),
        certificates: config::certificates(server, settings),
        lock: config::lock(server, around.lock.as_deref()),
        cache: pvc::build(server),
        network_policy: network_policy::build(server, settings),
        service: service::build(server),
        disruption_budget: pdb::build(server, around.replicas),
        deployment: deployment::build(server, settings, around),
    }
}

impl ValidatedServer {
    /// Its program, unless it is elsewhere.
    pub fn program(&self) -> Option<&crate::controller::validate::Program> {
        match &self.source {
            Source::Command(program) => Some(program),
            Source::Url(_) => None,
        }
    }

    /// Where its certificates are.
    fn certificates(&self) -> &Certificates {
        match &self.source {
            Source::Command(program) => &program.packages.certificates,
            Source::Url(remote) => &remote.certificates,
        }
    }

    /// A digest of what a package runner is asked for, where there is one.
    pub fn requested(&self) -> Option<String> {
        let program = self.program().filter(|program| program.runner.is_some())?;
        Some(program.packages.requested(&program.command, program.image.as_deref()))
    }

    /// Whether no two pods may run at a time, because one volume is all there is.
    fn is_exclusive(&self) -> bool {
        self.cache().is_some_and(Cache::is_exclusive)
    }

    fn cache(&self) -> Option<&Cache> {
        self.program().map(|program| &program.packages.cache)
    }

    fn meta(&self, name: String) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace.clone()),
            labels: Some(self.labels()),
            owner_references: Some(vec![self.owner.clone()]),
            ..ObjectMeta::default()
        }
    }

    /// The same with what the spec wants there.
    fn meta_with(&self, name: String, given: Option<&Metadata>) -> ObjectMeta {
        let Metadata { labels, annotations } = given.cloned().unwrap_or_default();
        let annotations = Some(annotations).filter(|annotations| !annotations.is_empty());
        ObjectMeta { labels: Some(self.labels_beside(labels)), annotations, ..self.meta(name) }
    }

    /// By which pods are selected: these never change.
    fn selector(&self) -> BTreeMap<String, String> {
        let pairs = [(labels::NAME, labels::NAME_SERVER), (labels::INSTANCE, &self.name)];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let more = [
            (labels::COMPONENT, labels::COMPONENT_SERVER),
            (labels::MANAGED_BY, labels::OPERATOR),
            (labels::PART_OF, labels::PART_OF_GATEWAY),
            (labels::SERVER, &self.name),
        ];
        let more = more.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.selector().into_iter().chain(more).collect()
    }

    /// Those of a spec and the operator's, which go before them.
    fn labels_beside(&self, given: BTreeMap<String, String>) -> BTreeMap<String, String> {
        given.into_iter().chain(self.labels()).collect()
    }
}
