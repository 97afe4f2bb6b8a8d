//! What a sidecar is to run, as the gateway hands it over: one line of JSON on the sidecar's standard input, so that no
//! secret stands in an argument list or in a file.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub mod duration;

/// Environment variables that a sidecar takes for settings of its own, but for those that a gateway hands on as they are.
/// Gateway and sidecar have some of the same names, for what is not the same: two cannot listen at one address.
pub const OWN_VARIABLES: [&str; 20] = [
    "MCP_ADMIN",
    "MCP_ALLOWED_ORIGIN",
    "MCP_DRAIN_TIMEOUT",
    "MCP_HOP_AUDIENCE",
    "MCP_HOP_KEYS",
    "MCP_IDLE_TIMEOUT",
    "MCP_INSTALL_TIMEOUT",
    "MCP_INSTANCE",
    "MCP_KEY_FILE",
    "MCP_LAUNCHER",
    "MCP_LISTEN",
    "MCP_MAX_MESSAGE_BYTES",
    "MCP_MAX_PROCESSES",
    "MCP_MODE",
    "MCP_NAME",
    "MCP_PACKAGE_LOCK",
    "MCP_PUBLIC_HOST",
    "MCP_REQUEST_TIMEOUT",
    "MCP_STARTUP_TIMEOUT",
    "MCP_WARM_SPARES",
];

/// One server.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Launch {
    /// The name its users know it by.
    pub name: String,
    /// What stands behind it.
    pub source: Source,
    /// How its processes are kept.
    #[serde(default)]
    pub process: ProcessSpec,
    /// Which tools clients see; see [`mcp::session::filter::ToolFilter`].
    #[serde(default)]
    pub tools: ToolsSpec,
}

/// A program, or a server elsewhere.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Source {
    /// A program that speaks MCP on its standard input and output.
    Command {
        /// The program.
        command: String,
        /// Its arguments.
        #[serde(default)]
        args: Vec<String>,
        /// Added to its environment.
        #[serde(default)]
        env: BTreeMap<String, String>,
    },
    /// A server that speaks HTTP.
    Url {
        /// Where it is.
        url: String,
        /// How it is spoken to.
        #[serde(default)]
        transport: RemoteTransport,
        /// Sent with every request to it.
        #[serde(default)]
        headers: BTreeMap<String, String>,
    },
}

/// How a remote server is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemoteTransport {
    /// Found out by trying.
    #[default]
    Auto,
    /// Streamable HTTP.
    StreamableHttp,
    /// HTTP+SSE.
    Sse,
}

/// Which sessions share a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// As the server's era allows: a process per session for a legacy server.
    #[default]
    Auto,
    /// One process for everybody.
    Shared,
    /// One per session.
    PerSession,
}

/// How a server's processes are kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ProcessSpec {
    /// Which sessions share a process.
    pub mode: Mode,
    /// The most processes that sessions have at a time; spares, and those that only look at the server, come on top.
    pub max_processes: usize,
    /// Processes started ahead of the sessions that will need them.
    pub warm_spares: usize,
    /// How long a session without a stream or a pending call lives, in milliseconds.
    #[serde(with = "millis")]
    pub idle_timeout: Duration,
    /// How long fetching a package may take, in milliseconds.
    #[serde(with = "millis")]
    pub install_timeout: Duration,
    /// How long a process may take to answer `initialize`, in milliseconds.
    #[serde(with = "millis")]
    pub startup_timeout: Duration,
    /// How long it may take for any other answer, in milliseconds.
    #[serde(with = "millis")]
    pub request_timeout: Duration,
}

impl Default for ProcessSpec {
    fn default() -> Self {
        Self {
            mode: Mode::Auto,
            max_processes: 64,
            warm_spares: 1,
            idle_timeout: Duration::from_secs(600),
            install_timeout: Duration::from_secs(600),
            startup_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(60),
        }
    }
}

/// Which tools clients see.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ToolsSpec {
    /// Patterns of names; none means all.
    pub allow: Vec<String>,
    /// Patterns of names that are hidden nevertheless.
    pub deny: Vec<String>,
}

/// Durations as whole milliseconds, at most [`duration::LONGEST`].
mod millis {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(|millis| Duration::from_millis(millis).min(super::duration::LONGEST))
    }
}

impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launch").field("name", &self.name).field("source", &self.source).finish_non_exhaustive()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments, environment, headers and even the rest of the URL may be secret.
        match self {
            Self::Command { command, .. } => write!(f, "command {command}"),
            Self::Url { transport, .. } => write!(f, "url ({transport:?})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_milliseconds_and_never_so_long_that_a_clock_overflows() {
        let times = r#"{"idleTimeout":1500,"requestTimeout":18446744073709551615}"#;
        let process: ProcessSpec = serde_json::from_str(times).unwrap();
        assert_eq!((process.idle_timeout, process.request_timeout), (Duration::from_millis(1500), duration::LONGEST));
    }
}
