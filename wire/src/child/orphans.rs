//! Processes that a child left behind.
//!
//! What a child starts normally stays in its process group and ends with it. A descendant that has left the group is
//! handed to this process when its parent ends, because this process is a subreaper; it is recognised by the cookie
//! that the child was given in its environment, and ended.

use std::fs;
use std::io::Read as _;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// The variable that marks what belongs to a child.
pub const COOKIE: &str = "MCP_SIDECAR_CHILD";

/// Ends the processes that were handed to this one and carry `cookie`; with `None`, all that carry any.
pub fn sweep_orphans(cookie: Option<&str>) {
    for pid in children() {
        if carries(pid, cookie) {
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
    }
}

/// The children of every thread of this process.
fn children() -> Vec<Pid> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let pids = lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>());
    pids.filter_map(Pid::from_raw).collect()
}

fn carries(pid: Pid, cookie: Option<&str>) -> bool {
    let mut environment = Vec::new();
    let path = format!("/proc/{}/environ", pid.as_raw_nonzero());
    // More than any real environment; an unreadable one is somebody else's.
    let read = fs::File::open(path).and_then(|file| file.take(1 << 20).read_to_end(&mut environment));
    let mark = format!("{COOKIE}={}", cookie.unwrap_or_default());
    let is_mark =
        |entry: &[u8]| if cookie.is_some() { entry == mark.as_bytes() } else { entry.starts_with(mark.as_bytes()) };
    read.is_ok() && environment.split(|byte| *byte == 0).any(is_mark)
}
