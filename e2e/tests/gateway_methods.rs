//! Clients probe: HEAD, OPTIONS, methods that are not there, the other names of endpoints, pages of other origins.

use e2e::client::{Client, HttpClient};
use e2e::harness::{Gateway, fixture};
use e2e::http::http;
use serde_json::json;

async fn gateway(settings: &str) -> Gateway {
    let config = format!(r#"{{{settings} "mcpServers": {{"a": {}}}}}"#, fixture(&[]));
    let gateway = Gateway::start_with(&config, |launch| launch).await.expect("the gateway starts");
    gateway.wait_status("a", "ready").await.expect("the server becomes ready");
    gateway
}

#[tokio::test]
async fn stream_is_another_name_of_mcp() {
    let gateway = gateway("").await;
    for path in ["/a/mcp", "/a/stream"] {
        for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
            let client = HttpClient::connect(&gateway.url(path), version).await.unwrap();
            assert_eq!(client.server()["protocolVersion"], version);
            assert_eq!(client.tool_text("echo", json!({"text": path})).await.unwrap(), path);
            client.delete().await.unwrap().expect(204).unwrap();
            assert!(client.call("ping", json!({})).await.is_err(), "the session goes on after its end");
        }
    }
}

#[tokio::test]
async fn probes_open_nothing_and_say_what_there_is() {
    let gateway = gateway("").await;
    let before = gateway.server("a").await.unwrap()["sessions"].clone();
    let (sse, mcp) = ("GET, HEAD, OPTIONS", "GET, POST, DELETE, OPTIONS");
    for (path, allowed) in [
        ("/a/sse", sse),
        ("/a/sse/sse", sse),
        ("/sse", sse),
        ("/a/mcp", mcp),
        ("/a/stream", mcp),
        ("/mcp", mcp),
        ("/stream", mcp),
        ("/a/message", "POST, OPTIONS"),
        ("/message", "POST, OPTIONS"),
        ("/deploy", "POST, OPTIONS"),
        ("/delete", "DELETE, OPTIONS"),
        ("/servers", sse),
        ("/services", sse),
        ("/servers/a", "GET, HEAD, DELETE, OPTIONS"),
        ("/servers/a/logs", sse),
    ] {
        let options = http("OPTIONS", &gateway.url(path), &[], "").await.unwrap().expect(204).unwrap();
        assert_eq!(options.header("allow"), Some(allowed), "{path}");
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
            if !allowed.contains(method) {
                let answer = http(method, &gateway.url(path), &[], "").await.unwrap().expect(405).unwrap();
                assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
                assert_eq!(answer.header("content-type"), Some("application/json"), "{method} {path}");
            }
        }
        if allowed == sse {
            let head = http("HEAD", &gateway.url(path), &[], "").await.unwrap().expect(200).unwrap();
            assert!(head.header("content-type").is_some() && head.body.is_empty(), "{path}");
        }
    }
    assert_eq!(gateway.server("a").await.unwrap()["sessions"], before);
}

#[tokio::test]
async fn a_get_of_an_endpoint_without_a_session_says_how_to_open_one() {
    let gateway = gateway("").await;
    for path in ["/a/mcp", "/mcp"] {
        let answer = http("GET", &gateway.url(path), &[("accept", "text/event-stream")], "").await.unwrap();
        assert_eq!(answer.header("allow"), Some("POST, DELETE, OPTIONS"), "{path}");
        assert!(answer.expect(405).unwrap().text().contains("POST of `initialize`"));
    }
    let nothing = http("GET", &gateway.url("/no/such/thing"), &[], "").await.unwrap().expect(404).unwrap();
    assert!(nothing.json().unwrap()["error"].as_str().unwrap().contains("/servers for their names"));
}

#[tokio::test]
async fn pages_of_allowed_origins_read_answers_when_cors_is_on_and_others_are_refused() {
    let gateway = gateway(r#""cors": true, "allowedOrigins": ["https://app.example"],"#).await;
    let ours = ("origin", "https://app.example");
    let wish = ("access-control-request-method", "POST");
    let answer = http("OPTIONS", &gateway.url("/a/mcp"), &[ours, wish], "").await.unwrap().expect(200).unwrap();
    assert_eq!(answer.header("access-control-allow-origin"), Some(ours.1));
    let allowed = answer.header("access-control-allow-headers").unwrap();
    let own = ["mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name"];
    for name in ["authorization", "content-type", "last-event-id", "x-api-key"].into_iter().chain(own) {
        assert!(allowed.contains(name), "{name}: {allowed}");
    }
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "page", "version": "0"}}});
    let headers = [ours, ("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    for path in ["/a/mcp", "/mcp"] {
        let answer =
            http("POST", &gateway.url(path), &headers, initialize.to_string()).await.unwrap().expect(200).unwrap();
        assert!(answer.header("mcp-session-id").is_some());
        assert_eq!(answer.header("access-control-allow-origin"), Some(ours.1));
        assert!(answer.header("access-control-expose-headers").unwrap().contains("mcp-session-id"));
    }
    let theirs = ("origin", "https://evil.example");
    for method in ["OPTIONS", "GET", "POST"] {
        let answer = http(method, &gateway.url("/a/mcp"), &[theirs, wish], "").await.unwrap().expect(403).unwrap();
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn without_cors_no_page_reads_answers() {
    let gateway = gateway("").await;
    let headers = [("origin", "http://localhost:6274"), ("access-control-request-method", "POST")];
    let answer = http("OPTIONS", &gateway.url("/a/mcp"), &headers, "").await.unwrap().expect(204).unwrap();
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control-")));
}
