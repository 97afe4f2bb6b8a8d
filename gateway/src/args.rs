//! The command line.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand};
use runtime::admin::AdminArgs;
use runtime::listen::ListenAddr;
use runtime::telemetry::TelemetryArgs;

use crate::keys::Scopes;
use crate::spec::parse_duration;

mod cluster;

pub use cluster::ClusterArgs;

/// One address for all MCP servers: each alone under /NAME/mcp and /NAME/sse, all together under /mcp and /sse.
#[derive(Debug, Parser)]
#[command(
    name = "mcp-gateway",
    version,
    after_help = "Example:\n  mcp-gateway serve --config mcp.json\n  curl --json '{\"mcpServers\":{\"time\":{\"command\":\"uvx\",\"args\":[\"mcp-server-time\"]}}}' localhost:8080/deploy"
)]
pub struct Cli {
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve MCP servers
    Serve(Box<ServeArgs>),
    /// Make, list and revoke the keys that clients present
    #[command(subcommand)]
    Keys(KeysCommand),
}

/// The state directory, which `serve` and `keys` share.
#[derive(Clone, Debug, Args)]
pub struct StateArgs {
    /// Where deployed servers and keys are kept [default: ~/.local/state/mcp-gateway]
    #[arg(long, env = "MCP_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    #[arg(long, env = "XDG_STATE_HOME", hide = true)]
    pub xdg_state_home: Option<PathBuf>,
    #[arg(long, env = "HOME", hide = true)]
    pub home: Option<PathBuf>,
}

impl StateArgs {
    /// The directory: the flag's, else `configured`, else the user's own.
    pub fn directory(&self, configured: Option<PathBuf>) -> Option<PathBuf> {
        let state = || self.xdg_state_home.clone().or_else(|| Some(self.home.as_ref()?.join(".local/state")));
        self.state_dir.clone().or(configured).or_else(|| Some(state()?.join("mcp-gateway")))
    }
}

/// Flags win over the environment, and both over the configuration file.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where to listen: IP:PORT, :PORT or unix:PATH [default: 127.0.0.1:8080]
    #[arg(long, env = "MCP_LISTEN", value_name = "ADDR")]
    pub listen: Option<ListenAddr>,
    #[command(flatten)]
    pub admin: AdminArgs,
    /// The `mcpServers` JSON, or YAML with settings beside `mcpServers`; read again when it changes
    #[arg(long, env = "MCP_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub state: StateArgs,
    /// Demand no key although others than this machine can connect
    #[arg(long, env = "MCP_ALLOW_ANONYMOUS", value_parser = BoolishValueParser::new())]
    pub allow_anonymous: bool,
    /// A host name that this gateway is known by
    #[arg(long, env = "MCP_PUBLIC_HOST", value_name = "NAME", value_delimiter = ',')]
    pub public_host: Vec<String>,
    /// A web origin whose pages may call
    #[arg(long, env = "MCP_ALLOWED_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub allowed_origin: Vec<String>,
    /// Let pages of those origins read the answers too [default: false]
    #[arg(long, env = "MCP_CORS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub cors: Option<bool>,
    /// Show tools and prompts under /mcp and /sse as their servers name them, without the server's name in front [default: false]
    #[arg(long, env = "MCP_NO_PREFIX", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub no_prefix: Option<bool>,
    /// Take keys of scope `call` from ?api_key= where a stream of /sse is opened [default: true]
    #[arg(long, env = "MCP_QUERY_KEYS", value_name = "BOOL", value_parser = BoolishValueParser::new())]
    pub query_keys: Option<bool>,
    /// The most event streams that one caller holds open at a time [default: any number]
    #[arg(long, env = "MCP_MAX_STREAMS_PER_PRINCIPAL", value_name = "N")]
    pub max_streams_per_principal: Option<NonZeroU32>,
    /// How long a server may take for an answer, unless it says otherwise [default: 60s]
    #[arg(long, env = "MCP_REQUEST_TIMEOUT", value_name = "TIME", value_parser = parse_duration)]
    pub request_timeout: Option<Duration>,
    /// How long calls under way may take to finish after a stop was asked for [default: 25s]
    #[arg(long, env = "MCP_DRAIN_TIMEOUT", value_name = "TIME", value_parser = parse_duration)]
    pub drain_timeout: Option<Duration>,
    /// The largest message, in bytes [default: 16777216]
    #[arg(long, env = "MCP_MAX_BODY_BYTES", value_name = "BYTES")]
    pub max_body_bytes: Option<u64>,
    /// The program that serves one server [default: mcp-sidecar beside this program]
    #[arg(long, env = "MCP_SIDECAR", value_name = "FILE")]
    pub sidecar: Option<PathBuf>,
    #[arg(long, env = "PATH", hide = true, default_value = "/usr/local/bin:/usr/bin:/bin")]
    pub path: String,
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key and print it: it is not shown again
    Create {
        /// What to call it
        name: String,
        /// What it is good for: call (reach servers), deploy (change them), or both
        #[arg(long, default_value = "call,deploy")]
        scopes: Scopes,
        /// When it ends, like 720h; never, unless told
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        expires_in: Option<Duration>,
        #[command(flatten)]
        state: StateArgs,
    },
    /// Show the keys there are
    List {
        #[command(flatten)]
        state: StateArgs,
    },
    /// End a key
    Revoke {
        /// The key's id, as `list` shows it
        id: String,
        #[command(flatten)]
        state: StateArgs,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
