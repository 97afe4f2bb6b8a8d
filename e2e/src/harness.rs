//! Runs the real programs: [`Sidecar`], [`Gateway`], or anything by [`Launch`], and counts what they leave ([`Census`]).
//!
//! Every program is told by stdout where it listens, has its stderr kept and shown when a test panics, and is ended with all
//! that it started when its handle is dropped. Processes are recognised by a mark in their environment, so that one that left
//! its group, session and parent is found too.

mod census;
mod gateway;
mod launch;
mod logs;
mod program;
mod sidecar;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

pub use census::{Census, Process};
pub use gateway::{Gateway, fixture};
pub use launch::Launch;
pub use program::Program;
pub use sidecar::Sidecar;

/// A program of this workspace, built in the same profile as the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bin {
    /// `mcp-gateway`.
    Gateway,
    /// `mcp-sidecar`.
    Sidecar,
    /// `mcp-operator`.
    Operator,
    /// `fixture`, the server of [`crate::fixture`].
    Fixture,
    /// `conformance`, the server for the suite: an example, so that nothing else waits for its SDK.
    Conformance,
    /// `conformance_client`, a client for the suite that has a gateway in between.
    ConformanceClient,
    /// `clients`, those without a driver in `clients/`.
    Clients,
}

impl Bin {
    /// Path of the binary, next to the directory that holds the test.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn path(self) -> Result<PathBuf> {
        let name = match self {
            Self::Gateway => "mcp-gateway",
            Self::Sidecar => "mcp-sidecar",
            Self::Operator => "mcp-operator",
            Self::Fixture => "fixture",
            Self::Conformance => "examples/conformance",
            Self::ConformanceClient => "examples/conformance_client",
            Self::Clients => "examples/clients",
        };
        let test = std::env::current_exe().context("cannot find the running test")?;
        let path = test.parent().and_then(|deps| deps.parent()).context("the test has no directory")?.join(name);
        ensure!(
            path.is_file(),
            "{} is missing: build it first, with `cargo build --workspace --all-targets`",
            path.display()
        );
        Ok(path)
    }

    /// [`Self::path`] as text, for command lines.
    ///
    /// # Errors
    /// Also when the path is no UTF-8.
    pub fn text(self) -> Result<String> {
        self.path()?.into_os_string().into_string().ok().context("the path of the binary is no UTF-8")
    }
}

#[cfg(test)]
mod tests;
