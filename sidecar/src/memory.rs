//! Whether there is memory for one more process.
//!
//! A process too many does not end by itself: the kernel picks one of all those in the container. So a session is
//! refused when one more of the size of its largest sibling would not fit into what the container may use.

use std::fs;
use std::path::{Path, PathBuf};

/// What a container may use and uses, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The limit.
    pub limit: u64,
    /// What is in use and cannot be given back at once.
    pub used: u64,
}

impl Memory {
    /// Whether `size` more bytes fit.
    pub fn holds(self, size: u64) -> bool {
        self.used.saturating_add(size) <= self.limit
    }

    /// The container's, as its control group (version 2 or 1) says; `None` when it has no limit.
    pub fn of_container() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mount = Path::new("/sys/fs/cgroup");
        directories(&groups, mount).iter().find_map(|directory| Self::of_group(directory))
    }

    fn of_group(directory: &Path) -> Option<Self> {
        let number = |name: &str| fs::read_to_string(directory.join(name)).ok()?.trim().parse::<u64>().ok();
        let limit = number("memory.max").or_else(|| number("memory.limit_in_bytes"))?;
        let used = number("memory.current").or_else(|| number("memory.usage_in_bytes"))?;
        let stat = fs::read_to_string(directory.join("memory.stat")).ok()?;
        // Version 1 writes a limit that no machine has when there is none.
        (limit < 1 << 60).then(|| Self { limit, used: used.saturating_sub(reclaimable(&stat)) })
    }
}

/// How many processes of this program's container the kernel has ended because it had used more memory than it may;
/// `None` where the kernel does not count.
pub fn kills() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    directories(&groups, Path::new("/sys/fs/cgroup")).iter().find_map(|directory| kills_of_group(directory))
}

fn kills_of_group(directory: &Path) -> Option<u64> {
    ["memory.events", "memory.oom_control"].into_iter().find_map(|name| {
        let text = fs::read_to_string(directory.join(name)).ok()?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    })
}

/// Where the limits may stand, the most particular first: inside a container the group's own path is often not
/// mounted, but its directory is, as the root.
fn directories(groups: &str, mount: &Path) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let root = match controllers {
            "" => mount.to_owned(),
            _ if controllers.split(',').any(|name| name == "memory") => mount.join("memory"),
            _ => continue,
        };
        directories.extend([root.join(path.trim_start_matches('/')), root]);
    }
    directories
}

/// File pages that the kernel drops before it ends anybody.
fn reclaimable(stat: &str) -> u64 {
    let field = |name: &str| {
        let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|number| number.trim().parse().ok())
    };
    field("total_inactive_file").or_else(|| field("inactive_file")).unwrap_or_default()
}

/// What a process has in memory, in bytes.
pub fn resident(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(rustix::param::page_size()).unwrap_or(4096))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_control_groups_are_found() {
        let found = directories("9:name=systemd:/\n4:cpu,memory:/a/b\n0::/c\n", Path::new("/g"));
        let expected = ["/g/memory/a/b", "/g/memory", "/g/c", "/g"].map(PathBuf::from);
        assert_eq!(found, expected);
    }

    #[test]
    fn the_limit_is_read_without_what_can_be_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("memory.max", "1000\n");
        write("memory.current", "700\n");
        write("memory.stat", "anon 400\ninactive_file 100\n");
        let memory = Memory::of_group(directory.path()).unwrap();
        assert_eq!(memory, Memory { limit: 1000, used: 600 });
        assert!(memory.holds(400) && !memory.holds(401));
        write("memory.max", "max\n");
        assert_eq!(Memory::of_group(directory.path()), None);
    }

    #[test]
    fn what_the_kernel_ended_for_lack_of_memory_is_counted_by_both_versions() {
        for (name, text) in [
            ("memory.events", "low 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0\n"),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
        ] {
            let directory = tempfile::tempdir().unwrap();
            assert_eq!(kills_of_group(directory.path()), None);
            fs::write(directory.path().join(name), text).unwrap();
            assert_eq!(kills_of_group(directory.path()), Some(2), "{name}");
        }
    }

    #[test]
    fn this_process_has_some() {
        assert!(resident(std::process::id()).unwrap() > 100_000);
    }
}
