//! The official clients against real servers, through the gateway and through a sidecar alone.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::eventually;
use e2e::harness::{Gateway, Sidecar};
use e2e::http::http;
use e2e::matrix::{Cell, SDKS, TRANSPORTS, repository, run_all, version};
use serde_json::Value;
use tokio::process::Command;

/// How long packages may take to be fetched, and their servers to start.
const INSTALL: Duration = Duration::from_secs(300);

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
    run_all(cells, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_official_client_works_with_a_sidecar_alone() {
    let path = tools_path().await.unwrap();
    let server = format!("mcp-server-time@{}", version("SERVER_TIME").unwrap());
    let sidecar = Sidecar::start_with(&[], &["uvx", &server], |launch| launch.env("PATH", &path)).await.unwrap();
    works(&sidecar.url("/status"), |status| status["phase"] == "ready").await.unwrap();
    let cells = matrix("time", "").map(|(cell, end)| (cell, sidecar.url(&format!("/{end}")))).collect();
    run_all(cells, None).await.unwrap();
}

/// Every driver over every transport, with the last part of its endpoint.
fn matrix(server: &'static str, prefix: &'static str) -> impl Iterator<Item = (Cell, &'static str)> {
    SDKS.into_iter().chain(["inspector"]).flat_map(move |driver| {
        TRANSPORTS.into_iter().map(move |(transport, end)| (Cell { driver, transport, server, prefix }, end))
    })
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
