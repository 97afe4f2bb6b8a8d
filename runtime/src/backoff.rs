//! Delays between attempts. Pure: the clock and the random number are the caller's.

use std::time::{Duration, Instant};

/// Exponential growth from `initial` to `max`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// Upper bound of the first delay.
    pub initial: Duration,
    /// Upper bound of every delay.
    pub max: Duration,
    /// Growth from one attempt to the next, at least 1.
    pub factor: f64,
}

impl Backoff {
    /// The delay before attempt number `attempt` (0 is the first retry). `jitter` between 0 and 1
    /// places it in the upper half of its range, so that many who failed together do not come back
    /// together, and none comes back at once.
    pub fn next(&self, attempt: u32, jitter: f64) -> Duration {
        let exponent = i32::try_from(attempt).unwrap_or(i32::MAX);
        // The product may be infinite: `min` brings it back.
        let bound = (self.initial.as_secs_f64() * self.factor.max(1.0).powi(exponent)).min(self.max.as_secs_f64());
        Duration::from_secs_f64(bound * (0.5 + 0.5 * jitter.clamp(0.0, 1.0)))
    }
}

/// Counts the failures of something that is started again and again, and forgives them once it ran
/// long enough.
#[derive(Clone, Debug)]
pub struct Restarts {
    backoff: Backoff,
    stable_after: Duration,
    failures: u32,
}

impl Restarts {
    /// A run of `stable_after` or longer counts as a success.
    pub fn new(backoff: Backoff, stable_after: Duration) -> Self {
        Self { backoff, stable_after, failures: 0 }
    }

    /// The run begun at `started` failed at `now`: how long to wait before the next one.
    pub fn failed(&mut self, started: Instant, now: Instant, jitter: f64) -> Duration {
        if now.saturating_duration_since(started) >= self.stable_after {
            self.failures = 0;
        }
        let delay = self.backoff.next(self.failures, jitter);
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// Failures in a row, since the last run that was long enough.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(60), factor: 2.0 };
    const STABLE: Duration = Duration::from_secs(300);

    #[test]
    fn delays_double_up_to_the_maximum() {
        let delays = [0, 1, 2, 5, 6, 7].map(|attempt| BACKOFF.next(attempt, 1.0).as_secs());
        assert_eq!(delays, [1, 2, 4, 32, 60, 60]);
    }

    #[test]
    fn any_number_of_attempts_stays_at_the_maximum() {
        assert_eq!(BACKOFF.next(u32::MAX, 1.0), BACKOFF.max);
    }

    #[test]
    fn jitter_spreads_over_the_upper_half() {
        let delays = [0.0, 0.5, 1.0].map(|jitter| BACKOFF.next(2, jitter));
        assert_eq!(delays, [2, 3, 4].map(Duration::from_secs));
    }

    #[test]
    fn jitter_outside_its_range_is_clamped() {
        assert_eq!(BACKOFF.next(0, 9.0), BACKOFF.next(0, 1.0));
        assert_eq!(BACKOFF.next(0, -9.0), BACKOFF.next(0, 0.0));
    }

    #[test]
    fn a_factor_below_one_does_not_shrink_delays() {
        let backoff = Backoff { factor: 0.1, ..BACKOFF };
        assert_eq!(backoff.next(9, 1.0), BACKOFF.initial);
    }

    #[test]
    fn failures_in_a_row_wait_longer_each_time() {
        let (mut restarts, now) = (Restarts::new(BACKOFF, STABLE), Instant::now());
        let delays = [(); 3].map(|()| restarts.failed(now, now, 1.0).as_secs());
        assert_eq!((delays, restarts.failures()), ([1, 2, 4], 3));
    }

    #[test]
    fn a_stable_run_forgives_earlier_failures() {
        let (mut restarts, start) = (Restarts::new(BACKOFF, STABLE), Instant::now());
        restarts.failed(start, start, 1.0);
        let almost = STABLE.saturating_sub(Duration::from_nanos(1));
        assert_eq!(restarts.failed(start, start + almost, 1.0).as_secs(), 2);
        assert_eq!(restarts.failed(start, start + STABLE, 1.0).as_secs(), 1);
        assert_eq!(restarts.failures(), 1);
    }

    #[test]
    fn a_clock_that_steps_back_is_no_stable_run() {
        let (mut restarts, now) = (Restarts::new(BACKOFF, Duration::from_secs(1)), Instant::now());
        restarts.failed(now, now, 1.0);
        let before = restarts.failed(now + STABLE, now, 1.0);
        assert_eq!(before.as_secs(), 2);
    }
}
