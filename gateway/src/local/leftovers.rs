//! What sidecars that are killed leave behind: it is handed to this process, which ends it and waits for it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fs, io};

use rustix::process::{Pid, WaitOptions, waitpid};
use tokio::process::{Child, Command};

/// The children that this process has started and waits for elsewhere. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Own(Arc<Mutex<BTreeSet<i32>>>);

/// Keeps a child from being waited for here.
#[derive(Debug)]
pub(super) struct Kept {
    own: Own,
    pid: Option<i32>,
}

impl Own {
    /// Starts a child.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<(Child, Kept)> {
        // Held meanwhile: a child that dies at once is not taken for a leftover.
        let mut own = self.lock();
        let child = command.spawn()?;
        let pid = child.id().and_then(|pid| pid.try_into().ok());
        own.extend(pid);
        Ok((child, Kept { own: self.clone(), pid }))
    }

    /// Ends what was left behind and waits for all of it. Blocks for up to some seconds.
    pub(super) fn sweep(&self) {
        wire::child::sweep_orphans();
        let own = self.lock();
        for pid in children().filter(|pid| !own.contains(pid)).filter_map(Pid::from_raw) {
            // One that lives is somebody's who looks after it: whoever entered this container, say.
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(pid) = &self.pid {
            self.own.lock().remove(pid);
        }
    }
}

/// The children of every thread of this process.
fn children() -> impl Iterator<Item = i32> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists: Vec<_> = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok()).collect();
    lists.into_iter().flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
}
