//! Rounds of calls over all targets, taken in the order ABC CBA so that a drift of the machine meets all alike.

use crate::load::{self, Run, Span};
use crate::report::Findings;
use crate::target::Target;

use super::progress;
use super::series::{AllSeries, Series};

/// How calls are made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Load {
    Closed { clients: usize },
    Open { clients: usize, rate: u32 },
}

impl Load {
    async fn run(self, target: &Target, span: Span) -> anyhow::Result<Run> {
        match self {
            Self::Closed { clients } => load::closed(target, clients, span).await,
            Self::Open { clients, rate } => load::open(target, clients, rate, span).await,
        }
    }
}

/// All rounds; a failed turn becomes a note, and fails the run unless it is a peer's.
pub(super) async fn rounds(
    targets: &[Target],
    load: Load,
    rounds: usize,
    span: Span,
    findings: &mut Findings,
) -> AllSeries {
    let mut all: Vec<Series> =
        targets.iter().map(|target| Series { name: target.name, samples: vec![None; rounds] }).collect();
    for round in 0..rounds {
        progress(&format!("{load:?}, round {} of {rounds}", round + 1));
        let mut order: Vec<usize> = (0..targets.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let target = &targets[index];
            match load.run(target, span).await {
                Ok(run) => all[index].samples[round] = Some(run.into()),
                Err(error) => note(target, load, &error, findings),
            }
        }
    }
    AllSeries(all)
}

fn note(target: &Target, load: Load, error: &anyhow::Error, findings: &mut Findings) {
    let note = format!("{}, {load:?}: {error:#}", target.name);
    progress(&note);
    findings.failed |= !target.peer;
    if !findings.notes.contains(&note) {
        findings.notes.push(note);
    }
}
