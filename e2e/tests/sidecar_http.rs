//! `mcp-sidecar` and requests that are not as they should be: each gets the status the specification names, and says why.

use anyhow::{Context, Result};
use e2e::client::{Client, ClientOptions, HttpClient, SseClient, StatusError};
use e2e::harness::Sidecar;
use e2e::http::{Response, http};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");
const ANY: (&str, &str) = ("accept", "application/json, text/event-stream");
const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

async fn sidecar(flags: &[&str]) -> Result<Sidecar> {
    Sidecar::fixture(flags, &[]).await
}

async fn connect(sidecar: &Sidecar, version: &str) -> Result<HttpClient> {
    HttpClient::connect_with(&sidecar.url("/mcp"), ClientOptions::new(version).without_stream()).await
}

/// POSTs to `/mcp` with these headers beside those of JSON.
async fn post(sidecar: &Sidecar, headers: &[(&str, &str)], body: &str) -> Result<Response> {
    http("POST", &sidecar.url("/mcp"), &[&[JSON, ANY], headers].concat(), body.to_owned()).await
}

fn initialize(version: &str) -> String {
    let info = json!({"name": "raw", "version": "0"});
    let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": info});
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}).to_string()
}

/// Code and text of the error of JSON-RPC in a body.
fn error(answer: &Response) -> Result<(i64, String)> {
    let body = answer.json()?;
    let code = body["error"]["code"].as_i64().with_context(|| format!("no error: {body}"))?;
    Ok((code, body["error"]["message"].as_str().unwrap_or_default().into()))
}

fn status(outcome: Result<()>) -> Option<u16> {
    outcome.err()?.downcast::<StatusError>().ok().map(|error| error.status)
}

#[tokio::test]
async fn a_body_that_is_no_message_is_refused_with_400_and_the_session_goes_on() {
    let sidecar = sidecar(&[]).await.unwrap();
    let http = connect(&sidecar, "2025-11-25").await.unwrap();
    let sse = SseClient::connect(&sidecar.url("/sse")).await.unwrap();
    let deep = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{}{}}}"#, "[".repeat(100), "]".repeat(100));
    for (body, code) in [
        ("", -32700),
        ("{", -32700),
        ("not json", -32700),
        ("42", -32600),
        ("[]", -32600),
        (r#"{"jsonrpc":"2.0"}"#, -32600),
        (r#"{"id":1,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping"} {}"#, -32700),
        (&deep, -32600),
    ] {
        let answer = http.post_raw(body.to_owned()).await.unwrap().collect().await.unwrap();
        assert_eq!((answer.status, error(&answer).unwrap().0), (400, code), "{body}: {}", answer.text());
        let posted = e2e::http::http("POST", sse.endpoint(), &[JSON], body.to_owned()).await.unwrap();
        assert_eq!((posted.status, error(&posted).unwrap().0), (400, code), "{body}");
    }
    http.call("tools/list", json!({})).await.unwrap();
    sse.call("tools/list", json!({})).await.unwrap();
}

#[tokio::test]
async fn a_body_of_20_mb_is_refused_with_413_and_the_session_goes_on() {
    let sidecar = sidecar(&[]).await.unwrap();
    let http = connect(&sidecar, "2025-11-25").await.unwrap();
    let sse = SseClient::connect(&sidecar.url("/sse")).await.unwrap();
    for client in [&http as &dyn Client, &sse] {
        let body = json!({"jsonrpc": "2.0", "method": "m", "params": {"x": "x".repeat(20 << 20)}}).to_string();
        assert_eq!(status(client.post(body.into()).await), Some(413));
        client.call("tools/list", json!({})).await.unwrap();
    }
}

#[tokio::test]
async fn an_unknown_or_foreign_session_is_404_and_none_is_400() {
    let sidecar = sidecar(&[]).await.unwrap();
    let sse = SseClient::connect(&sidecar.url("/sse")).await.unwrap();
    let http_id = connect(&sidecar, "2025-11-25").await.unwrap().session().unwrap();
    let sse_id = sse.endpoint().split('=').next_back().unwrap();
    for id in ["0123456789abcdef0123456789abcdef", "x", sse_id] {
        let session = ("mcp-session-id", id);
        assert_eq!(post(&sidecar, &[session], CALL).await.unwrap().status, 404, "{id}");
        for method in ["GET", "DELETE"] {
            assert_eq!(http(method, &sidecar.url("/mcp"), &[ANY, session], "").await.unwrap().status, 404, "{id}");
        }
    }
    for id in ["x", &http_id] {
        let url = sidecar.url(&format!("/message?sessionId={id}"));
        assert_eq!(http("POST", &url, &[JSON], CALL).await.unwrap().status, 404, "{id}");
    }
    let url = sidecar.url("/sse?sessionId=x");
    assert_eq!(http("GET", &url, &[], "").await.unwrap().status, 404);
    let none = post(&sidecar, &[], CALL).await.unwrap();
    assert!(none.status == 400 && error(&none).unwrap().1.contains("`Mcp-Session-Id` is missing"), "{}", none.text());
    let none = http("POST", &sidecar.url("/message"), &[JSON], CALL).await.unwrap();
    assert!(none.status == 400 && error(&none).unwrap().1.contains("`sessionId` is missing"), "{}", none.text());
    assert_eq!(http("DELETE", &sidecar.url("/mcp"), &[], "").await.unwrap().status, 400);
    let none = http("GET", &sidecar.url("/mcp"), &[ANY], "").await.unwrap();
    assert_eq!((none.status, none.header("allow")), (405, Some("POST, DELETE, OPTIONS")));
}

#[tokio::test]
async fn a_deleted_session_is_404_from_then_on() {
    let sidecar = sidecar(&[]).await.unwrap();
    let client = connect(&sidecar, "2025-06-18").await.unwrap();
    client.delete().await.unwrap().expect(204).unwrap();
    let session = client.session().unwrap();
    let session = ("mcp-session-id", session.as_str());
    assert_eq!(post(&sidecar, &[session], CALL).await.unwrap().status, 404);
    assert_eq!(http("GET", &sidecar.url("/mcp"), &[ANY, session], "").await.unwrap().status, 404);
    assert_eq!(client.delete().await.unwrap().status, 404);
}

#[tokio::test]
async fn an_initialize_that_the_server_refuses_opens_no_session() {
    let sidecar = sidecar(&[]).await.unwrap();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
    let headers = [JSON, ("accept", "application/json")];
    let answer = http("POST", &sidecar.url("/mcp"), &headers, body).await.unwrap();
    assert_eq!((answer.status, answer.header("mcp-session-id")), (200, None));
    assert_eq!(error(&answer).unwrap().0, -32602);
    let batch = format!("[{}]", initialize("2025-03-26"));
    assert_eq!(post(&sidecar, &[], &batch).await.unwrap().status, 400);
}

#[tokio::test]
async fn what_a_client_accepts_decides_the_form_of_the_answer() {
    let sidecar = sidecar(&[]).await.unwrap();
    let client = connect(&sidecar, "2025-06-18").await.unwrap();
    let session = client.session().unwrap();
    let slow = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"sleep","arguments":{"ms":300}}}"#;
    for (accept, body, kind) in [
        (None, CALL, "application/json"),
        (None, slow, "text/event-stream"),
        (Some("*/*"), CALL, "application/json"),
        (Some("application/json"), slow, "application/json"),
        (Some("text/event-stream"), CALL, "text/event-stream"),
        (Some("application/json;q=0.5, text/*"), slow, "text/event-stream"),
    ] {
        let mut headers = vec![JSON, ("mcp-session-id", &session)];
        headers.extend(accept.map(|accept| ("accept", accept)));
        let answer = http("POST", &sidecar.url("/mcp"), &headers, body).await.unwrap();
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{accept:?}");
        assert!(answer.text().contains(r#""id":1"#));
    }
    let headers = [JSON, ("mcp-session-id", &*session), ("accept", "text/html")];
    assert_eq!(http("POST", &sidecar.url("/mcp"), &headers, CALL).await.unwrap().status, 406);
    assert_eq!(http("GET", &sidecar.url("/mcp"), &headers, "").await.unwrap().status, 406);
}

#[tokio::test]
async fn a_protocol_version_that_is_not_spoken_is_refused_with_those_that_are() {
    let sidecar = sidecar(&[]).await.unwrap();
    let session = connect(&sidecar, "2025-06-18").await.unwrap().session().unwrap();
    let session = ("mcp-session-id", session.as_str());
    for version in ["1999-01-01", "latest", ""] {
        let answer = post(&sidecar, &[session, ("mcp-protocol-version", version)], CALL).await.unwrap();
        assert_eq!(answer.status, 400, "{version}");
        assert!(error(&answer).unwrap().1.contains("2025-06-18, 2025-11-25"), "{}", answer.text());
    }
    for version in ["2025-03-26", "2025-06-18"] {
        let answer = post(&sidecar, &[session, ("mcp-protocol-version", version)], CALL).await.unwrap();
        assert_eq!(answer.status, 200, "{version}");
    }
    assert_eq!(post(&sidecar, &[session], CALL).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_body_must_say_that_it_is_json() {
    let sidecar = sidecar(&[]).await.unwrap();
    let body = initialize("2025-06-18");
    for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/jsonp")] {
        let headers: Vec<_> = kind.map(|kind| ("content-type", kind)).into_iter().chain([ANY]).collect();
        let answer = http("POST", &sidecar.url("/mcp"), &headers, body.clone()).await.unwrap();
        assert_eq!(answer.status, 415, "{kind:?}");
        assert!(error(&answer).unwrap().1.contains("Content-Type: application/json"));
    }
    assert_eq!(post(&sidecar, &[("content-encoding", "gzip")], &body).await.unwrap().status, 415);
    let headers = [("content-type", "Application/JSON; charset=utf-8"), ANY];
    assert_eq!(http("POST", &sidecar.url("/mcp"), &headers, body).await.unwrap().status, 200);
}

#[tokio::test]
async fn other_methods_are_told_what_is_allowed_and_open_nothing() {
    let sidecar = sidecar(&["--warm-spares", "0"]).await.unwrap();
    sidecar.wait_ready(&sidecar.url("/readyz")).await.unwrap();
    let before = http("GET", &sidecar.url("/status"), &[], "").await.unwrap().json().unwrap();
    for (method, path, status, allow) in [
        ("OPTIONS", "/mcp", 204, Some("GET, POST, DELETE, OPTIONS")),
        ("HEAD", "/mcp", 405, Some("GET, POST, DELETE, OPTIONS")),
        ("PUT", "/stream", 405, Some("GET, POST, DELETE, OPTIONS")),
        ("OPTIONS", "/sse", 204, Some("GET, HEAD, OPTIONS")),
        ("HEAD", "/sse", 200, None),
        ("POST", "/sse", 405, Some("GET, HEAD, OPTIONS")),
        ("OPTIONS", "/message", 204, Some("POST, OPTIONS")),
        ("GET", "/message", 405, Some("POST, OPTIONS")),
        ("GET", "/nowhere", 404, None),
    ] {
        let answer = http(method, &sidecar.url(path), &[JSON], "").await.unwrap();
        assert_eq!((answer.status, answer.header("allow")), (status, allow), "{method} {path}");
    }
    let after = http("GET", &sidecar.url("/status"), &[], "").await.unwrap().json().unwrap();
    assert_eq!(before["sessions"], after["sessions"]);
    assert_eq!(before["processes"], after["processes"]);
}

#[tokio::test]
async fn batches_are_taken_from_clients_of_2025_03_26_only() {
    let sidecar = sidecar(&["--deny-tool", "pid"]).await.unwrap();
    let call = |id: u64, name: &str, arguments: Value| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": name, "arguments": arguments}});
    let note = json!({"jsonrpc": "2.0", "method": "notifications/x"});
    let batch =
        json!([call(71, "echo", json!({"text": "a"})), note, call(72, "sleep", json!({"ms": 200}))]).to_string();
    let client = connect(&sidecar, "2025-03-26").await.unwrap();
    let answer = client.post_raw(batch.clone()).await.unwrap().collect().await.unwrap();
    let text = answer.text();
    assert!(answer.status == 200 && text.contains(r#""id":71"#) && text.contains(r#""id":72"#), "{text}");
    let notes = json!([note, note]).to_string();
    assert_eq!(client.post_raw(notes).await.unwrap().collect().await.unwrap().status, 202);
    for version in ["2025-06-18", "2025-11-25"] {
        let client = connect(&sidecar, version).await.unwrap();
        let answer = client.post_raw(batch.clone()).await.unwrap().collect().await.unwrap();
        assert!(answer.status == 400 && error(&answer).unwrap().1.contains("2025-03-26"), "{}", answer.text());
    }
    let sse = SseClient::connect(&sidecar.url("/sse")).await.unwrap();
    assert_eq!(status(sse.post(batch.into()).await), Some(400));
}

#[tokio::test]
async fn an_id_that_is_in_use_is_refused_and_the_first_request_is_answered() {
    let sidecar = sidecar(&[]).await.unwrap();
    let call = |ms: u64| {
        let params = json!({"name": "sleep", "arguments": {"ms": ms}});
        json!({"jsonrpc": "2.0", "id": "twice", "method": "tools/call", "params": params}).to_string()
    };
    let client = connect(&sidecar, "2025-11-25").await.unwrap();
    let first = client.request_raw(call(1000));
    let second = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        client.post_raw(call(0)).await.unwrap().collect().await.unwrap()
    };
    let (first, second) = tokio::join!(first, second);
    first.unwrap().into_result().unwrap();
    assert_eq!((second.status, error(&second).unwrap().0), (400, -32600));
    assert_eq!(second.json().unwrap()["id"], "twice");
    client.request_raw(call(0)).await.unwrap().into_result().unwrap();
}

#[tokio::test]
async fn only_the_names_of_this_machine_and_those_listed_are_answered() {
    let sidecar = sidecar(&["--public-host", "mcp.example", "--allowed-origin", "https://app.example"]).await.unwrap();
    let url = sidecar.url("/mcp");
    let answer = async |host: &str, origin: Option<&str>| {
        let mut headers = vec![JSON, ANY, ("host", host)];
        headers.extend(origin.map(|origin| ("origin", origin)));
        http("POST", &url, &headers, initialize("2025-06-18")).await.unwrap().status
    };
    for host in ["evil.example", "localhost.evil.example", "10.0.0.1:80"] {
        assert_eq!(answer(host, None).await, 403, "{host}");
    }
    for origin in ["http://evil.example", "null", "https://app.example.evil"] {
        assert_eq!(answer("localhost", Some(origin)).await, 403, "{origin}");
    }
    for (host, origin) in [("localhost:1", "http://127.0.0.1:5173"), ("mcp.example", "https://app.example")] {
        assert_eq!(answer(host, Some(origin)).await, 200, "{host} {origin}");
    }
    for path in ["/sse", "/status", "/logs", "/readyz"] {
        assert_eq!(
            http("GET", &sidecar.url(path), &[("host", "evil.example")], "").await.unwrap().status,
            403,
            "{path}"
        );
    }
}
