//! The `McpServer` resource: an MCP server as a Kubernetes object.
//!
//! Start reading at [`McpServerSpec`] (what a user asks for) and [`McpServerStatus`] (what is told of it).
//! [`conditions`], [`labels`] and [`secrets`] name the strings that others may rely on: condition types and reasons,
//! labels and annotations, keys of Secrets. [`crd`] makes the definition that is installed into a cluster; `make generate` writes it to `crds/` and
//! into the chart. The documentation of each field is what `kubectl explain` prints.
//!
//! What a value may be is said once, here: in the types, and in rules of CEL where a type cannot say it. So an object
//! that a cluster has stored is one that can be built, but for what it refers to.
//!
//! What this crate deliberately does not do: talk to a cluster, decide what is built from a resource, or know MCP. It
//! has no client and no async runtime, and nothing of it depends on where it runs.

#![expect(unreachable_pub, reason = "KubeSchema repeats each struct inside a function")]

pub mod conditions;
pub mod crd;
pub mod duration;
mod guarded;
pub mod labels;
pub mod names;
pub mod secrets;
pub mod spec;
pub mod status;

pub use guarded::{Guarded, Unreadable};
pub use spec::{McpServer, McpServerSpec};
pub use status::McpServerStatus;
