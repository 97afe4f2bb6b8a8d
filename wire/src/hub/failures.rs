//! How often a server could not be started, and when to try again.

use std::time::Duration;

use mcp::session::mux::Loss;
use tokio::time::Instant;

/// How long the first retry after a failure waits; each further one waits twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Failures in a row.
#[derive(Debug, Default)]
pub(super) struct Failures {
    count: u32,
    last: Option<(Loss, Instant)>,
}

impl Failures {
    pub(super) fn add(&mut self, loss: &Loss) {
        self.count = self.count.saturating_add(1);
        let pause = (FIRST_PAUSE * 2u32.saturating_pow(self.count.min(16) - 1)).min(LONGEST_PAUSE);
        self.last = Some((loss.clone(), Instant::now() + pause));
    }

    /// How long the next attempt has to wait.
    pub(super) fn wait(&self) -> Duration {
        self.last.as_ref().map_or(Duration::ZERO, |(_, until)| until.saturating_duration_since(Instant::now()))
    }

    /// The last failure as it is told to somebody who would have to `wait`.
    pub(super) fn told(&self, wait: Duration) -> Option<Loss> {
        let (Loss { message, data }, _) = self.last.as_ref()?;
        let message = format!("{message}; the next attempt is made in {} s", wait.as_secs_f32().ceil());
        Some(Loss { message, data: data.clone() })
    }
}
