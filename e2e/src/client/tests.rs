//! Both clients against the remote fixture: what one says, the other must understand.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::fixture::ODD_RESULT;
use crate::fixture::remote::Remote;
use crate::http::{http, open};
use crate::wait::PATIENCE;

const STREAMABLE: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];

fn chatty(version: &str) -> ClientOptions {
    ClientOptions::new(version).capabilities(json!({"sampling": {}, "roots": {}})).respond(
        |method, params| match method {
            "sampling/createMessage" => Some(Ok(json!({"content": params["messages"][0]["content"]}))),
            "roots/list" => Some(Err(RpcError::new(-1, "no roots today"))),
            _ => None,
        },
    )
}

/// One client of each transport and revision.
async fn clients(remote: &Remote, options: fn(&str) -> ClientOptions) -> Vec<Box<dyn Client>> {
    let sse = SseClient::connect_with(&remote.url("/sse"), options("2024-11-05")).await.unwrap();
    let mut clients: Vec<Box<dyn Client>> = vec![Box::new(sse)];
    for version in STREAMABLE {
        clients.push(Box::new(HttpClient::connect_with(&remote.url("/mcp"), options(version)).await.unwrap()));
    }
    clients
}

#[tokio::test]
async fn calls_events_and_the_servers_requests_work_over_every_transport() {
    let remote = Remote::from_flags(&[]).await.unwrap();
    for client in clients(&remote, chatty).await {
        assert_eq!(client.tool_text("echo", json!({"text": "é"})).await.unwrap(), "é");
        assert_eq!(client.tool_text("sample", json!({"prompt": "hi"})).await.unwrap(), "hi");
        assert!(client.tool_text("roots", json!({})).await.unwrap().contains("no roots today"));
        for asked in ["sampling/createMessage", "roots/list"] {
            client.expect_event(asked).await.unwrap();
        }
        client.tool("add_tool", json!({"name": "new"})).await.unwrap();
        client.expect_event("notifications/tools/list_changed").await.unwrap();
        assert!(client.list("tools/list", "tools").await.unwrap().iter().any(|tool| tool["name"] == "new"));
        client.no_event(Duration::ZERO).await.unwrap();
    }
}

#[tokio::test]
async fn raw_bytes_go_and_come_unchanged() {
    let remote = Remote::from_flags(&[]).await.unwrap();
    for client in clients(&remote, ClientOptions::new).await {
        let odd = r#"{"params":{"name":"odd"},"method":"tools/call","id":1.50,"jsonrpc":"2.0"}"#;
        let answer = client.request_raw(odd.into()).await.unwrap();
        assert_eq!((answer.id(), answer.raw_result().as_deref()), (Some("1.50"), Some(ODD_RESULT)));
        let length = client.tool_text("blob", json!({"bytes": 3_000_001})).await.unwrap().len();
        assert_eq!(length, 3_000_001);
    }
}

#[tokio::test]
async fn a_refusal_keeps_its_code() {
    let remote = Remote::from_flags(&[]).await.unwrap();
    for client in clients(&remote, ClientOptions::new).await {
        let refused = client.tool("refuse", json!({"code": -32050})).await.unwrap_err();
        assert_eq!(refused.downcast_ref::<RpcError>().unwrap().code, -32050);
    }
}

#[tokio::test]
async fn silence_ends_in_an_error_that_names_what_was_asked() {
    let remote = Remote::from_flags(&[]).await.unwrap();
    let options = ClientOptions::new("2024-11-05").timeout(Duration::from_secs(1));
    let client = SseClient::connect_with(&remote.url("/sse"), options).await.unwrap();
    let silence = client.tool("silent", json!({})).await.unwrap_err();
    assert!(silence.to_string().contains("tools/call"), "{silence}");
}

#[tokio::test]
async fn json_answers_are_understood_and_the_rest_comes_by_get() {
    let remote = Remote::from_flags(&["--json"]).await.unwrap();
    let client = HttpClient::connect_with(&remote.url("/mcp"), chatty("2025-06-18")).await.unwrap();
    assert_eq!(client.tool_text("sample", json!({"prompt": "hi"})).await.unwrap(), "hi");
}

#[tokio::test]
async fn a_cut_stream_is_taken_up_where_it_ended() {
    let remote = Remote::from_flags(&[]).await.unwrap();
    let client = HttpClient::connect(&remote.url("/mcp"), "2025-11-25").await.unwrap();
    assert_eq!(client.tool_text("cut", json!({"ms": 1})).await.unwrap(), "slept");

    let call = json!({"jsonrpc": "2.0", "id": 77, "method": "tools/call", "params": {"name": "pid"}}).to_string();
    let mut stream = client.post_raw(call).await.unwrap().into_events().await.unwrap();
    let primer = stream.data(PATIENCE).await.unwrap();
    assert_eq!((primer.data.as_deref(), primer.retry), (Some(""), Some(50)));
    let answer = stream.data(PATIENCE).await.unwrap();
    let mut again = client.resume(&primer.id.unwrap()).await.unwrap();
    assert_eq!(again.data(PATIENCE).await.unwrap(), answer);
    assert_eq!(again.next().await.unwrap(), None);

    let old = HttpClient::connect(&remote.url("/mcp"), "2025-06-18").await.unwrap();
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    let mut stream = old.post_raw(call).await.unwrap().into_events().await.unwrap();
    assert!(stream.data(PATIENCE).await.unwrap().data.unwrap().contains("result"));
}

#[tokio::test]
async fn sessions_end_by_delete_and_by_expiry() {
    let remote = Remote::from_flags(&["--expire-after", "1"]).await.unwrap();
    let client = HttpClient::connect(&remote.url("/mcp"), "2025-06-18").await.unwrap();
    assert!(client.session().is_some());
    client.tool("pid", json!({})).await.unwrap();
    let gone = client.tool("pid", json!({})).await.unwrap_err();
    assert_eq!(gone.downcast_ref::<StatusError>().unwrap().status, 404);

    let client = HttpClient::connect(&remote.url("/mcp"), "2025-06-18").await.unwrap();
    assert_eq!((client.delete().await.unwrap().status, remote.sessions()), (204, 0));
    assert_eq!(client.delete().await.unwrap().status, 404);
}

#[tokio::test]
async fn dropping_an_sse_client_ends_its_session() {
    let remote = Remote::from_flags(&["--remote", "sse"]).await.unwrap();
    let client = SseClient::connect(&remote.url("/sse")).await.unwrap();
    assert_eq!(remote.sessions(), 1);
    drop(client);
    let gone = crate::eventually(PATIENCE, "the session to end", async || (remote.sessions() == 0).then_some(()));
    gone.await.unwrap();
}

#[tokio::test]
async fn a_stream_that_ends_fails_the_calls_that_wait() {
    let remote = Remote::from_flags(&[]).await.unwrap();
    let client = SseClient::connect(&remote.url("/sse")).await.unwrap();
    let (call, ()) = tokio::join!(client.tool("sleep", json!({"ms": 60_000})), async {
        client.tool("pid", json!({})).await.unwrap();
        drop(remote);
    });
    assert!(!format!("{:#}", call.unwrap_err()).contains("gave up"));
}

#[tokio::test]
async fn remote_refusals_and_redirects_are_as_asked_for() {
    let flags = ["--remote", "sse", "--base", "/base", "--require-header", "X-Key=k"];
    let remote = Remote::from_flags(&flags).await.unwrap();
    let denied = http("GET", &remote.url("/sse"), &[], "").await.unwrap();
    assert_eq!((denied.status, denied.header("www-authenticate")), (401, Some("Bearer")));
    let moved = http("GET", &format!("{}/moved/base/sse", remote.origin()), &[], "").await.unwrap();
    assert_eq!((moved.status, moved.header("location")), (307, Some("/base/sse")));
    let key = [("x-key", "k")];
    assert_eq!(http("POST", &remote.url("/mcp"), &key, "{}").await.unwrap().status, 404);
    assert_eq!(http("POST", &remote.url("/sse"), &key, "{}").await.unwrap().status, 405);
    let options = ClientOptions::new("2024-11-05").header("x-key", "k");
    let client = SseClient::connect_with(&remote.url("/sse"), options).await.unwrap();
    assert_eq!(client.tool_text("echo", json!({"text": "x"})).await.unwrap(), "x");
    assert!(remote.seen().iter().any(|seen| seen.target.starts_with("/base/message?sessionId=")));
}

#[tokio::test]
async fn bad_requests_to_a_streamable_remote_get_their_status() {
    let remote = Remote::from_flags(&["--remote", "streamable"]).await.unwrap();
    let (url, json_only) = (remote.url("/mcp"), [("content-type", "application/json"), ("accept", "application/json")]);
    assert_eq!(http("POST", &url, &json_only, "{}").await.unwrap().status, 406);
    assert_eq!(open("GET", &url, &[("accept", "text/event-stream")], "").await.unwrap().status, 400);
    let client = HttpClient::connect(&url, "2025-06-18").await.unwrap();
    assert_eq!(client.server()["protocolVersion"], "2025-06-18");
    let session = client.session().unwrap();
    let wrong = [("mcp-session-id", session.as_str()), ("mcp-protocol-version", "1999-01-01")];
    assert_eq!(http("DELETE", &url, &wrong, "").await.unwrap().status, 400);
    assert_eq!(client.delete().await.unwrap().status, 204);
    let error = client.call("ping", Value::Null).await.unwrap_err();
    assert_eq!(error.downcast_ref::<StatusError>().unwrap().status, 404);
}
