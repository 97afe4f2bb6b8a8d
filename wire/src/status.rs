//! What a sidecar tells about its server: the body of `GET /status`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The state of one server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// How far it is.
    pub phase: Phase,
    /// The same for people: what is being done, or what went wrong and what to do about it.
    pub message: String,
    /// The same for programs, while it fails; `None` also where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What carries its messages: `stdio`, `streamable-http` or `sse`; empty while that is not known.
    pub transport: String,
    /// What it offers, once it has shaken hands. Kept while it is down.
    pub catalogue: Option<Catalogue>,
    /// Processes (or remote sessions) at the moment.
    pub processes: usize,
    /// Client sessions at the moment.
    pub sessions: usize,
    /// Processes that ended without being told to.
    pub restarts: u64,
    /// How the last of those ended.
    pub last_exit: Option<LastExit>,
    /// The exact packages it runs from, where it was started by a package runner.
    pub packages: Vec<String>,
    /// What it takes to install the same again; told in a cluster, once it is installed.
    pub lock: Option<PackageLock>,
    /// The names of the keys by which it knows its callers, in a cluster; see [`crate::hop`].
    pub hop_keys: Vec<String>,
}

/// How far a server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Its process, or its sidecar, is being started.
    #[default]
    Starting,
    /// Its package is being fetched.
    Installing,
    /// It has shaken hands and listed what it offers.
    Ready,
    /// It does not work; it is tried again and again.
    Failing,
    /// It is not to run.
    Suspended,
}

impl Phase {
    /// The phase as it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Installing => "installing",
            Self::Ready => "ready",
            Self::Failing => "failing",
            Self::Suspended => "suspended",
        }
    }
}

/// What kind of thing keeps a server from working.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Failure {
    /// Its process cannot be started, or ends.
    Process,
    /// It does not answer in time.
    Timeout,
    /// It is elsewhere, and there is no connection to it.
    Unreachable,
    /// It is elsewhere, and refuses access.
    Access,
    /// It answers, and not as an MCP server does.
    Handshake,
}

impl Failure {
    /// The kind that the `data` of a JSON-RPC error names under [`Self::KEY`].
    pub fn of_data(data: &str) -> Option<Self> {
        serde_json::from_str(mcp::json::lookup(data, &[Self::KEY])?).ok()
    }

    /// The key in the `data` of errors.
    pub const KEY: &str = "failure";
}

/// What a server offers to a client without capabilities.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Catalogue {
    /// Grows with every change.
    pub version: u64,
    /// The revision it negotiated.
    pub protocol_version: String,
    /// `serverInfo` as it sent it.
    pub server_info: Option<Box<RawValue>>,
    /// `capabilities` as it sent them.
    pub capabilities: Option<Box<RawValue>>,
    /// `instructions`.
    pub instructions: Option<String>,
    /// All tools, as it sent them.
    pub tools: Vec<Box<RawValue>>,
    /// All resources.
    pub resources: Vec<Box<RawValue>>,
    /// All resource templates.
    pub resource_templates: Vec<Box<RawValue>>,
    /// All prompts.
    pub prompts: Vec<Box<RawValue>>,
    /// How long the lists hold, in milliseconds, as far as the server says so (from 2026-07-28 on): the shortest time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
}

/// The versions of packages that were decided once, for every replica and every restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PackageLock {
    /// A hash of the package runner and what it was asked for: a lock for another command line counts for nothing.
    pub key: String,
    /// The package manager's own words: requirements as pip reads them, or a `package-lock.json`.
    pub content: String,
}

/// How a process ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastExit {
    /// The exit code, if it exited.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Whether the container had used more memory than it may, so that the kernel ended a process in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub out_of_memory: bool,
    /// When, in seconds since 1970.
    pub time: u64,
    /// The last lines of its standard error, without the values of its environment.
    pub stderr_tail: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_failure_is_read_from_the_data_of_an_error() {
        assert_eq!(Failure::of_data(r#"{"server":"a","failure":"access"}"#), Some(Failure::Access));
        for data in ["", "null", "[]", r#"{"server":"a"}"#, r#"{"failure":"new"}"#, r#"{"failure":1}"#] {
            assert_eq!(Failure::of_data(data), None, "{data}");
        }
    }
}
