//! `mcp-gateway serve` on free ports, with a configuration and a state directory of its own.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use super::{Bin, Launch, Program};

/// A running gateway. Its state directory lives as long as this does.
#[derive(Debug)]
pub struct Gateway {
    // The program ends before its directory goes: fields are dropped in this order.
    program: Program,
    launch: Launch,
    dir: TempDir,
}

impl Gateway {
    /// With this configuration; `{}` is a gateway without servers.
    ///
    /// # Errors
    /// When it does not come to listen.
    pub async fn start(config: &Value) -> Result<Self> {
        Self::start_with(&config.to_string(), |launch| launch).await
    }

    /// As [`Self::start`], with the text of the configuration file, and the launch changed by `prepare`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(config: &str, prepare: impl FnOnce(Launch) -> Launch) -> Result<Self> {
        let dir = tempfile::tempdir().context("cannot make a directory for the gateway")?;
        let (config_file, state) = (config_file(dir.path()), state_dir(dir.path()));
        fs::write(&config_file, config).context("cannot write the configuration")?;
        let launch = Launch::new(Bin::Gateway)?
            .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .arg("--state-dir")
            .arg(state)
            .arg("--config")
            .arg(config_file);
        let launch = prepare(launch);
        let program = launch.listen().await?;
        Ok(Self { program, launch, dir })
    }

    /// Writes the configuration file anew, as a user would while the gateway runs.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(&self, config: &str) -> Result<()> {
        fs::write(self.config_file(), config).context("cannot write the configuration")
    }

    /// Starts it again after it ended, with the same files and on a new port.
    ///
    /// # Errors
    /// When it does not come to listen.
    pub async fn restart(&mut self) -> Result<()> {
        self.program = self.launch.listen().await?;
        Ok(())
    }

    /// Waits until `/readyz` of its admin port answers 200.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn ready(&self) -> Result<()> {
        let admin = self.program.admin().await?;
        self.program.wait_ready(&format!("{admin}/readyz")).await
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        config_file(self.dir.path())
    }

    /// The state directory.
    pub fn state_dir(&self) -> PathBuf {
        state_dir(self.dir.path())
    }
}

fn config_file(dir: &Path) -> PathBuf {
    dir.join("config.json")
}

fn state_dir(dir: &Path) -> PathBuf {
    dir.join("state")
}

impl Deref for Gateway {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl DerefMut for Gateway {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.program
    }
}
