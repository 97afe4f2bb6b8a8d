//! `mcp-sidecar serve` on a free port of the loopback interface.

use std::ops::{Deref, DerefMut};

use anyhow::Result;

use super::{Bin, Launch, Program};

/// A running sidecar: HTTP+SSE at `/sse`, Streamable HTTP at `/mcp`.
#[derive(Debug)]
pub struct Sidecar(Program);

impl Sidecar {
    /// In front of `command`.
    ///
    /// # Errors
    /// When it does not come to listen.
    pub async fn start<S: AsRef<str>>(flags: &[&str], command: &[S]) -> Result<Self> {
        Self::start_with(flags, command, |launch| launch).await
    }

    /// As [`Self::start`], with the launch changed by `prepare`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with<S: AsRef<str>>(
        flags: &[&str],
        command: &[S],
        prepare: impl FnOnce(Launch) -> Launch,
    ) -> Result<Self> {
        let launch = Self::launch(flags)?.arg("--").args(command.iter().map(AsRef::as_ref));
        prepare(launch).listen().await.map(Self)
    }

    /// In front of the fixture, with these flags of its own.
    ///
    /// # Errors
    /// As [`Self::start`], and when the fixture has not been built.
    pub async fn fixture(flags: &[&str], fixture_flags: &[&str]) -> Result<Self> {
        let fixture = Bin::Fixture.text()?;
        Self::start(flags, &[&[fixture.as_str()], fixture_flags].concat()).await
    }

    /// In front of a remote server.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn remote(flags: &[&str], url: &str) -> Result<Self> {
        Self::launch(flags)?.args(["--url", url]).listen().await.map(Self)
    }

    fn launch(flags: &[&str]) -> Result<Launch> {
        Ok(Launch::new(Bin::Sidecar)?.args(["serve", "--listen", "127.0.0.1:0"]).args(flags.iter().copied()))
    }
}

impl Deref for Sidecar {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.0
    }
}

impl DerefMut for Sidecar {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.0
    }
}
