//! Which cores the generator and the targets run on.
//!
//! Left alone, the scheduler puts two processes that talk to each other now on one core and now on two, which changes the
//! time of a round trip fivefold. With a core of its own for the generator every target is met in the same way.

use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores of both while they are split.
static SPLIT: Mutex<Option<Cores>> = Mutex::new(None);

#[derive(Clone, Copy)]
struct Cores {
    all: CpuSet,
    generator: CpuSet,
    targets: CpuSet,
}

/// As long as it lives, the thread that made it keeps to one core and what it starts to the others.
#[derive(Debug)]
pub(crate) struct Split(());

impl Split {
    /// Does nothing where there is only one core.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let all = sched_getaffinity(None).context("cannot tell which cores there are")?;
        if let Some(own) = (0..CpuSet::MAX_CPU).find(|core| all.is_set(*core)).filter(|_| all.count() > 1) {
            let (mut generator, mut targets) = (CpuSet::new(), all);
            generator.set(own);
            targets.unset(own);
            sched_setaffinity(None, &generator).context("cannot keep to one core")?;
            *current() = Some(Cores { all, generator, targets });
        }
        Ok(Self(()))
    }
}

impl Drop for Split {
    fn drop(&mut self) {
        if let Some(cores) = current().take() {
            // What was allowed at the start is allowed now.
            _ = sched_setaffinity(None, &cores.all);
        }
    }
}

/// Runs `start` so that processes it starts are on the targets' cores, which they inherit.
pub(crate) fn of_targets<T>(start: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let cores = *current();
    let Some(Cores { generator, targets, .. }) = cores else { return start() };
    sched_setaffinity(None, &targets).context("cannot give a target its cores")?;
    let started = start();
    sched_setaffinity(None, &generator).context("cannot return to the generator's core")?;
    started
}

fn current() -> std::sync::MutexGuard<'static, Option<Cores>> {
    SPLIT.lock().unwrap_or_else(PoisonError::into_inner)
}
