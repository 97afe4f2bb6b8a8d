//! The environment of a server.

use std::fmt;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{MAX_NAME, pod::SUBDOMAIN};

/// What a key of a Secret or ConfigMap may be.
const KEY: &str = "^[-._a-zA-Z0-9]+$";

/// A variable: its value, or where that comes from. `Debug` shows the name only.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.value) || !has(self.valueFrom)")
    .message("a variable has value or valueFrom, not both"))]
pub struct EnvVar {
    /// The name: printable ASCII without `=`.
    #[schemars(length(min = 1, max = 256), regex(pattern = "^[ -<>-~]+$"))]
    pub name: String,

    /// The value. Default: empty. `$(NAME)` stands for a variable defined before, `$$` for `$`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    pub value: Option<String>,

    /// Where the value comes from instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<EnvVarSource>,
}

impl fmt::Debug for EnvVar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvVar").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Where a value comes from: exactly one of the four.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.fieldRef), \
     has(self.resourceFieldRef)].exists_one(x, x)")
    .message("set exactly one of secretKeyRef, configMapKeyRef, fieldRef and resourceFieldRef"))]
pub struct EnvVarSource {
    /// A key of a Secret in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeySelector>,

    /// A key of a ConfigMap in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<ConfigMapKeySelector>,

    /// A field of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field_ref: Option<FieldSelector>,

    /// A limit or request of a container of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_field_ref: Option<ResourceSelector>,
}

/// A key of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeySelector {
    /// The name of the Secret, in the same namespace.
    #[schemars(length(min = 1, max = MAX_NAME), regex(pattern = SUBDOMAIN))]
    pub name: String,

    /// The key.
    #[schemars(length(min = 1, max = MAX_NAME), regex(pattern = KEY))]
    pub key: String,

    /// True: without the Secret or the key, the value is left out. Default: false, the server does not start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// A key of a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKeySelector {
    /// The name of the ConfigMap, in the same namespace.
    #[schemars(length(min = 1, max = MAX_NAME), regex(pattern = SUBDOMAIN))]
    pub name: String,

    /// The key.
    #[schemars(length(min = 1, max = MAX_NAME), regex(pattern = KEY))]
    pub key: String,

    /// True: without the ConfigMap or the key, the value is left out. Default: false, the server does not start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// A field of the pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldSelector {
    /// The version of the path's schema. Default: `v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub api_version: Option<String>,

    /// The path, such as `metadata.name`, `metadata.labels['KEY']`, `spec.nodeName`, `status.podIP`.
    #[schemars(length(min = 1, max = 512))]
    pub field_path: String,
}

/// A limit or request of a container of the pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceSelector {
    /// The container. Default: the server's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub container_name: Option<String>,

    /// Which one, such as `limits.memory`.
    #[schemars(length(min = 1, max = 256))]
    pub resource: String,

    /// The unit in which it is told. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divisor: Option<Quantity>,
}

/// A Secret or a ConfigMap whose keys become variables: exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretRef) != has(self.configMapRef)")
    .message("set exactly one of secretRef and configMapRef"))]
pub struct EnvFromSource {
    /// Put before each name. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), regex(pattern = "^[ -<>-~]*$"))]
    pub prefix: Option<String>,

    /// A Secret in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<OptionalReference>,

    /// A ConfigMap in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<OptionalReference>,
}

/// An object that may be allowed to be missing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OptionalReference {
    /// Its name, in the same namespace.
    #[schemars(length(min = 1, max = MAX_NAME), regex(pattern = SUBDOMAIN))]
    pub name: String,

    /// True: it may be missing. Default: false, the server does not start without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}
