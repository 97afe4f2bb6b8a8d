//! A child that dies: how soon the calls on it are answered, and how soon the next one succeeds.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::fleet::Setup;
use crate::load::Caller;
use crate::report::{Bound, Findings};
use crate::session::{Answer, Session};
use crate::stats::Estimate;
use crate::target::Target;
use crate::target::ours::{self, Mode};

use super::{Plan, progress};

/// How long answers, and the next child, may take.
const LIMIT: Duration = Duration::from_secs(30);

/// So that all calls have reached the child.
const UNDER_WAY: Duration = Duration::from_millis(200);

/// Milliseconds from the kill.
struct Times {
    last_answer: f64,
    next_call: f64,
}

pub(crate) async fn killed(setup: &Setup, plan: &Plan) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    for path in 0..4 {
        if let Err(why) = one_path(setup, plan, path, &mut findings).await {
            findings.unmeasured("answers after the child was killed", &why);
            break;
        }
    }
    Ok(findings)
}

async fn one_path(setup: &Setup, plan: &Plan, path: usize, findings: &mut Findings) -> anyhow::Result<()> {
    let (mut answers, mut recoveries) = (Vec::new(), Vec::new());
    let mut name = "";
    for _ in 0..plan.kills {
        // A gateway of its own for each kill: the backoff after many is not what is measured.
        let gateway = ours::start_gateway(setup, Mode::Shared).await?;
        let target = &gateway.targets()[path];
        name = target.name;
        progress(&format!("child killed, {name}"));
        let times = one_kill(target, plan.killed_sessions, || gateway.kill_children()).await?;
        answers.push(times.last_answer);
        recoveries.push(times.next_call);
    }
    let sessions = plan.killed_sessions;
    let figure = format!("last of {sessions} answers after the child was killed, {name}");
    findings.figure(figure, "ms", Estimate::of(&answers), Some(Bound::AtMost(50.0)));
    findings.figure(format!("next call that succeeds, {name}"), "ms", Estimate::of(&recoveries), None);
    Ok(())
}

async fn one_kill(target: &Target, sessions: usize, kill: impl Fn() -> usize) -> anyhow::Result<Times> {
    let mut waiting = JoinSet::new();
    for _ in 0..sessions {
        let session = Session::open(&target.endpoint).await?;
        waiting.spawn_local(stalled_call(session, target.tool("stall")));
    }
    sleep(UNDER_WAY).await;
    let killed = Instant::now();
    ensure!(kill() > 0, "there is no child to kill");
    let answered = timeout(LIMIT, waiting.join_all()).await.context("calls were left without an answer")?;
    let answered = answered.into_iter().collect::<anyhow::Result<Vec<Instant>>>()?;
    let last = answered.into_iter().max().context("nothing was called")?;
    let next_call =
        timeout(LIMIT, next_success(target)).await.context("no call succeeds after the child was killed")?;
    let since = |at: Instant| at.duration_since(killed).as_secs_f64() * 1e3;
    Ok(Times { last_answer: since(last), next_call: since(next_call) })
}

/// When the answer, which must be an error, came.
async fn stalled_call(mut session: Session, tool: String) -> anyhow::Result<Instant> {
    let call = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{{"text":""}}}}}}"#
    );
    let answer = session.request(1, call.as_bytes()).await?;
    let answered = Instant::now();
    ensure!(Answer::parse(&answer)?.result().is_err(), "a call on a killed child has succeeded");
    Ok(answered)
}

async fn next_success(target: &Target) -> Instant {
    loop {
        if let Ok(mut caller) = Caller::open(target, 0).await
            && caller.call().await.is_ok()
        {
            return Instant::now();
        }
        sleep(Duration::from_millis(2)).await;
    }
}
