//! The limit of open files, which is also the limit of connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than any process of ours can serve; stands for "no limit".
const UNLIMITED: u64 = 1 << 20;

/// How many files this process may have open.
pub fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(UNLIMITED)
}

/// Raises the soft limit of open files to the hard one and returns what holds then. Shells hand out
/// a soft limit of 1,024 for the sake of `select(2)`, which nothing here uses. Children inherit it.
pub fn raise_open_files() -> u64 {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit { current: maximum, maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    open_files()
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
    fn raising_reaches_the_hard_limit() {
        let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(UNLIMITED);
        assert_eq!(raise_open_files(), hard);
    }
}
