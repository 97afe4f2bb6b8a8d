//! What it costs to translate between the eras of the protocol, against letting through.

use crate::era::Era;
use crate::fleet::{Setup, Started};
use crate::report::{Bound, Findings};
use crate::target::eras::{AGAIN, Door};

use super::calls::{Load, rounds};
use super::{Plan, parked};

/// What is left of the rate where messages are translated.
const LEFT: Bound = Bound::AtLeast(0.85);

pub(crate) async fn eras(setup: &Setup, plan: &Plan) -> Findings {
    let mut findings = Findings::default();
    let mut all = Started { processes: Vec::new(), targets: Vec::new() };
    let mut doors = Vec::new();
    for door in Door::BOTH {
        match door.start(setup).await {
            Ok(Started { processes, targets }) => {
                all.processes.extend(processes);
                all.targets.extend(targets);
                doors.push(door);
            }
            Err(why) => {
                findings.failed |= door.is_there(setup);
                findings.unmeasured(format!("calls/s between eras, {}", door.role()), &why);
            }
        }
    }
    if !doors.is_empty() {
        let load = Load::Closed { clients: plan.clients };
        let series = rounds(&all.targets, load, plan.rounds, plan.span(), &mut findings).await;
        for (way, base, bound) in doors.iter().flat_map(|door| comparisons(*door)) {
            let ratio = series.ratio(way, base, |sample| sample.rate);
            findings.figure(format!("calls/s at {} clients, {way} / {base}", plan.clients), "×", ratio, bound);
        }
        findings.tables.push(series.table(format!("{} clients, clients → servers of each era", plan.clients)));
    }
    drop(all);
    findings.merge(parked::parked(setup, plan).await);
    findings
}

/// A way, what it is compared with, and what the ratio of their rates must be: where messages are translated, the same
/// clients at a server of their own era.
fn comparisons(door: Door) -> Vec<(&'static str, &'static str, Option<Bound>)> {
    let way = |client, server| door.way(client, server);
    let (modern, legacy) = (way(Era::Modern, Era::Modern), way(Era::Legacy, Era::Legacy));
    let mut all = vec![
        (way(Era::Modern, Era::Legacy), modern, Some(LEFT)),
        (way(Era::Legacy, Era::Modern), legacy, Some(LEFT)),
        (modern, legacy, None),
    ];
    if door == Door::Sidecar {
        all.push((AGAIN, modern, None));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The client of `sidecar CLIENT → SERVER`, and whether the server is of its era.
    fn ends(way: &str) -> (&str, bool) {
        let (client, server) = way.split_once(' ').unwrap().1.split_once(" → ").unwrap();
        (client, client == server)
    }

    #[test]
    fn what_is_translated_is_compared_with_the_same_clients_at_a_server_of_their_era() {
        for door in Door::BOTH {
            let bounded: Vec<_> = comparisons(door).into_iter().filter(|(.., bound)| bound.is_some()).collect();
            assert_eq!(bounded.len(), 2);
            for (way, base, _) in bounded {
                assert!(way.starts_with(door.role()) && base.starts_with(door.role()));
                assert_eq!((ends(way).1, ends(base)), (false, (ends(way).0, true)), "{way} / {base}");
            }
        }
    }
}
