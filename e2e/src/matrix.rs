//! The official clients, by their drivers in `clients/`.
//!
//! A [`Cell`] of the matrix is one run of `e2e/clients/run`: one client over one transport against one endpoint. It reports a
//! verdict for each check.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::wait::within;

/// The two SDKs, in both versions that people have.
pub const SDKS: [&str; 4] = ["python-v1", "python-v2", "ts-v1", "ts-v2"];

/// Each with the last part of its endpoints.
pub const TRANSPORTS: [(&str, &str); 2] = [("sse", "sse"), ("http", "mcp")];

const CHECKS: &str = "initialize list call progress log cancel sampling elicitation roots resources templates prompts \
    completion subscribe list_changed ping large answers";

/// The checks that a driver or a server cannot do, so that they are skipped. Any other skip is a failure.
const SKIPS: [(&str, &str); 2] = [
    // It has two tools, and nothing else.
    (
        "time",
        "progress log cancel sampling elicitation roots resources templates prompts completion subscribe list_changed \
         large",
    ),
    // Its command line makes one request a session.
    ("inspector", "progress cancel sampling elicitation roots completion subscribe list_changed ping large answers"),
];

/// How long a check may take, in seconds; on an idle machine the longest takes four.
const CHECK_SECONDS: &str = "60";
/// How long a cell may take.
const CELL: Duration = Duration::from_secs(600);

/// Cells that run at a time, over all tests of a file: each is a client's runtime beside several servers.
static TURNS: Semaphore = Semaphore::const_new(2);

/// One client, one transport, one endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Cell {
    /// The client, as `clients/run` calls it.
    pub driver: &'static str,
    /// `sse` or `http`.
    pub transport: &'static str,
    /// Whose checks are expected to run: `time` or `everything`.
    pub server: &'static str,
    /// Before names of tools and prompts.
    pub prefix: &'static str,
}

#[derive(Deserialize)]
struct Verdict {
    check: String,
    ok: bool,
    detail: String,
    #[serde(default)]
    skipped: bool,
}

/// Runs the cells, each at its URL, with this key if there is one.
///
/// # Errors
/// With all that failed.
pub async fn run_all(cells: Vec<(Cell, String)>, key: Option<&str>) -> Result<()> {
    let mut runs = JoinSet::new();
    for (cell, url) in cells {
        let header = key.map(|key| format!("--header=Authorization: Bearer {key}"));
        runs.spawn(async move {
            let _turn = TURNS.acquire().await?;
            within(CELL, format!("{cell} at {url}"), cell.run(&url, header))
                .await
                .with_context(|| format!("{cell} at {url}"))
        });
    }
    let outcomes = runs.join_all().await;
    let failures: Vec<_> = outcomes.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

impl Cell {
    async fn run(self, url: &str, header: Option<String>) -> Result<()> {
        let Self { driver, transport, prefix, .. } = self;
        let mut command = Command::new(repository().join("e2e/clients/run"));
        command
            .args([driver, "--url", url, "--transport", transport, "--prefix", prefix, "--timeout", CHECK_SECONDS])
            .args(header);
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.context("cannot run the client")?;
        let verdicts: Result<Vec<Verdict>, _> = output
            .stdout
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(serde_json::from_slice)
            .collect();
        let stderr = || format!("the client wrote: {}", String::from_utf8_lossy(&output.stderr));
        self.judge(&verdicts.with_context(stderr)?).with_context(stderr)?;
        ensure!(output.status.success(), "it ended with {}; {}", output.status, stderr());
        Ok(())
    }

    /// Every check must have a verdict, which is what the table says.
    fn judge(self, verdicts: &[Verdict]) -> Result<()> {
        let verdicts: BTreeMap<&str, &Verdict> =
            verdicts.iter().map(|verdict| (verdict.check.as_str(), verdict)).collect();
        let fault = |check: &str| match verdicts.get(check) {
            None => Some(format!("{check}: no verdict")),
            Some(verdict) if !verdict.ok => Some(format!("{check}: {}", verdict.detail)),
            Some(verdict) if verdict.skipped != self.skips(check) => {
                let was = if verdict.skipped { "skipped" } else { "run" };
                Some(format!("{check}: was {was}, which the table does not say: {}", verdict.detail))
            }
            Some(_) => None,
        };
        let faults: Vec<_> = checks(CHECKS).filter_map(fault).collect();
        ensure!(faults.is_empty(), "{}", faults.join("; "));
        ensure!(verdicts.len() == checks(CHECKS).count(), "there are checks that this file does not know");
        Ok(())
    }

    fn skips(self, check: &str) -> bool {
        let applies = |who: &str| who == self.driver || who == self.server;
        SKIPS.iter().any(|(who, skipped)| applies(who) && checks(skipped).any(|skipped| skipped == check))
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} over {}", self.driver, self.transport)
    }
}

fn checks(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.split_whitespace()
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
