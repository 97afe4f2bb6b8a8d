//! Calls that go on while something is changed, and what became of them.

use std::time::{Duration, Instant};

use anyhow::{Error, Result};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::was_not_sent;
use crate::wait::PATIENCE;

/// The pause before a call is tried again that could not be sent.
const AGAIN: Duration = Duration::from_millis(20);

/// Callers that call until they are told to stop.
#[derive(Debug)]
pub struct Load {
    stop: watch::Sender<bool>,
    callers: JoinSet<Tally>,
}

/// What became of the calls.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many were answered.
    pub calls: u64,
    /// How often one was tried again, because nobody took the connection: it had not been sent.
    pub again: u64,
    /// Why the others failed.
    pub lost: Vec<String>,
    /// The longest that one took, repetitions included.
    pub slowest: Duration,
}

impl Load {
    /// Lets so many callers call, one call after the other each; `call` gets the number of the caller.
    pub fn start<C>(callers: usize, call: impl Fn(usize) -> C + Clone + Send + Sync + 'static) -> Self
    where
        C: Future<Output = Result<()>> + Send,
    {
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        for caller in 0..callers {
            let (call, stopped) = (call.clone(), stop.subscribe());
            tasks.spawn(async move {
                let mut tally = Tally::default();
                while !*stopped.borrow() {
                    tally.call(|| call(caller)).await;
                }
                tally
            });
        }
        Self { stop, callers: tasks }
    }

    /// Lets every caller finish its call, and counts.
    pub async fn stop(self) -> Tally {
        self.stop.send_replace(true);
        let all = self.callers.join_all().await;
        all.into_iter().fold(Tally::default(), Tally::and)
    }
}

impl Tally {
    async fn call<C: Future<Output = Result<()>>>(&mut self, call: impl Fn() -> C) {
        let started = Instant::now();
        loop {
            match call().await {
                Ok(()) => self.calls += 1,
                Err(error) if was_not_sent(&error) && started.elapsed() < PATIENCE => {
                    self.again += 1;
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                Err(error) => self.lose(&error),
            }
            break;
        }
        self.slowest = self.slowest.max(started.elapsed());
    }

    fn lose(&mut self, error: &Error) {
        self.lost.push(format!("{error:#}"));
    }

    fn and(mut self, other: Self) -> Self {
        self.lost.extend(other.lost);
        Self {
            calls: self.calls + other.calls,
            again: self.again + other.again,
            lost: self.lost,
            slowest: self.slowest.max(other.slowest),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test]
    async fn calls_that_fail_are_lost_and_those_that_were_not_sent_are_tried_again() {
        let made = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&made);
        let load = Load::start(1, move |_| {
            let made = count.fetch_add(1, Ordering::Relaxed);
            async move {
                tokio::task::yield_now().await;
                match made {
                    1 => anyhow::bail!("no"),
                    // Nobody listens there.
                    2 => crate::http::http("GET", "http://127.0.0.1:1/", &[], "").await.map(drop),
                    _ => Ok(()),
                }
            }
        });
        while made.load(Ordering::Relaxed) < 5 {
            tokio::task::yield_now().await;
        }
        let tally = load.stop().await;
        assert_eq!((tally.lost, tally.again), (vec!["no".to_owned()], 1));
        assert!(tally.calls >= 3, "{}", tally.calls);
    }
}
