//! What the kernel tells about a process.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// `USER_HZ`, the unit of times in `/proc/PID/stat`: 100 on every architecture Rust's Linux targets have.
const TICKS_PER_SECOND: u64 = 100;

/// A process's place in the tree; start time (in ticks since boot) tells it from a later one with the same id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) pid: u32,
    pub(crate) name: String,
    parent: u32,
    started: u64,
}

/// User and system time of all threads so far, those that ended included.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = read(pid, "stat")?;
    let fields = after_name(&stat)?;
    let ticks = field(&fields, 14)? + field(&fields, 15)?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// Resident memory now (`VmRSS`), in bytes.
pub(crate) fn resident(pid: u32) -> anyhow::Result<u64> {
    memory(pid, "VmRSS:")
}

/// The most resident memory (`VmHWM`) since the start or the last [`forget_peak`], in bytes.
pub(crate) fn peak(pid: u32) -> anyhow::Result<u64> {
    memory(pid, "VmHWM:")
}

/// Lets the peak start again at the present value.
pub(crate) fn forget_peak(pid: u32) -> anyhow::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
        .with_context(|| format!("cannot reset the memory peak of process {pid}"))
}

/// How many files the process holds open.
pub(crate) fn open_files(pid: u32) -> anyhow::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))
        .with_context(|| format!("cannot list the files of process {pid}"))?
        .count())
}

/// All processes below `root`.
pub(crate) fn descendants(root: u32) -> Vec<Entry> {
    let mut rest: Vec<Entry> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|dir| entry(dir.file_name().to_str()?.parse().ok()?))
        .collect();
    let mut found: Vec<Entry> = Vec::new();
    loop {
        let (below, others): (Vec<_>, Vec<_>) = rest
            .into_iter()
            .partition(|entry| entry.parent == root || found.iter().any(|known| known.pid == entry.parent));
        if below.is_empty() {
            return found;
        }
        found.extend(below);
        rest = others;
    }
}

/// Whether that very process still runs (a zombie does not).
pub(crate) fn is_alive(known: &Entry) -> bool {
    entry(known.pid).is_some_and(|now| now.started == known.started)
}

/// The process as the kernel shows it now; `None` when it is gone or a zombie.
fn entry(pid: u32) -> Option<Entry> {
    let stat = read(pid, "stat").ok()?;
    let name = stat.get(stat.find('(')? + 1..stat.rfind(')')?)?.to_owned();
    let fields = after_name(&stat).ok()?;
    if fields.first() == Some(&"Z") {
        return None;
    }
    Some(Entry { pid, name, parent: u32::try_from(field(&fields, 4).ok()?).ok()?, started: field(&fields, 22).ok()? })
}

fn read(pid: u32, file: &str) -> anyhow::Result<String> {
    fs::read_to_string(format!("/proc/{pid}/{file}")).with_context(|| format!("process {pid} is gone"))
}

/// The fields from the third on: the second, the name, may hold anything.
fn after_name(stat: &str) -> anyhow::Result<Vec<&str>> {
    let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat has no name")?;
    Ok(fields.split_whitespace().collect())
}

/// A field by its number in proc_pid_stat(5).
fn field(fields: &[&str], number: usize) -> anyhow::Result<u64> {
    fields
        .get(number - 3)
        .and_then(|text| text.parse().ok())
        .with_context(|| format!("/proc/PID/stat has no field {number}"))
}

fn memory(pid: u32, name: &str) -> anyhow::Result<u64> {
    let status = read(pid, "status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .with_context(|| format!("process {pid} shows no {name}"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_known_with_its_memory_and_files() {
        let pid = std::process::id();
        assert!(resident(pid).unwrap() > 100 * 1024);
        assert!(peak(pid).unwrap() >= resident(pid).unwrap() / 2);
        assert!(open_files(pid).unwrap() >= 3);
        assert!(cpu(pid).is_ok());
        assert!(is_alive(&entry(pid).unwrap()));
    }

    #[test]
    fn a_name_with_spaces_and_brackets_moves_no_field() {
        let fields = after_name("7 (a) b (c) S 3 7 7 0").unwrap();
        assert_eq!(field(&fields, 4).unwrap(), 3);
    }
}
