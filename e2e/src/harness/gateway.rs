//! `mcp-gateway serve` on free ports, with a configuration and a state directory of its own.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::process::Pid;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::{Bin, Launch, Program};
use crate::http::{Response, http};
use crate::wait::{PATIENCE, eventually};

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
        Self::start_on("127.0.0.1:0", config, prepare).await
    }

    /// As [`Self::start_with`], listening on `listen`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_on(listen: &str, config: &str, prepare: impl FnOnce(Launch) -> Launch) -> Result<Self> {
        let dir = tempfile::tempdir().context("cannot make a directory for the gateway")?;
        let (config_file, state) = (config_file(dir.path()), state_dir(dir.path()));
        fs::write(&config_file, config).context("cannot write the configuration")?;
        let launch = Launch::new(Bin::Gateway)?
            .args(["serve", "--listen", listen, "--admin", "127.0.0.1:0"])
            .arg("--state-dir")
            .arg(state)
            .arg("--config")
            .arg(config_file);
        let launch = prepare(launch);
        let program = launch.listen().await?;
        Ok(Self { program, launch, dir })
    }

    /// With these entries of `mcpServers`, when all of them are ready.
    ///
    /// # Errors
    /// As [`Self::start`], and when one does not become ready.
    pub async fn serving(servers: &Value) -> Result<Self> {
        Self::serving_with(servers, |launch| launch).await
    }

    /// With a server of each era, `old` and `new`, when both are ready.
    ///
    /// # Errors
    /// As [`Self::serving`].
    pub async fn of_both_eras() -> Result<Self> {
        Self::serving(&json!({"old": fixture(&[]), "new": fixture(&["--era", "modern"])})).await
    }

    /// As [`Self::serving`], with the launch changed by `prepare`.
    ///
    /// # Errors
    /// As [`Self::serving`].
    pub async fn serving_with(servers: &Value, prepare: impl FnOnce(Launch) -> Launch) -> Result<Self> {
        let gateway = Self::start_with(&json!({"mcpServers": servers}).to_string(), prepare).await?;
        for name in servers.as_object().into_iter().flat_map(Map::keys) {
            gateway.wait_status(name, "ready").await?;
        }
        Ok(gateway)
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

    /// Deploys these entries of `mcpServers` and waits until each is ready or known not to work.
    ///
    /// # Errors
    /// When no answer comes; a refusal is one.
    pub async fn deploy(&self, servers: &Value) -> Result<Response> {
        let body = json!({"mcpServers": servers}).to_string();
        http("POST", &self.url("/deploy?wait=20s"), &[("content-type", "application/json")], body).await
    }

    /// What `GET /servers/{name}` says.
    ///
    /// # Errors
    /// When that is no success.
    pub async fn server(&self, name: &str) -> Result<Value> {
        http("GET", &self.url(&format!("/servers/{name}")), &[], "").await?.expect(200)?.json()
    }

    /// Waits until the server's status is `status`, and gives all that is said of the server.
    ///
    /// # Errors
    /// When it does not become so in time.
    pub async fn wait_status(&self, name: &str, status: &str) -> Result<Value> {
        let look = async || self.server(name).await.ok().filter(|server| server["status"] == status);
        eventually(PATIENCE, format!("server {name} to be {status}"), look).await.with_context(|| self.logs())
    }

    /// Runs `mcp-gateway keys` with these arguments on the state directory, and gives its output.
    ///
    /// # Errors
    /// When it fails; the error shows what it says.
    pub async fn keys(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(Bin::Gateway.path()?);
        command.arg("keys").args(args).arg("--state-dir").arg(self.state_dir());
        let output = command.output().await.context("cannot run mcp-gateway keys")?;
        ensure!(output.status.success(), "keys {args:?} failed: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().into())
    }

    /// Waits until `/readyz` of its admin port answers 200.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn ready(&self) -> Result<()> {
        let admin = self.program.admin().await?;
        self.program.wait_ready(&format!("{admin}/readyz")).await
    }

    /// The sidecar above the process `child`.
    ///
    /// # Panics
    /// When the process is not below the gateway.
    pub fn sidecar_of(&self, child: i32) -> Pid {
        let census = self.census();
        let mut at = child;
        loop {
            let process = census.processes.iter().find(|process| process.pid == at).expect("it is below the gateway");
            if process.parent == self.pid() {
                return Pid::from_raw(at).expect("a process has an id");
            }
            at = process.parent;
        }
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

/// An entry of `mcpServers`: the fixture, with these flags.
///
/// # Panics
/// When the fixture has not been built.
pub fn fixture(flags: &[&str]) -> Value {
    json!({"command": Bin::Fixture.text().expect("the programs are built first"), "args": flags})
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
