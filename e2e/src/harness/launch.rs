//! How a program is started.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Command;

use super::{Bin, Program};
use crate::wait::PATIENCE;

/// Variable that marks a program and all it starts.
pub(super) const MARK: &str = "E2E_MARK";

/// A program to be started; each method returns it changed.
#[derive(Debug, Clone)]
pub struct Launch {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
    patience: Duration,
}

impl Launch {
    /// One of this workspace's programs.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn new(bin: Bin) -> Result<Self> {
        bin.path().map(Self::program)
    }

    /// Any program.
    pub fn program(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), args: Vec::new(), env: Vec::new(), patience: PATIENCE }
    }

    /// Starts it by another program, which finds this one and its arguments behind its own.
    pub fn through<A: Into<OsString>>(mut self, program: &str, args: impl IntoIterator<Item = A>) -> Self {
        let inner = [std::mem::replace(&mut self.program, program.into()).into_os_string()];
        self.args = args.into_iter().map(Into::into).chain(inner).chain(self.args).collect();
        self
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of the environment, which is otherwise the test's.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Waits so long for the line that says where the program listens.
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Starts it in a process group of its own, with stdin closed.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self) -> Result<Program> {
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let mark = format!("{}.{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let child = Command::new(&self.program)
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env(MARK, &mark)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        Program::new(child, mark, self.patience)
    }

    /// Starts it and waits until it says `listening on http://…`.
    ///
    /// # Errors
    /// When it exits before, or takes too long; the error shows its last lines.
    pub async fn listen(&self) -> Result<Program> {
        let program = self.spawn()?;
        program.listening().await?;
        Ok(program)
    }
}
