//! What is told of a server.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The longest name, version, or revision that is kept of what a server says of itself, in characters.
pub const MAX_TEXT: usize = 256;

/// The most lines kept of a server's last words.
pub const MAX_STDERR_LINES: usize = 20;

/// The longest of those lines, in characters.
pub const MAX_STDERR_LINE: usize = 1024;

/// The most packages listed; the lock in the ConfigMap has all.
pub const MAX_PACKAGES: usize = 256;

/// What is known of the server. The operator writes all but `url` and the condition `Routable`, which the gateway
/// writes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpServerStatus {
    /// The `metadata.generation` that this was written for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Where clients reach it through the gateway: the base of `/sse`, `/message` and `/mcp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub url: Option<String>,

    /// How many pods there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub replicas: Option<i32>,

    /// How many of them are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub ready_replicas: Option<i32>,

    /// The label selector of its pods, as text; autoscalers read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub selector: Option<String>,

    /// What the server says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_info: Option<ServerInfo>,

    /// The MCP revision that was negotiated with it, such as `2025-11-25`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_TEXT))]
    pub protocol_version: Option<String>,

    /// What carries its messages: `stdio`, `streamable-http` or `sse`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub transport: Option<String>,

    /// How many tools it offers, those that `spec.tools` hides not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub tools: Option<i32>,

    /// How many resources it offers, templates included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub resources: Option<i32>,

    /// How many prompts it offers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub prompts: Option<i32>,

    /// How many times its processes ended without being told to, and its containers were started again, over the pods
    /// that there are now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub restarts: Option<i64>,

    /// How the last of those processes ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<LastExit>,

    /// The packages it runs from. They stay the same until the spec changes or `spec.packages.update` does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<PackageLock>,

    /// When `Verified` was last found to be what it is. Written when the verdict changes, not at each check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_verified_time: Option<Time>,

    /// The state in six verdicts: Accepted, ResolvedRefs, Available, Verified, Routable, Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// What a server says it is, in the handshake.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerInfo {
    /// Its name.
    #[schemars(length(max = MAX_TEXT))]
    pub name: String,

    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_TEXT))]
    pub version: Option<String>,
}

/// How a process ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastExit {
    /// The exit code, if it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,

    /// The number of the signal that ended it, if one did; 9 is also how the kernel ends what uses too much memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,

    /// True: the kernel ended a process because the container had used more memory than it may.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub out_of_memory: bool,

    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,

    /// The last lines of its standard error, the newest last. Values of its environment are blotted out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_STDERR_LINES), inner(length(max = MAX_STDERR_LINE)))]
    pub stderr_tail: Vec<String>,
}

/// Exact packages, resolved once and used by every replica and every restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PackageLock {
    /// A digest of what was resolved: command, arguments and package settings.
    #[schemars(length(max = 128))]
    pub requested: String,

    /// The packages with their exact versions, in order of their names; the first 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_PACKAGES), inner(length(max = 512)))]
    pub installed: Vec<String>,

    /// How many packages there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub count: Option<i32>,

    /// The ConfigMap that has the whole lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub config_map: Option<String>,

    /// When it was resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_time: Option<Time>,
}
