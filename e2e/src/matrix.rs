//! Clients and servers of every kind, each with each: what works of what should.
//!
//! A [`Cell`] of the matrix is one run of a client against one endpoint. It reports a verdict for each check, and
//! [`Expected`] says what that is to be. The official clients are run by their drivers in `clients/`, the others by
//! `examples/clients`.

mod expected;
mod relay;
mod report;

use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::harness::Bin;
use crate::wait::within;

pub use expected::{Client, Expected, Server};
pub use relay::Relay;
pub use report::Report;

/// Clients with a driver of their own.
const DRIVERS: [&str; 5] = ["python-v1", "python-v2", "ts-v1", "ts-v2", "inspector"];

/// How long a check may take, in seconds; on an idle machine the longest takes four.
const CHECK_SECONDS: &str = "120";
/// How long a cell may take.
const CELL: Duration = Duration::from_secs(600);

/// Rows that run at a time, over all tests of a file: in each is a client's runtime beside several servers, and most of
/// the time it waits.
static TURNS: Semaphore = Semaphore::const_new(3);

/// By which address a server is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// Its own.
    Own,
    /// That of all servers together.
    All,
}

/// One client, one server, one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// As the table calls it.
    pub client: String,
    /// As the table calls it, and the gateway.
    pub server: String,
    /// By which address.
    pub path: Path,
    /// Whether it is reached through a [`Relay`], and does what takes longest: 10 MB, and a network that breaks.
    pub in_matrix: bool,
}

/// What a check has found.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Verdict {
    check: String,
    ok: bool,
    detail: String,
    #[serde(default)]
    skipped: bool,
}

/// A check that did not work, with the reason's place in the table.
type Missing = (String, usize);

/// A cell that went as expected.
#[derive(Debug)]
pub struct Outcome {
    cell: Cell,
    without: Vec<Missing>,
}

/// Runs the cells of each row one after the other, each at its URL, with this key if there is one.
///
/// # Errors
/// With all that went another way than expected.
pub async fn run_all(rows: Vec<Vec<(Cell, String)>>, key: Option<&str>) -> Result<Vec<Outcome>> {
    let expected = std::sync::Arc::new(Expected::read()?);
    let mut runs = JoinSet::new();
    for row in rows {
        let header = key.map(|key| format!("--header=Authorization: Bearer {key}"));
        let expected = std::sync::Arc::clone(&expected);
        runs.spawn(async move {
            let _turn = TURNS.acquire().await?;
            let mut outcomes = Vec::new();
            for (cell, url) in row {
                let run = within(CELL, format!("{cell} at {url}"), cell.run(&url, header.clone(), &expected)).await;
                outcomes.push(run.with_context(|| format!("{cell} at {url}")).map(|without| Outcome { cell, without }));
            }
            anyhow::Ok(outcomes)
        });
    }
    let mut outcomes = Vec::new();
    for row in runs.join_all().await {
        outcomes.extend(row?);
    }
    let (good, bad): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    let faults: Vec<_> = bad.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(good.into_iter().flatten().collect())
}

impl Cell {
    /// Whether the check of resumption is made: HTTP+SSE has nothing to resume, which is tried by one client only, and the
    /// Inspector makes no call that takes time.
    pub fn meets_a_broken_network(&self) -> bool {
        self.in_matrix && !self.client.ends_with("-sse") && !self.client.starts_with("inspector")
    }

    /// The last part of the endpoint's address.
    pub fn end(&self) -> &'static str {
        if self.client.ends_with("sse") { "sse" } else { "mcp" }
    }

    /// The client, with what tells it where to go.
    fn command(&self, url: &str, header: Option<String>) -> Result<Command> {
        let prefix = match self.path {
            Path::Own => String::new(),
            Path::All => format!("{}-", self.server),
        };
        let mut command;
        if let Some(driver) = driver(&self.client) {
            let transport = if self.end() == "sse" { "sse" } else { "http" };
            command = Command::new(repository().join("e2e/clients/run"));
            command.args([driver, "--transport", transport]).args(header);
            if self.client.ends_with("-auto") {
                command.args(["--mode", "auto"]);
            }
        } else {
            command = Command::new(Bin::Clients.path()?);
            command.arg(&self.client);
        }
        command.args(["--url", url, "--prefix", &prefix, "--timeout", CHECK_SECONDS]);
        Ok(command)
    }

    async fn run(&self, url: &str, header: Option<String>, expected: &Expected) -> Result<Vec<Missing>> {
        let mut command = self.command(url, header)?;
        command.args(["--checks", &expected.checks(self).join(",")]);
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.context("cannot run the client")?;
        let verdicts: Result<Vec<Verdict>, _> = output
            .stdout
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(serde_json::from_slice)
            .collect();
        let stderr = || format!("the client wrote: {}", String::from_utf8_lossy(&output.stderr));
        let without = expected.judge(self, &verdicts.with_context(stderr)?).with_context(stderr)?;
        // 1: something does not work.
        ensure!(matches!(output.status.code(), Some(0 | 1)), "it ended with {}; {}", output.status, stderr());
        Ok(without)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} ({:?})", self.client, self.server, self.path)
    }
}

/// The driver of a client, if it has one in `clients/`. Those make more checks than the table tells of.
fn driver(client: &str) -> Option<&'static str> {
    let name = ["-sse", "-auto"].iter().fold(client, |name, end| name.strip_suffix(end).unwrap_or(name));
    DRIVERS.into_iter().find(|driver| *driver == name)
}

/// The folder of the repository.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A version of `hack/versions.env`.
///
/// # Errors
/// When it has none of that name.
pub fn version(variable: &str) -> Result<String> {
    let text = std::fs::read_to_string(repository().join("hack/versions.env"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(variable)?.strip_prefix('='));
    Ok(value.with_context(|| format!("no {variable} in hack/versions.env"))?.to_owned())
}
