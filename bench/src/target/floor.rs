//! The floor: as many HTTP hops as gateway and sidecar have, and nothing else on them.

use std::path::Path;
use std::process::Command;

use super::{Role, Target, free_addr};
use crate::fleet::{Setup, Started};
use crate::process::Process;

/// Client → (TCP) proxy → (unix socket) bridge → child, and the same bridge over TCP without the proxy.
pub(crate) async fn start(setup: &Setup) -> anyhow::Result<Started> {
    let socket = setup.fresh_folder("floor")?.join("bridge.sock");
    let addr = free_addr()?;
    let listen = [addr.to_string(), format!("unix:{}", socket.display())];
    let mut bridge = Process::start("bridge", stdio_command(setup, &listen), setup.folder())?;
    let bridge_target = Target::streamable("bridge /mcp", addr, "/mcp", &[Role::of(&bridge)]);
    bridge_target.ready(&mut bridge).await?;
    let addr = free_addr()?;
    let mut proxy = proxy(setup, &addr.to_string(), &socket)?;
    let roles = [Role::of(&proxy), Role::of(&bridge)];
    let targets = vec![
        Target::streamable("floor /mcp", addr, "/mcp", &roles),
        // The same again: what differs between the two is noise.
        Target::streamable("floor /mcp again", addr, "/mcp", &roles),
        Target::sse("floor /sse", addr, "/sse", &roles),
        bridge_target,
    ];
    targets[0].ready(&mut proxy).await?;
    Ok(Started { processes: vec![proxy, bridge], targets })
}

/// The plainest bridge, listening on all of `listen`.
pub(crate) fn stdio_command(setup: &Setup, listen: &[String]) -> Command {
    let mut command = command(setup);
    command.arg("stdio").args(listen.iter().map(|addr| format!("--listen={addr}"))).arg("--").arg(&setup.echo);
    command
}

fn proxy(setup: &Setup, listen: &str, to: &Path) -> anyhow::Result<Process> {
    let mut command = command(setup);
    command.arg("proxy").arg(format!("--listen={listen}")).arg(format!("--to=unix:{}", to.display()));
    Process::start("proxy", command, setup.folder())
}

/// A server that sends `file` from memory.
pub(crate) fn memory(setup: &Setup, listen: &str, file: &Path, content_type: &str) -> anyhow::Result<Process> {
    let mut command = command(setup);
    command
        .arg("memory")
        .arg(format!("--listen={listen}"))
        .arg("--file")
        .arg(file)
        .arg(format!("--content-type={content_type}"));
    Process::start("memory", command, setup.folder())
}

fn command(setup: &Setup) -> Command {
    let mut command = Command::new(&setup.floor);
    command.arg("--lifeline");
    command
}
