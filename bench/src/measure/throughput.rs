//! Many clients at once: calls per second, and the CPU time that each call takes of every process.

use crate::fleet::{Fleet, Setup};
use crate::report::{Bound, Findings};

use super::Plan;
use super::calls::{Load, rounds};
use super::series::AllSeries;

/// Our paths, each with the floor of its transport.
pub(super) const OURS: [(&str, &str); 4] = [
    ("gateway /mcp", "floor /mcp"),
    ("gateway /sse", "floor /sse"),
    ("aggregate /mcp", "floor /mcp"),
    ("aggregate /sse", "floor /sse"),
];

pub(crate) async fn load(setup: &Setup, plan: &Plan, throughput: bool, cpu: bool) -> anyhow::Result<Findings> {
    let fleet = Fleet::start(setup).await?;
    let mut findings = Findings { notes: fleet.skipped.clone(), ..Findings::default() };
    let load = Load::Closed { clients: plan.clients };
    let all = rounds(&fleet.targets, load, plan.rounds, plan.span(), &mut findings).await;
    if throughput {
        throughput_figures(&all, plan, &mut findings);
    }
    if cpu {
        cpu_figures(&all, &mut findings);
    }
    findings.tables.push(all.table(format!("{} clients, closed loop", plan.clients)));
    Ok(findings)
}

fn throughput_figures(all: &AllSeries, plan: &Plan, findings: &mut Findings) {
    let mut figure = |name: &str, base: &str, bound| {
        let ratio = all.ratio(name, base, |sample| sample.rate);
        findings.figure(format!("calls/s at {} clients, {name} / {base}", plan.clients), "×", ratio, bound);
    };
    for (name, floor) in OURS {
        let (supergateway, mcp_proxy) = match floor {
            "floor /sse" => ("supergateway /sse", "mcp-proxy /sse"),
            _ => ("supergateway /mcp", "mcp-proxy /mcp"),
        };
        figure(name, floor, Some(Bound::AtLeast(0.8)));
        figure(name, supergateway, Some(Bound::AtLeast(2.5)));
        figure(name, mcp_proxy, Some(Bound::AtLeast(3.5)));
    }
    figure("sidecar /mcp", "bridge /mcp", None);
    figure("floor /mcp again", "floor /mcp", None);
}

fn cpu_figures(all: &AllSeries, findings: &mut Findings) {
    let bounds = [("gateway", 40.0, 60.0), ("aggregate", 60.0, 60.0)];
    for (path, door, bridge) in bounds {
        for transport in ["/mcp", "/sse"] {
            let name = format!("{path} {transport}");
            let mut figure = |role: &str, bound| {
                let value = all.value(&name, |sample| sample.cpu_of(role));
                findings.figure(format!("CPU per call of the {role}, {name}"), "µs", value, Some(Bound::AtMost(bound)));
            };
            figure("gateway", door);
            figure("sidecar", bridge);
        }
    }
    for (role, name) in [("proxy", "floor /mcp"), ("bridge", "floor /mcp")] {
        let value = all.value(name, |sample| sample.cpu_of(role));
        findings.figure(format!("CPU per call of the {role}, {name}"), "µs", value, None);
    }
}
