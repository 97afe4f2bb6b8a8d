//! What holds for all servers, as the operator was started with it.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// What pods are made of where the spec says nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The image of the sidecar and the launcher.
    pub sidecar_image: String,
    /// The image that servers without one of their own run in: uv, Node.js, Python.
    pub runner_image: String,
    /// When the operator's own images are pulled; `None`: as Kubernetes thinks best.
    pub image_pull_policy: Option<String>,
    /// Secrets with which images are pulled beside those that a spec names; a namespace may lack them.
    pub image_pull_secrets: Vec<String>,
    /// Resources of the sidecar's container.
    pub sidecar_resources: ResourceRequirements,
    /// Resources of the server's container.
    pub server_resources: ResourceRequirements,
    /// Where packages come from.
    pub packages: PackageDefaults,
    /// The most that a cache on the node may hold.
    pub cache_size_limit: Quantity,
    /// The size of the volume that is claimed for a cache.
    pub cache_claim_size: Quantity,
    /// Who carries requests to pods.
    pub gateway: Peer,
    /// Who looks at their status.
    pub operator: Peer,
    /// How long calls under way may take after a pod was told to stop.
    pub drain: Duration,
}

/// Where packages come from unless a server says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackageDefaults {
    /// The index of Python packages.
    pub index: Option<String>,
    /// Indexes that are asked before it.
    pub extra_indexes: Vec<String>,
    /// The registry of npm packages.
    pub npm_registry: Option<String>,
    /// Certificates of authorities, in PEM: each server gets a copy, because pods mount from their own namespace only.
    pub certificates: Option<String>,
    /// A Secret with `netrc` and `npmrc`, used in the namespaces that have one of that name.
    pub credentials: Option<String>,
}

/// Pods that may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Their namespace.
    pub namespace: String,
    /// Their labels.
    pub labels: BTreeMap<String, String>,
}
