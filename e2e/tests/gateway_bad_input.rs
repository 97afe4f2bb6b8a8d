//! What bad clients send: it is refused with the reason, by a server alone and by all together, and nobody else notices.

use std::time::Duration;

use e2e::client::{Client, ClientOptions, HttpClient, SseClient};
use e2e::harness::{Gateway, fixture};
use e2e::http::{http, open};
use serde_json::json;
use tokio::task::JoinSet;

const JSON: (&str, &str) = ("content-type", "application/json");
const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");

async fn gateway() -> Gateway {
    let mut entry = fixture(&[]);
    entry["process"] = json!({"mode": "shared"});
    Gateway::serving(&json!({"a": entry})).await.expect("the server becomes ready")
}

/// A session of each transport, of the server alone and of all.
async fn sessions(gateway: &Gateway) -> [(HttpClient, SseClient); 2] {
    let both = async |base: &str| {
        let http = HttpClient::connect(&gateway.url(&format!("{base}/mcp")), "2025-11-25").await;
        let sse = SseClient::connect(&gateway.url(&format!("{base}/sse"))).await;
        (http.expect("Streamable HTTP connects"), sse.expect("HTTP+SSE connects"))
    };
    [both("/a").await, both("").await]
}

fn ping() -> String {
    json!({"jsonrpc": "2.0", "id": "p", "method": "ping"}).to_string()
}

#[tokio::test]
async fn bodies_that_are_no_messages_are_refused_with_the_reason() {
    let gateway = gateway().await;
    for (client, sse) in &sessions(&gateway).await {
        let deep = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"a":{}1{}}}}}"#,
            "[".repeat(70),
            "]".repeat(70)
        );
        let text = "x".repeat(20 << 20);
        let large = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{{"text":"{text}"}}}}}}"#
        );
        for (body, status, code) in [
            ("{\"jsonrpc\":\"2.0\",\"id\":1,", 400, -32700),
            ("", 400, -32700),
            ("42", 400, -32600),
            (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, 400, -32600),
            (r#"{"jsonrpc":"2.0","method":"initialize","id":null}"#, 400, -32600),
            (&deep, 400, -32600),
            (&large, 413, -32000),
        ] {
            let to_http = client.post_raw(body.to_owned()).await.unwrap().collect().await.unwrap();
            let to_sse = http("POST", sse.endpoint(), &[JSON], body.to_owned()).await.unwrap();
            for answer in [to_http, to_sse] {
                let shown: String = body.chars().take(60).collect();
                assert_eq!(answer.status, status, "{shown}: {}", answer.text());
                assert_eq!(answer.json().unwrap()["error"]["code"], code, "{shown}: {}", answer.text());
            }
        }
        for client in [client as &dyn Client, sse] {
            client.call("ping", json!({})).await.unwrap();
        }
    }
}

#[tokio::test]
async fn headers_that_do_not_fit_are_refused_with_the_reason() {
    let gateway = gateway().await;
    for (client, _) in &sessions(&gateway).await {
        let session = ("mcp-session-id", client.session().unwrap());
        let session = (session.0, session.1.as_str());
        let url = client.url().to_owned();
        for (method, headers, status) in [
            ("POST", vec![session, JSON, ACCEPT, ("mcp-protocol-version", "1999-01-01")], 400),
            ("POST", vec![session, JSON, ("accept", "text/html")], 406),
            ("GET", vec![session, ("accept", "application/json")], 406),
            ("POST", vec![JSON, ACCEPT], 400),
            ("POST", vec![session, ("content-type", "text/plain"), ACCEPT], 415),
            ("POST", vec![("mcp-session-id", "x"), JSON, ACCEPT], 404),
            ("GET", vec![session, ("accept", "text/event-stream"), ("last-event-id", "nonsense")], 400),
            ("POST", vec![session, JSON], 200),
        ] {
            let answer = http(method, &url, &headers, ping()).await.unwrap();
            assert_eq!(answer.status, status, "{headers:?}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn clients_that_cut_their_connections_disturb_nobody() {
    let gateway = gateway().await;
    let [one, all] = sessions(&gateway).await;
    for round in 0..20 {
        for (prefix, client) in [("", &one.0), ("a-", &all.0)] {
            let call = json!({"jsonrpc": "2.0", "id": format!("cut{round}"), "method": "tools/call", "params": {"name": format!("{prefix}sleep"), "arguments": {"ms": 300}}});
            let cut = client.post_raw(call.to_string());
            drop(tokio::time::timeout(Duration::from_millis(10), cut).await);
        }
    }
    for (prefix, clients) in [("", &one), ("a-", &all)] {
        for client in [&clients.0 as &dyn Client, &clients.1] {
            assert_eq!(client.tool_text(&format!("{prefix}echo"), json!({"text": "x"})).await.unwrap(), "x");
        }
    }
    assert_eq!(gateway.server("a").await.unwrap()["restarts"], 0);
}

#[tokio::test]
async fn a_thousand_streams_are_held_while_others_call() {
    let count = if std::env::var_os("E2E_FULL").is_some() { 1000 } else { 200 };
    let gateway = gateway().await;
    let before = gateway.census().fds();
    let mut opening = JoinSet::new();
    for n in 0..count {
        let url = gateway.url(["/a/sse", "/sse"][n % 2]);
        opening.spawn(async move { open("GET", &url, &[], "").await.unwrap().into_events().await.unwrap() });
    }
    let mut streams = opening.join_all().await;
    for events in &mut streams {
        assert_eq!(events.next().await.unwrap().unwrap().event.as_deref(), Some("endpoint"));
    }
    let client = HttpClient::connect(&gateway.url("/a/mcp"), "2025-11-25").await.unwrap();
    client.tool_text("echo", json!({"text": "x"})).await.unwrap();
    drop(streams);
    let back = async || (gateway.census().fds() <= before + 10).then_some(());
    e2e::eventually(Duration::from_secs(5), "the files to be as before", back).await.unwrap();
}

#[tokio::test]
async fn large_results_pass_whole() {
    let gateway = gateway().await;
    for (prefix, (http, sse)) in ["", "a-"].iter().zip(sessions(&gateway).await) {
        for client in [&http as &dyn Client, &sse] {
            let text = client.tool_text(&format!("{prefix}blob"), json!({"bytes": 10 << 20})).await.unwrap();
            assert!(text.len() == 10 << 20 && text.as_bytes().chunks(16).all(|chunk| chunk == b"0123456789abcdef"));
        }
    }
}

#[tokio::test]
async fn a_batch_is_taken_in_the_revision_that_has_them_and_in_no_other() {
    let gateway = gateway().await;
    let batch = format!("[{},{}]", ping(), ping().replace("\"p\"", "\"q\""));
    for path in ["/a/mcp", "/mcp"] {
        for (version, status) in [("2025-03-26", 200), ("2025-06-18", 400), ("2025-11-25", 400)] {
            let options = ClientOptions::new(version).without_stream();
            let client = HttpClient::connect_with(&gateway.url(path), options).await.unwrap();
            let answer = client.post_raw(batch.clone()).await.unwrap().collect().await.unwrap();
            assert_eq!(answer.status, status, "{path} {version}: {}", answer.text());
            if status == 200 {
                let text = answer.text();
                assert!(text.contains("\"p\"") && text.contains("\"q\""), "{text}");
            } else {
                assert_eq!(answer.json().unwrap()["error"]["code"], -32600);
            }
        }
    }
}
