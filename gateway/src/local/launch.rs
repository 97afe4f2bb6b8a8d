//! A server's spec, as its sidecar is told.

use std::time::Duration;

use mcp::names::ServerName;
use wire::spec::{Launch, Mode, ProcessSpec, RemoteTransport, Source, ToolsSpec};

use crate::spec::{ProcessMode, ServerSpec, Target, Transport};

/// What the sidecar of server `name` is to run. `request_timeout` is for servers that set none.
pub(super) fn launch(name: &ServerName, spec: &ServerSpec, request_timeout: Duration) -> Launch {
    let source = match &spec.target {
        Target::Command(command) => {
            Source::Command { command: command.command.clone(), args: command.args.clone(), env: command.env.clone() }
        }
        Target::Remote(remote) => Source::Url {
            url: remote.url.clone(),
            transport: match remote.transport {
                Transport::Auto => RemoteTransport::Auto,
                Transport::StreamableHttp => RemoteTransport::StreamableHttp,
                Transport::Sse => RemoteTransport::Sse,
            },
            headers: remote.headers.clone(),
        },
    };
    let process = &spec.process;
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Launch {
        name: name.to_string(),
        source,
        process: ProcessSpec {
            mode: match process.mode {
                ProcessMode::Auto => Mode::Auto,
                ProcessMode::Shared => Mode::Shared,
                ProcessMode::PerSession => Mode::PerSession,
            },
            max_processes: count(process.max_processes.get()),
            warm_spares: count(process.warm_spares),
            idle_timeout: process.idle_timeout,
            install_timeout: process.install_timeout,
            startup_timeout: process.startup_timeout,
            request_timeout: process.request_timeout.unwrap_or(request_timeout),
        },
        tools: ToolsSpec { allow: spec.tools.allow.clone(), deny: spec.tools.deny.clone() },
    }
}
