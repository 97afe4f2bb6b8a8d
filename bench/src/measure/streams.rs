//! Memory of idle SSE streams.

use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::fleet::Setup;
use crate::load::as_f64;
use crate::procfs;
use crate::report::{Bound, Findings};
use crate::session::{Session, Stream};
use crate::stats::Estimate;
use crate::target::Target;
use crate::target::ours::{self, Gateway, Mode};

use super::{MIB, Plan, growth, progress};

/// So many streams are opened at once.
const BATCH: usize = 50;

/// How long memory may take to be given back, times the time it takes to settle.
const RELEASE: u32 = 10;

pub(crate) async fn streams(setup: &Setup, plan: &Plan) -> anyhow::Result<Findings> {
    progress("idle streams");
    let mut findings = Findings::default();
    match ours::start_gateway(setup, Mode::Shared).await {
        Ok(gateway) => measure(&gateway, plan, &mut findings).await?,
        Err(why) => findings.unmeasured("memory of idle SSE streams", &why),
    }
    Ok(findings)
}

async fn measure(gateway: &Gateway, plan: &Plan, findings: &mut Findings) -> anyhow::Result<()> {
    let [_, target, ..] = gateway.targets();
    let roles = gateway.roles();
    sleep(plan.settle).await;
    let resident = || roles.iter().map(|role| procfs::resident(role.pid)).collect::<anyhow::Result<Vec<u64>>>();
    let before = resident()?;
    let streams = open(&target, plan.streams).await?;
    sleep(plan.settle).await;
    let during = resident()?;
    drop(streams);
    progress("idle streams are closed, memory may be given back");
    sleep((plan.settle * RELEASE).min(Duration::from_secs(30))).await;
    let after = resident()?;
    for (index, role) in roles.iter().enumerate() {
        let each = growth(before[index], during[index]) * 1024.0 / as_f64(plan.streams as u64);
        let name = format!("memory of each of {} idle streams, {}", plan.streams, role.name);
        findings.figure(name, "KiB", Some(Estimate::exact(each)), Some(Bound::AtMost(14.0)));
    }
    for (index, role) in roles.iter().enumerate() {
        let name = format!("memory 30 s after {} streams were closed, {}", plan.streams, role.name);
        findings.figure(name, "MiB", Some(Estimate::exact(as_f64(after[index]) / MIB)), None);
        let name = format!("the same, as a multiple of before, {}", role.name);
        findings.figure(name, "×", Some(Estimate::exact(as_f64(after[index]) / as_f64(before[index]))), None);
    }
    Ok(())
}

/// Streams with an initialized session each, whose connections for POSTs are closed again.
async fn open(target: &Target, count: usize) -> anyhow::Result<Vec<Stream>> {
    let mut streams = Vec::with_capacity(count);
    while streams.len() < count {
        let mut batch = JoinSet::new();
        for _ in 0..BATCH.min(count - streams.len()) {
            let endpoint = target.endpoint.clone();
            batch.spawn_local(async move { Session::open(&endpoint).await });
        }
        for session in batch.join_all().await {
            let session = session.with_context(|| format!("only {} streams could be opened", streams.len()))?;
            let Session::Sse(session) = session else { anyhow::bail!("{} is no SSE endpoint", target.name) };
            streams.push(session.into_stream());
        }
    }
    Ok(streams)
}
