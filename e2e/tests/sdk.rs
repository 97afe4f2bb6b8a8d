//! The official clients against real servers, through the gateway and through a sidecar alone.
//!
//! A cell of the matrix is one run of `e2e/clients/run`: one client over one transport against one endpoint. It reports a
//! verdict for each check.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::harness::{Gateway, Sidecar};
use e2e::http::http;
use e2e::{eventually, within};
use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const DRIVERS: [&str; 5] = ["python-v1", "python-v2", "ts-v1", "ts-v2", "inspector"];

/// Each with the last part of its endpoints.
const TRANSPORTS: [(&str, &str); 2] = [("sse", "sse"), ("http", "mcp")];

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
/// How long packages may take to be fetched, and their servers to start.
const INSTALL: Duration = Duration::from_secs(300);

/// Cells that run at a time, over all tests of this file: each is a client's runtime beside several servers.
static TURNS: Semaphore = Semaphore::const_new(2);

/// One client, one transport, one endpoint.
#[derive(Clone, Copy)]
struct Cell {
    driver: &'static str,
    transport: &'static str,
    /// Whose checks are expected to run.
    server: &'static str,
    /// Before names of tools and prompts.
    prefix: &'static str,
}

#[derive(Deserialize)]
struct Verdict {
    check: String,
    ok: bool,
    detail: String,
    #[serde(default)]
    skipped: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_official_client_works_through_the_gateway() {
    let path = tools_path().await.unwrap();
    let config = servers().unwrap().to_string();
    let gateway = Gateway::start_with(&config, |launch| launch.env("PATH", &path)).await.unwrap();
    works(&gateway.url("/servers"), |servers| {
        servers.as_array().is_some_and(|all| all.len() == 2 && all.iter().all(|server| server["ready"] == true))
    })
    .await
    .unwrap();
    let mut cells = Vec::new();
    for (server, base, prefix) in
        [("everything", "/everything", ""), ("time", "/time", ""), ("everything", "", "everything-")]
    {
        cells.extend(matrix(server, prefix).map(|(cell, end)| (cell, gateway.url(&format!("{base}/{end}")))));
    }
    run_all(cells).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_official_client_works_with_a_sidecar_alone() {
    let path = tools_path().await.unwrap();
    let server = format!("mcp-server-time@{}", version("SERVER_TIME").unwrap());
    let sidecar = Sidecar::start_with(&[], &["uvx", &server], |launch| launch.env("PATH", &path)).await.unwrap();
    works(&sidecar.url("/status"), |status| status["phase"] == "ready").await.unwrap();
    run_all(matrix("time", "").map(|(cell, end)| (cell, sidecar.url(&format!("/{end}")))).collect()).await;
}

/// Every driver over every transport, with the last part of its endpoint.
fn matrix(server: &'static str, prefix: &'static str) -> impl Iterator<Item = (Cell, &'static str)> {
    DRIVERS.into_iter().flat_map(move |driver| {
        TRANSPORTS.into_iter().map(move |(transport, end)| (Cell { driver, transport, server, prefix }, end))
    })
}

/// Runs the cells, each at its URL, and fails with all that failed.
async fn run_all(cells: Vec<(Cell, String)>) {
    let mut runs = JoinSet::new();
    for (cell, url) in cells {
        runs.spawn(async move {
            let _turn = TURNS.acquire().await?;
            within(CELL, format!("{cell} at {url}"), cell.run(&url)).await.with_context(|| format!("{cell} at {url}"))
        });
    }
    let outcomes = runs.join_all().await;
    let failures: Vec<_> = outcomes.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

impl Cell {
    async fn run(self, url: &str) -> Result<()> {
        let Self { driver, transport, prefix, .. } = self;
        let mut command = Command::new(repository().join("e2e/clients/run"));
        command.args([driver, "--url", url, "--transport", transport, "--prefix", prefix, "--timeout", CHECK_SECONDS]);
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

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `examples/mcp.json` with the servers in the versions that `hack/versions.env` names: their next release shall not make
/// this fail.
fn servers() -> Result<Value> {
    let text = std::fs::read_to_string(repository().join("examples/mcp.json"))?;
    let mut config: Value = serde_json::from_str(&text)?;
    for (server, package, variable) in [
        ("time", "mcp-server-time", "SERVER_TIME"),
        ("everything", "@modelcontextprotocol/server-everything", "SERVER_EVERYTHING"),
    ] {
        let args =
            config["mcpServers"][server]["args"].as_array_mut().with_context(|| format!("no args of {server}"))?;
        match args.last_mut() {
            Some(last) if *last == package => *last = format!("{package}@{}", version(variable)?).into(),
            _ => bail!("{server} runs another package than {package}"),
        }
    }
    Ok(config)
}

/// A version of `hack/versions.env`.
fn version(variable: &str) -> Result<String> {
    let text = std::fs::read_to_string(repository().join("hack/versions.env"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(variable)?.strip_prefix('='));
    Ok(value.with_context(|| format!("no {variable} in hack/versions.env"))?.to_owned())
}

/// The `PATH` under which uvx and npx are found; installs them if need be.
async fn tools_path() -> Result<String> {
    let mut command = Command::new("bash");
    command
        .args(["-c", r#"set -e; env=$("$0" env); eval "$env"; printf %s "$PATH""#])
        .arg(repository().join("hack/tools"));
    let output = command.stdin(Stdio::null()).output().await?;
    ensure!(output.status.success(), "hack/tools env: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Waits until what `url` tells is as it should be.
async fn works(url: &str, ready: impl Fn(&Value) -> bool) -> Result<()> {
    let mut last = Value::Null;
    let look = async || {
        last = http("GET", url, &[], "").await.ok()?.json().ok()?;
        ready(&last).then_some(())
    };
    let outcome = eventually(INSTALL, format!("{url} to say that all is ready"), look).await;
    outcome.with_context(|| format!("it says {last}"))
}
