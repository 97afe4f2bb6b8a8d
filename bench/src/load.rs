//! Load: clients that call `echo` in a closed or an open loop, each answer checked.

mod caller;
mod closed;
mod open;
mod pipelined;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use tokio::time::{sleep_until, timeout};

pub(crate) use self::caller::{Caller, text_of, write_call};
pub(crate) use self::closed::closed;
pub(crate) use self::open::open;
use crate::procfs;
use crate::session::Session;
use crate::target::{Role, Target};

/// How long after the end of a run answers may still come.
const GRACE: Duration = Duration::from_secs(10);

/// A run: calls of the first part are made but not counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) warm_up: Duration,
    pub(crate) length: Duration,
}

/// What a run has shown.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) calls: u64,
    pub(crate) seconds: f64,
    /// In nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// µs of CPU time per call, by the role of the process.
    pub(crate) cpu: Vec<(&'static str, f64)>,
    /// Messages that reached a session they were not for.
    pub(crate) strays: u64,
}

/// The part of a run that counts.
#[derive(Clone, Copy, Debug)]
struct Window {
    start: Instant,
    end: Instant,
}

impl Window {
    fn after(span: Span) -> Self {
        let start = Instant::now() + span.warm_up;
        Self { start, end: start + span.length }
    }

    fn length(self) -> Duration {
        self.end - self.start
    }
}

/// A histogram that the clients of one thread share.
#[derive(Clone, Debug)]
struct Recorder(Rc<RefCell<Histogram<u64>>>);

impl Recorder {
    fn new() -> Self {
        // From 1 µs to a minute, three digits.
        let histogram = Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("the bounds are in order");
        Self(Rc::new(RefCell::new(histogram)))
    }

    fn record(&self, latency: Duration) {
        self.0.borrow_mut().saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    fn take(self) -> Histogram<u64> {
        self.0.replace(Histogram::new(1).expect("one digit is allowed"))
    }
}

/// Opens as many sessions at once.
async fn open_callers(target: &Target, clients: usize) -> anyhow::Result<Vec<Caller>> {
    let mut opening = tokio::task::JoinSet::new();
    for number in 0..clients {
        let target = target.clone();
        opening.spawn_local(async move { Caller::open(&target, number).await });
    }
    let opened = timeout(GRACE * 3, opening.join_all()).await.context("the sessions did not open in time")?;
    opened.into_iter().collect()
}

async fn close_callers(callers: Vec<Caller>) -> anyhow::Result<()> {
    let mut closing = tokio::task::JoinSet::new();
    for caller in callers {
        closing.spawn_local(caller.close());
    }
    timeout(GRACE, closing.join_all()).await.context("the sessions did not close in time")?.into_iter().collect()
}

/// CPU time that the processes use within the window.
async fn watch_cpu(roles: Vec<Role>, window: Window) -> anyhow::Result<Vec<(&'static str, Duration)>> {
    let now = || roles.iter().map(|role| Ok((role.name, procfs::cpu(role.pid)?))).collect::<anyhow::Result<Vec<_>>>();
    sleep_until(window.start.into()).await;
    let before = now()?;
    sleep_until(window.end.into()).await;
    let after = now()?;
    Ok(after.into_iter().zip(before).map(|((name, after), (_, before))| (name, after.saturating_sub(before))).collect())
}

/// The processes behind a target: those it names and the child that a session itself started.
fn roles(target: &Target, session: &Session) -> Vec<Role> {
    match session {
        Session::Pipe(pipe) => vec![Role { name: "child", pid: pipe.pid() }],
        _ => target.roles.clone(),
    }
}

impl Run {
    fn new(latency: Histogram<u64>, window: Window, cpu: Vec<(&'static str, Duration)>, strays: u64) -> Self {
        let calls = latency.len();
        let cpu =
            cpu.into_iter().map(|(role, spent)| (role, spent.as_secs_f64() * 1e6 / as_f64(calls.max(1)))).collect();
        Self { calls, seconds: window.length().as_secs_f64(), latency, cpu, strays }
    }

    /// Calls per second.
    pub(crate) fn rate(&self) -> f64 {
        as_f64(self.calls) / self.seconds
    }

    /// A percentile of the latency, in µs.
    pub(crate) fn percentile(&self, percentile: f64) -> f64 {
        as_f64(self.latency.value_at_percentile(percentile)) / 1e3
    }
}

/// Counts are far below 2^52, where an f64 would begin to round.
#[expect(clippy::cast_precision_loss, reason = "see above")]
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}
