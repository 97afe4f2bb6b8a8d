//! `mcp-sidecar serve --url` in front of servers that do what the fixture does not: each test scripts one.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use e2e::client::{Client, HttpClient, RpcError};
use e2e::fixture::scripted::{Scripted, answer, events, message, plain, server};
use e2e::harness::Sidecar;
use e2e::http::http;
use e2e::{PATIENCE, eventually};
use serde_json::json;

async fn connect(server: &Scripted) -> Result<(Sidecar, HttpClient)> {
    let sidecar = Sidecar::remote(&["--transport", "streamable-http"], &server.url).await?;
    let client = HttpClient::connect(&sidecar.url("/mcp"), "2025-06-18").await?;
    Ok((sidecar, client))
}

fn refusal<T: std::fmt::Debug>(outcome: Result<T>) -> RpcError {
    outcome.expect_err("the request is refused").downcast().expect("the error is one of JSON-RPC")
}

/// Why a sidecar in front of `url` fails.
async fn trouble(url: &str, flags: &[&str]) -> String {
    let sidecar = Sidecar::remote(flags, url).await.expect("the sidecar starts");
    let look = async || {
        let status = http("GET", &sidecar.url("/status"), &[], "").await.ok()?.json().ok()?;
        (status["phase"] == "failing").then(|| status["message"].to_string())
    };
    eventually(PATIENCE, "the sidecar to fail", look).await.expect("it says why")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_sessions_and_without_a_stream_of_its_own_works() {
    let server = plain(|asked| {
        assert_eq!(asked.header("mcp-session-id"), None);
        asked.usual()
    });
    let server = server.await;
    let (_sidecar, client) = connect(&server).await.unwrap();
    assert_eq!(client.tool_text("any", json!({})).await.unwrap(), "called");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_before_the_server_has_taken_the_end_of_the_handshake() {
    let (ready, early) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&early);
    let server = server(move |asked| {
        let (ready, early) = (Arc::clone(&ready), Arc::clone(&early));
        async move {
            if asked.is("notifications/initialized") {
                tokio::time::sleep(Duration::from_millis(200)).await;
                ready.store(true, Ordering::SeqCst);
            } else if asked.is("initialize") {
                ready.store(false, Ordering::SeqCst);
            } else if !asked.is("server/discover") && !ready.load(Ordering::SeqCst) {
                early.fetch_add(1, Ordering::SeqCst);
            }
            asked.usual()
        }
    });
    let server = server.await;
    // The sidecar's own session, whose handshake is the same, must not be counted in.
    let sidecar = Sidecar::remote(&["--mode", "shared", "--transport", "streamable-http"], &server.url).await.unwrap();
    let client = HttpClient::connect(&sidecar.url("/mcp"), "2025-06-18").await.unwrap();
    client.tool("any", json!({})).await.unwrap();
    assert_eq!(seen.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_stream_ends_before_it_is_an_error() {
    let server = plain(|asked| {
        let and_that_is_all = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n\n: and that is all\n\n";
        if asked.is("tools/call") { events(and_that_is_all) } else { asked.usual() }
    });
    let server = server.await;
    let (_sidecar, client) = connect(&server).await.unwrap();
    let error = refusal(client.tool("any", json!({})).await);
    assert_eq!(error.code, -32603);
    assert!(error.message.contains("its stream ended before the answer, and cannot be resumed"), "{error}");
    client.expect_event("notifications/x").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_happened_and_what_to_do() {
    let server = plain(|asked| match asked.body["params"]["name"].as_str() {
        Some("own words") => {
            let error = json!({"code": -32000, "message": "quota used up", "data": {"left": 1.0}});
            message(429, &json!({"jsonrpc": "2.0", "id": null, "error": error}))
        }
        Some("page") => answer(502, "text/html", "<h1>Bad Gateway</h1>"),
        Some("detail") => answer(422, "application/json", r#"{"detail":"no such field"}"#),
        Some("html") => answer(200, "text/html", "<h1>Welcome</h1>"),
        Some("garbage") => answer(200, "application/json", "}"),
        Some("other") => message(200, &json!({"jsonrpc": "2.0", "id": "x", "result": {}})),
        _ => asked.usual(),
    });
    let server = server.await;
    let (_sidecar, client) = connect(&server).await.unwrap();
    let error = refusal(client.tool("own words", json!({})).await);
    assert_eq!(error, RpcError { data: json!({"left": 1.0}), ..RpcError::new(-32000, "quota used up") });
    for (tool, says) in [
        ("page", "it failed (502 Bad Gateway); try again, or look into its logs"),
        ("detail", r#"it refused the message (422 Unprocessable Entity): {"detail":"no such field"}"#),
        ("html", "its answer is neither JSON nor an event stream; check `url`"),
        ("garbage", "its answer cannot be read: not JSON"),
        ("other", "what it sent does not answer the request"),
    ] {
        let error = refusal(client.tool(tool, json!({})).await);
        assert_eq!(error.code, -32603);
        assert!(error.message.contains(says), "{tool}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_forgotten_with_status_400_is_replaced_too() {
    let known = Arc::new(Mutex::new(0));
    let forget = Arc::clone(&known);
    let server = plain(move |asked| {
        let mut known = known.lock().unwrap();
        if asked.is("initialize") {
            *known += 1;
            let mut answer = asked.usual();
            answer.headers_mut().insert("mcp-session-id", known.to_string().parse().unwrap());
            return answer;
        }
        if asked.verb == "POST" && asked.header("mcp-session-id") != Some(&*known.to_string()) {
            let error = json!({"code": -32000, "message": "Bad Request: No valid session ID provided"});
            return message(400, &json!({"jsonrpc": "2.0", "id": null, "error": error}));
        }
        asked.usual()
    });
    let server = server.await;
    let sidecar = Sidecar::remote(&["--mode", "shared", "--transport", "streamable-http"], &server.url).await.unwrap();
    let client = HttpClient::connect(&sidecar.url("/mcp"), "2025-06-18").await.unwrap();
    client.tool("any", json!({})).await.unwrap();
    *forget.lock().unwrap() += 1;
    let error = refusal(client.tool("any", json!({})).await);
    assert!(error.message.contains("no longer knows the session"), "{error}");
    assert_eq!(client.tool_text("any", json!({})).await.unwrap(), "called");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_a_page_is_not_taken_for_a_server() {
    let server = plain(|_| answer(200, "text/html", "<h1>Welcome</h1>")).await;
    let text = trouble(&server.url, &[]).await;
    assert!(text.contains("speaks neither Streamable HTTP nor HTTP+SSE"), "{text}");
    let server = plain(|_| answer(200, "application/json", r#"{"ok":true}"#)).await;
    let text = trouble(&server.url, &[]).await;
    assert!(text.contains("speaks neither Streamable HTTP nor HTTP+SSE"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_sends_its_messages_elsewhere_is_refused() {
    let hits = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&hits);
    let elsewhere = plain(move |_| {
        hits.fetch_add(1, Ordering::SeqCst);
        answer(202, "", "")
    });
    let elsewhere = elsewhere.await;
    let target = elsewhere.url.clone();
    let server = plain(move |_| events(&format!("event: endpoint\ndata: {target}\n\n")));
    let server = server.await;
    let text = trouble(&server.url, &["--transport", "sse", "--header", "Authorization: Bearer s3cret"]).await;
    assert!(text.contains("names another origin than its own for messages"), "{text}");
    assert_eq!(seen.load(Ordering::SeqCst), 0);
}
