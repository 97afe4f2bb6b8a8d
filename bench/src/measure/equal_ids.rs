//! Sessions that all use the same ids: every answer must reach the session that asked, once.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::fleet::{Fleet, Group, Setup};
use crate::load::{as_f64, text_of, write_call};
use crate::report::{Bound, Findings, Row, Table};
use crate::session::Session;
use crate::stats::Estimate;
use crate::target::Target;
use crate::target::ours::{self, Mode};

use super::{Plan, progress};

/// A call without an answer by then is lost.
const LIMIT: Duration = Duration::from_secs(10);

/// How long a session listens for what it did not ask for.
const SILENCE: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Another call's text.
    foreign: u64,
    /// Errors, such as when a process for the session would be one too many.
    refused: u64,
    lost: u64,
    /// Second answers, and answers to ids of the past.
    stray: u64,
}

pub(crate) async fn equal_ids(setup: &Setup, plan: &Plan) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    let title = format!("{} sessions × {} calls with equal ids: wrong answers", plan.equal_sessions, plan.equal_calls);
    let mut table = Table { title, columns: vec!["foreign", "refused", "lost", "duplicate"], rows: Vec::new() };
    for mode in [Mode::Shared, Mode::PerSession] {
        let gateway = match ours::start_gateway(setup, mode).await {
            Ok(gateway) => gateway,
            Err(why) => {
                findings.unmeasured(format!("wrong answers with equal ids, {}", mode.name()), &why);
                continue;
            }
        };
        for target in gateway.targets() {
            let tally = measure(&target, plan).await;
            let name = format!("{}, {}", target.name, mode.name());
            table.rows.push(tally.row(name.clone()));
            let wrong = Estimate::exact(as_f64(tally.foreign + tally.lost + tally.stray));
            findings.figure(format!("wrong answers with equal ids, {name}"), "", Some(wrong), Some(Bound::AtMost(0.0)));
        }
    }
    let fleet = Fleet::start_some(setup, |group| group.is_peer() || group == Group::Floor).await?;
    for target in &fleet.targets {
        table.rows.push(measure(target, plan).await.row(target.name.to_owned()));
    }
    findings.tables.push(table);
    Ok(findings)
}

async fn measure(target: &Target, plan: &Plan) -> Tally {
    progress(&format!("equal ids, {}", target.name));
    let mut running = JoinSet::new();
    for number in 0..plan.equal_sessions {
        running.spawn_local(one_session(target.clone(), number, plan.equal_calls));
    }
    running.join_all().await.into_iter().fold(Tally::default(), |sum, tally| Tally {
        foreign: sum.foreign + tally.foreign,
        refused: sum.refused + tally.refused,
        lost: sum.lost + tally.lost,
        stray: sum.stray + tally.stray,
    })
}

impl Tally {
    fn row(self, name: String) -> Row {
        Row {
            name,
            values: [self.foreign, self.refused, self.lost, self.stray].map(|count| Some(as_f64(count))).to_vec(),
        }
    }
}

async fn one_session(target: Target, number: usize, calls: u64) -> Tally {
    let mut tally = Tally::default();
    let Ok(Ok(mut session)) = timeout(LIMIT * 3, Session::open(&target.endpoint)).await else {
        return Tally { lost: calls, ..tally };
    };
    let tool = target.tool("echo");
    let mut message = Vec::new();
    for id in 1..=calls {
        let text = format!("session-{number}-call-{id}");
        message.clear();
        let answer = match write_call(&mut message, id, &tool, &text) {
            Ok(()) => timeout(LIMIT, session.request(id, &message)).await,
            Err(error) => Ok(Err(error.into())),
        };
        // After a break the rest cannot be told apart from what came before.
        let Ok(Ok(answer)) = answer else {
            tally.lost += calls - id + 1;
            break;
        };
        match text_of(&answer) {
            Ok(got) if got == text => {}
            Ok(_) => tally.foreign += 1,
            Err(_) => tally.refused += 1,
        }
    }
    session.listen(SILENCE).await;
    tally.stray = session.strays();
    drop(session.close().await);
    tally
}
