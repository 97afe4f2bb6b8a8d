//! Secrets stay where they were given: not in logs at the finest level, lists, figures or command lines.

use anyhow::{Context, Result};
use e2e::client::{Client, ClientOptions, HttpClient, SseClient};
use e2e::harness::{Bin, Gateway, Launch, Program};
use e2e::http::http;
use e2e::{PATIENCE, eventually};
use serde_json::{Value, json};

/// What is given to servers as a secret, and to tools as an argument.
const CANARIES: [&str; 7] =
    ["canary-env", "canary-leaked", "canary-flag", "canary-key", "canary-query", "canary-header", "canary-argument"];

fn servers(remote: &Program) -> Result<Value> {
    let fixture = Bin::Fixture.text()?;
    let args = ["-c", r#"exec "$0""#, &fixture, "--token", "canary-flag", "--api-key=canary-key"];
    Ok(json!({
        "a": {"command": fixture, "env": {"SECRET": "canary-env"}},
        "leaky": {"command": fixture, "args": ["--fault", "leak-secret-stderr"], "env": {"SECRET": "canary-leaked"}},
        "args": {"command": "/bin/sh", "args": args},
        "remote": {"url": remote.url("/mcp?key=canary-query"), "headers": {"Authorization": "Bearer canary-header"}},
    }))
}

/// Calls tools in every way; gives the handles of the sessions, which are secrets too.
async fn use_everything(gateway: &Gateway, key: &str) -> Result<Vec<String>> {
    let bearer = format!("Bearer {key}");
    let mut handles = Vec::new();
    for (base, tool, query) in [("/a", "echo", ""), ("", "a-echo", ""), ("/remote", "echo", "?api_key=")] {
        let known = |version| ClientOptions::new(version).header("authorization", &bearer);
        let http = HttpClient::connect_with(&gateway.url(&format!("{base}/mcp")), known("2025-11-25")).await?;
        let (url, options) = match query {
            "" => (format!("{base}/sse"), known("2024-11-05")),
            _ => (format!("{base}/sse{query}{key}"), ClientOptions::new("2024-11-05")),
        };
        let sse = SseClient::connect_with(&gateway.url(&url), options).await?;
        for client in [&http as &dyn Client, &sse] {
            client.tool(tool, json!({"text": "canary-argument"})).await?;
            assert!(client.tool("no-such-tool", json!({"text": "canary-argument"})).await.is_err());
        }
        handles.push(http.session().context("no session")?);
        handles.push(sse.endpoint().split_once("sessionId=").context("no session")?.1.to_owned());
    }
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let bad = r#"{"mcpServers": {"x": {"command": "no-such-program", "env": {"A": "canary-argument"}}}}"#;
    http("POST", &gateway.url("/deploy"), &headers, bad).await?.expect(400)?;
    Ok(handles)
}

#[tokio::test]
async fn no_secret_is_in_any_log_list_figure_or_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let script = format!("exec \"$@\" 2>{}", log.display());
    let remote = Launch::new(Bin::Fixture).unwrap().args(["--remote", "both"]).listen().await.unwrap();
    let config = json!({"mcpServers": servers(&remote).unwrap()}).to_string();
    let prepare = |launch: Launch| launch.env("MCP_LOG", "trace").through("/bin/sh", ["-c", &script, "sh"]);
    let gateway = Gateway::start_on("0.0.0.0:0", &config, prepare).await.unwrap();
    let key = gateway.keys(&["create", "canary", "--scopes", "call,deploy"]).await.unwrap();
    let page = async |url: String| http("GET", &url, &[("x-api-key", &key)], "").await.unwrap().text();
    let known = async || page(gateway.url("/servers")).await.starts_with('[').then_some(());
    eventually(PATIENCE, "the key to be known", known).await.unwrap();

    let mut secrets = use_everything(&gateway, &key).await.unwrap();
    secrets.extend(CANARIES.map(String::from));
    secrets.push(key.rsplit('_').next().unwrap().to_owned());
    let mut told = vec![gateway.output(), page(format!("{}/metrics", gateway.admin().await.unwrap())).await];
    for path in ["servers", "services", "servers/a", "servers/args", "servers/leaky", "servers/remote", "openapi.json"]
    {
        told.push(page(gateway.url(&format!("/{path}"))).await);
        told.push(page(gateway.url(&format!("/{path}/logs"))).await);
    }
    // A server's own process has its arguments in its command line; ours have not.
    let commands = gateway.census().processes.into_iter().map(|process| process.command);
    let ours = |command: &String| {
        command.split(' ').next().is_some_and(|it| it.contains("/mcp-") && !it.ends_with("/fixture"))
    };
    told.extend(commands.filter(ours));
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.lines().count() > 100 && log.contains("TRACE"), "nothing was traced");
    for line in told.iter().flat_map(|text| text.lines()).chain(log.lines()) {
        let found = secrets.iter().find(|secret| line.contains(secret.as_str()));
        assert!(found.is_none(), "{found:?} is in: {line}");
    }
}
