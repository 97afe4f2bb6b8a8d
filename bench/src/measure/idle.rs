//! Memory at rest, and of more sessions on a shared child.

use tokio::time::sleep;

use crate::fleet::Setup;
use crate::load::{Caller, as_f64};
use crate::procfs;
use crate::report::{Bound, Findings};
use crate::stats::Estimate;
use crate::target::ours::{self, Mode};
use crate::target::{Target, floor};

use super::{MIB, Plan, growth, progress};

pub(crate) async fn idle(setup: &Setup, plan: &Plan) -> anyhow::Result<Findings> {
    progress("memory at rest");
    let mut findings = Findings::default();
    if let Err(why) = sidecar_alone(setup, plan, &mut findings).await {
        findings.unmeasured("memory at rest, sidecar alone", &why);
    }
    if let Err(why) = gateway_and_sidecar(setup, plan, &mut findings).await {
        findings.unmeasured("memory at rest, gateway and sidecar", &why);
    }
    let floor = floor::start(setup).await?;
    sleep(plan.settle).await;
    for process in &floor.processes {
        rest(process.role(), process.pid(), None, &mut findings)?;
    }
    Ok(findings)
}

async fn sidecar_alone(setup: &Setup, plan: &Plan, findings: &mut Findings) -> anyhow::Result<()> {
    let started = ours::start_sidecar(setup).await?;
    sleep(plan.settle).await;
    for process in &started.processes {
        rest("sidecar alone", process.pid(), Some(6.0), findings)?;
        more_sessions(&started.targets[0], plan, &[("sidecar alone", process.pid())], findings).await?;
    }
    Ok(())
}

async fn gateway_and_sidecar(setup: &Setup, plan: &Plan, findings: &mut Findings) -> anyhow::Result<()> {
    let gateway = ours::start_gateway(setup, Mode::Shared).await?;
    sleep(plan.settle).await;
    let roles = [("gateway", gateway.process.pid()), ("sidecar", gateway.sidecar)];
    rest("gateway", gateway.process.pid(), Some(15.0), findings)?;
    rest("sidecar", gateway.sidecar, Some(6.0), findings)?;
    more_sessions(&gateway.targets()[0], plan, &roles, findings).await
}

fn rest(role: &str, pid: u32, bound: Option<f64>, findings: &mut Findings) -> anyhow::Result<()> {
    let value = Estimate::exact(as_f64(procfs::resident(pid)?) / MIB);
    findings.figure(format!("memory at rest, {role}"), "MiB", Some(value), bound.map(Bound::AtMost));
    Ok(())
}

/// What so many open sessions, each after one call, add.
async fn more_sessions(
    target: &Target,
    plan: &Plan,
    roles: &[(&str, u32)],
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let before: Vec<u64> = roles.iter().map(|(_, pid)| procfs::resident(*pid)).collect::<anyhow::Result<_>>()?;
    let mut callers = Vec::new();
    for number in 0..plan.sessions {
        let mut caller = Caller::open(target, number).await?;
        caller.call().await?;
        callers.push(caller);
    }
    sleep(plan.settle).await;
    for ((role, pid), before) in roles.iter().zip(before) {
        let more = growth(before, procfs::resident(*pid)?);
        findings.figure(
            format!("memory of {} sessions, {role}", plan.sessions),
            "MiB",
            Some(Estimate::exact(more)),
            Some(Bound::AtMost(3.0)),
        );
    }
    drop(callers);
    Ok(())
}
