//! The command line, and what it says as a [`Launch`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use runtime::admin::AdminArgs;
use runtime::listen::ListenAddr;
use runtime::telemetry::TelemetryArgs;
use wire::child::launcher::Role;
use wire::client::AddressPolicy;
use wire::spec::duration::parse_duration;
use wire::spec::{Launch, Mode, ProcessSpec, RemoteTransport, Source, ToolsSpec};

/// Puts an MCP server on HTTP: /sse and /message for clients of 2024-11-05, /mcp for newer ones.
#[derive(Debug, Parser)]
#[command(
    name = "mcp-sidecar",
    version,
    after_help = "Example:\n  mcp-sidecar serve --listen 127.0.0.1:8000 -- uvx mcp-server-time"
)]
pub struct Cli {
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve one MCP server over HTTP
    Serve(Box<ServeArgs>),
    /// Run the processes of a `serve --launcher` that is elsewhere, such as in another container of the pod
    Exec(ExecArgs),
    /// Copy this program to another place, such as a volume that the containers of a pod share
    Copy {
        /// The file to be written; one that is there is replaced
        #[arg(value_name = "DEST")]
        to: PathBuf,
    },
    /// Install what standard input says (used by `serve`, here or through `exec --install`)
    #[command(hide = true)]
    Install,
    /// Run a program that ends when its parent does (used by `serve` for the processes it starts)
    #[command(hide = true)]
    Wrap {
        /// The soft limit of open files that it gets; by default that of the parent.
        #[arg(long)]
        open_files: Option<u64>,
        /// The parent's process id.
        parent: i32,
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<std::ffi::OsString>,
    },
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where to listen: IP:PORT, :PORT or unix:PATH
    #[arg(long, env = "MCP_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8000")]
    pub listen: ListenAddr,
    #[command(flatten)]
    pub admin: AdminArgs,
    /// The server's name in messages and logs; by default the program's
    #[arg(long, env = "MCP_NAME")]
    pub name: Option<String>,
    /// What tells this process from others before the same server, and stands in the names of calls that wait for their
    /// clients: in a cluster the UID of the pod
    #[arg(long, env = "MCP_INSTANCE", value_name = "UID", default_value = "local")]
    pub instance: String,
    /// Which sessions share a process: auto (a legacy server gets one process per session), shared, perSession
    #[arg(long, env = "MCP_MODE", default_value = "auto")]
    pub mode: ModeArg,
    /// The most processes that sessions have at a time, spares not counted; further sessions are refused until one ends
    #[arg(long, env = "MCP_MAX_PROCESSES", value_name = "N", default_value_t = 64)]
    pub max_processes: usize,
    /// Processes started ahead of the sessions that will need them
    #[arg(long, env = "MCP_WARM_SPARES", value_name = "N", default_value_t = 1)]
    pub warm_spares: usize,
    /// End a session without a stream or a pending call after this time
    #[arg(long, env = "MCP_IDLE_TIMEOUT", value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
    pub idle_timeout: Duration,
    /// How long fetching a package may take
    #[arg(long, env = "MCP_INSTALL_TIMEOUT", value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
    pub install_timeout: Duration,
    /// How long the server may take to answer initialize
    #[arg(long, env = "MCP_STARTUP_TIMEOUT", value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub startup_timeout: Duration,
    /// How long the server may take for any other answer; progress starts the time anew
    #[arg(long, env = "MCP_REQUEST_TIMEOUT", value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub request_timeout: Duration,
    /// How long calls under way may take to finish after a stop was asked for
    #[arg(long, env = "MCP_DRAIN_TIMEOUT", value_name = "TIME", default_value = "25s", value_parser = parse_duration)]
    pub drain_timeout: Duration,
    /// The largest message, in bytes
    #[arg(long, env = "MCP_MAX_MESSAGE_BYTES", value_name = "BYTES", default_value_t = 16 << 20)]
    pub max_message_bytes: usize,
    /// Show only tools whose names fit one of these patterns (`*` is any text)
    #[arg(long, value_name = "PATTERN")]
    pub allow_tool: Vec<String>,
    /// Hide tools whose names fit one of these patterns
    #[arg(long, value_name = "PATTERN")]
    pub deny_tool: Vec<String>,
    /// A file with the keys that clients must present, one per line; required to listen beyond this machine
    #[arg(long, env = "MCP_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// A folder with the public keys of the gateway and the operator (`jwks.json`), whose tokens all clients must
    /// present then; read again when it changes. Only used in a cluster
    #[arg(long, env = "MCP_HOP_KEYS", value_name = "DIR", requires = "hop_audience", conflicts_with = "key_file")]
    pub hop_keys: Option<PathBuf>,
    /// Whom the tokens must be made for: the UID of this server's resource
    #[arg(long, env = "MCP_HOP_AUDIENCE", value_name = "UID", requires = "hop_keys")]
    pub hop_audience: Option<String>,
    /// A further host name that this server answers to
    #[arg(long, env = "MCP_PUBLIC_HOST", value_name = "NAME", value_delimiter = ',')]
    pub public_host: Vec<String>,
    /// A web origin whose pages may call this server
    #[arg(long, env = "MCP_ALLOWED_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub allowed_origin: Vec<String>,
    /// Where packages of uvx and npx are kept
    #[arg(long, env = "MCP_CACHE_DIR", value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// A file with the versions of packages to be installed, as /status tells them in `lock` once they are; it may be
    /// missing, and counts only for the command line that it was made for
    #[arg(long, env = "MCP_PACKAGE_LOCK", value_name = "FILE")]
    pub package_lock: Option<PathBuf>,
    /// Any text; with another one packages are installed anew, beside those that are kept
    #[arg(long, value_name = "TEXT")]
    pub package_update: Option<String>,
    #[arg(long, env = "XDG_CACHE_HOME", hide = true)]
    pub xdg_cache_home: Option<PathBuf>,
    #[arg(long, env = "HOME", hide = true)]
    pub home: Option<PathBuf>,
    #[arg(long, env = "PATH", hide = true, default_value = "/usr/local/bin:/usr/bin:/bin")]
    pub path: String,
    /// Serve a server elsewhere instead of a program
    #[arg(long, value_name = "URL", conflicts_with = "command")]
    pub url: Option<String>,
    /// How the server at --url is spoken to
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub transport: TransportArg,
    /// A header for every request to the server at --url
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    pub header: Vec<(String, String)>,
    /// The same, its value taken from this variable of the environment, so that it stands in no argument
    #[arg(long, value_name = "NAME=VARIABLE", value_parser = header_from_env)]
    pub header_env: Vec<(String, String)>,
    /// Connect to the server at --url only where its address is one of the public internet
    #[arg(long, env = "MCP_PUBLIC_ADDRESSES_ONLY")]
    pub public_addresses_only: bool,
    /// Have the server's processes started elsewhere: by the `mcp-sidecar exec` that connects to this socket. Packages
    /// of uvx and npx are installed by an `exec --install` that connects before it, into --cache-dir, which must be
    /// the same folder for all; where nothing is installed, commands run as they stand
    #[arg(long, env = "MCP_LAUNCHER", value_name = "unix:PATH", value_parser = socket, conflicts_with = "url")]
    pub launcher: Option<PathBuf>,
    /// Read what to serve from standard input, and stop when that ends (used by the gateway)
    #[arg(long, hide = true, conflicts_with_all = ["url", "command"])]
    pub supervised: bool,
    /// How many files the server's processes may open (used by the gateway, which has raised the limit for itself)
    #[arg(long, hide = true)]
    pub open_files: Option<u64>,
    /// The program and its arguments, after --
    #[arg(last = true, value_name = "COMMAND", required_unless_present_any = ["url", "supervised"])]
    pub command: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ExecArgs {
    /// The socket that `serve --launcher` listens on; waited for until it is there
    #[arg(long, env = "MCP_CONNECT", value_name = "unix:PATH", value_parser = socket)]
    pub connect: PathBuf,
    /// Install what the sidecar asks for, where the server is to find it, and end then with 0. The processes of the
    /// server are another `exec`'s
    #[arg(long)]
    pub install: bool,
    /// How long calls under way may take to finish after a stop was asked for
    #[arg(long, env = "MCP_DRAIN_TIMEOUT", value_name = "TIME", default_value = "25s", value_parser = parse_duration)]
    pub drain_timeout: Duration,
    #[arg(long, env = "PATH", hide = true, default_value = "/usr/local/bin:/usr/bin:/bin")]
    pub path: String,
}

impl ExecArgs {
    /// What it is there for.
    pub fn role(&self) -> Role {
        if self.install { Role::Installer } else { Role::Server }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ModeArg {
    Auto,
    Shared,
    #[value(name = "perSession", alias = "per-session")]
    PerSession,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum TransportArg {
    Auto,
    StreamableHttp,
    Sse,
}

impl ServeArgs {
    /// What the flags say is to be served.
    pub fn launch(&self) -> Launch {
        let source = match &self.url {
            Some(url) => Source::Url {
                url: url.clone(),
                transport: match self.transport {
                    TransportArg::Auto => RemoteTransport::Auto,
                    TransportArg::StreamableHttp => RemoteTransport::StreamableHttp,
                    TransportArg::Sse => RemoteTransport::Sse,
                },
                headers: self.header.iter().chain(&self.header_env).cloned().collect(),
            },
            None => Source::Command {
                command: self.command.first().cloned().unwrap_or_default(),
                args: self.command.get(1..).unwrap_or_default().to_vec(),
                env: BTreeMap::new(),
            },
        };
        let fallback = || self.command.first().and_then(|c| c.rsplit('/').next()).unwrap_or("remote").to_owned();
        Launch {
            name: self.name.clone().unwrap_or_else(fallback),
            source,
            process: ProcessSpec {
                mode: match self.mode {
                    ModeArg::Auto => Mode::Auto,
                    ModeArg::Shared => Mode::Shared,
                    ModeArg::PerSession => Mode::PerSession,
                },
                max_processes: self.max_processes,
                warm_spares: self.warm_spares,
                idle_timeout: self.idle_timeout,
                install_timeout: self.install_timeout,
                startup_timeout: self.startup_timeout,
                request_timeout: self.request_timeout,
            },
            tools: ToolsSpec { allow: self.allow_tool.clone(), deny: self.deny_tool.clone() },
        }
    }

    /// Where a server elsewhere may be.
    pub fn address_policy(&self) -> AddressPolicy {
        if self.public_addresses_only { AddressPolicy::PublicOnly } else { AddressPolicy::Any }
    }

    /// Where packages are kept; `None` when not even a home directory is known. This program's own home is not that of
    /// a launcher elsewhere.
    pub fn packages(&self) -> Option<PathBuf> {
        if self.launcher.is_some() {
            return self.cache_dir.clone();
        }
        let cache = || self.xdg_cache_home.clone().or_else(|| Some(self.home.as_ref()?.join(".cache")));
        self.cache_dir.clone().or_else(|| Some(cache()?.join("mcp-gateway/packages")))
    }
}

/// `unix:PATH`.
fn socket(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix:").filter(|path| !path.is_empty());
    path.map(PathBuf::from).ok_or_else(|| "write a socket like unix:/run/mcp/launcher.sock".to_owned())
}

/// `Name: value`.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| "write a header like `Name: value`".to_owned())?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// `NAME=VARIABLE`, where the variable is set. What is in a file that was made by hand often ends with a newline.
fn header_from_env(text: &str) -> Result<(String, String), String> {
    let named = text.split_once('=').map(|(name, variable)| (name.trim(), variable.trim()));
    let named = named.filter(|(name, variable)| !name.is_empty() && !variable.is_empty());
    let (name, variable) = named.ok_or_else(|| "write a header like `Authorization=VARIABLE`".to_owned())?;
    let value = std::env::var_os(variable).ok_or_else(|| format!("the variable {variable} is not set"))?;
    let value = value.into_string().map_err(|_| format!("the variable {variable} holds no text"))?;
    Ok((name.to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory as _;
    use wire::spec::OWN_VARIABLES;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_variable_is_known_to_be_a_sidecars_own_or_handed_on() {
        let handed_on = ["HOME", "MCP_CACHE_DIR", "MCP_PUBLIC_ADDRESSES_ONLY", "PATH", "XDG_CACHE_HOME"];
        let cli = Cli::command();
        let serve = cli.find_subcommand("serve").unwrap();
        let variables: BTreeSet<_> = serve.get_arguments().filter_map(|it| it.get_env()?.to_str()).collect();
        assert_eq!(variables, OWN_VARIABLES.into_iter().chain(handed_on).collect());
    }

    #[test]
    fn times_are_written_as_for_the_gateway_and_have_its_limit() {
        let parse = |time: &str| Cli::try_parse_from(["mcp-sidecar", "serve", "--request-timeout", time, "--", "x"]);
        for time in ["250ms", "1h30m", "30d"] {
            assert!(parse(time).is_ok(), "{time}");
        }
        for time in ["7", "m", "5 parsecs", "18446744073709551615h", "9999999d"] {
            assert!(parse(time).is_err(), "{time}");
        }
    }

    #[test]
    fn a_header_of_the_environment_is_taken_from_a_variable_that_is_set() {
        let path = std::env::var_os("PATH").unwrap().into_string().unwrap();
        assert_eq!(header_from_env("Authorization=PATH"), Ok(("Authorization".to_owned(), path.trim().to_owned())));
        for text in ["Authorization", "=PATH", "Authorization=", "Authorization=NO_SUCH_VARIABLE"] {
            assert!(header_from_env(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_launcher_is_met_on_a_unix_socket() {
        assert_eq!(socket("unix:/run/mcp/l.sock"), Ok(PathBuf::from("/run/mcp/l.sock")));
        assert!(socket("unix:").is_err() && socket("127.0.0.1:1").is_err());
    }
}
