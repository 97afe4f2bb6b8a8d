//! The closed loop: each client makes its next call when it has the last one's answer.

use std::time::Instant;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Caller, GRACE, Recorder, Run, Span, Window, close_callers, open_callers, pipelined, roles, watch_cpu};
use crate::session::Endpoint;
use crate::target::Target;

/// Runs `clients` sessions for the span.
pub(crate) async fn closed(target: &Target, clients: usize, span: Span) -> anyhow::Result<Run> {
    if let (Endpoint::Pipe { program }, 2..) = (&target.endpoint, clients) {
        return pipelined::pipelined(program, clients, span).await;
    }
    let callers = open_callers(target, clients).await?;
    let roles = callers.first().map_or_else(Vec::new, |caller| roles(target, &caller.session));
    let window = Window::after(span);
    let recorder = Recorder::new();
    let mut loops = JoinSet::new();
    for caller in callers {
        loops.spawn_local(call_until(caller, window, recorder.clone()));
    }
    let (callers, cpu) =
        timeout(span.warm_up + span.length + GRACE, async { tokio::join!(loops.join_all(), watch_cpu(roles, window)) })
            .await
            .context("calls were left without an answer")?;
    let callers: Vec<Caller> = callers.into_iter().collect::<anyhow::Result<_>>()?;
    let strays = callers.iter().map(|caller| caller.session.strays()).sum();
    close_callers(callers).await?;
    Ok(Run::new(recorder.take(), window, cpu?, strays))
}

async fn call_until(mut caller: Caller, window: Window, recorder: Recorder) -> anyhow::Result<Caller> {
    loop {
        let sent = Instant::now();
        if sent >= window.end {
            return Ok(caller);
        }
        caller.call().await?;
        let answered = Instant::now();
        if sent >= window.start && answered <= window.end {
            recorder.record(answered - sent);
        }
    }
}
