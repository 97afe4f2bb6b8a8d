//! Who is there: processes of a program with their files, threads and memory, read from `/proc`.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};

use super::launch::MARK;

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// Command line; the bare name when it has none, as zombies.
    pub command: String,
    /// State as `/proc` has it: `S` asleep, `R` running, `Z` dead and not waited for.
    pub state: char,
    /// Open file descriptors.
    pub fds: usize,
    /// Threads.
    pub threads: usize,
    /// Resident memory in KiB.
    pub rss: u64,
    /// Clock ticks from boot to start; with the pid, it is this process and no other.
    started: u64,
}

/// The processes of one program: itself, its descendants, and those that bear its mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    root: i32,
    /// The program first, if it runs, then the others by pid.
    pub processes: Vec<Process>,
}

impl Census {
    /// Counts what is below `root` or marked by `mark`.
    pub(super) fn take(root: i32, mark: &str) -> Self {
        let all: HashMap<i32, Process> = pids().filter_map(|pid| Some((pid, read(pid)?))).collect();
        let mark = format!("{MARK}={mark}");
        let mut found: HashSet<i32> = all.keys().copied().filter(|pid| *pid == root || marked(*pid, &mark)).collect();
        loop {
            let more: Vec<i32> = all
                .values()
                .filter(|process| found.contains(&process.parent) && !found.contains(&process.pid))
                .map(|process| process.pid)
                .collect();
            if more.is_empty() {
                break;
            }
            found.extend(more);
        }
        let mut processes: Vec<Process> = found.iter().filter_map(|pid| all.get(pid).cloned()).collect();
        processes.sort_by_key(|process| (process.pid != root, process.pid));
        Self { root, processes }
    }

    /// The program itself, if it runs.
    pub fn program(&self) -> Option<&Process> {
        self.processes.first().filter(|process| process.pid == self.root)
    }

    /// All but the program itself.
    pub fn below(&self) -> Vec<&Process> {
        self.processes.iter().filter(|process| process.pid != self.root).collect()
    }

    /// Open file descriptors of all.
    pub fn fds(&self) -> usize {
        self.processes.iter().map(|process| process.fds).sum()
    }

    /// Threads of all.
    pub fn threads(&self) -> usize {
        self.processes.iter().map(|process| process.threads).sum()
    }

    /// Those of this census that are still there, zombies included.
    pub fn alive(&self) -> Vec<Process> {
        let same = |process: &&Process| read(process.pid).is_some_and(|now| now.started == process.started);
        self.processes.iter().filter(same).cloned().collect()
    }

    /// Kills those of this census that are still there.
    pub(super) fn kill(&self) {
        for pid in self.alive().iter().filter_map(|process| Pid::from_raw(process.pid)) {
            // It may have ended in this moment.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Process { pid, parent, command, state, fds, threads, rss, .. } in &self.processes {
            writeln!(f, "{pid} (of {parent}) {state} {fds} fds {threads} threads {rss} KiB: {command}")?;
        }
        Ok(())
    }
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn file(pid: i32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

/// A process that ends while it is read is none.
fn read(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(file(pid, "stat")).ok()?;
    let status = fs::read_to_string(file(pid, "status")).ok()?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let command = fs::read(file(pid, "cmdline")).ok()?;
    let fds = fs::read_dir(file(pid, "fd")).map_or(0, Iterator::count);
    let mut process = parse_stat(&stat)?;
    process.rss = rss.and_then(|rss| rss.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    process.fds = fds;
    if !command.is_empty() {
        process.command = String::from_utf8_lossy(&command).replace('\0', " ").trim_end().into();
    }
    Some(process)
}

/// The name stands in parentheses and may itself hold any character.
fn parse_stat(stat: &str) -> Option<Process> {
    let (head, tail) = stat.rsplit_once(')')?;
    let (pid, name) = head.split_once('(')?;
    let fields: Vec<&str> = tail.split_whitespace().collect();
    Some(Process {
        pid: pid.trim().parse().ok()?,
        parent: fields.get(1)?.parse().ok()?,
        command: format!("[{name}]"),
        state: fields.first()?.chars().next()?,
        fds: 0,
        threads: fields.get(17)?.parse().ok()?,
        rss: 0,
        started: fields.get(19)?.parse().ok()?,
    })
}

fn marked(pid: i32, mark: &str) -> bool {
    let environ = fs::read(file(pid, "environ")).unwrap_or_default();
    environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_parentheses_and_spaces() {
        let stat = "42 (a) (b) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 999 1 2 3";
        let process = parse_stat(stat).unwrap();
        assert_eq!((process.pid, process.parent, process.state), (42, 7, 'S'));
        assert_eq!((process.threads, process.started), (3, 999));
        assert_eq!(process.command, "[a) (b]");
    }

    #[test]
    fn a_test_finds_itself() {
        let me = i32::try_from(std::process::id()).unwrap();
        let census = Census::take(me, "nothing bears this mark");
        let program = census.program().unwrap();
        assert!(program.fds > 0 && program.threads > 0 && program.rss > 0);
        assert!(census.alive().iter().any(|process| process.pid == me));
    }
}
