//! How much of everything is measured.

use std::fmt;
use std::time::Duration;

use crate::load::Span;

/// The sizes of all measurements.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) clients: usize,
    /// Calls per second in the open loop.
    pub(crate) rate: u32,
    /// How long memory may settle before it is read.
    pub(crate) settle: Duration,
    /// Idle SSE streams.
    pub(crate) streams: usize,
    /// Sessions added to an idle gateway.
    pub(crate) sessions: usize,
    pub(crate) starts: usize,
    /// Servers behind the aggregated list, and tools of each.
    pub(crate) servers: u16,
    pub(crate) tools: u16,
    /// Routes, of which one is used.
    pub(crate) routes: usize,
    /// Calls that wait for their clients, each with a process.
    pub(crate) parked: u64,
    /// Bytes of the large result.
    pub(crate) large: usize,
    /// Times the child is killed, with calls of so many sessions under way.
    pub(crate) kills: usize,
    pub(crate) killed_sessions: usize,
    /// Calls that nobody awaits.
    pub(crate) abandoned: usize,
    /// Sessions that use equal ids, and calls of each.
    pub(crate) equal_sessions: usize,
    pub(crate) equal_calls: u64,
}

impl Plan {
    pub(crate) fn full() -> Self {
        Self {
            rounds: 10,
            seconds: 5.0,
            clients: 64,
            rate: 1000,
            settle: Duration::from_secs(3),
            streams: 5000,
            sessions: 100,
            starts: 20,
            servers: 50,
            tools: 40,
            routes: 1000,
            parked: 250,
            large: 10_000_000,
            kills: 10,
            killed_sessions: 16,
            abandoned: 2000,
            equal_sessions: 64,
            equal_calls: 1000,
        }
    }

    pub(crate) fn quick() -> Self {
        Self {
            rounds: 2,
            seconds: 0.1,
            clients: 8,
            rate: 200,
            settle: Duration::from_millis(100),
            streams: 20,
            sessions: 5,
            starts: 2,
            servers: 3,
            tools: 4,
            routes: 10,
            parked: 5,
            large: 1_000_000,
            kills: 2,
            killed_sessions: 4,
            abandoned: 20,
            equal_sessions: 8,
            equal_calls: 10,
        }
    }

    /// One target's turn in one round.
    pub(crate) fn span(&self) -> Span {
        let length = Duration::from_secs_f64(self.seconds);
        Span { warm_up: (length / 5).min(Duration::from_millis(500)), length }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rounds of {} s, {} clients under load, open loop at {} calls/s",
            self.rounds, self.seconds, self.clients, self.rate
        )
    }
}
