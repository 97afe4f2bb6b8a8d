//! A large result: the most memory that both programs need beyond what they had.

use std::time::Instant;

use anyhow::ensure;
use tokio::time::sleep;

use crate::fleet::Setup;
use crate::load::text_of;
use crate::procfs;
use crate::report::{Bound, Findings};
use crate::session::Session;
use crate::stats::Estimate;
use crate::target::Target;
use crate::target::ours::{self, Mode};

use super::{Plan, growth, progress};

/// How often it is fetched; the worst counts.
const TIMES: u64 = 3;

pub(crate) async fn large(setup: &Setup, plan: &Plan) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    // A gateway of its own for each path, so that none lives on memory that another has left.
    for path in 0..4 {
        if let Err(why) = one_path(setup, plan, path, &mut findings).await {
            findings.unmeasured("peak memory of a large result", &why);
            break;
        }
    }
    Ok(findings)
}

async fn one_path(setup: &Setup, plan: &Plan, path: usize, findings: &mut Findings) -> anyhow::Result<()> {
    let gateway = ours::start_gateway(setup, Mode::Shared).await?;
    let roles = gateway.roles();
    let target = &gateway.targets()[path];
    progress(&format!("large result, {}", target.name));
    sleep(plan.settle).await;
    let mut before = Vec::new();
    for role in &roles {
        before.push(procfs::resident(role.pid)?);
        procfs::forget_peak(role.pid)?;
    }
    let seconds = fetch(target, plan.large).await?;
    let mut total = 0.0;
    for (role, before) in roles.iter().zip(before) {
        let peak = growth(before, procfs::peak(role.pid)?);
        total += peak;
        findings.figure(
            format!("peak memory of a large result, {}, {}", target.name, role.name),
            "MiB",
            Some(Estimate::exact(peak)),
            None,
        );
    }
    let bound = Some(Bound::AtMost(30.0));
    findings.figure(
        format!("peak memory of a large result, {}, both", target.name),
        "MiB",
        Some(Estimate::exact(total)),
        bound,
    );
    findings.figure(format!("time of a large result, {}", target.name), "ms", Estimate::of(&seconds), None);
    Ok(())
}

/// Milliseconds of each time.
async fn fetch(target: &Target, bytes: usize) -> anyhow::Result<Vec<f64>> {
    let tool = target.tool("blob");
    let mut session = Session::open(&target.endpoint).await?;
    let mut times = Vec::new();
    for id in 1..=TIMES {
        let call = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{"bytes":{bytes}}}}}}}"#
        );
        let sent = Instant::now();
        let answer = session.request(id, call.as_bytes()).await?;
        times.push(sent.elapsed().as_secs_f64() * 1e3);
        let text = text_of(&answer)?;
        ensure!(
            text.len() == bytes && text.bytes().all(|byte| byte == b'x'),
            "the large result is not what was asked for"
        );
    }
    session.close().await?;
    Ok(times)
}
