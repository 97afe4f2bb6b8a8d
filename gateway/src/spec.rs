//! What a server is to be: the desired state of one server, and the `mcpServers` documents it is written in.
//!
//! Start at [`parse_servers`]. Nothing here touches a file, a clock or a process; whether a program exists is asked
//! through [`find_program`] with a lookup of the caller's.

mod document;
mod duration;
mod entry;
mod exposed;
pub(crate) mod fields;
mod mask;
pub(crate) mod node;
mod program;
#[cfg(test)]
mod tests;
mod values;

use std::{collections::BTreeMap, fmt, num::NonZeroU32, time::Duration};

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

pub(crate) use document::servers;
pub use document::{Accepted, Entry, Parsed, parse_servers};
pub use entry::EntryError;
pub(crate) use entry::{Author, read_entry};
pub use exposed::Exposed;
pub use mask::{Masked, looks_secret, redact_url};
pub use node::{Position, Problem};
pub use program::{MissingProgram, find_program, is_executable};
pub use wire::spec::duration::{DurationError, format_duration, parse_duration};

/// The desired state of one server.
///
/// Serializes to an entry of an `mcpServers` document that [`parse_servers`] reads back to an equal value. The
/// serialized form holds secrets: show [`ServerSpec::masked`] to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(description = "What a server is to be; exactly one of `command` and `url`.")]
pub struct ServerSpec {
    /// Where the server comes from.
    #[serde(flatten)]
    pub target: Target,
    /// How its processes are kept.
    #[serde(skip_serializing_if = "is_default")]
    pub process: Process,
    /// Which of its tools are offered.
    #[serde(skip_serializing_if = "is_default")]
    pub tools: Tools,
    /// How clients reach it.
    #[serde(skip_serializing_if = "is_default")]
    pub route: Route,
    /// Known by name, but not running.
    #[serde(skip_serializing_if = "is_default")]
    pub suspend: bool,
}

/// A program to start here, or a server that runs elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Target {
    /// A program that speaks MCP on its standard streams.
    Command(Command),
    /// A server that speaks MCP over HTTP.
    Remote(Remote),
}

/// A program, its arguments and what is added to its environment. `Debug` shows the program only.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Command {
    /// Name to look for in `PATH`, or a path. Never empty, no NUL.
    pub command: String,
    /// Arguments; no shell reads them. No NUL.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Variables by name. Names are not empty and hold no `=`; no NUL anywhere.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// A server behind a URL. `Debug` shows the URL without credentials only.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Remote {
    /// Absolute `http` or `https` URL: an endpoint, or a base to which `/mcp` or `/sse` belongs.
    pub url: String,
    /// How the server speaks.
    #[serde(skip_serializing_if = "is_default")]
    pub transport: Transport,
    /// Headers for every request to it, by lower-case name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// How a remote server speaks MCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Found out by trying.
    #[default]
    Auto,
    /// Streamable HTTP, 2025-03-26 and later.
    StreamableHttp,
    /// HTTP+SSE of 2024-11-05.
    Sse,
}

/// How the processes of a server are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Process {
    /// Who shares a process with whom.
    pub mode: ProcessMode,
    /// The most processes that sessions have at a time; spares, and those that only look at the server, come on top.
    #[schema(value_type = u32, minimum = 1)]
    pub max_processes: NonZeroU32,
    /// Processes started ahead of the sessions that will need them; at most `max_processes`.
    pub warm_spares: u32,
    /// Unused for this long, a session and its process end.
    #[serde(serialize_with = "duration::serialize")]
    #[schema(value_type = String, example = "10m", default = "10m")]
    pub idle_timeout: Duration,
    /// Longest installation of a package.
    #[serde(serialize_with = "duration::serialize")]
    #[schema(value_type = String, example = "10m", default = "10m")]
    pub install_timeout: Duration,
    /// Longest wait from the start of a process to the end of its handshake.
    #[serde(serialize_with = "duration::serialize")]
    #[schema(value_type = String, example = "60s", default = "60s")]
    pub startup_timeout: Duration,
    /// Longest wait for an answer; `None` = the gateway's own setting.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "duration::serialize")]
    #[schema(value_type = Option<String>, example = "60s")]
    pub request_timeout: Option<Duration>,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            mode: ProcessMode::Auto,
            max_processes: NonZeroU32::new(64).expect("64 is not zero"),
            warm_spares: 1,
            idle_timeout: Duration::from_secs(600),
            install_timeout: Duration::from_secs(600),
            startup_timeout: Duration::from_secs(60),
            request_timeout: None,
        }
    }
}

/// Who shares a process with whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ProcessMode {
    /// Shared where the server's revision has no sessions, else one per session.
    #[default]
    Auto,
    /// One process for everybody.
    Shared,
    /// One process per session.
    PerSession,
}

/// Which tools are offered; a denied tool stays denied when it is also allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Tools {
    /// The only tools offered; empty = all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Tools never offered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

/// How clients reach a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Route {
    /// Part of the aggregate endpoints.
    pub aggregate: bool,
}

impl Default for Route {
    fn default() -> Self {
        Self { aggregate: true }
    }
}

impl ServerSpec {
    /// A SHA-256 over everything that is configured: equal exactly for equal specs, in every release.
    ///
    /// Not for the eyes of clients: it is a hash of secrets, short ones can be guessed from it.
    pub fn digest(&self) -> [u8; 32] {
        let bytes = serde_json::to_vec(self).expect("strings, numbers and maps with string keys serialize");
        Sha256::digest(bytes).into()
    }

    /// What looks secret where it can be read: in arguments, and in the URL.
    pub fn exposed(&self) -> Vec<Exposed> {
        exposed::exposed(self)
    }

    /// The spec as people may see it in lists and in the deploy API.
    pub fn masked(&self) -> Masked {
        mask::masked(self)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command").field("command", &self.command).finish_non_exhaustive()
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("url", &redact_url(&self.url)).finish_non_exhaustive()
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
