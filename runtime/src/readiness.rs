//! Readiness as tokens: a process is ready while nobody holds one and no stop has begun.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::shutdown::Drain;

/// Why a process is not ready. The text is the body of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unready {
    #[error("draining: this process is stopping")]
    Draining,
    #[error("waiting for: {}", .0.join(", "))]
    Waiting(Vec<Cow<'static, str>>),
}

/// Tells whether the process can do its job. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Readiness {
    waiting: Arc<Waiting>,
    drain: Drain,
}

#[derive(Debug, Default)]
struct Waiting {
    names: Mutex<Vec<(Cow<'static, str>, u64)>>,
    /// Told when there is none any more.
    none: Notify,
}

/// The process is not ready while this lives.
#[must_use = "dropping the token says that what it names is done"]
#[derive(Debug)]
pub struct Token {
    waiting: Arc<Waiting>,
    number: u64,
}

impl Readiness {
    /// Ready at once; unready for good when `drain` begins.
    pub fn new(drain: Drain) -> Self {
        Self { waiting: Arc::default(), drain }
    }

    /// Makes the process unready until the token is dropped. `name` says what is waited for
    /// ("routes synced") and is public: whoever may read `/readyz` sees it.
    pub fn token(&self, name: impl Into<Cow<'static, str>>) -> Token {
        let mut names = self.waiting.lock();
        let number = names.last().map_or(0, |(_, last)| last + 1);
        names.push((name.into(), number));
        Token { waiting: Arc::clone(&self.waiting), number }
    }

    /// `Ok` when ready.
    pub fn check(&self) -> Result<(), Unready> {
        if self.drain.is_draining() {
            return Err(Unready::Draining);
        }
        let names = self.waiting.lock();
        if names.is_empty() {
            return Ok(());
        }
        let names = names.iter().map(|(name, _)| name.clone());
        Err(Unready::Waiting(names.collect()))
    }

    /// Waits until it is ready for the first time from now, or is told to stop.
    pub async fn settled(&self) {
        loop {
            let none = self.waiting.none.notified();
            if !matches!(self.check(), Err(Unready::Waiting(_))) {
                return;
            }
            tokio::select! {
                () = none => {}
                () = self.drain.started() => {}
            }
        }
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Vec<(Cow<'static, str>, u64)>> {
        // A panic elsewhere cannot leave the list half changed.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let mut names = self.waiting.lock();
        if let Some(index) = names.iter().position(|(_, number)| *number == self.number) {
            let (done, _) = names.remove(index);
            tracing::info!(%done, remaining = names.len(), "readiness");
            if names.is_empty() {
                self.waiting.none.notify_waiters();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shutdown::Shutdown;

    fn waiting(names: &[&'static str]) -> Result<(), Unready> {
        let names = names.iter().map(|name| Cow::from(*name));
        Err(Unready::Waiting(names.collect()))
    }

    #[test]
    fn without_tokens_it_is_ready() {
        assert_eq!(Readiness::new(Drain::default()).check(), Ok(()));
    }

    #[test]
    fn it_waits_for_every_token_and_names_those_that_remain() {
        let readiness = Readiness::new(Drain::default());
        let routes = readiness.token("routes synced");
        let listener = readiness.token("listener");
        assert_eq!(readiness.check(), waiting(&["routes synced", "listener"]));
        drop(routes);
        assert_eq!(readiness.check(), waiting(&["listener"]));
        drop(listener);
        assert_eq!(readiness.check(), Ok(()));
    }

    #[test]
    fn equal_names_count_separately() {
        let readiness = Readiness::new(Drain::default());
        let first = readiness.token("server");
        let _second = readiness.token("server");
        drop(first);
        assert_eq!(readiness.check(), waiting(&["server"]));
    }

    #[test]
    fn it_can_become_unready_again() {
        let readiness = Readiness::new(Drain::default());
        drop(readiness.token("handshake"));
        let _again = readiness.token("handshake");
        assert_eq!(readiness.check(), waiting(&["handshake"]));
    }

    #[tokio::test]
    async fn who_waits_for_it_goes_on_when_the_last_token_is_gone_or_it_is_to_stop() {
        let shutdown = Shutdown::new();
        let readiness = Readiness::new(shutdown.drain());
        readiness.settled().await;
        let (routes, listener) = (readiness.token("routes"), readiness.token("listener"));
        drop(routes);
        tokio::join!(readiness.settled(), async { drop(listener) });
        let _never = readiness.token("never");
        tokio::join!(readiness.settled(), async { shutdown.begin("test") });
    }

    #[test]
    fn draining_makes_it_unready() {
        let shutdown = Shutdown::new();
        let readiness = Readiness::new(shutdown.drain());
        shutdown.begin("test");
        assert_eq!(readiness.check(), Err(Unready::Draining));
    }

    #[test]
    fn the_text_names_what_is_waited_for() {
        let readiness = Readiness::new(Drain::default());
        let _tokens = (readiness.token("routes synced"), readiness.token("cache"));
        let text = readiness.check().unwrap_err().to_string();
        assert_eq!(text, "waiting for: routes synced, cache");
    }
}
