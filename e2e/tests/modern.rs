//! Clients of 2026-07-28 before a server that speaks it: nothing is translated, and nothing is lost.

use std::time::Duration;

use anyhow::Result;
use e2e::client::{Client, HttpClient};
use e2e::fixture::{MODERN, ODD_RESULT};
use e2e::harness::{Gateway, Sidecar, fixture};
use e2e::http::http;
use e2e::modern::{ModernClient, cancelled_one, client, message, text};
use e2e::{PATIENCE, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};

const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";

async fn sidecar(era: &str) -> Result<Sidecar> {
    Sidecar::fixture(&[], &["--era", era]).await
}

#[tokio::test]
async fn a_server_of_both_eras_serves_each_client_in_its_own_and_each_process_one_of_them() {
    let sidecar = sidecar("first").await.unwrap();
    let legacy = HttpClient::connect(&sidecar.url("/mcp"), "2025-11-25").await.unwrap();
    let modern = client(&sidecar);
    let discovered = modern.result("server/discover", json!({})).await.unwrap();
    assert_eq!((&discovered["supportedVersions"], &discovered["x-vendor"]["n"]), (&json!([MODERN]), &json!(1.0)));
    let mut pids = Vec::new();
    for _ in 0..2 {
        pids.push(text(&modern.tool("pid", json!({})).await.unwrap()).to_owned());
        pids.push(text(&legacy.tool("pid", json!({})).await.unwrap()).to_owned());
    }
    assert!(pids[0] == pids[2] && pids[1] == pids[3] && pids[0] != pids[1], "{pids:?}");
    let result = modern.result("tools/list", json!({})).await.unwrap();
    assert_eq!((&result["resultType"], &result["ttlMs"]), (&json!("complete"), &json!(5000)));
    assert!(legacy.list("tools/list", "tools").await.unwrap().len() == result["tools"].as_array().unwrap().len());
}

#[tokio::test]
async fn results_and_params_cross_byte_for_byte() {
    let sidecar = sidecar("modern").await.unwrap();
    let answer = client(&sidecar).post("tools/call", json!({"name": "odd"})).await.unwrap();
    let expected = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"resultType":"complete",{}}}"#, &ODD_RESULT[1..]);
    assert_eq!(answer.messages, [expected]);
    let meta = format!(r#""_meta":{{"{VERSION_KEY}":"{MODERN}", "{CAPABILITIES_KEY}":{{"x":1.0}},"b":-0}}"#);
    let params = format!(r#"{{"name":"raw","x":[1e2,"\u00e9"], {meta}}}"#);
    let body = format!(r#"{{"jsonrpc":"2.0","id":1.50,"method":"tools/call","params":{params}}}"#);
    let headers = [
        ("content-type", "application/json"),
        ("mcp-protocol-version", MODERN),
        ("mcp-method", "tools/call"),
        ("mcp-name", "raw"),
        ("mcp-session-id", "is-ignored"),
    ];
    let answer = http("POST", &sidecar.url("/mcp"), &headers, body).await.unwrap().expect(200).unwrap();
    assert!(answer.text().starts_with(r#"{"jsonrpc":"2.0","id":1.50,"#) && answer.header("mcp-session-id").is_none());
    assert_eq!(text(&answer.json().unwrap()["result"]), params);
}

#[tokio::test]
async fn a_request_that_does_not_say_of_itself_what_it_must_is_refused_with_the_status_for_it() {
    let sidecar = sidecar("first").await.unwrap();
    let modern = || client(&sidecar);
    let list = async |client: ModernClient| client.post("tools/list", json!({})).await.unwrap().outcome().unwrap();
    assert_eq!(list(modern()).await, (200, 0));
    assert_eq!(list(modern().header("mcp-method", "tools/list")).await, (400, -32020));
    assert_eq!(list(modern().meta(VERSION_KEY, json!("2025-11-25"))).await, (400, -32020));
    assert_eq!(list(modern().meta(CAPABILITIES_KEY, Value::Null)).await, (400, -32602));
    for method in ["initialize", "ping", "logging/setLevel", "resources/subscribe", "no/such"] {
        let answer = modern().post(method, json!({})).await.unwrap();
        assert_eq!(answer.outcome().unwrap(), (404, -32601), "{method}");
    }
    let lacks = modern().post("tools/call", json!({"name": "sample"})).await.unwrap();
    assert_eq!(lacks.outcome().unwrap(), (400, -32021));
    assert_eq!(lacks.json().unwrap()["error"]["data"]["requiredCapabilities"], json!({"sampling": {}}));
    for method in ["GET", "DELETE"] {
        let answer = http(method, &sidecar.url("/mcp"), &[("mcp-protocol-version", MODERN)], "").await.unwrap();
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, OPTIONS")), "{method}");
    }
    let headers = [("content-type", "application/json"), ("mcp-protocol-version", MODERN)];
    for (body, status) in [
        (r#"{"jsonrpc":"2.0","method":"notifications/x"}"#, 202),
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, 400),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]"#, 400),
    ] {
        let answer = http("POST", &sidecar.url("/mcp"), &headers, body).await.unwrap();
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
}

#[tokio::test]
async fn progress_and_log_lines_come_before_the_answer_of_their_request() {
    let sidecar = sidecar("modern").await.unwrap();
    let modern =
        client(&sidecar).meta("progressToken", json!("p")).meta("io.modelcontextprotocol/logLevel", json!("info"));
    let answer = modern.post("tools/call", json!({"name": "progress", "arguments": {"steps": 3}})).await.unwrap();
    assert!(answer.streamed && answer.messages.len() == 4, "{answer:?}");
    assert!(answer.messages[..3].iter().all(|message| message.contains(r#""progressToken":"p""#)));
    let arguments = json!({"level": "warning", "text": "careful"});
    let answer = modern.post("tools/call", json!({"name": "log", "arguments": arguments})).await.unwrap();
    assert!(answer.messages.len() == 2 && answer.messages[0].contains("careful"), "{answer:?}");
    let silent = client(&sidecar).post("tools/call", json!({"name": "log", "arguments": arguments})).await.unwrap();
    assert!(!silent.streamed && silent.messages.len() == 1, "{silent:?}");
}

#[tokio::test]
async fn a_client_that_goes_has_cancelled_its_request() {
    let sidecar = sidecar("modern").await.unwrap();
    let modern = client(&sidecar).meta("progressToken", json!(1));
    let arguments = json!({"steps": 1000, "ms": 20});
    let opened = modern.open("tools/call", json!({"name": "progress", "arguments": arguments})).await.unwrap();
    let mut events = opened.into_events().await.unwrap();
    events.data(PATIENCE).await.unwrap();
    drop(events);
    cancelled_one(&client(&sidecar)).await.unwrap();
}

#[tokio::test]
async fn a_stream_of_changes_carries_those_it_asked_for_under_its_own_id_until_the_program_stops() {
    let mut sidecar = sidecar("modern").await.unwrap();
    let modern = client(&sidecar);
    let listen = async |wanted: Value| {
        let opened = modern.open("subscriptions/listen", json!({"notifications": wanted})).await.unwrap();
        let mut events = opened.into_events().await.unwrap();
        let first = message(&mut events).await.unwrap();
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
        (events, first["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"].clone())
    };
    let (mut tools, tools_id) = listen(json!({"toolsListChanged": true})).await;
    let (mut watched, watched_id) = listen(json!({"resourceSubscriptions": ["fixture://watched"]})).await;
    assert_eq!((&tools_id, &watched_id), (&json!(1), &json!(2)));
    // The sidecar may listen, too.
    assert!(text(&modern.tool("add_tool", json!({"name": "new"})).await.unwrap()).starts_with("told "));
    assert_eq!(text(&modern.tool("touch", json!({"uri": "fixture://watched"})).await.unwrap()), "told 1");
    for (events, method, id) in [
        (&mut tools, "notifications/tools/list_changed", tools_id),
        (&mut watched, "notifications/resources/updated", watched_id),
    ] {
        let changed = message(events).await.unwrap();
        assert_eq!(changed["method"], method);
        assert_eq!(changed["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], id);
    }
    sidecar.signal(Signal::TERM).unwrap();
    let end = message(&mut tools).await.unwrap();
    assert_eq!((&end["id"], &end["result"]["resultType"]), (&json!(1), &json!("complete")));
    assert!(sidecar.wait(PATIENCE).await.unwrap().success());
}

#[tokio::test]
async fn what_the_server_wants_to_know_is_a_result_and_its_state_comes_back_as_it_was() {
    let sidecar = sidecar("modern").await.unwrap();
    let modern = client(&sidecar).capabilities(json!({"elicitation": {"form": {}}}));
    let mut params = json!({"name": "elicit", "arguments": {"message": "user?"}});
    let asked = modern.result("tools/call", params.clone()).await.unwrap();
    assert_eq!(asked["resultType"], "input_required");
    assert_eq!(asked["inputRequests"]["q"]["method"], "elicitation/create");
    params["requestState"] = asked["requestState"].clone();
    params["inputResponses"] = json!({"q": {"action": "accept", "content": {"name": "ann"}}});
    let answer = modern.result("tools/call", params).await.unwrap();
    assert_eq!(answer["resultType"], "complete");
    assert!(text(&answer).contains(r#""name":"ann""#), "{answer}");
}

#[tokio::test]
async fn a_call_on_a_process_that_dies_fails_at_once_and_the_next_has_another_process() {
    let sidecar = sidecar("first").await.unwrap();
    let modern = client(&sidecar);
    let first = text(&modern.tool("pid", json!({})).await.unwrap()).to_owned();
    let died = modern.post("tools/call", json!({"name": "crash", "arguments": {"code": 3}})).await.unwrap();
    assert_eq!(died.outcome().unwrap(), (200, -32603));
    assert!(died.json().unwrap()["error"]["message"].as_str().unwrap().contains('3'), "{died:?}");
    let second = text(&modern.tool("pid", json!({})).await.unwrap()).to_owned();
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_server_that_knows_only_the_newest_revision_is_ready_and_its_status_follows_it() {
    let sidecar = sidecar("modern").await.unwrap();
    sidecar.wait_ready(&sidecar.url("/readyz")).await.unwrap();
    let status = http("GET", &sidecar.url("/status"), &[], "").await.unwrap().json().unwrap();
    assert_eq!((&status["phase"], &status["catalogue"]["protocolVersion"]), (&json!("ready"), &json!(MODERN)));
    let listed = |status: &Value| status["catalogue"]["tools"].as_array().map_or(0, Vec::len);
    client(&sidecar).tool("add_tool", json!({"name": "new"})).await.unwrap();
    eventually(PATIENCE, "the new tool in the status", async || {
        let now = http("GET", &sidecar.url("/status"), &[], "").await.ok()?.json().ok()?;
        (listed(&now) == listed(&status) + 1).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn tools_that_are_hidden_are_hidden_in_this_era_too() {
    let sidecar = Sidecar::fixture(&["--deny-tool", "e*"], &["--era", "modern"]).await.unwrap();
    let modern = client(&sidecar);
    let tools = modern.result("tools/list", json!({})).await.unwrap();
    let names: Vec<_> = tools["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"add") && !names.contains(&"echo"), "{names:?}");
    let hidden = modern.post("tools/call", json!({"name": "echo", "arguments": {"text": "x"}})).await.unwrap();
    assert_eq!(hidden.outcome().unwrap(), (200, -32602));
}

#[tokio::test]
async fn an_argument_that_a_tool_wants_in_a_header_must_be_there_and_the_same() {
    let sidecar = sidecar("modern").await.unwrap();
    let route = async |client: ModernClient, arguments: Value| {
        let params = json!({"name": "route", "arguments": arguments});
        client.post("tools/call", params).await.unwrap().outcome().unwrap()
    };
    let region = |value| client(&sidecar).header("mcp-param-region", value).header("mcp-param-other", "is let pass");
    assert_eq!(route(region("eu"), json!({"region": "eu"})).await, (200, 0));
    assert_eq!(route(region("=?base64?w7Y=?="), json!({"region": "ö"})).await, (200, 0));
    assert_eq!(route(region("us"), json!({"region": "eu"})).await, (400, -32020));
    assert_eq!(route(client(&sidecar), json!({"region": "eu"})).await, (400, -32020));
    assert_eq!(route(client(&sidecar), json!({})).await, (200, 0));
}

#[tokio::test]
async fn a_gateway_lets_requests_through_without_a_session() {
    let flags = |era| fixture(&["--era", era]);
    let gateway = Gateway::serving(&json!({"both": flags("first"), "new": flags("modern")})).await.unwrap();
    for name in ["both", "new"] {
        let modern = ModernClient::new(gateway.url(&format!("/{name}/mcp"))).header("mcp-session-id", "is-ignored");
        assert_eq!(text(&modern.tool("echo", json!({"text": "hi"})).await.unwrap()), "hi");
        assert_eq!(modern.post("ping", json!({})).await.unwrap().outcome().unwrap(), (404, -32601));
        let opened = modern.open("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}})).await;
        let mut events = opened.unwrap().into_events().await.unwrap();
        assert_eq!(message(&mut events).await.unwrap()["method"], "notifications/subscriptions/acknowledged");
        modern.tool("add_tool", json!({"name": "new"})).await.unwrap();
        assert_eq!(message(&mut events).await.unwrap()["method"], "notifications/tools/list_changed");
        drop(events);
        eventually(PATIENCE, "the cancellation", async || {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let seen = modern.tool("cancelled_seen", json!({})).await.ok()?;
            (seen["structuredContent"]["count"] == 1).then_some(())
        })
        .await
        .unwrap();
    }
}
