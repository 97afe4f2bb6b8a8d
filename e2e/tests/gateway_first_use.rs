//! What clients of the API that came before do in their first minutes, and what people see who start a gateway.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::PATIENCE;
use e2e::client::{Client, ClientOptions, HttpClient, SseClient};
use e2e::harness::{Bin, Gateway, Launch, fixture};
use e2e::http::{http, open};
use rustix::process::Signal;
use serde_json::json;

/// On all interfaces, without servers.
async fn open_gateway() -> Gateway {
    Gateway::start_on("0.0.0.0:0", "{}", |launch| launch).await.expect("the gateway starts")
}

#[tokio::test]
async fn a_client_with_one_key_deploys_reads_a_boolean_and_streams_with_the_key_in_the_url() {
    let gateway = open_gateway().await;
    let key = gateway.keys(&["create", "agent"]).await.unwrap();
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = json!({"mcpServers": {"a": fixture(&[])}}).to_string();
    let deploy = async || {
        let answer = http("POST", &gateway.url("/deploy?wait=20s"), &headers, body.clone()).await.ok()?;
        answer.expect(200).ok()
    };
    // The key is in force within half a second.
    let answer = e2e::eventually(PATIENCE, "the deployment", deploy).await.unwrap().json().unwrap();
    assert_eq!((&answer["success"], &answer["status"]), (&json!(true), &json!("success")));
    let url = gateway.url(&format!("/a/sse/sse?api_key={key}"));
    let client = SseClient::connect(&url).await.unwrap();
    assert_eq!(client.tool_text("echo", json!({"text": "hello"})).await.unwrap(), "hello");
    assert!(!client.endpoint().contains(&key), "the address that messages go to names the key");
}

#[tokio::test]
async fn a_stream_attaches_to_a_session_that_is_open_whichever_server_it_is_of() {
    let gateway = Gateway::serving(&json!({"a": fixture(&[])})).await.unwrap();
    for path in ["/a/sse", "/sse"] {
        let client = SseClient::connect(&gateway.url(path)).await.unwrap();
        let (_, session) = client.endpoint().split_once("sessionId=").unwrap();
        let url = gateway.url(&format!("{path}?sessionId={session}"));
        let mut second = open("GET", &url, &[], "").await.unwrap().into_events().await.unwrap();
        assert!(second.data(PATIENCE).await.unwrap().data.unwrap().contains("sessionId="));
        let body = json!({"jsonrpc": "2.0", "id": 77, "method": "ping"}).to_string();
        let post = http("POST", client.endpoint(), &[("content-type", "application/json")], body).await.unwrap();
        post.expect(202).unwrap();
        let answer = second.data(PATIENCE).await.unwrap().data.unwrap();
        assert!(answer.contains("77"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn stream_is_another_name_of_mcp_for_all_servers_together() {
    let gateway = Gateway::serving(&json!({"a": fixture(&[])})).await.unwrap();
    let client = HttpClient::connect(&gateway.url("/stream"), "2025-06-18").await.unwrap();
    assert_eq!(client.tool_text("a-echo", json!({"text": "x"})).await.unwrap(), "x");
    client.delete().await.unwrap().expect(204).unwrap();
}

#[tokio::test]
async fn what_deploy_calls_ready_is_listed_and_called_at_once_among_all_servers() {
    let gateway = Gateway::start(&json!({})).await.unwrap();
    let clients = [
        HttpClient::connect(&gateway.url("/mcp"), "2025-06-18").await.unwrap(),
        HttpClient::connect_with(
            &gateway.url("/mcp"),
            ClientOptions::new("2025-06-18").capabilities(json!({"roots": {}})),
        )
        .await
        .unwrap(),
    ];
    for name in ["a", "b", "c", "d", "e"] {
        gateway.deploy(&json!({name: fixture(&[])})).await.unwrap().expect(200).unwrap();
        let tool = format!("{name}-echo");
        for client in &clients {
            assert_eq!(client.tool_text(&tool, json!({"text": "x"})).await.unwrap(), "x");
            let listed = client.list("tools/list", "tools").await.unwrap();
            assert!(listed.iter().any(|it| it["name"] == tool), "{tool} is not listed");
        }
    }
}

#[tokio::test]
async fn a_key_that_is_revoked_ends_the_call_that_is_under_way() {
    let gateway = open_gateway().await;
    let key = gateway.keys(&["create", "agent"]).await.unwrap();
    let options = || ClientOptions::new("2025-11-25").header("authorization", &format!("Bearer {key}"));
    gateway.configure(&json!({"mcpServers": {"a": fixture(&[])}}).to_string()).unwrap();
    let connect = async || HttpClient::connect_with(&gateway.url("/a/mcp"), options()).await.ok();
    let client = e2e::eventually(PATIENCE, "the server", connect).await.unwrap();
    let call = client.tool("sleep", json!({"ms": 60_000}));
    let revoke = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let id = key.split('_').nth(1).context("a key has three parts")?;
        gateway.keys(&["revoke", id]).await
    };
    let started = std::time::Instant::now();
    let (called, revoked) = tokio::join!(call, revoke);
    revoked.unwrap();
    called.unwrap_err();
    assert!(started.elapsed() < PATIENCE, "the call went on");
}

/// Starts a gateway on all interfaces as from a terminal, with `state` as its state directory.
async fn on_a_terminal(state: &str) -> Result<String> {
    let command = format!("{} serve --listen 0.0.0.0:0 --state-dir {state}", Bin::Gateway.text()?);
    let mut program = Launch::program("script").args(["-qefc", &command, "/dev/null"]).spawn()?;
    program.wait_output("try: curl").await?;
    let output = program.output();
    program.signal(Signal::TERM)?;
    program.wait(PATIENCE).await?;
    program.wait_childless(PATIENCE).await?;
    Ok(output)
}

#[tokio::test]
async fn the_first_key_is_made_on_a_terminal_and_shown_once() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state").to_string_lossy().into_owned();
    let first = on_a_terminal(&state).await.unwrap();
    assert!(first.contains("the first key, shown only now: mgw_"), "{first}");
    let second = on_a_terminal(&state).await.unwrap();
    assert!(!second.contains("mgw_"), "{second}");
}

#[tokio::test]
async fn a_stop_during_a_replacement_leaves_nothing_and_loses_nothing() {
    let mut gateway = Gateway::start(&json!({})).await.unwrap();
    gateway.deploy(&json!({"a": fixture(&[])})).await.unwrap().expect(200).unwrap();
    let stuck = json!({"mcpServers": {"a": fixture(&["--fault", "never-init"])}}).to_string();
    let headers = [("content-type", "application/json")];
    let answer = http("POST", &gateway.url("/deploy"), &headers, stuck).await.unwrap().expect(200).unwrap();
    assert_eq!(answer.json().unwrap()["results"]["a"]["status"], "replaced");
    let census = gateway.census();
    assert_eq!(gateway.stop(PATIENCE).await.unwrap(), 0);
    let gone = async || census.alive().iter().all(|process| process.state == 'Z').then_some(());
    e2e::eventually(Duration::from_secs(5), "all to be gone", gone).await.unwrap();
    gateway.restart().await.unwrap();
    assert_eq!(gateway.server("a").await.unwrap()["args"][1], "never-init");
}
