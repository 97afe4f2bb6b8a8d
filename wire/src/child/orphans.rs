//! Processes that a child left behind.
//!
//! What a child starts normally stays in its process group and ends with it. A descendant that has left the group, or
//! outlives its parent, is handed to this process when its parent ends, because this process is a subreaper. It is
//! recognised by the cookie that the child was given in its environment: it lives as long as the child is wanted, and
//! is waited for when it is dead.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt::Display;
use std::fs;
use std::io;
use std::io::Read as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};
use tokio::signal::unix::{SignalKind, signal};

/// The variable that marks what belongs to a child.
pub(super) const COOKIE: &str = "MCP_SIDECAR_CHILD";

/// How long is waited between two looks at processes that are to end, and how often they are looked at: what hangs in
/// the kernel is left.
const PAUSE: Duration = Duration::from_millis(2);
const LOOKS: usize = 1000;

/// The children that are wanted. One list for the program, as the system keeps one list of its children.
static WANTED: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

/// The mark of one child and of all that it starts, which are wanted until it is dropped.
#[derive(Debug)]
pub(super) struct Cookie(u64);

impl Cookie {
    pub(super) fn new() -> Self {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        wanted().insert(number);
        Self(number)
    }

    /// The value of [`COOKIE`].
    pub(super) fn value(&self) -> String {
        format!("{}.{}", getpid(), self.0)
    }
}

impl Drop for Cookie {
    fn drop(&mut self) {
        wanted().remove(&self.0);
        sweep();
    }
}

fn wanted() -> MutexGuard<'static, BTreeSet<u64>> {
    WANTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sweeps whenever a child has died: that is when orphans come, or die.
///
/// # Errors
/// When the system does not tell of deaths.
pub async fn tend_orphans() -> io::Result<Infallible> {
    let mut deaths = signal(SignalKind::child())?;
    loop {
        deaths.recv().await;
        sweep();
    }
}

/// Sweeps until nothing more comes of it. For a program that does not [`tend_orphans`].
pub fn sweep_orphans() {
    for _ in 0..LOOKS {
        if !sweep() {
            return;
        }
        std::thread::park_timeout(PAUSE);
    }
}

/// Ends the processes that were handed to this one and are not wanted, and waits for those that are dead. Whether there
/// were some of the former: they, and what they leave in turn, are still to be waited for.
fn sweep() -> bool {
    let mut ended = false;
    for pid in children() {
        // Either may have ended, or been waited for, meanwhile.
        if is_dead_orphan(pid) == Some(true) {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        } else if cookie(pid).is_some_and(|cookie| !is_wanted(&cookie)) {
            let _ = kill_process(pid, Signal::KILL);
            ended = true;
        }
    }
    ended
}

/// Ends every child of this process, and all that they leave, and waits for them. For a process that is about to end.
pub fn end_all() {
    for _ in 0..LOOKS {
        let children = children();
        if children.is_empty() {
            return;
        }
        for pid in children {
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
        std::thread::park_timeout(PAUSE);
    }
}

/// The children of every thread of this process.
fn children() -> Vec<Pid> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let pids = lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>());
    pids.filter_map(Pid::from_raw).collect()
}

/// Whether a child is dead, and not one that this process started: those lead their group, or are in this process's.
fn is_dead_orphan(pid: Pid) -> Option<bool> {
    let (own, child) = (Standing::of("self")?, Standing::of(pid)?);
    let started_here = child.session == own.session && (child.group == pid.as_raw_pid() || child.group == own.group);
    Some(child.dead && !started_here)
}

/// Where a process stands among others. The ids are plain numbers: one that lies outside this process's PID namespace,
/// as its own session does in a container, reads as 0.
struct Standing {
    dead: bool,
    group: i32,
    session: i32,
}

impl Standing {
    /// Of a process id, or `self`; `None` when it is gone.
    fn of(process: impl Display) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
    }

    /// Reads the contents of `/proc/PID/stat`, proc(5).
    fn parse(stat: &str) -> Option<Self> {
        // The name, in parentheses, may hold anything.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let dead = fields.next()? == "Z";
        let mut ids = fields.skip(1).map_while(|field| field.parse().ok());
        Some(Self { dead, group: ids.next()?, session: ids.next()? })
    }
}

/// The cookie of a process, if it has one and can be looked into.
fn cookie(pid: Pid) -> Option<String> {
    let mut environment = Vec::new();
    // More than any real environment; an unreadable one is somebody else's.
    fs::File::open(format!("/proc/{pid}/environ")).ok()?.take(1 << 20).read_to_end(&mut environment).ok()?;
    let mut variables = environment.split(|byte| *byte == 0).filter_map(|entry| std::str::from_utf8(entry).ok());
    variables.find_map(|entry| entry.strip_prefix(COOKIE)?.strip_prefix('=').map(ToOwned::to_owned))
}

/// Whether a cookie belongs to a child that is wanted, or is the one that this process bears itself and hands down to
/// what else it starts. Those of another process do not: it has ended, or would have its orphans itself.
fn is_wanted(cookie: &str) -> bool {
    if std::env::var_os(COOKIE).is_some_and(|own| own == cookie) {
        return true;
    }
    let number = cookie.strip_prefix(&format!("{}.", getpid())).and_then(|number| number.parse().ok());
    number.is_some_and(|number| wanted().contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_outside_the_namespace_is_read_as_the_number_that_the_kernel_gives() {
        let standing = Standing::parse("7 (a) name (S) Z) Z 1 7 0 0 -1 4194560").expect("a whole line");
        assert!(standing.dead);
        assert_eq!((standing.group, standing.session), (7, 0));
    }

    #[test]
    fn a_line_cut_short_says_nothing() {
        assert!(Standing::parse("7 (sh) Z 1 7").is_none());
        assert!(Standing::parse("").is_none());
    }
}
