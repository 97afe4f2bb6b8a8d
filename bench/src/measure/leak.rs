//! Calls that nobody awaits: files and memory must return to where they were.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::fleet::Setup;
use crate::load::{Caller, as_f64, write_call};
use crate::procfs;
use crate::report::{Bound, Findings};
use crate::session::{Session, Streamable};
use crate::stats::Estimate;
use crate::target::ours::{self, Gateway, Mode};
use crate::target::{Role, Target};

use super::{Plan, growth, progress};

/// How long files may take to be closed.
const LIMIT: Duration = Duration::from_secs(5);

pub(crate) async fn leak(setup: &Setup, plan: &Plan) -> anyhow::Result<Findings> {
    progress("calls that nobody awaits");
    let mut findings = Findings::default();
    match ours::start_gateway(setup, Mode::Shared).await {
        Ok(gateway) => measure(gateway, plan, &mut findings).await?,
        Err(why) => findings.unmeasured("files and memory after calls that nobody awaits", &why),
    }
    Ok(findings)
}

async fn measure(gateway: Gateway, plan: &Plan, findings: &mut Findings) -> anyhow::Result<()> {
    let [streamable, sse, ..] = gateway.targets();
    let roles = gateway.roles();
    // What is allocated once, at the first such calls, is no leak.
    abandon(&streamable, &sse, plan.abandoned / 10).await?;
    sleep(LIMIT.min(plan.settle * 2)).await;
    let files = files(&roles)?;
    let memory: Vec<u64> = roles.iter().map(|role| procfs::resident(role.pid)).collect::<anyhow::Result<_>>()?;
    abandon(&streamable, &sse, plan.abandoned).await?;
    let ended = Instant::now();
    while self::files(&roles)?.iter().sum::<usize>() > files.iter().sum() && ended.elapsed() < LIMIT {
        sleep(Duration::from_millis(50)).await;
    }
    let seconds = ended.elapsed().as_secs_f64();
    let calls = plan.abandoned;
    for ((role, before), after) in roles.iter().zip(files).zip(self::files(&roles)?) {
        let more = as_f64(after as u64) - as_f64(before as u64);
        findings.figure(
            format!("open files after {calls} abandoned calls, {}", role.name),
            "more",
            Some(Estimate::exact(more)),
            Some(Bound::AtMost(0.0)),
        );
    }
    findings.figure(
        "until all those files were closed",
        "s",
        Some(Estimate::exact(seconds)),
        Some(Bound::AtMost(LIMIT.as_secs_f64())),
    );
    for (role, before) in roles.iter().zip(memory) {
        let more = growth(before, procfs::resident(role.pid)?);
        findings.figure(
            format!("memory after {calls} abandoned calls, {}", role.name),
            "MiB",
            Some(Estimate::exact(more)),
            Some(Bound::AtMost(1.0)),
        );
    }
    Caller::open(&streamable, 0).await?.call().await?;
    let left = gateway.process.stop();
    findings.figure(
        "processes left after the gateway's end",
        "",
        Some(Estimate::exact(as_f64(left as u64))),
        Some(Bound::AtMost(0.0)),
    );
    Ok(())
}

fn files(roles: &[Role]) -> anyhow::Result<Vec<usize>> {
    roles.iter().map(|role| procfs::open_files(role.pid)).collect()
}

/// Calls on either transport, by turns, whose connections close before the answer is read. The SSE sessions end with
/// their streams; the Streamable HTTP calls belong to one session, which is deleted at the end.
async fn abandon(streamable: &Target, sse: &Target, calls: usize) -> anyhow::Result<()> {
    let lasting = Session::open(&streamable.endpoint).await?;
    for number in 0..calls {
        let mut message = Vec::new();
        write_call(&mut message, number as u64 + 1, "echo", "nobody reads this")?;
        if number % 2 == 0
            && let Session::Streamable(session) = &lasting
        {
            Streamable::again(session).await?.abandon(&message).await?;
        } else if let Session::Sse(session) = Session::open(&sse.endpoint).await? {
            session.abandon(&message).await?;
        }
    }
    lasting.close().await
}
