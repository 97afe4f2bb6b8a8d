//! The end of a process: a signal begins the drain, a deadline or a second signal forces it.
//!
//! ```text
//! running ──SIGTERM, SIGINT, begin()──► draining ──grace over, second signal, force()──► forced
//!                                          └── all work done: clean stop
//! ```
//!
//! *Draining*: nothing new is accepted, streams end themselves and tell their clients to reconnect,
//! calls go on. *Forced*: what is left is dropped. [`Shutdown`] moves the phase, [`Drain`] only
//! watches it, so a part that must obey a stop cannot cause one.

use std::{io, pin::pin, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What work that obeys [`Drain::forced`] gets to release what it holds (to kill its children, say)
/// before it is dropped.
const LAST_MOMENTS: Duration = Duration::from_secs(1);

/// Why a process did not stop cleanly. Maps to exit code 1.
#[derive(Debug, thiserror::Error)]
pub enum ShutdownError {
    #[error("failed to install the signal handlers")]
    Signals(#[source] io::Error),
    #[error("work still in progress {0:?} after the stop began was cut off")]
    Deadline(Duration),
    #[error("a second signal cut off the work in progress")]
    SecondSignal,
    #[error("the stop was forced while work was in progress")]
    Forced,
}

/// Watches the phases of a stop. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    draining: CancellationToken,
    forced: CancellationToken,
}

impl Drain {
    /// Whether the stop has begun.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Whether the stop does not wait any longer.
    pub fn is_forced(&self) -> bool {
        self.forced.is_cancelled()
    }

    /// Resolves when the stop begins. Borrows nothing: `stream.take_until(drain.started())`.
    pub fn started(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.draining.clone().cancelled_owned()
    }

    /// Resolves when the stop does not wait any longer. Borrows nothing.
    pub fn forced(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.forced.clone().cancelled_owned()
    }
}

/// Begins and forces the stop. Cheap to clone: for a lifeline's end or an administrator's request.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    phase: Drain,
}

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    /// A handle that watches this stop.
    pub fn drain(&self) -> Drain {
        self.phase.clone()
    }

    /// Begins the drain; `reason` goes to the log. Later calls change nothing.
    pub fn begin(&self, reason: &str) {
        if !self.phase.is_draining() {
            tracing::info!(reason, "stopping");
            self.phase.draining.cancel();
        }
    }

    /// Ends the waiting at once: work in progress is dropped.
    pub fn force(&self) {
        self.begin("forced");
        self.phase.forced.cancel();
    }

    /// Runs `work` until it ends, and sees to it that it does: SIGTERM or SIGINT begins the drain,
    /// `grace` later or with a second signal the stop is forced, and work that has not ended shortly
    /// after is dropped. When `work` ends by itself, the drain begins too.
    ///
    /// Keep `grace` below the time the supervisor allows (Kubernetes:
    /// `terminationGracePeriodSeconds`, 30 s by default).
    pub async fn run<F: Future>(&self, grace: Duration, work: F) -> Result<F::Output, ShutdownError> {
        let mut signals = Signals::install().map_err(ShutdownError::Signals)?;
        self.run_on(grace, work, async || signals.next().await).await
    }

    async fn run_on<F: Future>(
        &self,
        grace: Duration,
        work: F,
        next_signal: impl AsyncFnMut() -> &'static str,
    ) -> Result<F::Output, ShutdownError> {
        let mut work = pin!(async {
            let output = work.await;
            self.begin("work ended");
            output
        });
        let cut = tokio::select! {
            biased; // a stop that was forced is not clean, even when work ends in the same moment
            cut = self.supervise(grace, next_signal) => cut,
            output = &mut work => return Ok(output),
        };
        self.force();
        // Whether it ends in time makes no difference to the verdict: something was cut off.
        tokio::time::timeout(LAST_MOMENTS, work).await.ok();
        Err(cut)
    }

    /// Waits for a reason to force the stop. Only signals count as signals: a drain begun by the
    /// program, followed by the SIGTERM that was on its way too, goes on.
    async fn supervise(&self, grace: Duration, mut next_signal: impl AsyncFnMut() -> &'static str) -> ShutdownError {
        let signals = async {
            self.begin(next_signal().await);
            next_signal().await
        };
        let deadline = async {
            self.phase.started().await;
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            _ = signals => ShutdownError::SecondSignal,
            () = deadline => ShutdownError::Deadline(grace),
            () = self.phase.forced() => ShutdownError::Forced,
        }
    }
}

#[derive(Debug)]
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn install() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests;
