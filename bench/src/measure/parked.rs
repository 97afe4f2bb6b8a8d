//! Memory of calls that wait for what their clients were asked: of clients of 2026-07-28, before a server that asks in the
//! middle of a call.

use std::ops::RangeInclusive;

use anyhow::ensure;
use serde::Deserialize;
use tokio::time::sleep;

use crate::era::Era;
use crate::fleet::Setup;
use crate::load::{Caller, as_f64, write_call};
use crate::process::Process;
use crate::procfs;
use crate::report::{Bound, Findings};
use crate::session::{Answer, Endpoint, Session};
use crate::stats::Estimate;
use crate::target::eras::Door;
use crate::target::ours::{self, Mode};
use crate::target::{Role, Target, free_addr};

use super::{Plan, growth, progress};

/// What clients declare; only such a client can be asked.
const ASKABLE: &str = r#"{"elicitation":{"form":{}}}"#;

/// What is allocated once, at the first such calls, belongs to none of them.
const FIRST: u64 = 4;

pub(super) async fn parked(setup: &Setup, plan: &Plan) -> Findings {
    progress("calls that wait for their clients");
    let mut findings = Findings::default();
    if let Err(why) = measure(setup, plan, &mut findings).await {
        findings.failed = Door::Sidecar.is_there(setup);
        findings.unmeasured("memory of each parked call", &why);
    }
    findings
}

async fn measure(setup: &Setup, plan: &Plan, findings: &mut Findings) -> anyhow::Result<()> {
    let mut figure = |what, each, bound| {
        let name = format!("memory of each of {} {what}, sidecar", plan.parked);
        findings.figure(name, "KiB", Some(Estimate::exact(each)), bound);
    };
    let (process, parked, _) = start(setup, plan).await?;
    let each = growth_of_each(&process, plan, async |calls| park(&parked.endpoint, calls).await).await?;
    figure("parked calls", each, Some(Bound::AtMost(20.0)));
    drop(process);
    let (process, _, sessions) = start(setup, plan).await?;
    let each = growth_of_each(&process, plan, async |calls| use_once(&sessions, calls).await).await?;
    figure("idle sessions with a process each", each, None);
    Ok(())
}

/// What each of many adds to the memory of the program, in KiB.
async fn growth_of_each(
    process: &Process,
    plan: &Plan,
    add: impl AsyncFn(RangeInclusive<u64>) -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    add(1..=FIRST).await?;
    sleep(plan.settle).await;
    let before = procfs::resident(process.pid())?;
    add(FIRST + 1..=FIRST + plan.parked).await?;
    sleep(plan.settle).await;
    Ok(growth(before, procfs::resident(process.pid())?) * 1024.0 / as_f64(plan.parked))
}

/// A sidecar before a server of the older era, with room for all the processes; and the ways of clients of both eras.
async fn start(setup: &Setup, plan: &Plan) -> anyhow::Result<(Process, Target, Target)> {
    let addr = free_addr()?;
    let mut command = ours::sidecar_command(setup, addr, Mode::PerSession, Era::Legacy)?;
    command.env("MCP_MAX_PROCESSES", (plan.parked + FIRST + 1).to_string());
    let mut process = Process::start("sidecar", command, setup.folder())?;
    let roles = [Role::of(&process)];
    let modern = Endpoint::Modern { addr, path: "/mcp", capabilities: ASKABLE };
    let modern = Target::new("parked calls", modern, &roles);
    let legacy = Target::streamable("sessions", addr, "/mcp", &roles);
    modern.ready(&mut process).await?;
    Ok((process, modern, legacy))
}

/// Makes calls in which the client is asked, one after the other over one connection. It does not come back to any.
async fn park(endpoint: &Endpoint, calls: RangeInclusive<u64>) -> anyhow::Result<()> {
    let mut client = Session::open(endpoint).await?;
    let mut message = Vec::new();
    for id in calls {
        message.clear();
        write_call(&mut message, id, "ask", "")?;
        let answer = client.request(id, &message).await?;
        ensure!(is_asked(&answer)?, "the call has ended, and was to wait");
    }
    Ok(())
}

/// Opens sessions that make one call each, and leaves them open without a connection.
async fn use_once(target: &Target, sessions: RangeInclusive<u64>) -> anyhow::Result<()> {
    for number in sessions {
        Caller::open(target, usize::try_from(number)?).await?.call().await?;
    }
    Ok(())
}

/// Whether the answer asks for something, so that the call waits.
fn is_asked(answer: &[u8]) -> anyhow::Result<bool> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind<'a> {
        result_type: &'a str,
    }
    let Kind { result_type } = serde_json::from_str(Answer::parse(answer)?.result()?)?;
    Ok(result_type == "input_required")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_asks_leaves_a_call_waiting() {
        let asked = br#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","inputRequests":{},"requestState":"s"}}"#;
        assert!(is_asked(asked).unwrap());
        assert!(!is_asked(br#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[]}}"#).unwrap());
        assert!(is_asked(br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no"}}"#).is_err());
        assert!(is_asked(br#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#).is_err());
    }
}
