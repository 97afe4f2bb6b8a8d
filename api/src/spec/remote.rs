//! A server elsewhere.

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigMapKeySelector, SecretKeySelector};
use crate::names;

/// Headers that the transport itself writes.
const RESERVED: [&str; 12] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// How a server elsewhere speaks MCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    // Comments, not documentation: a schema has no place for what each value means.
    // Found out by trying.
    #[default]
    Auto,
    // Streamable HTTP, 2025-03-26 and later.
    StreamableHttp,
    // HTTP+SSE of 2024-11-05.
    Sse,
}

/// A header: its value, or where that comes from. `Debug` shows the name only.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.value) != has(self.valueFrom)")
        .message("a header has exactly one of value and valueFrom"),
    validation = Rule::new(format!("!(self.name.lowerAscii() in {})", names::list(&RESERVED)))
        .message("this header is set by the transport itself: leave it out").field_path(".name"),
)]
pub struct Header {
    /// The name; upper and lower case are the same.
    #[schemars(length(min = 1, max = 256), regex(pattern = "^[-!#$%&'*+.^_`|~0-9A-Za-z]+$"))]
    pub name: String,

    /// The value: printable characters on one line. A secret belongs into `valueFrom`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8192), regex(pattern = "^[ -~\t]*$"))]
    pub value: Option<String>,

    /// Where the value comes from instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<HeaderSource>,
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Where the value of a header comes from: exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretKeyRef) != has(self.configMapKeyRef)")
    .message("set exactly one of secretKeyRef and configMapKeyRef"))]
pub struct HeaderSource {
    /// A key of a Secret in the same namespace; the whole value, as in `Bearer …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeySelector>,

    /// A key of a ConfigMap in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<ConfigMapKeySelector>,
}
