//! Clients of older revisions before a server that knows 2026-07-28 alone: `mcp-sidecar` translates, and puts what the
//! server asks by its results to the client as the requests it knows.

use std::time::Duration;

use anyhow::Result;
use e2e::client::{Client, ClientOptions, HttpClient, RpcError, SseClient};
use e2e::fixture::{MODERN, ODD_RESULT};
use e2e::harness::{Gateway, Sidecar, fixture};
use e2e::http::http;
use e2e::modern::{client as modern, text};
use e2e::{PATIENCE, eventually};
use serde_json::{Value, json};

const NEWEST: &str = "2025-11-25";

async fn sidecar(flags: &[&str]) -> Result<Sidecar> {
    let sidecar = Sidecar::fixture(flags, &["--era", "modern"]).await?;
    sidecar.wait_ready(&sidecar.url("/readyz")).await?;
    Ok(sidecar)
}

async fn connect(sidecar: &Sidecar, options: ClientOptions) -> Result<HttpClient> {
    HttpClient::connect_with(&sidecar.url("/mcp"), options).await
}

/// A client of each transport, and of the revisions between.
async fn clients(sidecar: &Sidecar, options: impl Fn(&str) -> ClientOptions) -> Result<Vec<Box<dyn Client>>> {
    let sse = SseClient::connect_with(&sidecar.url("/sse"), options("2024-11-05")).await?;
    let mut clients: Vec<Box<dyn Client>> = vec![Box::new(sse)];
    for version in ["2025-03-26", "2025-06-18", NEWEST] {
        clients.push(Box::new(connect(sidecar, options(version)).await?));
    }
    Ok(clients)
}

/// A client that can be asked everything, and says who answers.
fn able(version: &str) -> ClientOptions {
    let capabilities = json!({"sampling": {}, "roots": {"listChanged": true}, "elicitation": {"form": {}, "url": {}}});
    ClientOptions::new(version).capabilities(capabilities).respond(|method, params| match method {
        "sampling/createMessage" => Some(Ok(json!({"content": {"type": "text", "text": "a model"}}))),
        "elicitation/create" => Some(Ok(json!({"action": "accept", "content": {"asked": params}}))),
        "roots/list" => Some(Ok(json!({"roots": [{"uri": "file:///r"}]}))),
        _ => Some(Err(RpcError::new(-32601, "no such method"))),
    })
}

fn code(error: &anyhow::Error) -> i64 {
    error.downcast_ref::<RpcError>().map_or(0, |error| error.code)
}

#[tokio::test]
async fn clients_of_every_older_revision_shake_hands_and_use_what_the_server_has() {
    let sidecar = sidecar(&[]).await.unwrap();
    for client in clients(&sidecar, ClientOptions::new).await.unwrap() {
        let hello = client.server().clone();
        assert!(hello["protocolVersion"] != MODERN && hello.get("supportedVersions").is_none(), "{hello}");
        assert_eq!((&hello["serverInfo"]["name"], &hello["instructions"]), (&json!("fixture"), &json!("fixture!")));
        assert_eq!(hello["capabilities"]["resources"], json!({"subscribe": true, "listChanged": true}));
        assert_eq!(client.call("ping", json!({})).await.unwrap(), json!({}));
        for (method, key) in [
            ("tools/list", "tools"),
            ("prompts/list", "prompts"),
            ("resources/list", "resources"),
            ("resources/templates/list", "resourceTemplates"),
        ] {
            let list = client.call(method, json!({})).await.unwrap();
            assert!(!list[key].as_array().unwrap().is_empty(), "{method}");
            assert!(list.get("resultType").is_none() && list.get("ttlMs").is_none(), "{method}: {list}");
        }
        let odd = json!({"jsonrpc": "2.0", "id": "o", "method": "tools/call", "params": {"name": "odd"}});
        let answer = client.request_raw(odd.to_string()).await.unwrap();
        assert_eq!(answer.raw_result().as_deref(), Some(ODD_RESULT));
        client.notify("notifications/roots/list_changed", json!({})).await.unwrap();
        let none = client.call("resources/read", json!({"uri": "fixture://none"})).await.unwrap_err();
        assert_eq!(code(&none), -32002);
        assert_eq!(code(&client.call("no/such", json!({})).await.unwrap_err()), -32601);
    }
}

#[tokio::test]
async fn the_first_client_is_served_before_anybody_knows_what_the_server_speaks() {
    for flags in [&[][..], &["--mode", "shared"]] {
        let sidecar = Sidecar::fixture(flags, &["--era", "modern"]).await.unwrap();
        let (mcp, sse) = (sidecar.url("/mcp"), sidecar.url("/sse"));
        let (streamable, sse) = tokio::join!(HttpClient::connect(&mcp, NEWEST), SseClient::connect(&sse));
        assert_eq!(streamable.unwrap().tool_text("echo", json!({"text": "hi"})).await.unwrap(), "hi");
        assert_eq!(sse.unwrap().tool_text("echo", json!({"text": "hi"})).await.unwrap(), "hi");
    }
}

#[tokio::test]
async fn sessions_share_one_process_with_clients_of_the_newer_revision_and_the_status_tells_of_it() {
    let sidecar = sidecar(&["--max-processes", "1"]).await.unwrap();
    let (a, b) = (connect(&sidecar, able(NEWEST)).await.unwrap(), connect(&sidecar, able(NEWEST)).await.unwrap());
    let pid = text(&modern(&sidecar).tool("pid", json!({})).await.unwrap()).to_owned();
    assert_eq!(a.tool_text("pid", json!({})).await.unwrap(), pid);
    assert_eq!(b.tool_text("pid", json!({})).await.unwrap(), pid);
    let status = http("GET", &sidecar.url("/status"), &[], "").await.unwrap().json().unwrap();
    assert_eq!((&status["phase"], &status["catalogue"]["protocolVersion"]), (&json!("ready"), &json!(MODERN)));
    assert_eq!((&status["sessions"], &status["catalogue"]["serverInfo"]["name"]), (&json!(2), &json!("fixture")));
}

#[tokio::test]
async fn a_request_says_of_itself_what_its_client_said_once() {
    let sidecar = sidecar(&[]).await.unwrap();
    let client = connect(&sidecar, able(NEWEST).name("someone")).await.unwrap();
    client.call("logging/setLevel", json!({"level": "warning"})).await.unwrap();
    let sent = client.tool_text("raw", json!({"a": 1})).await.unwrap();
    let sent: Value = serde_json::from_str(&sent).unwrap();
    let meta = |key: &str| sent["_meta"][format!("io.modelcontextprotocol/{key}")].clone();
    assert_eq!((meta("protocolVersion"), meta("logLevel")), (json!(MODERN), json!("warning")));
    assert_eq!(meta("clientInfo")["name"], "someone");
    let expected = json!({"sampling": {}, "roots": {}, "elicitation": {"form": {}, "url": {}}});
    assert_eq!((meta("clientCapabilities"), &sent["arguments"]), (expected, &json!({"a": 1})));
    let tools = client.list("tools/list", "tools").await.unwrap();
    assert!(tools.iter().any(|tool| tool["name"] == "needs_sampling"));
}

#[tokio::test]
async fn progress_log_lines_and_cancellation_belong_to_their_request() {
    let sidecar = sidecar(&[]).await.unwrap();
    for client in clients(&sidecar, ClientOptions::new).await.unwrap() {
        let arguments = json!({"steps": 2});
        let params = json!({"name": "progress", "arguments": arguments, "_meta": {"progressToken": "p"}});
        client.call("tools/call", params).await.unwrap();
        for _ in 0..2 {
            let event = client.expect_event("notifications/progress").await.unwrap();
            assert_eq!(event.params()["progressToken"], "p");
        }
        let arguments = json!({"level": "warning", "text": "careful"});
        assert_eq!(client.tool_text("log", arguments.clone()).await.unwrap(), "below the level");
        client.call("logging/setLevel", json!({"level": "info"})).await.unwrap();
        assert_eq!(client.tool_text("log", arguments).await.unwrap(), "logged");
        assert_eq!(client.expect_event("notifications/message").await.unwrap().params()["data"], "careful");
        let before = seen_cancelled(&*client).await.unwrap();
        let call = json!({"jsonrpc": "2.0", "id": "slow", "method": "tools/call", "params": {"name": "silent"}});
        let cancelled = async {
            client.notify("notifications/cancelled", json!({"requestId": "slow"})).await?;
            eventually(PATIENCE, "the cancellation", async || {
                (seen_cancelled(&*client).await.ok()? > before).then_some(())
            })
            .await
        };
        tokio::select! {
            answer = client.request_raw(call.to_string()) => drop(answer),
            cancelled = async { tokio::time::sleep(Duration::from_millis(200)).await; cancelled.await } => cancelled.unwrap(),
        }
    }
}

async fn seen_cancelled(client: &dyn Client) -> Result<u64> {
    let seen = client.tool("cancelled_seen", json!({})).await?;
    Ok(seen["structuredContent"]["count"].as_u64().unwrap_or_default())
}

#[tokio::test]
async fn what_the_server_wants_to_know_is_asked_of_the_client() {
    let sidecar = sidecar(&[]).await.unwrap();
    for client in clients(&sidecar, able).await.unwrap() {
        assert_eq!(client.tool_text("sample", json!({"prompt": "hi"})).await.unwrap(), "a model");
        assert!(client.tool_text("roots", json!({})).await.unwrap().contains("file:///r"));
        let elicited = client.tool_text("elicit", json!({"message": "user?"})).await.unwrap();
        assert!(elicited.contains(r#""message":"user?""#), "{elicited}");
        let all = client.tool_text("interview", json!({"rounds": 3})).await.unwrap();
        let all: Value = serde_json::from_str(&all).unwrap();
        assert_eq!((&all["form"]["action"], &all["model"]["content"]["text"]), (&json!("accept"), &json!("a model")));
        assert_eq!(client.tool_text("interview", json!({"rounds": 5, "ask": false})).await.unwrap(), "null");
        let asked = client.events().iter().filter(|event| event.id().is_some()).count();
        assert_eq!(asked, 3 + 3 * 3);
    }
}

#[tokio::test]
async fn a_url_to_be_visited_gets_an_id_and_is_for_those_who_have_said_that_they_can() {
    let sidecar = sidecar(&[]).await.unwrap();
    let params = json!({"mode": "url", "message": "sign in", "url": "https://example.com/x"});
    let arguments = json!({"method": "elicitation/create", "params": params});
    let client = connect(&sidecar, able(NEWEST)).await.unwrap();
    let answer = client.tool_text("ask", arguments.clone()).await.unwrap();
    assert!(answer.contains(r#""elicitationId":""#) && answer.contains("https://example.com/x"), "{answer}");
    let older = connect(&sidecar, able("2025-06-18")).await.unwrap();
    let error = older.tool("ask", arguments).await.unwrap_err();
    assert!(code(&error) == -32603 && format!("{error:#}").contains("elicitation.url"), "{error:#}");
    older.no_event(Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_client_that_refuses_fails_its_call_and_a_user_that_is_not_there_has_cancelled() {
    let sidecar = sidecar(&[]).await.unwrap();
    let options = able(NEWEST).respond(|_, _| Some(Err(RpcError::new(-1, "not today"))));
    let client = connect(&sidecar, options).await.unwrap();
    assert_eq!(code(&client.tool("sample", json!({})).await.unwrap_err()), -1);
    assert_eq!(code(&client.tool("interview", json!({})).await.unwrap_err()), -1);
    assert_eq!(client.tool_text("elicit", json!({})).await.unwrap(), r#"{"action":"cancel"}"#);
    let unable = connect(&sidecar, ClientOptions::new(NEWEST)).await.unwrap();
    assert_eq!(code(&unable.tool("sample", json!({})).await.unwrap_err()), -32602);
}

#[tokio::test]
async fn a_server_that_never_has_enough_is_not_asked_for_ever() {
    let sidecar = sidecar(&[]).await.unwrap();
    let client = connect(&sidecar, able(NEWEST)).await.unwrap();
    assert_eq!(client.tool_text("interview", json!({"rounds": 32, "ask": false})).await.unwrap(), "null");
    let error = client.tool("interview", json!({"rounds": 33, "ask": false})).await.unwrap_err();
    assert!(code(&error) == -32603 && format!("{error:#}").contains("32 times"), "{error:#}");
}

#[tokio::test]
async fn a_call_can_be_cancelled_while_its_client_is_asked() {
    let sidecar = sidecar(&[]).await.unwrap();
    let client = connect(&sidecar, able(NEWEST).respond(|_, _| None)).await.unwrap();
    let call = json!({"jsonrpc": "2.0", "id": "c", "method": "tools/call", "params": {"name": "sample"}});
    let cancelled = async {
        let question = client.expect_event("sampling/createMessage").await.unwrap();
        client.notify("notifications/cancelled", json!({"requestId": "c"})).await.unwrap();
        let taken_back = client.expect_event("notifications/cancelled").await.unwrap();
        assert_eq!(taken_back.params()["requestId"].to_string(), question.id().unwrap());
    };
    tokio::select! {
        answer = client.request_raw(call.to_string()) => drop(answer),
        () = cancelled => {}
    }
    assert_eq!(client.tool_text("echo", json!({"text": "on"})).await.unwrap(), "on");
}

#[tokio::test]
async fn each_session_is_told_of_changed_lists_and_of_the_resources_it_subscribed_to() {
    let sidecar = sidecar(&[]).await.unwrap();
    let all = clients(&sidecar, ClientOptions::new).await.unwrap();
    for client in &all[..2] {
        client.call("resources/subscribe", json!({"uri": "fixture://watched"})).await.unwrap();
    }
    all[3].tool("touch", json!({"uri": "fixture://watched"})).await.unwrap();
    for client in &all[..2] {
        let updated = client.expect_event("notifications/resources/updated").await.unwrap();
        assert_eq!(updated.params(), &json!({"uri": "fixture://watched"}));
    }
    all[0].call("resources/unsubscribe", json!({"uri": "fixture://watched"})).await.unwrap();
    all[3].tool("touch", json!({"uri": "fixture://watched"})).await.unwrap();
    all[1].expect_event("notifications/resources/updated").await.unwrap();
    all[2].tool("add_tool", json!({"name": "new"})).await.unwrap();
    for client in &all {
        let changed = client.expect_event("notifications/tools/list_changed").await.unwrap();
        assert_eq!(changed.params(), &json!({}));
        assert!(client.list("tools/list", "tools").await.unwrap().iter().any(|tool| tool["name"] == "new"));
        client.no_event(Duration::ZERO).await.unwrap();
    }
}

#[tokio::test]
async fn sessions_outlive_the_process_and_are_told_that_things_may_have_changed() {
    let sidecar = sidecar(&[]).await.unwrap();
    let client = connect(&sidecar, able(NEWEST)).await.unwrap();
    client.call("resources/subscribe", json!({"uri": "fixture://watched"})).await.unwrap();
    let error = client.tool("crash", json!({"code": 3})).await.unwrap_err();
    assert_eq!(code(&error), -32603);
    client.expect_event("notifications/tools/list_changed").await.unwrap();
    client.expect_event("notifications/resources/updated").await.unwrap();
    assert_eq!(client.tool_text("sample", json!({})).await.unwrap(), "a model");
    client.tool("touch", json!({"uri": "fixture://watched"})).await.unwrap();
    client.expect_event("notifications/resources/updated").await.unwrap();
}

#[tokio::test]
async fn tools_that_are_hidden_are_hidden_from_these_clients_too() {
    let sidecar = sidecar(&["--deny-tool", "e*"]).await.unwrap();
    let client = connect(&sidecar, able(NEWEST)).await.unwrap();
    assert!(client.list("tools/list", "tools").await.unwrap().iter().all(|tool| tool["name"] != "echo"));
    assert_eq!(code(&client.tool("echo", json!({"text": "x"})).await.unwrap_err()), -32602);
}

#[tokio::test]
async fn a_gateway_and_its_aggregate_offer_such_a_server_to_older_clients() {
    let gateway = Gateway::serving(&json!({"new": fixture(&["--era", "modern"])})).await.unwrap();
    for (path, tool) in [("/new/mcp", "sample"), ("/mcp", "new-sample")] {
        let client = HttpClient::connect_with(&gateway.url(path), able(NEWEST)).await.unwrap();
        let found = eventually(PATIENCE, "the tools", async || {
            let tools = client.list("tools/list", "tools").await.ok()?;
            tools.iter().any(|found| found["name"] == tool).then_some(())
        });
        found.await.unwrap();
        assert_eq!(client.tool_text(tool, json!({"prompt": "hi"})).await.unwrap(), "a model", "{path}");
    }
    let sse = SseClient::connect_with(&gateway.url("/new/sse"), able("2024-11-05")).await.unwrap();
    assert_eq!(sse.tool_text("sample", json!({"prompt": "hi"})).await.unwrap(), "a model");
}
