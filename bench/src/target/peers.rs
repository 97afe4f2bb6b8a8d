//! Other bridges from stdio to HTTP, with the settings that suit them best.

use std::path::Path;
use std::process::Command;

use super::{Role, Target, free_addr};
use crate::fleet::{Setup, Started};
use crate::process::Process;

/// supergateway, once for each transport. It starts a child per Streamable HTTP session and one for all SSE sessions.
pub(crate) async fn start_supergateway(setup: &Setup, program: &Path) -> anyhow::Result<Started> {
    let start = |transport: &[&str], port: u16| {
        let mut command = Command::new(program);
        // Its log shows every message unless told otherwise.
        command
            .arg("--stdio")
            .arg(&setup.echo)
            .args(["--logLevel", "none", "--port", &port.to_string()])
            .args(transport);
        Process::start("supergateway", command, setup.folder())
    };
    let mcp = free_addr()?;
    let mut streamable =
        start(&["--outputTransport", "streamableHttp", "--stateful", "--streamableHttpPath", "/mcp"], mcp.port())?;
    let sse = free_addr()?;
    let mut older = start(&["--outputTransport", "sse", "--ssePath", "/sse", "--messagePath", "/message"], sse.port())?;
    let targets = vec![
        Target::streamable("supergateway /mcp", mcp, "/mcp", &[Role::of(&streamable)]).of_peer(),
        Target::sse("supergateway /sse", sse, "/sse", &[Role::of(&older)]).of_peer(),
    ];
    targets[0].ready(&mut streamable).await?;
    targets[1].ready(&mut older).await?;
    Ok(Started { processes: vec![streamable, older], targets })
}

/// mcp-proxy: one child for all sessions of both transports.
pub(crate) async fn start_mcp_proxy(setup: &Setup, program: &Path) -> anyhow::Result<Started> {
    let addr = free_addr()?;
    let mut command = Command::new(program);
    command
        .args(["--log-level", "ERROR", "--host", &addr.ip().to_string(), "--port", &addr.port().to_string(), "--"])
        .arg(&setup.echo);
    let mut process = Process::start("mcp-proxy", command, setup.folder())?;
    let roles = [Role::of(&process)];
    let targets = vec![
        Target::streamable("mcp-proxy /mcp", addr, "/mcp", &roles).of_peer(),
        Target::sse("mcp-proxy /sse", addr, "/sse", &roles).of_peer(),
    ];
    targets[0].ready(&mut process).await?;
    Ok(Started { processes: vec![process], targets })
}
