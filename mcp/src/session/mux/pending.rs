//! What waits for something, until a deadline.

use std::collections::{BTreeMap, BTreeSet};

use crate::session::Clock;

/// Entries by the id that the other side knows them by, each with its deadline.
#[derive(Debug)]
pub(super) struct Pending<T> {
    entries: BTreeMap<u64, (Clock, T)>,
    /// The deadlines of exactly these entries.
    deadlines: BTreeSet<(Clock, u64)>,
}

impl<T> Pending<T> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn insert(&mut self, id: u64, deadline: Clock, entry: T) {
        self.entries.insert(id, (deadline, entry));
        self.deadlines.insert((deadline, id));
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<T> {
        let (deadline, entry) = self.entries.remove(&id)?;
        self.deadlines.remove(&(deadline, id));
        Some(entry)
    }

    pub(super) fn get(&self, id: u64) -> Option<&T> {
        self.entries.get(&id).map(|(_, entry)| entry)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut T> {
        self.entries.get_mut(&id).map(|(_, entry)| entry)
    }

    /// All of them, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.entries.iter().map(|(id, (_, entry))| (*id, entry))
    }

    /// Takes all of them, oldest first.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (u64, T)> + use<T> {
        self.deadlines.clear();
        std::mem::take(&mut self.entries).into_iter().map(|(id, (_, entry))| (id, entry))
    }

    /// Gives an entry time until `deadline`; never less than it had.
    pub(super) fn postpone(&mut self, id: u64, deadline: Clock) {
        if let Some((current, _)) = self.entries.get_mut(&id)
            && *current < deadline
        {
            self.deadlines.remove(&(*current, id));
            self.deadlines.insert((deadline, id));
            *current = deadline;
        }
    }

    /// The earliest deadline.
    pub(super) fn deadline(&self) -> Option<Clock> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// An entry whose time is up, the earliest first.
    pub(super) fn due(&self, now: Clock) -> Option<(u64, &T)> {
        let (_, id) = *self.deadlines.first().filter(|(deadline, _)| *deadline <= now)?;
        Some((id, self.get(id)?))
    }
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), deadlines: BTreeSet::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Clock {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_entry_has_one_deadline_and_it_only_moves_back() {
        let mut pending = Pending::default();
        pending.insert(1, at(5), "a");
        pending.insert(2, at(3), "b");
        pending.postpone(2, at(9));
        pending.postpone(1, at(2));
        assert_eq!((pending.deadline(), pending.due(at(4)), pending.due(at(5))), (Some(at(5)), None, Some((1, &"a"))));
        assert_eq!((pending.remove(1), pending.remove(1)), (Some("a"), None));
        assert_eq!(pending.deadline(), Some(at(9)));
        assert_eq!(pending.drain().collect::<Vec<_>>(), [(2, "b")]);
        assert_eq!((pending.len(), pending.deadline()), (0, None));
    }
}
