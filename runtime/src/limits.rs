//! The limit of open files, which is also the limit of connections.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than any process of ours can serve; stands for "no limit".
const UNLIMITED: u64 = 1 << 20;

/// How many files this process may have open.
pub fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(UNLIMITED)
}

/// The soft limit that held when this process was started; set once [`raise_open_files`] was called.
static INHERITED: OnceLock<Option<u64>> = OnceLock::new();

/// Raises the soft limit of open files to the hard one and returns what holds then. Shells hand out
/// a soft limit of 1,024 for the sake of `select(2)`, which nothing here uses. Programs of others may:
/// whoever starts them gives back what [`inherited_open_files`] tells.
pub fn raise_open_files() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    INHERITED.get_or_init(|| current);
    set_open_files(maximum, maximum);
    open_files()
}

/// The soft limit that held before [`raise_open_files`]; the present one where that was not called. `None` is no limit.
pub fn inherited_open_files() -> Option<u64> {
    *INHERITED.get_or_init(|| getrlimit(Resource::Nofile).current)
}

/// Sets the soft limit for this process and those that it starts, as far as the hard one allows.
pub fn lower_open_files(soft: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    set_open_files(Some(maximum.map_or(soft, |hard| hard.min(soft))), maximum);
}

fn set_open_files(current: Option<u64>, maximum: Option<u64>) {
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current, maximum }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// How many connections to accept out of `open_files`: three quarters. The rest is for what the
/// connections lead to (upstream sockets, pipes of children) and for files.
pub(crate) fn connections(open_files: u64) -> usize {
    let open_files = open_files.min(UNLIMITED);
    let connections = open_files - open_files / 4;
    usize::try_from(connections.max(1)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_open_files_stays_in_reserve() {
        assert_eq!(connections(1_024), 768);
        assert_eq!(connections(u64::MAX), 786_432);
    }

    #[test]
    fn there_is_always_room_for_one_connection() {
        assert_eq!(connections(0), 1);
    }

    #[test]
    fn raising_reaches_the_hard_limit_and_remembers_the_soft_one() {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(raise_open_files(), maximum.unwrap_or(UNLIMITED));
        assert_eq!(inherited_open_files(), current);
    }
}
