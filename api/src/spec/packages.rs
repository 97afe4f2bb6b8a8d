//! The packages that `uvx` and `npx` install.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LocalReference, MAX_NAME, pod::SUBDOMAIN};

/// The key of a ConfigMap with certificates where none is given.
pub const CA_KEY: &str = "ca.crt";

/// An http or https URL without user name and password.
const URL: &str = r"^https?://[^\s/?#@]+(/\S*)?$";

/// Where packages come from, and where they are kept. A package is resolved once: every replica and every restart runs
/// the same versions until the spec changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Packages {
    /// Where installed packages are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,

    /// The index of Python packages: the URL of a "simple" index, without credentials. Default: as the operator is
    /// configured, else PyPI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = URL))]
    pub index: Option<String>,

    /// More indexes of Python packages. They are asked before `index`, in order; the first that has a package is the only
    /// one it is taken from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 2048), regex(pattern = URL)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub extra_indexes: Vec<String>,

    /// The registry of npm packages: its URL, without credentials. Default: as the operator is configured, else
    /// registry.npmjs.org.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = URL))]
    pub npm_registry: Option<String>,

    /// A Secret with the credentials for these: its key `netrc` is read by uv, its key `npmrc` by npm, each in the format
    /// of the file of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<LocalReference>,

    /// A ConfigMap with certificates of authorities, in PEM, that are trusted beside the public ones, by the package
    /// runners and by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CertificateSource>,

    /// True: nothing is fetched; what is not in the cache is missing. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline: Option<bool>,

    /// Any text; when it changes, packages are resolved anew. A date does well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub update: Option<String>,
}

/// Where installed packages are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.medium) && self.medium == 'PersistentVolumeClaim') || !(has(self.size) || \
         has(self.storageClassName) || has(self.claimName) || (has(self.accessModes) && self.accessModes.size() > 0))")
        .message("size, storageClassName, accessModes and claimName need medium: PersistentVolumeClaim"),
    validation = Rule::new("!has(self.sizeLimit) || !has(self.medium) || self.medium == 'EmptyDir'")
        .message("sizeLimit is for medium: EmptyDir; a volume claim has a size").field_path(".sizeLimit"),
    validation = Rule::new("!has(self.claimName) || !(has(self.size) || has(self.storageClassName) || \
         (has(self.accessModes) && self.accessModes.size() > 0))")
        .message("a claim that exists (claimName) has size, storageClassName and accessModes of its own"),
)]
pub struct Cache {
    /// `EmptyDir`: as long as the pod. `PersistentVolumeClaim`: as long as the claim, which may be one that exists and that
    /// other servers of the namespace use too (`claimName`). Default: `EmptyDir`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<CacheMedium>,

    /// The most that an `EmptyDir` may hold, such as `2Gi`; a pod that needs more is evicted. Default: as the operator is
    /// configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_limit: Option<Quantity>,

    /// The size of the volume that is claimed, such as `2Gi`. Default: as the operator is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,

    /// The storage class of the volume. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_NAME))]
    pub storage_class_name: Option<String>,

    /// How the volume may be mounted: `ReadWriteOnce`, `ReadWriteMany`, `ReadWriteOncePod`. More replicas than one on more
    /// nodes than one need `ReadWriteMany`. Default: `ReadWriteOnce`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub access_modes: Vec<AccessMode>,

    /// A claim that exists, in the same namespace, to use instead of one of its own. It is never removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_NAME), regex(pattern = SUBDOMAIN))]
    pub claim_name: Option<String>,
}

/// What a cache is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CacheMedium {
    // Comments, not documentation: a schema has no place for what each value means.
    // A folder of the node, as long as the pod.
    #[default]
    EmptyDir,
    // A volume that outlives the pod.
    PersistentVolumeClaim,
}

/// How a volume may be mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccessMode {
    // Comments, not documentation: a schema has no place for what each value means.
    // By the pods of one node.
    ReadWriteOnce,
    // By all pods.
    ReadWriteMany,
    // By one pod.
    ReadWriteOncePod,
}

/// A key of a ConfigMap with certificates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateSource {
    /// The name of the ConfigMap, in the same namespace.
    #[schemars(length(min = 1, max = MAX_NAME), regex(pattern = SUBDOMAIN))]
    pub name: String,

    /// The key. Default: `ca.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_NAME), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: Option<String>,
}
