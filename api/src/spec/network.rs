//! Who may reach a server's pods, and whom they may reach.

use k8s_openapi::api::networking::v1::{NetworkPolicyEgressRule, NetworkPolicyPeer};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The network policy of a server. It takes a network plugin that enforces policies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Who may connect to its pods, beside gateway and operator. MCP requests are answered only
    /// with a token of theirs. Default: nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub ingress: Vec<NetworkPolicyPeer>,

    /// Whom its pods may connect to. DNS is always allowed; package registries are not, unless a rule does. An empty list:
    /// nobody. Left out: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub egress: Option<Vec<NetworkPolicyEgressRule>>,
}
