//! How the processes of a server are kept.

use std::time::Duration as Span;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;

/// `maxProcesses` where it is not given; the rule of CEL below knows it too.
pub const MAX_PROCESSES: u32 = 64;
/// `warmSpares` where it is not given.
pub const WARM_SPARES: u32 = 1;
/// `idleTimeout` where it is not given.
pub const IDLE_TIMEOUT: Span = Span::from_secs(600);
/// `installTimeout` where it is not given.
pub const INSTALL_TIMEOUT: Span = Span::from_secs(600);
/// `startupTimeout` where it is not given.
pub const STARTUP_TIMEOUT: Span = Span::from_secs(60);
/// `requestTimeout` where it is not given.
pub const REQUEST_TIMEOUT: Span = Span::from_secs(60);

/// How the processes of a server are kept. Times are written as `500ms`, `90s`, `10m`, `1h30m`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(format!("!has(self.warmSpares) || self.warmSpares <= \
     (has(self.maxProcesses) ? self.maxProcesses : {MAX_PROCESSES})"))
    .message("warmSpares must be at most maxProcesses (64 unless given)").field_path(".warmSpares"))]
pub struct Process {
    /// Who shares a process with whom. `shared`: one for everybody. `perSession`: one for each session. `auto`: shared
    /// where the server's MCP revision has no sessions (2026-07-28 and later), else one for each. This isolates state, not
    /// tenants: they get servers of their own. Default: `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,

    /// The most processes that sessions of a pod have at a time; further sessions are refused with 503. Warm spares, and
    /// processes that only look at the server, come on top. Default: 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub max_processes: Option<u32>,

    /// Processes started ahead of the sessions that will need them. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10000))]
    pub warm_spares: Option<u32>,

    /// How long a session without an open stream or a pending call lives; then its process ends too. Default: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,

    /// How long the installation of a package may take. Default: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install_timeout: Option<Duration>,

    /// How long a process may take from its start to the end of the handshake. Default: `60s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_timeout: Option<Duration>,

    /// How long an answer may take. Default: `60s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<Duration>,
}

/// Who shares a process with whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    // Comments, not documentation: a schema has no place for what each value means.
    // Shared where the server's revision has no sessions, else one for each session.
    #[default]
    Auto,
    // One process for everybody.
    Shared,
    // One for each session.
    PerSession,
}

impl Process {
    /// `mode`, or its default.
    pub fn mode(&self) -> Mode {
        self.mode.unwrap_or_default()
    }

    /// `maxProcesses`, or its default.
    pub fn max_processes(&self) -> u32 {
        self.max_processes.unwrap_or(MAX_PROCESSES)
    }

    /// `warmSpares`, or its default.
    pub fn warm_spares(&self) -> u32 {
        self.warm_spares.unwrap_or(WARM_SPARES)
    }

    /// `idleTimeout`, or its default.
    pub fn idle_timeout(&self) -> Span {
        self.idle_timeout.as_ref().map_or(IDLE_TIMEOUT, Duration::get)
    }

    /// `installTimeout`, or its default.
    pub fn install_timeout(&self) -> Span {
        self.install_timeout.as_ref().map_or(INSTALL_TIMEOUT, Duration::get)
    }

    /// `startupTimeout`, or its default.
    pub fn startup_timeout(&self) -> Span {
        self.startup_timeout.as_ref().map_or(STARTUP_TIMEOUT, Duration::get)
    }

    /// `requestTimeout`, or its default.
    pub fn request_timeout(&self) -> Span {
        self.request_timeout.as_ref().map_or(REQUEST_TIMEOUT, Duration::get)
    }
}
