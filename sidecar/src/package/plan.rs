//! An installation as the program carries it out that may write there: `mcp-sidecar install`, which reads it from its
//! standard input. It decides nothing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::process::Command;

/// The file that says that an installation is complete.
const COMPLETE: &str = ".complete";
/// How often is looked whether another installation of the same has ended.
const PAUSE: Duration = Duration::from_millis(100);

/// What is to be done.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Where it is installed, and nothing else is kept.
    pub(super) directory: PathBuf,
    /// Names what is installed; kept with it.
    pub(super) key: String,
    /// Written before the first step.
    pub(super) files: BTreeMap<String, String>,
    /// Done in this order.
    pub(super) steps: Vec<Step>,
    /// Variables for those of the environment that are not set, in whatever case.
    pub(super) defaults: BTreeMap<String, String>,
}

/// One command of an installation.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) program: String,
    pub(super) args: Vec<String>,
}

/// Reads a plan from standard input, and carries it out. What the commands say is on standard error.
///
/// # Errors
/// Says in one line what failed.
pub async fn install() -> anyhow::Result<()> {
    let input = rustix::stdio::stdin().try_clone_to_owned().and_then(pipe::Receiver::from_owned_fd)?;
    let mut line = String::new();
    BufReader::new(input).read_line(&mut line).await?;
    let plan: Plan = serde_json::from_str(&line)?;
    plan.perform().await.map_err(anyhow::Error::msg)
}

/// Whether the installation there is complete.
pub(super) fn is_complete(directory: &Path) -> bool {
    directory.join(COMPLETE).exists()
}

impl Plan {
    /// Installs, unless another has done so meanwhile.
    pub(super) async fn perform(self) -> Result<(), String> {
        let directory = self.directory.clone();
        let not_kept = |error: io::Error| {
            let directory = directory.display();
            format!("cannot keep packages in {directory}: {error}; choose another place with --cache-dir")
        };
        let _lock = lock(&directory).await.map_err(not_kept)?;
        if is_complete(&directory) {
            return Ok(());
        }
        // What an interrupted installation left is of no use.
        clear(&directory).map_err(not_kept)?;
        for (name, text) in &self.files {
            fs::write(directory.join(name), text).map_err(not_kept)?;
        }
        for step in &self.steps {
            if let Err(error) = self.run(step).await {
                // Best effort: the next attempt clears it as well.
                drop(fs::remove_dir_all(&directory));
                return Err(error);
            }
        }
        fs::write(directory.join(COMPLETE), &self.key).map_err(not_kept)
    }

    async fn run(&self, Step { program, args }: &Step) -> Result<(), String> {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let set: Vec<OsString> = std::env::vars_os().map(|(name, _)| name.to_ascii_lowercase()).collect();
        let is_set = |name: &str| set.iter().any(|set| *set == *name.to_ascii_lowercase());
        command.envs(self.defaults.iter().filter(|(name, _)| !is_set(name)));
        let status =
            command.status().await.map_err(|error| format!("cannot run {program}: {error}{}", hint(program)))?;
        if status.success() { Ok(()) } else { Err(format!("{program} {status}")) }
    }
}

/// What to do about a program that is missing.
pub(super) fn hint(program: &str) -> &'static str {
    match program {
        "uvx" | "uv" => "; install uv (https://docs.astral.sh/uv)",
        "npx" | "npm" | "node" => "; install Node.js",
        _ => "",
    }
}

/// Keeps others from installing into `directory` while it lives.
async fn lock(directory: &Path) -> io::Result<File> {
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent)?;
    }
    let file = File::create(directory.with_extension("lock"))?;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            // Whoever holds it installs the same: it is worth the wait.
            Err(rustix::io::Errno::WOULDBLOCK) => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(error.into()),
        }
    }
}

fn clear(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(directory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With steps that are programs of every machine.
    fn plan(directory: &Path, steps: &[(&str, &[&str])]) -> Plan {
        let step = |(program, args): &(&str, &[&str])| Step {
            program: (*program).to_owned(),
            args: args.iter().map(ToString::to_string).collect(),
        };
        let files = BTreeMap::from([("lock".to_owned(), "a==1".to_owned())]);
        let defaults = BTreeMap::from([("path".to_owned(), "/nowhere".to_owned())]);
        let steps = steps.iter().map(step).collect();
        Plan { directory: directory.to_owned(), key: "k".to_owned(), files, steps, defaults }
    }

    #[tokio::test]
    async fn what_is_complete_is_not_installed_again_and_what_is_not_is_cleared_first() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("p");
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("left"), "").unwrap();
        let text = directory.to_str().unwrap();
        let copy: [(&str, &[&str]); 1] = [("cp", &[&format!("{text}/lock"), &format!("{text}/copy")])];
        plan(&directory, &copy).perform().await.unwrap();
        assert!(is_complete(&directory) && !directory.join("left").exists());
        assert_eq!(fs::read_to_string(directory.join("copy")).unwrap(), "a==1");
        plan(&directory, &[("false", &[])]).perform().await.unwrap();
    }

    #[tokio::test]
    async fn a_step_that_fails_is_the_last_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("p");
        let steps: [(&str, &[&str]); 2] = [("false", &[]), ("touch", &["/never"])];
        let error = plan(&directory, &steps).perform().await.unwrap_err();
        assert_eq!(error, "false exit status: 1");
        assert!(!directory.exists());
        let error = plan(&directory, &[("no-such-program", &[])]).perform().await.unwrap_err();
        assert!(error.starts_with("cannot run no-such-program: "), "{error}");
    }
}
