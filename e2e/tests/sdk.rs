//! Every client with every server, through the gateway, and the official clients with a sidecar alone. What is found is
//! `docs/compatibility.md`.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::eventually;
use e2e::fixture::remote::Remote;
use e2e::harness::{Gateway, Sidecar, fixture};
use e2e::http::http;
use e2e::matrix::{Cell, Client, Expected, Path, Relay, Report, repository, run_all, version};
use serde_json::{Value, json};
use tokio::process::Command;

/// How long packages may take to be fetched, and their servers to start.
const INSTALL: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn every_client_does_with_every_server_what_the_table_says_and_no_less() {
    let expected = Expected::read().unwrap();
    let path = tools_path().await.unwrap();
    let elsewhere = Elsewhere::start().await.unwrap();
    let config = servers(&elsewhere).await.unwrap();
    let count = config["mcpServers"].as_object().unwrap().len();
    let gateway = Gateway::start_with(&config.to_string(), |launch| launch.env("PATH", &path)).await.unwrap();
    works(&gateway.url("/servers"), |servers| {
        servers.as_array().is_some_and(|all| all.len() == count && all.iter().all(|server| server["ready"] == true))
    })
    .await
    .unwrap();
    let relay = Relay::before(&gateway.url("")).await.unwrap();
    let rows = rows(&expected, &relay);
    let resumed = rows.iter().flatten().filter(|(cell, _)| cell.meets_a_broken_network()).count();
    let outcomes = run_all(rows, None).await.unwrap();
    assert_eq!(relay.broken(), resumed, "each of these was to lose its connection once");
    Report::new(&expected, &outcomes).check_document().unwrap();
}

/// What is run one after the other: a client with a server by both addresses, since what they leave in a process that they
/// share is their own; and those with a server that cannot tell them apart.
fn rows(expected: &Expected, relay: &Relay) -> Vec<Vec<(Cell, String)>> {
    let mut rows = Vec::new();
    for server in expected.servers() {
        let of_client = |client: &Client| {
            let cell = |path: &Path| {
                let (client, server_id) = (client.id.clone(), server.id.clone());
                let cell = Cell { client, server: server_id, path: *path, in_matrix: !server.hidden() };
                let base = if *path == Path::Own { format!("/{}", server.id) } else { String::new() };
                let url = relay.url(&format!("{base}/{}", cell.end()));
                (cell, url)
            };
            let paths = if server.hidden() { &[Path::Own][..] } else { &[Path::Own, Path::All] };
            paths.iter().map(cell).collect::<Vec<_>>()
        };
        let together = |client: &&Client| client.sessionless || server.one_at_a_time();
        let (one_by_one, others): (Vec<_>, Vec<_>) = expected.clients_of(server).partition(together);
        rows.push(one_by_one.into_iter().flat_map(of_client).collect());
        rows.extend(others.into_iter().map(of_client));
    }
    // The longest rows begin first.
    rows.sort_by_key(|row| std::cmp::Reverse(row.len()));
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn every_official_client_works_with_a_sidecar_alone() {
    let expected = Expected::read().unwrap();
    let path = tools_path().await.unwrap();
    let server = format!("mcp-server-time@{}", version("SERVER_TIME").unwrap());
    let sidecar = Sidecar::start_with(&[], &["uvx", &server], |launch| launch.env("PATH", &path)).await.unwrap();
    works(&sidecar.url("/status"), |status| status["phase"] == "ready").await.unwrap();
    let time = expected.servers().find(|server| server.id == "time").unwrap();
    let rows = expected.clients_of(time).map(|client| {
        let cell = Cell { client: client.id.clone(), server: "time".into(), path: Path::Own, in_matrix: false };
        let url = sidecar.url(&format!("/{}", cell.end()));
        vec![(cell, url)]
    });
    run_all(rows.collect(), None).await.unwrap();
}

/// Servers at a URL.
struct Elsewhere {
    sse: Remote,
    streamable: Remote,
    modern: Remote,
}

impl Elsewhere {
    async fn start() -> Result<Self> {
        let remote =
            async |speaks, era| Remote::from_flags(&["--like-everything", "--remote", speaks, "--era", era]).await;
        let (sse, streamable) = (remote("sse", "legacy").await?, remote("streamable", "legacy").await?);
        Ok(Self { sse, streamable, modern: remote("streamable", "modern").await? })
    }
}

/// Every server of the table. Those of `examples/mcp.json` come in the versions that `hack/versions.env` names: their next
/// release shall not make this fail.
async fn servers(elsewhere: &Elsewhere) -> Result<Value> {
    let mut config = pinned()?;
    let python = format!("{}/bin/python", tool(&["path", "python-v1"]).await?.trim());
    let script = repository().canonicalize()?.join("e2e/servers/everything.py");
    config["mcpServers"]["python"] = json!({"command": python, "args": [script]});
    config["mcpServers"]["modern"] = fixture(&["--like-everything", "--era", "modern"]);
    config["mcpServers"]["remote-sse"] = json!({"url": elsewhere.sse.url("/sse")});
    config["mcpServers"]["remote-streamable"] = json!({"url": elsewhere.streamable.url("/mcp")});
    config["mcpServers"]["remote-modern"] = json!({"url": elsewhere.modern.url("/mcp")});
    Ok(config)
}

fn pinned() -> Result<Value> {
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
    printed(command).await
}

/// What `hack/tools` prints.
async fn tool(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(repository().join("hack/tools"));
    command.args(arguments);
    printed(command).await
}

async fn printed(mut command: Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().await?;
    ensure!(output.status.success(), "hack/tools: {}", String::from_utf8_lossy(&output.stderr));
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
