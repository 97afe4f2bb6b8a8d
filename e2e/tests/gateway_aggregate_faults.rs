//! Sessions over all servers outlive what happens to the servers, and leave nothing when their clients go.

use std::time::Duration;

use anyhow::Result;
use e2e::client::{Client, ClientOptions, HttpClient, SseClient};
use e2e::harness::{Gateway, fixture};
use e2e::http::open;
use e2e::{PATIENCE, eventually};
use rustix::process::{Signal, kill_process};
use serde_json::{Map, Value, json};

async fn gateway(servers: Value) -> Gateway {
    let gateway = Gateway::serving(&servers).await.expect("all servers become ready");
    let client = SseClient::connect(&gateway.url("/sse")).await.expect("HTTP+SSE connects");
    for name in servers.as_object().into_iter().flat_map(Map::keys) {
        wait_tool(&client, &format!("{name}-echo"), true).await;
    }
    gateway
}

/// Clients of both transports, each without capabilities and with some.
async fn clients(gateway: &Gateway) -> Vec<Box<dyn Client>> {
    let mut clients: Vec<Box<dyn Client>> = Vec::new();
    for capabilities in [json!({}), json!({"sampling": {}, "roots": {}})] {
        let options = |version: &str| ClientOptions::new(version).capabilities(capabilities.clone());
        let sse = SseClient::connect_with(&gateway.url("/sse"), options("2024-11-05")).await;
        let http = HttpClient::connect_with(&gateway.url("/mcp"), options("2025-11-25")).await;
        clients.push(Box::new(sse.expect("HTTP+SSE connects")));
        clients.push(Box::new(http.expect("Streamable HTTP connects")));
    }
    clients
}

async fn tools(client: &dyn Client) -> Result<Vec<String>> {
    let list = client.call("tools/list", json!({})).await?;
    let names = list["tools"].as_array().into_iter().flatten().filter_map(|tool| tool["name"].as_str());
    Ok(names.map(ToOwned::to_owned).collect())
}

async fn wait_tool(client: &dyn Client, name: &str, there: bool) {
    let look = async || (tools(client).await.ok()?.iter().any(|tool| tool == name) == there).then_some(());
    eventually(PATIENCE, format!("{name} to be in the list: {there}"), look).await.expect("the list follows");
}

async fn pid(client: &dyn Client) -> i32 {
    client.tool_text("a-pid", json!({})).await.expect("the server answers").parse().expect("a process id")
}

#[tokio::test]
async fn an_open_session_goes_on_with_a_server_that_was_replaced() {
    let gateway = Gateway::start(&json!({})).await.unwrap();
    gateway.deploy(&json!({"a": fixture(&[])})).await.unwrap().expect(200).unwrap();
    let clients = clients(&gateway).await;
    let mut before = Vec::new();
    for client in &clients {
        wait_tool(&**client, "a-pid", true).await;
        before.push(pid(&**client).await);
    }
    for round in 0..2 {
        let name = format!("round {round}");
        gateway.deploy(&json!({"a": fixture(&["--name", &name])})).await.unwrap().expect(200).unwrap();
        for (client, before) in clients.iter().zip(&mut before) {
            // The old one may still be on its way out.
            let moved = async || Some(pid(&**client).await).filter(|now| now != before);
            *before = eventually(PATIENCE, "the session to go on with the new one", moved).await.unwrap();
        }
    }
}

#[tokio::test]
async fn calls_on_a_sidecar_that_is_killed_are_answered_and_the_next_ones_work() {
    let gateway = gateway(json!({"a": fixture(&[])})).await;
    for client in clients(&gateway).await {
        let sidecar = gateway.sidecar_of(pid(&*client).await);
        let call = client.tool("a-sleep", json!({"ms": 60_000}));
        let kill = async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            kill_process(sidecar, Signal::KILL).expect("the sidecar runs");
        };
        let started = std::time::Instant::now();
        let (called, ()) = tokio::join!(call, kill);
        called.unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(15), "answered after {:?}", started.elapsed());
        let again = async || client.tool_text("a-pid", json!({})).await.ok();
        eventually(PATIENCE, "the session to go on", again).await.unwrap();
    }
}

#[tokio::test]
async fn servers_come_and_go_for_clients_with_capabilities_while_one_is_slow_to_say_what_it_offers_them() {
    let gateway = gateway(json!({"a": fixture(&[])})).await;
    let options = ClientOptions::new("2025-11-25").capabilities(json!({"sampling": {}, "elicitation": {}}));
    let client = HttpClient::connect_with(&gateway.url("/mcp"), options).await.unwrap();
    wait_tool(&client, "a-echo", true).await;
    // Its first process, which the probe uses, works; the next one, which is asked for this client, never answers.
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("started");
    let script =
        format!(r#"if mkdir {0} 2>/dev/null; then exec "$0"; else exec "$0" --fault never-init; fi"#, mark.display());
    let slow =
        json!({"command": "/bin/sh", "args": ["-c", script, fixture(&[])["command"]], "process": {"warmSpares": 0}});
    gateway.deploy(&json!({"slow": slow})).await.unwrap().expect(200).unwrap();
    wait_tool(&client, "slow-echo", true).await;
    gateway.deploy(&json!({"b": fixture(&[])})).await.unwrap().expect(200).unwrap();
    wait_tool(&client, "b-echo", true).await;
    e2e::http::http("DELETE", &gateway.url("/servers/b"), &[], "").await.unwrap().expect(200).unwrap();
    wait_tool(&client, "b-echo", false).await;
}

#[tokio::test]
async fn a_client_that_stops_reading_its_stream_takes_its_processes_along() {
    let gateway = gateway(json!({"a": fixture(&[])})).await;
    let settled = async || {
        let before = gateway.census().below().len();
        tokio::time::sleep(Duration::from_millis(500)).await;
        (gateway.census().below().len() == before).then_some(before)
    };
    let before = eventually(PATIENCE, "the processes to settle", settled).await.unwrap();
    let mut stream = open("GET", &gateway.url("/sse"), &[], "").await.unwrap();
    let first = stream.chunk().await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&first).into_owned();
    let endpoint = text.split("data: ").nth(1).and_then(|rest| rest.lines().next()).unwrap().to_owned();
    let post = async |body: Value| {
        let headers = [("content-type", "application/json")];
        e2e::http::http("POST", &gateway.url(&endpoint), &headers, body.to_string()).await
    };
    let hello =
        json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    post(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello})).await.unwrap();
    post(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await.unwrap();
    // Nobody reads the answers; when too much waits, the session ends, and further messages find none.
    for id in 1..200 {
        let params = json!({"name": "a-blob", "arguments": {"bytes": 1_000_000}});
        let posted = post(json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})).await.unwrap();
        if posted.status != 202 {
            break;
        }
    }
    let gone = async || (gateway.census().below().len() <= before).then_some(());
    eventually(2 * PATIENCE, "the session's processes to end", gone)
        .await
        .unwrap_or_else(|_| panic!("{}", gateway.census()));
    drop(stream);
}

#[tokio::test]
async fn large_results_that_come_at_once_all_arrive() {
    let gateway = gateway(json!({"a": fixture(&[])})).await;
    for (base, tool) in [("/a", "blob"), ("", "a-blob")] {
        let sse = SseClient::connect(&gateway.url(&format!("{base}/sse"))).await.unwrap();
        let http = HttpClient::connect(&gateway.url(&format!("{base}/mcp")), "2025-11-25").await.unwrap();
        let clients: [&dyn Client; 2] = [&sse, &http];
        for client in clients {
            let calls = (0..7).map(|_| client.tool_text(tool, json!({"bytes": 1_000_000})));
            for text in futures::future::join_all(calls).await {
                assert_eq!(text.unwrap().len(), 1_000_000, "{base}");
            }
        }
    }
}
