//! Servers are replaced, killed and brought back, and the gateway stops or is killed, while clients are at work.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::client::{Client, HttpClient, SseClient, StatusError};
use e2e::harness::{Bin, Census, Gateway, Launch, Process, fixture};
use e2e::http::{http, open};
use e2e::{PATIENCE, eventually};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

/// How long what was killed may leave something behind.
const LEFTOVERS: Duration = Duration::from_secs(5);

async fn gateway(servers: Value) -> Gateway {
    Gateway::serving(&servers).await.expect("all servers become ready")
}

async fn connect(gateway: &Gateway, server: &str) -> HttpClient {
    HttpClient::connect(&gateway.url(&format!("/{server}/mcp")), "2025-11-25").await.expect("the server is connected")
}

/// The process of a client's session.
async fn pid(client: &dyn Client) -> Result<i32> {
    client.tool_text("pid", json!({})).await?.parse().context("no pid")
}

/// Those of the census that still run; whoever inherits the dead may be slow to bury them.
fn running(census: &Census) -> Vec<String> {
    let alive = census.alive().into_iter().filter(|process| process.state != 'Z');
    alive.map(|process| process.command).collect()
}

async fn gone(census: &Census) {
    let look = async || running(census).is_empty().then_some(());
    let gone = eventually(LEFTOVERS, "all to be gone", look).await;
    assert!(gone.is_ok(), "left: {:?}", running(census));
}

fn status<T: std::fmt::Debug>(outcome: Result<T>) -> u16 {
    outcome.expect_err("it fails").downcast::<StatusError>().expect("the error is a status").status
}

#[tokio::test]
async fn a_replaced_server_finishes_its_calls_while_new_sessions_go_to_its_successor() {
    let gateway = Gateway::start(&json!({})).await.unwrap();
    gateway.deploy(&json!({"a": fixture(&["--name", "old"])})).await.unwrap().expect(200).unwrap();
    let (http, sse) = (connect(&gateway, "a").await, SseClient::connect(&gateway.url("/a/sse")).await.unwrap());
    let (one, two) = (pid(&http).await.unwrap(), pid(&sse).await.unwrap());
    let old = gateway.sidecar_of(one);
    let replace = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let servers = json!({"a": fixture(&["--name", "new"])});
        let answer = gateway.deploy(&servers).await.unwrap().expect(200).unwrap().json().unwrap();
        assert_eq!(answer["results"]["a"]["message"], "replaced; ready");
        let fresh = connect(&gateway, "a").await;
        assert_eq!(fresh.server()["serverInfo"]["name"], "new");
        assert!(
            gateway.census().processes.iter().any(|process| process.pid == one),
            "the old process was not waited for"
        );
        fresh
    };
    let long = json!({"ms": 3000});
    let calls = (http.tool_text("sleep", long.clone()), sse.tool_text("sleep", long));
    let (first, second, fresh) = tokio::join!(calls.0, calls.1, replace);
    assert_eq!((first.unwrap().as_str(), second.unwrap().as_str()), ("slept", "slept"));
    let ended = async || {
        let left = gateway.census().processes.iter().any(|it| [old.as_raw_nonzero().get(), one, two].contains(&it.pid));
        (!left).then_some(())
    };
    eventually(PATIENCE, "the old processes to end", ended).await.unwrap();
    assert_eq!(status(http.tool("pid", json!({})).await), 404);
    pid(&fresh).await.unwrap();
}

#[tokio::test]
async fn a_replacement_that_does_not_work_leaves_the_old_server_in_place() {
    let gateway = Gateway::start(&json!({})).await.unwrap();
    gateway.deploy(&json!({"a": fixture(&["--name", "old"])})).await.unwrap().expect(200).unwrap();
    let client = connect(&gateway, "a").await;
    let broken = json!({"a": fixture(&["--name", "new", "--fault", "exit-at-start=3"])});
    let answer = gateway.deploy(&broken).await.unwrap().expect(200).unwrap();
    assert!(answer.text().contains("exited with code 3"), "{}", answer.text());
    pid(&client).await.unwrap();
    assert_eq!(connect(&gateway, "a").await.server()["serverInfo"]["name"], "old");
    gateway.deploy(&json!({"a": fixture(&["--name", "new"])})).await.unwrap().expect(200).unwrap();
    assert_eq!(connect(&gateway, "a").await.server()["serverInfo"]["name"], "new");
}

#[tokio::test]
async fn a_killed_sidecar_is_started_again_with_its_sessions_lost_and_no_other_disturbed() {
    let stubborn = ["--fault", "ignore-eof", "--fault", "ignore-term", "--fault", "fork-grandchild"];
    let gateway = gateway(json!({"a": fixture(&stubborn), "b": fixture(&[])})).await;
    let (http, sse) = (connect(&gateway, "a").await, SseClient::connect(&gateway.url("/a/sse")).await.unwrap());
    let other = connect(&gateway, "b").await;
    let theirs = pid(&other).await.unwrap();
    let sidecar = gateway.sidecar_of(pid(&http).await.unwrap());
    let kill = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        kill_process(sidecar, Signal::KILL).unwrap();
    };
    let sleep = json!({"ms": 60_000});
    let (lost, on_stream, slept, ()) = tokio::join!(
        http.tool("sleep", sleep.clone()),
        sse.tool("sleep", sleep),
        other.tool_text("sleep", json!({"ms": 1000})),
        kill
    );
    assert!(lost.is_err() && on_stream.is_err());
    assert_eq!(slept.unwrap(), "slept");
    gateway.wait_log("a sidecar has ended and is started again").await.unwrap();
    gateway.wait_status("a", "ready").await.unwrap();
    for client in [&http as &dyn Client, &sse] {
        assert_eq!(status(client.tool("pid", json!({})).await), 404);
    }
    pid(&connect(&gateway, "a").await).await.unwrap();
    assert_eq!(pid(&other).await.unwrap(), theirs);
    let swept = async || {
        let census = gateway.census();
        let ours = |it: &&&Process| it.parent == gateway.pid() && !it.command.contains("mcp-sidecar");
        (census.below().iter().filter(ours).count() == 0).then_some(())
    };
    let gone = eventually(LEFTOVERS, "what the sidecar left to end", swept).await;
    assert!(gone.is_ok(), "left over:\n{}", gateway.census());
}

#[tokio::test]
async fn nothing_is_left_of_a_gateway_that_was_killed() {
    let stubborn = ["--fault", "ignore-eof", "--fault", "ignore-term", "--fault", "fork-grandchild"];
    let servers = json!({"a": fixture(&stubborn), "b": fixture(&[]), "hangs": fixture(&["--fault", "never-init"])});
    let mut gateway = Gateway::start(&json!({"mcpServers": servers})).await.unwrap();
    gateway.wait_status("a", "ready").await.unwrap();
    let clients = [connect(&gateway, "a").await, connect(&gateway, "b").await];
    for client in &clients {
        pid(client).await.unwrap();
    }
    let census = gateway.census();
    assert!(census.below().len() > 8, "{census}");
    gateway.kill().await.unwrap();
    gone(&census).await;
    assert!(gateway.census().processes.is_empty(), "{}", gateway.census());
}

#[tokio::test]
async fn a_stop_waits_for_calls_and_not_for_idle_streams_and_leaves_nothing() {
    let mut gateway =
        gateway(json!({"a": fixture(&[]), "b": fixture(&["--fault", "ignore-eof", "--fault", "ignore-term"])})).await;
    let (http, sse) = (connect(&gateway, "a").await, SseClient::connect(&gateway.url("/a/sse")).await.unwrap());
    let all = HttpClient::connect(&gateway.url("/mcp"), "2025-11-25").await.unwrap();
    let idle = [connect(&gateway, "b").await, connect(&gateway, "a").await];
    let stream = SseClient::connect(&gateway.url("/b/sse")).await.unwrap();
    let logs = open("GET", &gateway.url("/servers/a/logs?follow"), &[], "").await.unwrap();
    let census = gateway.census();
    let admin = gateway.admin().await.unwrap();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        gateway.signal(Signal::TERM).unwrap();
        gateway.wait_log("stopping").await.unwrap();
        let refused = async || open("GET", &gateway.url("/healthz"), &[], "").await.is_err().then_some(());
        eventually(PATIENCE, "new connections to be refused", refused).await.unwrap();
        http_status(&format!("{admin}/readyz")).await
    };
    let sleep = json!({"ms": 1500});
    let calls = async {
        tokio::join!(
            http.tool_text("sleep", sleep.clone()),
            sse.tool_text("sleep", sleep.clone()),
            all.tool_text("a-sleep", sleep.clone())
        )
    };
    let ((first, second, third), ready) = tokio::join!(calls, stop);
    assert_eq!([first.unwrap(), second.unwrap(), third.unwrap()], ["slept"; 3]);
    assert_eq!(ready, 503);
    assert_eq!(gateway.wait(PATIENCE).await.unwrap().code(), Some(0));
    gone(&census).await;
    drop((idle, stream, logs));
}

async fn http_status(url: &str) -> u16 {
    http("GET", url, &[], "").await.expect("an answer").status
}

#[tokio::test]
async fn a_stop_ends_calls_that_take_longer_than_the_drain_timeout() {
    let config = json!({"drainTimeout": "500ms", "mcpServers": {"a": fixture(&[])}});
    let mut gateway = Gateway::start(&config).await.unwrap();
    let client = connect(&gateway, "a").await;
    let census = gateway.census();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        gateway.signal(Signal::TERM).unwrap();
    };
    let (call, ()) = tokio::join!(client.tool("sleep", json!({"ms": 60_000})), stop);
    assert!(call.is_err());
    gateway.wait(PATIENCE).await.unwrap();
    gone(&census).await;
}

#[tokio::test]
async fn a_second_signal_ends_everything_at_once() {
    let mut gateway = gateway(json!({"a": fixture(&[])})).await;
    let client = connect(&gateway, "a").await;
    let census = gateway.census();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        gateway.signal(Signal::TERM).unwrap();
        gateway.wait_log("stopping").await.unwrap();
        gateway.signal(Signal::TERM).unwrap();
    };
    let (call, ()) = tokio::join!(client.tool("sleep", json!({"ms": 60_000})), stop);
    assert!(call.is_err());
    assert_eq!(gateway.wait(PATIENCE).await.unwrap().code(), Some(1));
    gone(&census).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_and_nothing_is_started() {
    let gateway = Gateway::start(&json!({})).await.unwrap();
    let address = gateway.origin().trim_start_matches("http://").to_owned();
    let dir = tempfile::tempdir().unwrap();
    let launch = Launch::new(Bin::Gateway).unwrap().args(["serve", "--listen", &address, "--state-dir"]);
    let mut second = launch.arg(dir.path().join("state")).spawn().unwrap();
    assert_eq!(second.wait(PATIENCE).await.unwrap().code(), Some(1));
    let line = second.wait_log("is in use by another program").await.unwrap();
    assert!(line.contains(&address) && line.contains("--listen"), "{line}");
    assert!(!dir.path().join("state").exists());
}
