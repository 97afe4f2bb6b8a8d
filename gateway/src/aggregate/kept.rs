//! A value that one task keeps in step with numbered changes, and many read.
//!
//! The task collects changes before it makes the value anew, so the value is a little behind; a reader that must see a
//! change that it knows of waits for it ([`Follower::reached`]).

use std::sync::Arc;

use tokio::sync::watch;

/// The task's side. Clones share it.
#[derive(Debug)]
pub(super) struct Kept<T> {
    value: watch::Sender<Arc<T>>,
    /// The number of the last change that the value shows.
    reached: watch::Sender<u64>,
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), reached: self.reached.clone() }
    }
}

impl<T: Default> Default for Kept<T> {
    fn default() -> Self {
        Self { value: watch::Sender::default(), reached: watch::Sender::default() }
    }
}

impl<T> Kept<T> {
    /// The value now.
    pub(super) fn now(&self) -> Arc<T> {
        Arc::clone(&self.value.borrow())
    }

    /// Takes a value that shows all changes up to number `reached`; followers wake when it `differs` from the last.
    pub(super) fn publish(&self, value: T, reached: u64, differs: impl FnOnce(&T, &T) -> bool) {
        self.value.send_if_modified(|current| {
            let differs = differs(&value, current);
            *current = Arc::new(value);
            differs
        });
        self.reached.send_replace(reached);
    }

    pub(super) fn follow(&self) -> Follower<T> {
        Follower { value: self.value.subscribe(), reached: self.reached.subscribe() }
    }

    /// Waits until nobody follows.
    pub(super) async fn forsaken(&self) {
        self.value.closed().await;
    }

    pub(super) fn is_forsaken(&self) -> bool {
        self.value.is_closed()
    }
}

/// A reader's side.
#[derive(Debug)]
pub(super) struct Follower<T> {
    value: watch::Receiver<Arc<T>>,
    reached: watch::Receiver<u64>,
}

impl<T> Clone for Follower<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), reached: self.reached.clone() }
    }
}

impl<T> Follower<T> {
    /// The value now.
    pub(super) fn now(&self) -> Arc<T> {
        Arc::clone(&self.value.borrow())
    }

    /// Waits for a value that differs from the one last waited for or seen; for ever when the task has ended.
    pub(super) async fn changed(&mut self) {
        if self.value.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether [`Self::changed`] would return at once.
    pub(super) fn has_changed(&self) -> bool {
        self.value.has_changed().unwrap_or_default()
    }

    /// Takes the value now for seen.
    pub(super) fn see(&mut self) {
        self.value.mark_unchanged();
    }

    /// Waits for a value that `is` so; for ever when the task has ended before.
    pub(super) async fn becomes(&mut self, is: impl Fn(&T) -> bool) {
        if self.value.wait_for(|value| is(value)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the value shows the change of that number; for ever when the task has ended before.
    pub(super) async fn reached(&mut self, change: u64) {
        if self.reached.wait_for(|reached| *reached >= change).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_follower_wakes_for_what_differs_and_waits_for_any_change() {
        let kept = Kept::<u32>::default();
        let mut follower = kept.follow();
        let differs = |new: &u32, old: &u32| new != old;
        kept.publish(0, 3, differs);
        assert!(!follower.has_changed(), "the value is the same");
        assert!(follower.reached(3).now_or_never().is_some() && follower.reached(4).now_or_never().is_none());
        kept.publish(7, 4, differs);
        assert!(follower.changed().now_or_never().is_some() && follower.reached(4).now_or_never().is_some());
        assert_eq!((*follower.now(), *kept.now()), (7, 7));
        drop(follower);
        assert!(kept.is_forsaken());
    }
}
