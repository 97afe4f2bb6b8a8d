//! What is known of the server, for everybody who asks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry as Metrics;
use tokio::sync::{Notify, watch};
use wire::child::{Exit, Tail};
use wire::session::Registry;
use wire::status::{Catalogue, Failure, LastExit, PackageLock, Phase, Status};

use crate::memory::{Memory, resident};

/// See the [module](self). Clones share it.
#[derive(Clone, Debug)]
pub struct State {
    status: watch::Sender<Status>,
    processes: Processes,
    /// The open sessions.
    pub sessions: Registry,
    /// Told when a server that failed may work now: it is tried at once.
    pub retry: Arc<Notify>,
}

/// Those that live: a number each, and the process id where it is a process.
type Processes = Arc<Mutex<HashMap<u64, Option<u32>>>>;

/// Counts a process (or remote session) for as long as it lives.
#[derive(Debug)]
pub struct Counted {
    number: u64,
    among: Processes,
}

impl Drop for Counted {
    fn drop(&mut self) {
        lock(&self.among).remove(&self.number);
    }
}

fn lock(processes: &Processes) -> MutexGuard<'_, HashMap<u64, Option<u32>>> {
    processes.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for State {
    fn default() -> Self {
        let status = Status { message: "starting".to_owned(), ..Status::default() };
        let status = watch::Sender::new(status);
        Self { status, processes: Arc::default(), sessions: Registry::default(), retry: Arc::default() }
    }
}

impl State {
    /// The status now.
    pub fn now(&self) -> Status {
        self.complete(self.status.borrow().clone())
    }

    /// Follows the status.
    pub fn follow(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Adds the counts, which change too often to be followed.
    pub fn complete(&self, status: Status) -> Status {
        let (processes, sessions) = (lock(&self.processes).len(), self.sessions.count());
        Status { processes, sessions, ..status }
    }

    /// Counts one more process, or remote session.
    pub fn count(&self, pid: Option<u32>) -> Counted {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        lock(&self.processes).insert(number, pid);
        Counted { number, among: Arc::clone(&self.processes) }
    }

    /// Whether `memory` would hold one more process, by what its siblings use.
    pub fn has_room(&self, memory: Option<Memory>) -> bool {
        let Some(memory) = memory else { return true };
        let pids: Vec<u32> = lock(&self.processes).values().copied().flatten().collect();
        memory.holds(pids.into_iter().filter_map(resident).max().unwrap_or_default())
    }

    /// How far the server is, in short and in words.
    pub fn phase(&self, phase: Phase, message: impl Into<String>) {
        self.set(phase, None, message.into());
    }

    /// It does not work: of what kind that is, and in words.
    pub fn failing(&self, failure: Failure, message: impl Into<String>) {
        self.set(Phase::Failing, Some(failure), message.into());
    }

    fn set(&self, phase: Phase, failure: Option<Failure>, message: String) {
        self.status.send_if_modified(|status| {
            let changed = (status.phase, status.failure) != (phase, failure) || status.message != message;
            (status.phase, status.failure, status.message) = (phase, failure, message);
            changed
        });
    }

    /// What carries its messages.
    pub fn transport(&self, transport: &str) {
        self.status.send_if_modified(|status| {
            let changed = status.transport != transport;
            transport.clone_into(&mut status.transport);
            changed
        });
    }

    /// It works, and offers this.
    pub fn ready(&self, catalogue: Catalogue) {
        self.status.send_modify(|status| {
            let version = status.catalogue.as_ref().map_or(0, |old| old.version) + 1;
            status.catalogue = Some(Catalogue { version, ..catalogue });
            (status.phase, status.failure, status.message) = (Phase::Ready, None, "ready".to_owned());
        });
    }

    /// The exact packages it runs from.
    pub fn packages(&self, packages: Vec<String>) {
        self.status.send_modify(|status| status.packages = packages);
    }

    /// What it takes to install the same again.
    pub fn lock(&self, lock: Option<PackageLock>) {
        self.status.send_modify(|status| status.lock = lock);
    }

    /// The keys by which callers are known.
    pub fn hop_keys(&self, kids: Vec<String>) {
        self.status.send_if_modified(|status| {
            let changed = status.hop_keys != kids;
            status.hop_keys = kids;
            changed
        });
    }

    /// A process ended without being told to.
    pub fn ended(&self, exit: Exit, tail: &Tail) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let last = LastExit {
            code: exit.code,
            signal: exit.signal,
            out_of_memory: exit.out_of_memory,
            time,
            stderr_tail: tail.lines(),
        };
        self.status.send_modify(|status| {
            status.restarts += 1;
            status.last_exit = Some(last);
        });
    }
}

impl State {
    /// Adds the server's figures to the metrics.
    pub fn register(&self, metrics: &mut Metrics) {
        metrics.register_collector(Box::new(self.clone()));
    }
}

impl Collector for State {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let status = self.now();
        let ready = i64::from(status.phase == Phase::Ready);
        let gauge = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        for (name, help, value) in [
            ("mcp_server_ready", "Whether the server has shown that it works.", ready),
            ("mcp_server_processes", "Processes, or sessions of a remote server.", gauge(status.processes)),
            ("mcp_server_sessions", "Client sessions.", gauge(status.sessions)),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let restarts = ConstCounter::new(status.restarts);
        let help = "Processes that ended without being told to.";
        restarts.encode(encoder.encode_descriptor("mcp_server_restarts", help, None, restarts.metric_type())?)
    }
}
