//! What exactly a command runs.
//!
//! `uvx` and `npx` fetch a package, set up an environment for it, and then stand beside the server for its whole life
//! (55 to 75 MB and 0.4 to 1.5 s each time). Here that is done once: the package is installed into an environment of
//! its own, named after what was asked for, and every process starts from it directly. A command line that is not
//! understood is run as it stands.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mcp::session::mux::Loss;
use sha2::{Digest as _, Sha256};
use wire::child::Program;
use wire::child::launcher::Role;
use wire::status::{PackageLock, Phase};

use self::install::Installation;
use self::plan::{Plan, Step, hint, is_complete};
use crate::source::{Spawner, find_program, not_started};
use crate::state::State;

mod install;
mod npx;
mod plan;
mod uvx;

pub use plan::install as perform;

/// Finds out what commands run.
#[derive(Debug)]
pub struct Packages {
    /// Where installations are kept; `None` when nothing can be kept, so that commands run as they stand.
    pub directory: Option<PathBuf>,
    /// Where programs are looked for.
    pub path: String,
    /// How long an installation may take.
    pub timeout: Duration,
    /// The file with the versions that are to be installed, once they have been decided. With it, the status tells
    /// which those are.
    pub lock: Option<PathBuf>,
    /// Part of the name of an installation: with another one, what is kept serves no more.
    pub update: Option<String>,
}

/// A package runner's command line, understood.
trait Runner: Send + Sync {
    /// Names the installation: everything that decides what is installed.
    fn key(&self) -> String;
    /// The package, for people.
    fn package(&self) -> &str;
    /// How it is installed into `directory`: the newest that fits, or exactly what `lock` says, as [`Self::lock`] gave
    /// it.
    fn recipe(&self, directory: &str, lock: Option<&str>, place: Place) -> Result<Recipe, String>;
    /// What an installation runs: the program and its arguments.
    fn entry(&self, directory: &Path) -> Result<(PathBuf, Vec<PathBuf>), String>;
    /// The exact packages of an installation.
    fn installed(&self, directory: &Path) -> Vec<String>;
    /// Everything that it takes to install the same again.
    fn lock(&self, directory: &Path) -> Option<String>;
    /// The arguments behind the package.
    fn args(&self) -> &[String];
}

/// Files to be there first, and the commands to be run then, in order.
#[derive(Debug, Default)]
struct Recipe {
    files: BTreeMap<String, String>,
    steps: Vec<Step>,
}

/// Who will run what is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Whoever installed it, who may write there.
    Own,
    /// Somebody who can only read there.
    Shared,
}

impl Packages {
    /// What really is to be run for `program`; has it installed if need be, and says so in `state`.
    pub async fn resolve(&self, program: &Program, spawner: &Spawner, state: &State) -> Result<Program, Loss> {
        let resolved = self.find(program, spawner, state).await;
        let fail = |message: String| not_started(format!("server `{}`: {message}", program.name));
        let resolved = resolved.map_err(fail)?;
        if let Spawner::Launcher(launcher) = spawner {
            launcher.installed();
        }
        Ok(resolved)
    }

    async fn find(&self, program: &Program, spawner: &Spawner, state: &State) -> Result<Program, String> {
        let path = self.path(program);
        let direct = Program { program: locate(&program.program, &path, spawner)?, ..program.clone() };
        let Some(root) = &self.directory else { return Ok(direct) };
        let Some(runner) = runner(program) else { return Ok(direct) };
        let lock = self.locked(&*runner);
        let directory = choose(root, &*runner, &self.request(program, &*runner), lock.as_deref());
        if !is_complete(&directory) {
            if let Spawner::Launcher(launcher) = spawner
                && launcher.role().await.map_err(|error| error.to_string())? == Role::Server
            {
                tracing::info!(
                    "nothing is installed ahead, and nobody is there to do it: the command runs as it stands"
                );
                return Ok(direct);
            }
            let plan = plan(root, &*runner, &directory, lock.as_deref(), spawner)?;
            let mut installer = direct.clone();
            if matches!(spawner, Spawner::Here) {
                let there = |step: &Step| find_program(Path::new(&step.program), &path).is_some();
                if !plan.steps.iter().all(there) {
                    tracing::info!("what would install the package is not there: the command runs as it stands");
                    return Ok(direct);
                }
                installer.env.retain(|(key, _)| key != "PATH");
                installer.env.push(("PATH".to_owned(), path.clone()));
            }
            let (package, limit) = (masked(runner.package()), self.timeout);
            state.phase(Phase::Installing, format!("installing {package}"));
            tracing::info!(package, "installing");
            Installation { package: &package, program: &installer, limit, state }.run(&plan, spawner).await?;
            tracing::info!(package, "installed");
        }
        let (entry, mut first) = runner.entry(&directory).map_err(|error| unseen(&directory).unwrap_or(error))?;
        state.packages(runner.installed(&directory));
        if self.lock.is_some() {
            let key = digest(&*runner, self.update.as_deref());
            state.lock(runner.lock(&directory).map(|content| PackageLock { key, content }));
        }
        let entry = locate(&entry, &path, spawner)?;
        let args = first.drain(..).map(PathBuf::into_os_string).chain(runner.args().iter().map(Into::into)).collect();
        Ok(Program { program: entry, args, ..program.clone() })
    }

    /// Everything that decides what is installed where there is no lock.
    fn request(&self, program: &Program, runner: &dyn Runner) -> String {
        // An index or a registry decides what a name means.
        let settings = program.env.iter().filter(|(key, _)| is_package_setting(key));
        let settings = settings.map(|(key, value)| format!("\0{key}={value}"));
        let update = self.update.iter().map(|update| format!("\0update={update}"));
        std::iter::once(runner.key()).chain(settings).chain(update).collect()
    }

    /// Where the programs of a command are looked for: beside it, where its place is given; then in its own `PATH`, else
    /// in this program's.
    fn path(&self, program: &Program) -> String {
        let own = program.env.iter().find(|(key, _)| key == "PATH").map_or(&self.path, |(_, path)| path);
        let beside = program.program.parent().and_then(Path::to_str).filter(|directory| !directory.is_empty());
        beside.map_or_else(|| own.clone(), |directory| format!("{directory}:{own}"))
    }

    /// The versions that were decided for this command line; a lock for another counts for nothing.
    fn locked(&self, runner: &dyn Runner) -> Option<String> {
        let text = fs::read(self.lock.as_ref()?).ok()?;
        match serde_json::from_slice::<PackageLock>(&text) {
            Ok(lock) if lock.key == digest(runner, self.update.as_deref()) => Some(lock.content),
            Ok(_) => {
                tracing::info!("the package lock is for another command line");
                None
            }
            Err(error) => {
                tracing::warn!(%error, "the package lock is not understood");
                None
            }
        }
    }
}

/// Where a program is; what is started elsewhere is looked for there.
fn locate(program: &Path, path: &str, spawner: &Spawner) -> Result<PathBuf, String> {
    let missing = || {
        let hint = program.to_str().map_or("", hint);
        format!("program `{}` was not found; looked in {path}{hint}", program.display())
    };
    match spawner {
        Spawner::Here => find_program(program, path).ok_or_else(missing),
        Spawner::Launcher(_) => Ok(program.to_owned()),
    }
}

/// A text for people, without the credentials in its URLs.
fn masked(text: &str) -> String {
    let (mut masked, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("://") {
        let end = after.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(after.len());
        let place = after[..end].rfind('@').map_or(0, |at| at + 1);
        masked.extend([before, "://", if place > 0 { "…@" } else { "" }]);
        rest = &after[place..];
    }
    masked + rest
}

/// Where an installation is, or is to be. One that came about without a lock serves for the lock that it led to.
fn choose(root: &Path, runner: &dyn Runner, request: &str, lock: Option<&str>) -> PathBuf {
    let first = root.join(name(runner, request, None));
    match lock {
        Some(lock) if !(is_complete(&first) && runner.lock(&first).as_deref() == Some(lock)) => {
            root.join(name(runner, request, Some(lock)))
        }
        _ => first,
    }
}

fn plan(
    root: &Path,
    runner: &dyn Runner,
    directory: &Path,
    lock: Option<&str>,
    spawner: &Spawner,
) -> Result<Plan, String> {
    let text = |path: PathBuf| {
        path.into_os_string().into_string().map_err(|path| format!("the path {} is no text", path.display()))
    };
    let (place, caches) = match spawner {
        Spawner::Here => (Place::Own, &[][..]),
        // On one file system with the installations, files are linked instead of copied.
        Spawner::Launcher(_) => (
            Place::Shared,
            &[("UV_CACHE_DIR", "uv"), ("UV_PYTHON_INSTALL_DIR", "python"), ("npm_config_cache", "npm")][..],
        ),
    };
    let default = |(variable, folder): &(&str, &str)| Ok(((*variable).to_owned(), text(root.join(folder))?));
    let defaults = caches.iter().map(default).collect::<Result<_, String>>()?;
    let Recipe { files, steps } = runner.recipe(&text(directory.to_owned())?, lock, place)?;
    Ok(Plan { directory: directory.to_owned(), key: runner.key(), files, steps, defaults })
}

/// What is wrong when an installation that is complete is not seen.
fn unseen(directory: &Path) -> Option<String> {
    let text = || {
        format!(
            "what was installed in {} is not seen here: --cache-dir must be one folder in all containers",
            directory.display()
        )
    };
    (!is_complete(directory)).then(text)
}

fn runner(program: &Program) -> Option<Box<dyn Runner>> {
    let args: Option<Vec<String>> = program.args.iter().map(|arg| arg.to_str().map(ToOwned::to_owned)).collect();
    let args = args?;
    let runner: Option<Box<dyn Runner>> = match program.program.file_name()?.to_str()? {
        "uvx" => uvx::parse(&args).map(|uvx| Box::new(uvx) as _),
        "uv" if args.starts_with(&["tool".to_owned(), "run".to_owned()]) => {
            uvx::parse(&args[2..]).map(|uvx| Box::new(uvx) as _)
        }
        "npx" => npx::parse(&args).map(|npx| Box::new(npx) as _),
        _ => return None,
    };
    if runner.is_none() {
        tracing::info!("the package runner is used as it is: its options are not understood here");
    }
    runner
}

/// The installation's directory: readable, and different for everything that decides what is installed.
fn name(runner: &dyn Runner, request: &str, lock: Option<&str>) -> String {
    let mut hash = Sha256::new();
    hash.update(request);
    if let Some(lock) = lock {
        hash.update(format!("\0\0{lock}"));
    }
    let digest = hash.finalize().iter().take(8).fold(0u64, |digest, byte| digest << 8 | u64::from(*byte));
    let readable: String = runner.package().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("{}-{digest:016x}", readable.trim_matches('-').chars().take(40).collect::<String>())
}

/// What a lock must be for.
fn digest(runner: &dyn Runner, update: Option<&str>) -> String {
    let update = update.map(|update| format!("\0update={update}")).unwrap_or_default();
    let bytes = Sha256::digest(runner.key() + &update);
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Strings take everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn is_package_setting(key: &str) -> bool {
    ["UV_", "PIP_", "NPM_CONFIG_", "npm_config_"].iter().any(|prefix| key.starts_with(prefix))
}

#[cfg(test)]
mod tests;
