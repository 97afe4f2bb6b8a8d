//! Clients of 2026-07-28 before a server that knows only older revisions: `mcp-sidecar` translates. What such a server asks
//! of its clients is in `parked.rs`.

use anyhow::Result;
use e2e::fixture::remote::Remote;
use e2e::fixture::{MODERN, ODD_RESULT};
use e2e::harness::{Gateway, Launch, Sidecar, fixture};
use e2e::modern::{ModernClient, cancelled_one, client, listen, message, text};
use e2e::{PATIENCE, eventually};
use serde_json::json;

async fn sidecar(flags: &[&str]) -> Result<Sidecar> {
    Sidecar::fixture(flags, &[]).await
}

#[tokio::test]
async fn the_server_is_discovered_and_used_by_one_process_without_a_handshake_of_the_client() {
    let sidecar = sidecar(&[]).await.unwrap();
    let modern = client(&sidecar);
    let found = modern.result("server/discover", json!({})).await.unwrap();
    assert_eq!((&found["supportedVersions"], &found["resultType"]), (&json!([MODERN]), &json!("complete")));
    assert_eq!(found["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "fixture");
    assert_eq!((&found["instructions"], &found["cacheScope"]), (&json!("fixture!"), &json!("private")));
    let first = text(&modern.tool("pid", json!({})).await.unwrap()).to_owned();
    assert_eq!(text(&modern.tool("pid", json!({})).await.unwrap()), first);
    for (method, key) in [
        ("tools/list", "tools"),
        ("prompts/list", "prompts"),
        ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates"),
    ] {
        let list = modern.result(method, json!({})).await.unwrap();
        assert!(!list[key].as_array().unwrap().is_empty(), "{method}");
        assert_eq!((&list["resultType"], &list["ttlMs"]), (&json!("complete"), &json!(0)), "{method}");
    }
}

#[tokio::test]
async fn a_result_gets_its_kind_and_nothing_else_is_changed() {
    let sidecar = sidecar(&[]).await.unwrap();
    let answer = client(&sidecar).post("tools/call", json!({"name": "odd"})).await.unwrap();
    let expected = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"resultType":"complete",{}}}"#, &ODD_RESULT[1..]);
    assert_eq!(answer.messages, [expected]);
    let sent = client(&sidecar).meta("x-vendor", json!({"n": 1.5})).tool("raw", json!({"a": 1})).await.unwrap();
    assert_eq!(text(&sent), r#"{"name":"raw","arguments":{"a":1},"_meta":{"x-vendor":{"n":1.5}}}"#);
}

#[tokio::test]
async fn errors_have_the_codes_and_statuses_of_the_newer_revision() {
    let sidecar = sidecar(&["--deny-tool", "echo"]).await.unwrap();
    let modern = client(&sidecar);
    for (method, params, expected) in [
        ("resources/read", json!({"uri": "fixture://none"}), (200, -32602)),
        ("no/such", json!({}), (404, -32601)),
        ("ping", json!({}), (404, -32601)),
        ("tasks/get", json!({"taskId": "1"}), (404, -32601)),
        ("tools/call", json!({"name": "echo", "arguments": {"text": "x"}}), (200, -32602)),
        ("tools/call", json!({"name": "refuse", "arguments": {"code": -32000}}), (200, -32000)),
    ] {
        assert_eq!(modern.post(method, params).await.unwrap().outcome().unwrap(), expected, "{method}");
    }
}

#[tokio::test]
async fn progress_log_lines_and_cancellation_belong_to_their_request() {
    let sidecar = sidecar(&[]).await.unwrap();
    let modern = client(&sidecar).meta("progressToken", json!("p"));
    let answer = modern.post("tools/call", json!({"name": "progress", "arguments": {"steps": 3}})).await.unwrap();
    assert!(answer.messages.len() == 4 && answer.messages[0].contains(r#""progressToken":"p""#), "{answer:?}");
    let log = json!({"name": "log", "arguments": {"level": "warning", "text": "careful"}});
    let logging = client(&sidecar).meta("io.modelcontextprotocol/logLevel", json!("info"));
    let answer = logging.post("tools/call", log.clone()).await.unwrap();
    assert!(answer.messages.len() == 2 && answer.messages[0].contains("careful"), "{answer:?}");
    let silent = client(&sidecar).post("tools/call", log).await.unwrap();
    assert_eq!(silent.messages.len(), 1, "{silent:?}");
    let opened = modern.open("tools/call", json!({"name": "progress", "arguments": {"steps": 1000, "ms": 20}})).await;
    let mut events = opened.unwrap().into_events().await.unwrap();
    events.data(PATIENCE).await.unwrap();
    drop(events);
    cancelled_one(&modern).await.unwrap();
}

#[tokio::test]
async fn a_stream_of_changes_is_made_of_what_the_server_tells() {
    let sidecar = sidecar(&[]).await.unwrap();
    let modern = client(&sidecar);
    let (mut tools, _) = listen(&modern, json!({"toolsListChanged": true})).await.unwrap();
    let (mut watched, _) = listen(&modern, json!({"resourceSubscriptions": ["fixture://watched"]})).await.unwrap();
    modern.tool("add_tool", json!({"name": "new"})).await.unwrap();
    assert_eq!(text(&modern.tool("touch", json!({"uri": "fixture://watched"})).await.unwrap()), "told");
    for (events, method, id) in
        [(&mut tools, "notifications/tools/list_changed", 1), (&mut watched, "notifications/resources/updated", 2)]
    {
        let changed = message(events).await.unwrap();
        assert_eq!(changed["method"], method);
        assert_eq!(changed["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], id);
    }
}

#[tokio::test]
async fn a_process_ends_when_its_client_has_not_come_for_long_and_the_next_request_has_another() {
    let prepare = |launch: Launch| launch;
    let command = [e2e::harness::Bin::Fixture.text().unwrap()];
    let flags = ["--idle-timeout", "300ms", "--warm-spares", "0"];
    let sidecar = Sidecar::start_with(&flags, &command, prepare).await.unwrap();
    let modern = client(&sidecar);
    let first: i32 = text(&modern.tool("pid", json!({})).await.unwrap()).parse().unwrap();
    eventually(PATIENCE, "the process to end", async || {
        (!sidecar.census().processes.iter().any(|process| process.pid == first)).then_some(())
    })
    .await
    .unwrap();
    let second: i32 = text(&modern.tool("pid", json!({})).await.unwrap()).parse().unwrap();
    assert_ne!(first, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_elsewhere_is_used_by_either_of_its_transports() {
    for (speaks, path) in [("streamable", "/mcp"), ("sse", "/sse")] {
        let remote = Remote::from_flags(&["--remote", speaks]).await.unwrap();
        let sidecar = Sidecar::remote(&[], &remote.url(path)).await.unwrap();
        let modern = client(&sidecar);
        assert_eq!(text(&modern.tool("echo", json!({"text": "hi"})).await.unwrap()), "hi", "{speaks}");
        let (mut tools, _) = listen(&modern, json!({"toolsListChanged": true})).await.unwrap();
        modern.tool("add_tool", json!({"name": "new"})).await.unwrap();
        assert_eq!(message(&mut tools).await.unwrap()["method"], "notifications/tools/list_changed", "{speaks}");
    }
}

#[tokio::test]
async fn a_gateway_lets_such_a_client_use_any_server() {
    let gateway = Gateway::serving(&json!({"old": fixture(&["--latest", "2024-11-05"])})).await.unwrap();
    let modern = ModernClient::new(gateway.url("/old/mcp"));
    assert_eq!(text(&modern.tool("echo", json!({"text": "hi"})).await.unwrap()), "hi");
}
