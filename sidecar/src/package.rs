//! What exactly a command runs.
//!
//! `uvx` and `npx` fetch a package, set up an environment for it, and then stand beside the server for its whole life
//! (55 to 75 MB and 0.4 to 1.5 s each time). Here that is done once: the package is installed into an environment of
//! its own, named after what was asked for, and every process starts from it directly. A command line that is not
//! understood is run as it stands.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mcp::session::mux::Loss;
use sha2::{Digest as _, Sha256};
use wire::child::Program;
use wire::status::Phase;

use crate::source::find_program;
use crate::state::State;

mod install;
mod npx;
mod uvx;

/// The file that says that an installation is complete; it lists what was installed.
const COMPLETE: &str = ".complete";

/// Finds out what commands run.
#[derive(Debug)]
pub struct Packages {
    /// Where installations are kept; `None` when nothing can be kept, so that commands run as they stand.
    pub directory: Option<PathBuf>,
    /// Where programs are looked for.
    pub path: String,
    /// How long an installation may take.
    pub timeout: Duration,
}

/// A package runner's command line, understood.
trait Runner: Send + Sync {
    /// Names the installation: everything that decides what is installed.
    fn key(&self) -> String;
    /// The package, for people.
    fn package(&self) -> &str;
    /// The commands that install it into `directory`, in order.
    fn install(&self, directory: &Path) -> Vec<install::Step>;
    /// What an installation runs: the program and its arguments.
    fn entry(&self, directory: &Path) -> Result<(PathBuf, Vec<PathBuf>), String>;
    /// The exact packages of an installation.
    fn installed(&self, directory: &Path) -> Vec<String>;
    /// The arguments behind the package.
    fn args(&self) -> &[String];
}

impl Packages {
    /// What really is to be run for `program`; installs it if need be, and says so in `state`.
    pub async fn resolve(&self, program: &Program, state: &State) -> Result<Program, Loss> {
        let fail = |message: String| Loss { message: format!("server `{}`: {message}", program.name), data: None };
        let found = find_program(&program.program, &self.path).ok_or_else(|| fail(self.missing(&program.program)))?;
        let direct = Program { program: found, ..program.clone() };
        let Some(directory) = &self.directory else { return Ok(direct) };
        let Some(runner) = runner(program) else { return Ok(direct) };
        let directory = directory.join(name(&*runner, program));
        self.install(&*runner, &directory, &direct, state).await.map_err(fail)?;
        let (entry, mut first) = runner.entry(&directory).map_err(fail)?;
        state.packages(runner.installed(&directory));
        let entry = find_program(&entry, &self.path).ok_or_else(|| fail(self.missing(&entry)))?;
        let args = first.drain(..).map(PathBuf::into_os_string).chain(runner.args().iter().map(Into::into)).collect();
        Ok(Program { program: entry, args, ..program.clone() })
    }

    async fn install(
        &self,
        runner: &dyn Runner,
        directory: &Path,
        program: &Program,
        state: &State,
    ) -> Result<(), String> {
        if directory.join(COMPLETE).exists() {
            return Ok(());
        }
        state.phase(Phase::Installing, format!("installing {}", runner.package()));
        tracing::info!(package = runner.package(), "installing");
        let _lock = install::lock(directory).await.map_err(|error| not_kept(directory, &error))?;
        if directory.join(COMPLETE).exists() {
            return Ok(());
        }
        // What an interrupted installation left is of no use.
        clear(directory).map_err(|error| not_kept(directory, &error))?;
        let steps = runner.install(directory);
        let installed = install::run(steps, runner.package(), &program.env, self.timeout, state).await;
        if let Err(error) = installed {
            // Best effort: the next attempt clears it as well.
            drop(fs::remove_dir_all(directory));
            return Err(error);
        }
        fs::write(directory.join(COMPLETE), runner.key()).map_err(|error| not_kept(directory, &error))?;
        tracing::info!(package = runner.package(), "installed");
        Ok(())
    }

    fn missing(&self, program: &Path) -> String {
        let hint = match program.to_str() {
            Some("uvx" | "uv") => "; install uv (https://docs.astral.sh/uv)",
            Some("npx" | "npm" | "node") => "; install Node.js",
            _ => "",
        };
        format!("program `{}` was not found; looked in {}{hint}", program.display(), self.path)
    }
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
fn name(runner: &dyn Runner, program: &Program) -> String {
    let mut hash = Sha256::new();
    hash.update(runner.key());
    // An index or a registry decides what a name means.
    for (key, value) in program.env.iter().filter(|(key, _)| is_package_setting(key)) {
        hash.update(format!("\0{key}={value}"));
    }
    let digest = hash.finalize().iter().take(8).fold(0u64, |digest, byte| digest << 8 | u64::from(*byte));
    let readable: String = runner.package().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("{}-{digest:016x}", readable.trim_matches('-').chars().take(40).collect::<String>())
}

fn is_package_setting(key: &str) -> bool {
    ["UV_", "PIP_", "NPM_CONFIG_", "npm_config_"].iter().any(|prefix| key.starts_with(prefix))
}

fn clear(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(directory),
    }
}

fn not_kept(directory: &Path, error: &io::Error) -> String {
    format!("cannot keep packages in {}: {error}; choose another place with --cache-dir", directory.display())
}
