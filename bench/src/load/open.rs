//! The open loop: calls are due at fixed times whatever the answers do, and each is timed from when it was due, so that
//! a target that stalls cannot hide the calls it kept waiting ("coordinated omission").

use std::rc::Rc;
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Caller, GRACE, Recorder, Run, Span, Window, close_callers, open_callers, roles, watch_cpu};
use crate::session::Endpoint;
use crate::target::Target;

type Due = Rc<Mutex<mpsc::Receiver<Instant>>>;

/// Makes `rate` calls per second, over as many sessions as needed up to `clients`.
pub(crate) async fn open(target: &Target, clients: usize, rate: u32, span: Span) -> anyhow::Result<Run> {
    let clients = if matches!(target.endpoint, Endpoint::Pipe { .. }) { 1 } else { clients };
    let callers = open_callers(target, clients).await?;
    let roles = callers.first().map_or_else(Vec::new, |caller| roles(target, &caller.session));
    let window = Window::after(span);
    let recorder = Recorder::new();
    let due: Due = Rc::new(Mutex::new(pace(window, span, rate)));
    let mut loops = JoinSet::new();
    for caller in callers {
        loops.spawn_local(call_when_due(caller, Rc::clone(&due), window, recorder.clone()));
    }
    let (callers, cpu) =
        timeout(span.warm_up + span.length + GRACE, async { tokio::join!(loops.join_all(), watch_cpu(roles, window)) })
            .await
            .with_context(|| format!("it cannot hold {rate} calls/s"))?;
    let callers: Vec<Caller> = callers.into_iter().collect::<anyhow::Result<_>>()?;
    let strays = callers.iter().map(|caller| caller.session.strays()).sum();
    close_callers(callers).await?;
    Ok(Run::new(recorder.take(), window, cpu?, strays))
}

async fn call_when_due(mut caller: Caller, due: Due, window: Window, recorder: Recorder) -> anyhow::Result<Caller> {
    loop {
        let next = due.lock().await.recv().await;
        let Some(due) = next else { return Ok(caller) };
        caller.call().await?;
        if due >= window.start {
            recorder.record(due.elapsed());
        }
    }
}

/// Says when each call is due, from a thread of its own: the runtime's timers only know milliseconds.
fn pace(window: Window, span: Span, rate: u32) -> mpsc::Receiver<Instant> {
    let first = window.start.checked_sub(span.warm_up).unwrap_or(window.start);
    let gap = Duration::from_secs(1) / rate;
    let total = (span.warm_up + span.length).as_nanos() / gap.as_nanos().max(1);
    let total = u32::try_from(total).unwrap_or(u32::MAX).max(1);
    // Room for every call, so that the pace never waits for the answers.
    let (announce, due) = mpsc::channel(total as usize);
    std::thread::spawn(move || {
        sharpen_timers();
        for number in 0..total {
            let at = first + gap * number;
            while let Some(early) = at.checked_duration_since(Instant::now()).filter(|early| !early.is_zero()) {
                park_timeout(early);
            }
            if announce.try_send(at).is_err() {
                return;
            }
        }
    });
    due
}

/// The kernel lets a thread oversleep by 50 µs unless told otherwise; where it cannot be told, calls are that much late.
fn sharpen_timers() {
    let thread = std::fs::read_link("/proc/thread-self").ok();
    let id = thread.as_deref().and_then(|path| path.file_name()?.to_str());
    if let Some(id) = id {
        drop(std::fs::write(format!("/proc/{id}/timerslack_ns"), "1"));
    }
}
