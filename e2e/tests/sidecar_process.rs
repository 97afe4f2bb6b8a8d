//! How `mcp-sidecar` keeps its server's processes: caps, spares, sharing, idle sessions, and the way it stops.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::client::{Client, ClientOptions, HttpClient, SseClient};
use e2e::harness::Sidecar;
use e2e::http::{Response, http, open};
use e2e::{PATIENCE, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};

async fn sidecar(flags: &[&str]) -> Result<Sidecar> {
    let sidecar = Sidecar::fixture(flags, &[]).await?;
    sidecar.wait_ready(&sidecar.url("/readyz")).await?;
    Ok(sidecar)
}

/// A client without a stream of its own.
async fn connect(sidecar: &Sidecar) -> Result<HttpClient> {
    HttpClient::connect_with(&sidecar.url("/mcp"), ClientOptions::new("2025-11-25").without_stream()).await
}

async fn pid(client: &dyn Client) -> Result<i32> {
    client.tool_text("pid", json!({})).await?.parse().context("no pid")
}

fn pids(sidecar: &Sidecar) -> Vec<i32> {
    sidecar.census().below().iter().map(|process| process.pid).collect()
}

async fn post(sidecar: &Sidecar, body: &Value) -> Result<Response> {
    let headers = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    http("POST", &sidecar.url("/mcp"), &headers, body.to_string()).await
}

fn initialize() -> Value {
    let info = json!({"name": "raw", "version": "0"});
    let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info});
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
}

#[tokio::test]
async fn at_capacity_only_new_sessions_are_refused() {
    let sidecar = sidecar(&["--max-processes", "2"]).await.unwrap();
    let first = connect(&sidecar).await.unwrap();
    let second = SseClient::connect(&sidecar.url("/sse")).await.unwrap();
    let refused =
        [post(&sidecar, &initialize()).await.unwrap(), http("GET", &sidecar.url("/sse"), &[], "").await.unwrap()];
    for answer in refused {
        assert_eq!(answer.status, 503);
        assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
        assert!(answer.text().contains("`maxProcesses`"), "{}", answer.text());
    }
    for client in [&first as &dyn Client, &second] {
        client.tool_text("echo", json!({"text": "on"})).await.unwrap();
    }
    first.delete().await.unwrap().expect(204).unwrap();
    let admitted = eventually(PATIENCE, "room for a session", async || connect(&sidecar).await.ok());
    pid(&admitted.await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn an_idle_session_ends_with_its_process_and_one_with_a_stream_or_a_call_does_not() {
    let sidecar = sidecar(&["--idle-timeout", "2s", "--warm-spares", "0"]).await.unwrap();
    let listening = HttpClient::connect(&sidecar.url("/mcp"), "2025-11-25").await.unwrap();
    let busy = connect(&sidecar).await.unwrap();
    let idle = connect(&sidecar).await.unwrap();
    let (kept, ended) = (pid(&listening).await.unwrap(), pid(&idle).await.unwrap());
    busy.tool_text("sleep", json!({"ms": 4500})).await.unwrap();
    assert!(busy.tool_text("pid", json!({})).await.is_ok());
    let gone = async || (!pids(&sidecar).contains(&ended)).then_some(());
    eventually(Duration::from_secs(5), "the idle process to end", gone).await.unwrap();
    assert_eq!(idle.post_raw(initialize().to_string()).await.unwrap().status, 404);
    assert_eq!(pid(&listening).await.unwrap(), kept);
}

#[tokio::test]
async fn sessions_get_processes_that_were_started_ahead() {
    let sidecar = sidecar(&["--warm-spares", "2"]).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let spares = async || Some(pids(&sidecar)).filter(|pids| pids.len() == 3 + seen.len());
        let before = eventually(PATIENCE, "the probe's process, two spares, and those in use", spares).await.unwrap();
        let client = connect(&sidecar).await.unwrap();
        let own = pid(&client).await.unwrap();
        assert!(before.contains(&own) && !seen.iter().any(|(pid, _)| *pid == own), "{own} in {before:?}");
        seen.push((own, client));
    }
    let who = seen[0].1.tool("whoami", json!({})).await.unwrap();
    assert_eq!(
        who["structuredContent"]["initialize"]["clientInfo"]["name"], "e2e",
        "a spare is not initialized before"
    );
}

#[tokio::test]
async fn one_process_shared_by_all_knows_no_client_and_gives_each_its_own_revision() {
    let sidecar = sidecar(&["--mode", "shared"]).await.unwrap();
    let mut clients: Vec<Box<dyn Client>> = Vec::new();
    let options = |version: &str| ClientOptions::new(version).capabilities(json!({"sampling": {}}));
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let client = HttpClient::connect_with(&sidecar.url("/mcp"), options(version)).await.unwrap();
        assert_eq!(client.server()["protocolVersion"], version);
        clients.push(Box::new(client));
    }
    let sse = SseClient::connect_with(&sidecar.url("/sse"), options("2024-11-05")).await.unwrap();
    assert_eq!(sse.server()["x-vendor"], json!({"n": 1.0, "a": 100.0}));
    clients.push(Box::new(sse));
    let [only] = pids(&sidecar)[..] else { panic!("one process: {}", sidecar.census()) };
    for client in &clients {
        assert_eq!(pid(client.as_ref()).await.unwrap(), only);
        let who = client.tool("whoami", json!({})).await.unwrap()["structuredContent"]["initialize"].take();
        assert_eq!((&who["capabilities"], &who["clientInfo"]["name"]), (&json!({}), &json!("mcp-gateway")));
        let asked = client.tool_text("ask", json!({"method": "roots/list"})).await.unwrap();
        assert!(asked.contains("shared by many sessions"), "{asked}");
    }
    clients[0].tool_text("add_tool", json!({"name": "news"})).await.unwrap();
    for client in &clients {
        client.expect_event("notifications/tools/list_changed").await.unwrap();
    }
}

#[tokio::test]
async fn in_a_shared_process_progress_and_updates_reach_those_alone_that_asked() {
    let sidecar = sidecar(&["--mode", "shared"]).await.unwrap();
    let url = sidecar.url("/mcp");
    let a = HttpClient::connect(&url, "2025-11-25").await.unwrap();
    let b = HttpClient::connect(&url, "2025-11-25").await.unwrap();
    let uri = json!({"uri": "fixture://watched"});
    a.call("resources/subscribe", uri.clone()).await.unwrap();
    let progress = |steps: u64| {
        let arguments = json!({"steps": steps, "ms": 20});
        json!({"name": "progress", "arguments": arguments, "_meta": {"progressToken": "same"}})
    };
    let (one, two) = tokio::join!(a.call("tools/call", progress(3)), b.call("tools/call", progress(5)));
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(b.tool_text("touch", uri.clone()).await.unwrap(), "told");
    assert_eq!(a.expect_event("notifications/resources/updated").await.unwrap().params(), &uri);
    for (client, steps) in [(&a, 3), (&b, 5)] {
        let events = client.events();
        assert_eq!(events.len(), steps, "{events:?}");
        assert!(events.iter().all(|event| event.params()["total"] == steps));
    }
}

#[tokio::test]
async fn sigterm_lets_calls_finish_ends_streams_and_exits_with_0() {
    for mode in ["perSession", "shared"] {
        let mut sidecar = sidecar(&["--mode", mode]).await.unwrap();
        let client = connect(&sidecar).await.unwrap();
        let sse = SseClient::connect(&sidecar.url("/sse")).await.unwrap();
        let watch = open("GET", &sidecar.url("/status?watch"), &[], "").await.unwrap();
        let logs = open("GET", &sidecar.url("/logs?follow"), &[], "").await.unwrap();
        let stop = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            sidecar.signal(Signal::TERM).unwrap();
            sidecar.wait_log("stopping").await.unwrap();
        };
        let call = async |client: &dyn Client| client.tool_text("sleep", json!({"ms": 1500})).await;
        let (one, two, ()) = tokio::join!(call(&client), call(&sse), stop);
        assert_eq!((one.unwrap(), two.unwrap()), ("slept".to_owned(), "slept".to_owned()), "{mode}");
        assert!(sse.next_event().await.unwrap_err().to_string().contains("the event stream ended"), "{mode}");
        watch.collect().await.unwrap();
        logs.collect().await.unwrap();
        assert_eq!(sidecar.wait(PATIENCE).await.unwrap().code(), Some(0), "{mode}");
        assert!(sidecar.census().processes.is_empty(), "{mode}");
    }
}

#[tokio::test]
async fn streams_that_the_drain_ends_are_told_when_to_connect_again() {
    for mode in ["perSession", "shared"] {
        let mut sidecar = sidecar(&["--mode", mode]).await.unwrap();
        let client = connect(&sidecar).await.unwrap();
        let listening = client.request_http("GET", &[("accept", "text/event-stream")], "").await.unwrap();
        let sse = open("GET", &sidecar.url("/sse"), &[], "").await.unwrap();
        sidecar.signal(Signal::TERM).unwrap();
        for opened in [listening, sse] {
            let text = opened.collect().await.unwrap().text();
            assert!(text.ends_with("\n\nretry: 500\n\n"), "{mode}: {text}");
        }
        assert_eq!(sidecar.wait(PATIENCE).await.unwrap().code(), Some(0), "{mode}");
    }
}

#[tokio::test]
async fn while_it_drains_no_session_is_opened_and_it_is_not_ready() {
    let mut sidecar = sidecar(&["--admin", "127.0.0.1:0"]).await.unwrap();
    let admin = sidecar.admin().await.unwrap();
    let client = connect(&sidecar).await.unwrap();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(http("GET", &format!("{admin}/readyz"), &[], "").await.unwrap().status, 200);
        sidecar.signal(Signal::TERM).unwrap();
        sidecar.wait_log("stopping").await.unwrap();
        let refused = connect(&sidecar).await;
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(http("GET", &format!("{admin}/readyz"), &[], "").await.unwrap().status, 503);
        assert_eq!(http("GET", &format!("{admin}/healthz"), &[], "").await.unwrap().status, 200);
    };
    let (slept, ()) = tokio::join!(client.tool_text("sleep", json!({"ms": 1500})), stop);
    assert_eq!(slept.unwrap(), "slept");
    assert_eq!(sidecar.wait(PATIENCE).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_call_that_does_not_finish_is_cut_off_by_the_drain_timeout() {
    let mut sidecar = sidecar(&["--drain-timeout", "500ms"]).await.unwrap();
    let client = connect(&sidecar).await.unwrap();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        sidecar.signal(Signal::TERM).unwrap();
    };
    let (silent, ()) = tokio::join!(client.tool_text("silent", json!({})), stop);
    assert!(silent.is_err());
    assert_eq!(sidecar.wait(PATIENCE).await.unwrap().code(), Some(1));
    sidecar.wait_log("was cut off").await.unwrap();
}

#[tokio::test]
async fn hidden_tools_are_neither_listed_nor_called_not_even_in_a_batch() {
    let flags = ["--allow-tool", "e*", "--allow-tool", "pid", "--deny-tool", "elicit", "--deny-tool", "*_1"];
    let sidecar = Sidecar::fixture(&flags, &["--extra-tools", "3", "--page-size", "7"]).await.unwrap();
    let options = ClientOptions::new("2025-03-26").without_stream();
    let http = HttpClient::connect_with(&sidecar.url("/mcp"), options).await.unwrap();
    let sse = SseClient::connect(&sidecar.url("/sse")).await.unwrap();
    for client in [&http as &dyn Client, &sse] {
        let tools = client.list("tools/list", "tools").await.unwrap();
        let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["echo", "pid", "env", "extra_0", "extra_2"]);
        for hidden in ["elicit", "extra_1", "crash", "no such tool"] {
            let answer = client.request("tools/call", json!({"name": hidden})).await.unwrap();
            assert_eq!(answer.into_result().unwrap_err().code, -32602, "{hidden}");
        }
        client.tool_text("extra_2", json!({})).await.unwrap();
    }
    let call =
        |id: u64, name: &str| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": name}});
    let batch =
        json!([call(1, "crash"), call(2, "pid"), call(3, "\u{65}licit")]).to_string().replace("licit", "\\u006cicit");
    let answer = http.post_raw(batch).await.unwrap().collect().await.unwrap().text();
    assert_eq!((answer.matches("Unknown tool").count(), answer.matches("content").count()), (2, 1), "{answer}");
    let status = e2e::http::http("GET", &sidecar.url("/status"), &[], "").await.unwrap().json().unwrap();
    assert_eq!(status["restarts"], 0);
}
