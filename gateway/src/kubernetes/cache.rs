//! Answers that are kept for a while.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// The most answers that are kept.
const MOST: usize = 10_000;

/// How long answers are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    pub(super) yes: Duration,
    pub(super) no: Duration,
    /// A yes may be used for so long when nobody can be asked.
    pub(super) outage: Duration,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Cache<K, V>(HashMap<K, Kept<V>>);

#[derive(Debug)]
struct Kept<V> {
    value: V,
    fresh_until: Instant,
    until: Instant,
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    /// An answer that need not be asked for again.
    pub(super) fn fresh(&self, key: &K, now: Instant) -> Option<V> {
        self.0.get(key).filter(|kept| now < kept.fresh_until).map(|kept| kept.value.clone())
    }

    /// An answer that will do when nobody can be asked; nor is it asked for again during `pause`.
    pub(super) fn stale(&mut self, key: &K, pause: Duration, now: Instant) -> Option<V> {
        let kept = self.0.get_mut(key).filter(|kept| now < kept.until)?;
        kept.fresh_until = kept.fresh_until.max(kept.until.min(now + pause));
        Some(kept.value.clone())
    }

    /// Keeps an answer.
    pub(super) fn put(&mut self, key: K, value: V, keep: Keep, yes: bool, now: Instant) {
        if self.0.len() >= MOST {
            // Whoever asks in vain must not push out what stands in for a cluster that is away.
            self.0.retain(|_, kept| kept.fresh_until < kept.until && now < kept.until);
            if self.0.len() >= MOST {
                self.0.clear();
            }
        }
        let fresh_until = now + if yes { keep.yes } else { keep.no };
        let until = if yes { now + keep.outage } else { fresh_until };
        self.0.insert(key, Kept { value, fresh_until, until });
    }
}

impl<K: Hash + Eq + Copy, V> Cache<K, V> {
    /// What there are fresh answers about.
    pub(super) fn keys(&mut self, now: Instant) -> Vec<K> {
        self.0.retain(|_, kept| now < kept.fresh_until);
        self.0.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_yes_lasts_longer_than_a_no_and_an_outage_keeps_only_a_yes() {
        let (mut cache, start, keep) = (Cache::default(), Instant::now(), Keep { yes: s(10), no: s(2), outage: s(60) });
        cache.put("yes", 1, keep, true, start);
        cache.put("no", 0, keep, false, start);
        let mut look = |after| {
            let now = start + s(after);
            ["yes", "no"].map(|key| (cache.fresh(&key, now), cache.stale(&key, s(0), now)))
        };
        assert_eq!(look(1), [(Some(1), Some(1)), (Some(0), Some(0))]);
        assert_eq!(look(3), [(Some(1), Some(1)), (None, None)]);
        assert_eq!(look(11), [(None, Some(1)), (None, None)]);
        assert_eq!(look(61), [(None, None), (None, None)]);
        assert_eq!(cache.keys(start + s(3)), ["yes"]);
    }

    #[test]
    fn in_an_outage_nobody_is_asked_for_a_while() {
        let (mut cache, start, keep) = (Cache::default(), Instant::now(), Keep { yes: s(10), no: s(2), outage: s(60) });
        cache.put("yes", 1, keep, true, start);
        assert_eq!(cache.stale(&"yes", s(2), start + s(20)), Some(1));
        assert_eq!([21, 22].map(|at| cache.fresh(&"yes", start + s(at))), [Some(1), None]);
        assert_eq!(cache.stale(&"yes", s(2), start + s(59)), Some(1));
        assert_eq!(cache.fresh(&"yes", start + s(60)), None, "it does not last longer for that");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (mut cache, now, keep) = (Cache::default(), Instant::now(), Keep { yes: s(10), no: s(2), outage: s(60) });
        (0..3 * MOST).for_each(|key| cache.put(key, (), keep, true, now));
        assert!(cache.0.len() <= MOST);
        let mut cache = Cache::default();
        cache.put(0, (), keep, true, now);
        (1..3 * MOST).for_each(|key| cache.put(key, (), keep, false, now));
        assert!(cache.0.len() <= MOST && cache.stale(&0, s(0), now + s(30)).is_some(), "a yes outlives many noes");
    }
}
