//! Servers of older revisions that ask clients of 2026-07-28 something in the middle of a call: the call is parked, and
//! goes on when it is sent again with the answers.

use anyhow::{Context as _, Result, ensure};
use e2e::fixture::MODERN;
use e2e::harness::{Gateway, Sidecar, fixture};
use e2e::modern::{ModernClient, cancelled_one, client, message, text};
use e2e::{PATIENCE, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// A client that can be asked anything.
fn able(sidecar: &Sidecar) -> ModernClient {
    client(sidecar).capabilities(everything())
}

fn everything() -> Value {
    json!({"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}})
}

/// What a call is to be sent again with.
struct Required {
    params: Value,
    requests: Value,
    state: Value,
}

/// Calls a tool that asks something.
async fn ask(client: &ModernClient, name: &str, arguments: Value) -> Result<Required> {
    let params = json!({"name": name, "arguments": arguments});
    required(client.result("tools/call", params.clone()).await?, params)
}

fn required(mut result: Value, params: Value) -> Result<Required> {
    ensure!(result["resultType"] == "input_required", "{result}");
    Ok(Required { params, requests: result["inputRequests"].take(), state: result["requestState"].take() })
}

impl Required {
    /// The call with this answer to the one thing that was asked.
    fn answered(&self, answer: &Value) -> Result<Value> {
        let (key, _) = self.requests.as_object().and_then(|all| all.iter().next()).context("a question")?;
        let mut params = self.params.clone();
        params["inputResponses"] = json!({ key: answer });
        params["requestState"] = self.state.clone();
        Ok(params)
    }

    fn question(&self) -> &Value {
        self.requests.as_object().and_then(|all| all.values().next()).unwrap_or(&Value::Null)
    }

    async fn finish(&self, client: &ModernClient, answer: Value) -> Result<Value> {
        client.result("tools/call", self.answered(&answer)?).await
    }
}

#[tokio::test]
async fn the_server_is_told_what_its_client_can_be_asked_and_the_client_what_it_asks() {
    let sidecar = Sidecar::fixture(&[], &[]).await.unwrap();
    let able = able(&sidecar);
    let found = able.result("server/discover", json!({})).await.unwrap();
    assert_eq!(found["supportedVersions"], json!([MODERN]));
    let seen = able.tool("whoami", json!({})).await.unwrap();
    assert!(text(&seen).contains(r#""elicitation":{"form":{},"url":{}}"#), "{seen}");
    for (tool, arguments, question, answer, expected) in [
        (
            "elicit",
            json!({"message": "user?"}),
            json!({"method": "elicitation/create", "params": {"message": "user?", "requestedSchema": {
                "type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}}}),
            json!({"action": "accept", "content": {"name": "o"}}),
            r#"{"action":"accept","content":{"name":"o"}}"#,
        ),
        ("roots", json!({}), json!({"method": "roots/list", "params": {}}), json!({"roots": []}), r#"{"roots":[]}"#),
        (
            "sample",
            json!({"prompt": "2+2"}),
            json!({"method": "sampling/createMessage", "params": {"maxTokens": 100, "messages": [
                {"role": "user", "content": {"type": "text", "text": "2+2"}}]}}),
            json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": "4"}}),
            "4",
        ),
        (
            "ask",
            json!({"method": "elicitation/create", "params": {
                "mode": "url", "elicitationId": "e", "url": "https://a/b", "message": "go"}}),
            json!({"method": "elicitation/create", "params": {"mode": "url", "url": "https://a/b", "message": "go"}}),
            json!({"action": "accept"}),
            r#"{"action":"accept"}"#,
        ),
    ] {
        let asked = ask(&able, tool, arguments).await.unwrap();
        assert_eq!(asked.question(), &question, "{tool}");
        let result = asked.finish(&able, answer).await.unwrap();
        assert_eq!((text(&result), &result["resultType"]), (expected, &json!("complete")), "{tool}");
    }
}

#[tokio::test]
async fn a_call_goes_on_in_the_process_where_it_waits_and_others_go_to_another() {
    let sidecar = Sidecar::fixture(&[], &[]).await.unwrap();
    let able = able(&sidecar);
    let pid = async || text(&able.tool("pid", json!({})).await.unwrap()).to_owned();
    let first = pid().await;
    let asked = ask(&able, "roots", json!({})).await.unwrap();
    let second = pid().await;
    assert_ne!(first, second, "the first may ask about its call at any time");
    asked.finish(&able, json!({"roots": []})).await.unwrap();
    assert_eq!(pid().await, first);
}

#[tokio::test]
async fn a_state_is_good_once_and_only_for_its_call() {
    let sidecar = Sidecar::fixture(&[], &[]).await.unwrap();
    let able = able(&sidecar);
    let asked = ask(&able, "roots", json!({})).await.unwrap();
    let refused = async |params: Value| able.post("tools/call", params).await.unwrap().outcome().unwrap();
    let answered = asked.answered(&json!({"roots": []})).unwrap();
    for (key, value) in
        [("arguments", json!({"x": 1})), ("requestState", json!("mgw1.local.1.0")), ("requestState", json!(7))]
    {
        let mut other = answered.clone();
        other[key] = value;
        assert_eq!(refused(other).await, (200, -32602), "{key}");
    }
    able.result("tools/call", answered.clone()).await.unwrap();
    assert_eq!(refused(answered).await, (200, -32602));
}

#[tokio::test]
async fn what_was_not_answered_is_asked_again() {
    let sidecar = Sidecar::fixture(&[], &[]).await.unwrap();
    let able = able(&sidecar);
    let asked = ask(&able, "elicit", json!({"message": "user?"})).await.unwrap();
    let mut params = asked.params.clone();
    params["requestState"] = asked.state.clone();
    let again = required(able.result("tools/call", params).await.unwrap(), asked.params.clone()).unwrap();
    assert!(again.requests == asked.requests && again.state != asked.state);
    let result = again.finish(&able, json!({"action": "decline"})).await.unwrap();
    assert_eq!(text(&result), r#"{"action":"decline"}"#);
}

#[tokio::test]
async fn a_call_whose_process_dies_while_it_waits_tells_so_and_is_not_made_again() {
    let sidecar = Sidecar::fixture(&[], &[]).await.unwrap();
    let able = able(&sidecar);
    let pid: i32 = text(&able.tool("pid", json!({})).await.unwrap()).parse().unwrap();
    let asked = ask(&able, "roots", json!({})).await.unwrap();
    let pid = Pid::from_raw(pid).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let answered = asked.answered(&json!({"roots": []})).unwrap();
    let error = eventually(PATIENCE, "the call to have failed", async || {
        able.post("tools/call", answered.clone()).await.ok()?.json().ok()?.get("error").cloned()
    })
    .await
    .unwrap();
    assert_eq!(error["code"], -32603, "{error}");
    assert!(error["message"].as_str().unwrap().contains("signal"), "{error}");
}

#[tokio::test]
async fn a_client_that_goes_while_its_call_is_worked_on_again_has_cancelled_it() {
    let sidecar = Sidecar::fixture(&[], &[]).await.unwrap();
    let able = able(&sidecar).meta("progressToken", json!("p"));
    let asked = ask(&able, "roots_slowly", json!({"steps": 1000, "ms": 20})).await.unwrap();
    let answered = asked.answered(&json!({"roots": []})).unwrap();
    let mut events = able.open("tools/call", answered).await.unwrap().into_events().await.unwrap();
    assert_eq!(message(&mut events).await.unwrap()["params"]["progressToken"], "p");
    drop(events);
    cancelled_one(&able).await.unwrap();
}

#[tokio::test]
async fn no_more_calls_wait_than_there_may_be_processes() {
    let sidecar = Sidecar::fixture(&["--max-processes", "2"], &[]).await.unwrap();
    let able = able(&sidecar);
    let waiting = [ask(&able, "roots", json!({})).await.unwrap(), ask(&able, "roots", json!({})).await.unwrap()];
    let refused = able.post("tools/call", json!({"name": "roots"})).await.unwrap();
    assert_eq!(refused.status, 503, "{refused:?}");
    for asked in waiting {
        asked.finish(&able, json!({"roots": []})).await.unwrap();
    }
    ask(&able, "roots", json!({})).await.unwrap();
}

#[tokio::test]
async fn a_server_that_wants_a_url_visited_first_is_called_again_afterwards() {
    let sidecar = Sidecar::fixture(&[], &[]).await.unwrap();
    let able = able(&sidecar);
    let asked = ask(&able, "needs_visit", json!({"url": "https://a/b"})).await.unwrap();
    assert_eq!(asked.question()["params"]["url"], "https://a/b");
    let result = asked.finish(&able, json!({"action": "accept"})).await.unwrap();
    assert_eq!(text(&result), "visited");
    let plain = client(&sidecar).post("tools/call", json!({"name": "needs_visit"})).await.unwrap();
    assert_eq!(plain.outcome().unwrap(), (400, -32021));
}

#[tokio::test]
async fn through_a_gateway_a_state_names_the_sidecar_that_has_its_call() {
    let gateway = Gateway::serving(&json!({"old": fixture(&[])})).await.unwrap();
    let able = ModernClient::new(gateway.url("/old/mcp")).capabilities(everything());
    let asked = ask(&able, "roots", json!({})).await.unwrap();
    let uid = asked.state.as_str().unwrap().split('.').nth(1).unwrap().to_owned();
    assert_eq!(uid.len(), 36, "the state names the process that has the call: {}", asked.state);
    assert_eq!(text(&asked.finish(&able, json!({"roots": []})).await.unwrap()), r#"{"roots":[]}"#);
}
