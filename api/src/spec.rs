//! What a user asks for.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::{
    Affinity, PodSecurityContext, ResourceRequirements, SecurityContext, Toleration, TopologySpreadConstraint,
    VolumeMount,
};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{names, status::McpServerStatus};

mod env;
mod network;
mod packages;
mod pod;
pub mod process;
mod remote;
mod route;

pub use env::{
    ConfigMapKeySelector, EnvFromSource, EnvVar, EnvVarSource, FieldSelector, OptionalReference, ResourceSelector,
    SecretKeySelector,
};
pub use network::Network;
pub use packages::{AccessMode, CA_KEY, Cache, CacheMedium, CertificateSource, Packages};
pub use pod::{ChildMetadata, ImagePullPolicy, LocalReference, Metadata, Sidecar, Volume};
pub use process::{Mode, Process};
pub use remote::{Header, HeaderSource, Transport};
pub use route::{Route, Tools};

/// The longest of the small texts (names of things in Kubernetes), in characters.
const MAX_NAME: u32 = 253;

/// An MCP server that runs in this cluster (`command`), or elsewhere (`url`), and that clients reach through the gateway
/// under one address with all others.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "mcpgateway.dev",
    version = "v1alpha1",
    kind = "McpServer",
    plural = "mcpservers",
    shortname = "mcps",
    category = "mcp",
    namespaced,
    status = "McpServerStatus",
    derive = "PartialEq",
    doc = "McpServer runs an MCP server, and makes it reachable through the gateway.",
    label("app.kubernetes.io/part-of", "mcp-gateway"),
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether clients can use it"
    ),
    printcolumn(
        name = "Transport",
        type_ = "string",
        json_path = ".status.transport",
        description = "What carries its messages"
    ),
    printcolumn(name = "Tools", type_ = "integer", json_path = ".status.tools", description = "How many tools it offers"),
    printcolumn(
        name = "Restarts",
        type_ = "integer",
        json_path = ".status.restarts",
        description = "How many of its processes ended by themselves"
    ),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url", description = "Where clients reach it"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new(names::resource_name())
        .message("the name must be a DNS label of at most 52 characters: a-z, 0-9 and '-' inside"),
    validation = Rule::new(names::default_route())
        .message("the name is one of the gateway's own addresses: choose another, or set spec.route.name")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.command) != has(self.url)")
        .message("set exactly one of command (a program to start) and url (a server elsewhere)"),
    validation = Rule::new("has(self.url) || !has(self.headers) || self.headers.size() == 0")
        .message("headers are for a server with a url; a program gets its secrets in env")
        .field_path(".headers"),
    validation = Rule::new("has(self.url) || !has(self.transport) || self.transport == 'auto'")
        .message("transport is for a server with a url; a program speaks stdio")
        .field_path(".transport"),
    validation = Rule::new("has(self.url) || !has(self.caRef)")
        .message("caRef is for a server with a url; authorities that a program trusts are in packages.caRef")
        .field_path(".caRef"),
    validation = Rule::new("!has(self.url) || ((!has(self.args) || self.args.size() == 0) && \
         (!has(self.env) || self.env.size() == 0) && (!has(self.envFrom) || self.envFrom.size() == 0))")
        .message("args, env and envFrom are for a server with a command; a server with a url takes headers"),
    validation = Rule::new("!has(self.url) || ((!has(self.image) || self.image == '') && !has(self.packages) && \
         !has(self.resources) && !has(self.securityContext) && (!has(self.volumes) || self.volumes.size() == 0) && \
         (!has(self.volumeMounts) || self.volumeMounts.size() == 0))")
        .message("image, packages, resources, securityContext, volumes and volumeMounts are for a server with a \
             command; of a server with a url only the sidecar runs here (sidecar.resources)"),
    validation = Rule::new("!has(self.volumeMounts) || self.volumeMounts.all(m, \
         has(self.volumes) && self.volumes.exists(v, v.name == m.name))")
        .message("each volumeMount must name one of the volumes")
        .field_path(".volumeMounts"),
    validation = Rule::new("!has(self.serviceAccountName) || !has(self.childMetadata) || \
         !has(self.childMetadata.serviceAccount)")
        .message("childMetadata.serviceAccount is for the account that the operator makes; serviceAccountName names \
             one that is yours")
        .field_path(".childMetadata"),
)]
pub struct McpServerSpec {
    // Large parts that are hardly ever there are boxed: an operator keeps a thousand of these in memory.
    /// The program that is the server; it speaks MCP on its standard input and output. A name that is looked for in the
    /// image's PATH, such as `uvx` or `npx`, or a path. No shell reads it. Exactly one of `command` and `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096), regex(pattern = r"^\S(.*\S)?$"))]
    #[x_kube(validation = Rule::new(r"!self.matches('^[^/\\s]*\\s')")
        .message("command is the program alone: split it, as in command: uvx, args: [mcp-server-time]"))]
    pub command: Option<String>,

    /// Where the server is, if it runs elsewhere: an http or https URL of its endpoint, or a base to which `/mcp` or
    /// `/sse` belongs. Without user name and password: they go into `headers`. Exactly one of `command` and `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = r"^https?://[^\s/?#@]+([/?][^\s#]*)?$"))]
    pub url: Option<String>,

    /// The arguments of `command`. No shell reads them. Name a package with its version (`mcp-server-time==2026.1.26`,
    /// `@scope/server@1.2.3`) to know what runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 32768)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub args: Vec<String>,

    /// Variables of the server's environment. Values that are secret come from a Secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub env: Vec<EnvVar>,

    /// Secrets and ConfigMaps whose keys become variables of the server's environment. `env` goes before them, a later
    /// one before an earlier one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub env_from: Vec<EnvFromSource>,

    /// How a server with a `url` speaks MCP. Default: `auto`, found out by trying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,

    /// HTTP headers for every request to a server with a `url`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = Rule::new("self.all(h, self.exists_one(o, o.name.lowerAscii() == h.name.lowerAscii()))")
            .message("name each header once: upper and lower case are the same")
    )]
    pub headers: Vec<Header>,

    /// A ConfigMap with certificates of authorities, in PEM, that are trusted beside the public ones when a server with a
    /// `url` is connected to. Default: those that the operator is configured with. A program's are in `packages.caRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CertificateSource>,

    /// The image in which `command` runs. It needs nothing of ours: the launcher is put into it at the start. Default:
    /// the operator's runner image, which has uv, Node.js and Python.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = r"^\S*$"))]
    pub image: Option<String>,

    /// When images are pulled. Default: Always for the tag `latest`, else IfNotPresent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,

    /// How many pods. A HorizontalPodAutoscaler of this resource changes it, given a number to begin with. Left out, it is
    /// not managed: one at first, then what an autoscaler or `kubectl scale` says of the Deployment of the same name. A
    /// session stays with its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<i32>,

    /// How its processes are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,

    /// Where packages come from that `uvx` and `npx` install, and where they are kept. What is left out is as the operator
    /// is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<Packages>,

    /// CPU and memory of the server's container: of all its processes together. No process is started that would not fit
    /// into the limit of memory. Default: as the operator is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// The container that speaks HTTP for the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<Sidecar>,

    /// The service account of its pods, for an identity in a cloud or for pull secrets. Its token is not mounted. Default:
    /// one of its own, without any rights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_NAME), regex(pattern = pod::SUBDOMAIN))]
    pub service_account_name: Option<String>,

    /// Secrets with which images are pulled, beside those that the operator is configured with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub image_pull_secrets: Vec<LocalReference>,

    /// Labels that a node must have for its pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub node_selector: BTreeMap<String, String>,

    /// Taints of nodes that its pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub tolerations: Vec<Toleration>,

    /// Which nodes and which neighbours its pods prefer or need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Box<Affinity>>,

    /// How its pods spread over nodes and zones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["topologyKey".into(), "whenUnsatisfiable".into()]))]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,

    /// The priority class of its pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_NAME), regex(pattern = pod::SUBDOMAIN))]
    pub priority_class_name: Option<String>,

    /// The runtime class of its pods, for example one that runs them in a sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_NAME), regex(pattern = pod::SUBDOMAIN))]
    pub runtime_class_name: Option<String>,

    /// Security settings of its pods; each given field replaces the operator's. Default: user, group and file system group
    /// 65532, not root, the runtime's seccomp profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_security_context: Option<Box<PodSecurityContext>>,

    /// Security settings of the server's container; each given field replaces the operator's. Default: no capability, no
    /// privilege escalation, a read-only root file system with a writable home and temporary folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<Box<SecurityContext>>,

    /// Volumes of its pods, of the kinds that the Pod Security Standard `restricted` allows. Names that begin with
    /// `mcpgateway-` are the operator's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub volumes: Vec<Volume>,

    /// Where those volumes are in the server's container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["mountPath".into()]),
        validation = Rule::new("self.all(m, m.mountPath.startsWith('/') && !m.mountPath.contains(':') && \
             !m.mountPath.matches('(^|/)[.][.](/|$)'))")
            .message("each mountPath must be an absolute path without ':' and '..'"),
    )]
    pub volume_mounts: Vec<VolumeMount>,

    /// Labels and annotations for its pods, beside the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_metadata: Option<Metadata>,

    /// Labels and annotations for its Deployment, its Service and its service account, beside the operator's and what others
    /// put there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child_metadata: Option<Box<ChildMetadata>>,

    /// Which of its tools clients see. It holds for lists and for calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Tools>,

    /// How clients reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,

    /// Who may reach its pods, and whom they may reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,

    /// True: it is known by name, and does not run. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// Arguments, environment, headers, and even the rest of the URL may be secret.
impl fmt::Debug for McpServerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpServerSpec").field("command", &self.command).finish_non_exhaustive()
    }
}
