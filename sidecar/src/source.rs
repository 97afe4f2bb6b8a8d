//! Where the server's processes come from.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use mcp::json::Rope;
use mcp::session::mux::Loss;
use tokio::sync::OnceCell;
use wire::child::launcher::Launcher;
use wire::child::{Child, Program, spawn};
use wire::link::{Connect, Event, Link};
use wire::status::Phase;

use crate::package::Packages;
use crate::state::{Counted, State};

/// Starts processes of one program, some of them ahead of need.
#[derive(Debug)]
pub struct Processes {
    /// As the user gave it; what is really run is found out once.
    program: Program,
    packages: Packages,
    spawner: Spawner,
    resolved: OnceCell<Program>,
    /// When that failed last, and why.
    failed: Mutex<Option<(Instant, Loss)>>,
    spares: Mutex<Vec<Process>>,
    warm_spares: usize,
    /// Whether the server has shown that it works: spares of one that does not are of no use.
    works: AtomicBool,
    /// Held by whoever starts spares.
    filling: tokio::sync::Mutex<()>,
    state: State,
}

/// Who starts processes.
#[derive(Clone, Debug)]
pub enum Spawner {
    /// This program.
    Here,
    /// A launcher elsewhere.
    Launcher(Launcher),
}

/// A process whose end is noted in the state.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Where its end is noted: not where it was started to be looked at only.
    state: Option<State>,
    _counted: Counted,
}

impl Processes {
    /// Processes of what `packages` finds out that `program` runs, `warm_spares` of them ahead of need once [`Self::warm`] is called.
    pub fn new(program: Program, packages: Packages, spawner: Spawner, warm_spares: usize, state: State) -> Self {
        state.transport("stdio");
        let (resolved, spares, works) = (OnceCell::new(), Mutex::default(), AtomicBool::new(false));
        let filling = tokio::sync::Mutex::default();
        let failed = Mutex::default();
        Self { program, packages, spawner, resolved, failed, spares, warm_spares, works, filling, state }
    }

    /// The server works: spares are kept from now on.
    pub async fn warm(&self) {
        self.works.store(true, Ordering::Relaxed);
        self.refill().await;
    }

    /// Starts the spares that are missing. They are not initialized: what a server offers may depend on who asks.
    async fn refill(&self) {
        let Some(program) = self.resolved.get().filter(|_| self.works.load(Ordering::Relaxed)) else { return };
        let _alone = self.filling.lock().await;
        while self.lock().len() < self.warm_spares {
            match self.start(program).await {
                Ok(process) => self.lock().push(process),
                Err(loss) => return tracing::warn!(error = loss.message, "no spare process could be started"),
            }
        }
    }

    /// Ends the spares in order.
    pub async fn stop(&self) {
        let spares = std::mem::take(&mut *self.lock());
        futures::future::join_all(spares.into_iter().map(Link::stop)).await;
    }

    /// A spare that still runs.
    fn spare(&self) -> Option<Process> {
        loop {
            let mut process = self.lock().pop()?;
            if !process.child.has_ended() {
                return Some(process);
            }
            tracing::info!("a spare process has ended");
        }
    }

    async fn start(&self, program: &Program) -> Result<Process, Loss> {
        let (name, path) = (&program.name, program.program.display());
        let child = match &self.spawner {
            Spawner::Here => {
                spawn(program).map_err(|error| format!("{path}: {error}; see that the program is there and may be run"))
            }
            Spawner::Launcher(launcher) => launcher.spawn(program).await.map_err(|error| error.to_string()),
        };
        let child = child.map_err(|error| not_started(format!("server `{name}` cannot be started: {error}")))?;
        let counted = self.state.count(child.pid());
        Ok(Process { child, state: Some(self.state.clone()), _counted: counted })
    }

    async fn resolve(&self) -> Result<&Program, Loss> {
        let asked = Instant::now();
        let resolve = async || {
            // Whoever waited for an attempt that failed has its answer, and does not make the next one wait for another.
            if let Some((_, loss)) = self.failed().clone().filter(|(when, _)| *when >= asked) {
                return Err(loss);
            }
            let resolved = self.packages.resolve(&self.program, &self.spawner, &self.state).await;
            let resolved = resolved.inspect_err(|loss| *self.failed() = Some((Instant::now(), loss.clone())))?;
            self.state.phase(Phase::Starting, "starting");
            Ok(resolved)
        };
        self.resolved.get_or_try_init(resolve).await
    }

    fn failed(&self) -> std::sync::MutexGuard<'_, Option<(Instant, Loss)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Process>> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connect for Processes {
    type Link = Process;

    const CARRIES_BOTH_ERAS: bool = true;

    async fn connect(&self) -> Result<Process, Loss> {
        let program = self.resolve().await?;
        let process = match self.spare() {
            Some(spare) => spare,
            None => self.start(program).await?,
        };
        self.refill().await;
        Ok(process)
    }

    async fn disposable(&self) -> Result<Option<Process>, Loss> {
        let process = self.connect().await?;
        Ok(Some(Process { state: None, ..process }))
    }
}

impl Link for Process {
    fn send(&mut self, message: Rope) {
        self.child.send(message);
    }

    async fn next(&mut self) -> Event {
        let event = self.child.next().await;
        if let (Event::Lost(loss), Some(state)) = (&event, &self.state) {
            tracing::warn!(error = loss.message, "a process of the server has ended");
            state.ended(self.child.exit().unwrap_or_default(), self.child.tail());
        }
        event
    }

    async fn stop(self) {
        self.child.stop().await;
    }
}

/// There is no process.
pub fn not_started(message: String) -> Loss {
    Loss { message, data: Some(r#"{"failure":"process"}"#.to_owned()) }
}

/// Where a program is, as a shell would find it; but for empty entries of the path, which mean the current directory.
pub fn find_program(program: &std::path::Path, path: &str) -> Option<PathBuf> {
    let is_file = |candidate: &PathBuf| {
        use std::os::unix::fs::PermissionsExt as _;
        candidate.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if program.components().count() > 1 {
        return Some(program.to_owned()).filter(is_file);
    }
    let directories = path.split(':').filter(|directory| !directory.is_empty());
    directories.map(|directory| PathBuf::from(directory).join(program)).find(is_file)
}
