//! Sessions that all use the same ids: every answer must reach the session that asked, once.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::fleet::{Fleet, Group, Setup};
use crate::load::{as_f64, text_of, write_call};
use crate::report::{Bound, Findings};
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
    foreign: u64,
    lost: u64,
    /// Second answers, and answers to ids of the past.
    stray: u64,
}

pub(crate) async fn equal_ids(setup: &Setup, plan: &Plan) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    for mode in [Mode::Shared, Mode::PerSession] {
        match ours::start_gateway(setup, mode).await {
            Ok(gateway) => {
                for target in gateway.targets() {
                    measure(&target, mode.name(), plan, &mut findings).await;
                }
            }
            Err(why) => findings.unmeasured(format!("answers with equal ids, {}", mode.name()), &why),
        }
    }
    let fleet = Fleet::start_some(setup, |group| group.is_peer() || group == Group::Floor).await?;
    for target in &fleet.targets {
        measure(target, "for comparison", plan, &mut findings).await;
    }
    Ok(findings)
}

async fn measure(target: &Target, mode: &str, plan: &Plan, findings: &mut Findings) {
    let (sessions, calls) = (plan.equal_sessions, plan.equal_calls);
    progress(&format!("equal ids, {}, {mode}", target.name));
    let mut running = JoinSet::new();
    for number in 0..sessions {
        running.spawn_local(one_session(target.clone(), number, calls));
    }
    let tally = running.join_all().await.into_iter().fold(Tally::default(), |sum, tally| Tally {
        foreign: sum.foreign + tally.foreign,
        lost: sum.lost + tally.lost,
        stray: sum.stray + tally.stray,
    });
    let bound = (mode != "for comparison").then_some(Bound::AtMost(0.0));
    for (what, count) in [("foreign", tally.foreign), ("lost", tally.lost), ("duplicate", tally.stray)] {
        let name =
            format!("{what} answers, {sessions} sessions × {calls} calls with equal ids, {}, {mode}", target.name);
        findings.figure(name, "", Some(Estimate::exact(as_f64(count))), bound);
    }
}

async fn one_session(target: Target, number: usize, calls: u64) -> Tally {
    let mut tally = Tally::default();
    let Ok(Ok(mut session)) = timeout(LIMIT * 3, Session::open(&target.endpoint)).await else {
        return Tally { lost: calls, ..tally };
    };
    let mut message = Vec::new();
    for id in 1..=calls {
        let text = format!("session-{number}-call-{id}");
        message.clear();
        let answer = match write_call(&mut message, id, target.tool, &text) {
            Ok(()) => timeout(LIMIT, session.request(id, &message)).await,
            Err(error) => Ok(Err(error.into())),
        };
        match answer {
            Ok(Ok(answer)) if text_of(&answer).is_ok_and(|got| got == text) => {}
            Ok(Ok(_)) => tally.foreign += 1,
            // After a break the rest cannot be told apart from what came before.
            Ok(Err(_)) | Err(_) => {
                tally.lost += calls - id + 1;
                break;
            }
        }
    }
    session.listen(SILENCE).await;
    tally.stray = session.strays();
    drop(session.close().await);
    tally
}
