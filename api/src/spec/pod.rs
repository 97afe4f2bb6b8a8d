//! The pod around a server.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    CSIVolumeSource, ConfigMapVolumeSource, DownwardAPIVolumeSource, EmptyDirVolumeSource, EphemeralVolumeSource,
    ImageVolumeSource, PersistentVolumeClaimVolumeSource, ProjectedVolumeSource, ResourceRequirements,
    SecretVolumeSource,
};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MAX_NAME;
use crate::{labels, names};

/// A DNS subdomain: the names of most things in Kubernetes.
pub(super) const SUBDOMAIN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// The labels by which pods are selected and counted.
const SELECTED: [&str; 5] = [labels::NAME, labels::INSTANCE, labels::COMPONENT, labels::PART_OF, labels::MANAGED_BY];

/// When images are pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    // Comments, not documentation: a schema has no place for what each value means.
    // At each start of a pod.
    Always,
    // When the node does not have it.
    IfNotPresent,
    // Not at all.
    Never,
}

/// An object in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalReference {
    /// Its name.
    #[schemars(length(min = 1, max = MAX_NAME), regex(pattern = SUBDOMAIN))]
    pub name: String,
}

/// The container that speaks HTTP for the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sidecar {
    /// Its CPU and memory. Default: as the operator is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// Its image. Default: the one that belongs to the operator; another is at your own risk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = r"^\S*$"))]
    pub image: Option<String>,
}

/// Labels and annotations for something that the operator makes, beside its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Labels. Those by which the operator finds what it made cannot be set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = Rule::new(format!("self.all(k, !k.startsWith('{}/') && !(k in {}))", labels::GROUP, names::list(&SELECTED)))
        .message("labels of mcpgateway.dev, and app.kubernetes.io/name, instance, component, part-of and managed-by, \
             are the operator's"))]
    pub labels: BTreeMap<String, String>,

    /// Annotations. Those of `mcpgateway.dev` cannot be set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = Rule::new(format!("self.all(k, !k.startsWith('{}/'))", labels::GROUP))
        .message("annotations of mcpgateway.dev are the operator's"))]
    pub annotations: BTreeMap<String, String>,
}

/// Labels and annotations for what is made around the pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChildMetadata {
    /// Of the Deployment. Nothing of it reaches the pods, which are not restarted for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("!has(self.annotations) || \
         self.annotations.all(k, !k.startsWith('deployment.kubernetes.io/'))")
        .message("annotations of deployment.kubernetes.io are written by Kubernetes")
        .field_path(".annotations"))]
    pub deployment: Option<Metadata>,

    /// Of the Service: for a mesh, or whatever else goes by Services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Metadata>,

    /// Of the service account that is made for the server: clouds read there as whom its pods may act. Pods take it up when
    /// they start. An account of `serviceAccountName` is left as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<Metadata>,
}

/// A volume: its name, and exactly one source. Folders of the node (`hostPath`) cannot be mounted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.configMap), has(self.csi), has(self.downwardAPI), has(self.emptyDir), \
         has(self.ephemeral), has(self.image), has(self.persistentVolumeClaim), has(self.projected), \
         has(self.secret)].exists_one(x, x)")
        .message("set exactly one of configMap, csi, downwardAPI, emptyDir, ephemeral, image, persistentVolumeClaim, \
             projected and secret; hostPath is not allowed"),
    validation = Rule::new(format!("!self.name.startsWith('{}')", labels::OWN_PREFIX))
        .message("names that begin with mcpgateway- are the operator's").field_path(".name"),
)]
pub struct Volume {
    /// Its name: a DNS label.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// The keys of a ConfigMap as files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapVolumeSource>,

    /// A volume that a CSI driver makes for the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csi: Option<CSIVolumeSource>,

    /// Fields of the pod as files.
    #[serde(rename = "downwardAPI", default, skip_serializing_if = "Option::is_none")]
    pub downward_api: Option<DownwardAPIVolumeSource>,

    /// An empty folder that lives as long as the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDirVolumeSource>,

    /// A volume that is claimed for the pod and lives as long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<EphemeralVolumeSource>,

    /// The content of an OCI image, read only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageVolumeSource>,

    /// A volume that was claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<PersistentVolumeClaimVolumeSource>,

    /// Several sources in one folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projected: Option<ProjectedVolumeSource>,

    /// The keys of a Secret as files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretVolumeSource>,
}
