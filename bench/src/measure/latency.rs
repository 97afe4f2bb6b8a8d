//! The time of a call: at one client, and at a fixed rate.

use crate::cores::Split;
use crate::fleet::{Fleet, Setup};
use crate::report::{Bound, Findings};

use super::calls::{Load, rounds};
use super::{Plan, throughput};

pub(crate) async fn latency(setup: &Setup, plan: &Plan) -> anyhow::Result<Findings> {
    let _split = Split::new()?;
    let fleet = Fleet::start(setup).await?;
    let mut findings = Findings { notes: fleet.skipped.clone(), ..Findings::default() };
    let one = rounds(&fleet.targets, Load::Closed { clients: 1 }, plan.rounds, plan.span(), &mut findings).await;
    for (name, floor) in throughput::OURS {
        let p50 = |base: &str| one.ratio(name, base, |sample| sample.p50);
        findings.figure(format!("p50 at 1 client, {name} / direct"), "×", p50("direct"), Some(Bound::AtMost(2.5)));
        findings.figure(format!("p50 at 1 client, {name} / {floor}"), "×", p50(floor), Some(Bound::AtMost(1.4)));
    }
    let others = [
        ("sidecar /mcp", "direct"),
        ("sidecar /mcp", "bridge /mcp"),
        ("floor /mcp", "direct"),
        ("floor /mcp again", "floor /mcp"),
    ];
    for (name, base) in others {
        findings.figure(
            format!("p50 at 1 client, {name} / {base}"),
            "×",
            one.ratio(name, base, |sample| sample.p50),
            None,
        );
    }
    findings.tables.push(one.table("1 client, closed loop".to_owned()));
    let load = Load::Open { clients: plan.clients, rate: plan.rate };
    let steady = rounds(&fleet.targets, load, plan.rounds.div_ceil(2), plan.span(), &mut findings).await;
    findings.tables.push(steady.table(format!("{} calls/s, open loop over {} sessions", plan.rate, plan.clients)));
    Ok(findings)
}
