//! What a hostile page, client or server gets out of a gateway: nothing.

use std::time::Duration;

use e2e::client::{Client, ClientOptions, HttpClient, SseClient};
use e2e::harness::{Bin, Gateway, fixture};
use e2e::http::http;
use e2e::{PATIENCE, eventually};
use serde_json::json;

const JSON: (&str, &str) = ("content-type", "application/json");

/// A request that opens a session.
fn initialize() -> String {
    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "0"}});
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).to_string()
}

#[tokio::test]
async fn names_and_pages_that_are_not_listed_are_refused_before_anything_happens() {
    let config = r#"{"publicHosts": ["mcp.example.com"], "allowedOrigins": ["https://app.example"]}"#;
    let gateway = Gateway::start_with(config, |launch| launch).await.unwrap();
    let port = gateway.origin().rsplit(':').next().unwrap().to_owned();
    let entries = json!({"mcpServers": {"evil": fixture(&[])}}).to_string();
    let hosts = [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "0.0.0.0",
        "localhost.",
        "2130706433",
        "127.1",
        "0x7f.1",
        "[::]",
        "[::ffff:127.0.0.1]",
        "localhost@evil.example",
        "evil.example#localhost",
        "mcp.example.com.evil",
        "127.0.0.2",
        "",
    ];
    let with_port = hosts.iter().map(|host| format!("{host}:{port}"));
    for host in hosts.iter().map(ToString::to_string).chain(with_port) {
        for (method, path) in [
            ("POST", "/deploy"),
            ("POST", "/mcp"),
            ("GET", "/sse"),
            ("GET", "/servers"),
            ("GET", "/healthz"),
            ("OPTIONS", "/mcp"),
        ] {
            // What is no host name at all is a bad request.
            let status =
                http(method, &gateway.url(path), &[("host", &host), JSON], entries.clone()).await.unwrap().status;
            assert!(matches!(status, 403 | 400), "{method} {path} of {host:?}: {status}");
        }
    }
    let origins = [
        "null",
        "http://evil.example",
        "https://app.example.evil",
        "http://user@localhost",
        "file://",
        "https://app.example:8443",
        "http://app.example",
        "chrome-extension://x",
        "http://localhost.evil",
        "",
    ];
    for origin in origins {
        for (method, path) in [("POST", "/deploy"), ("POST", "/mcp"), ("GET", "/sse"), ("DELETE", "/servers/x")] {
            let answer = http(method, &gateway.url(path), &[("origin", origin), JSON], entries.clone()).await.unwrap();
            assert_eq!(answer.status, 403, "{method} {path} from {origin:?}");
        }
    }
    let twice = [("host", "localhost"), ("origin", "http://localhost"), ("origin", "https://evil.example")];
    http("GET", &gateway.url("/servers"), &twice, "").await.unwrap().expect(403).unwrap();
    for (host, origin) in [
        ("localhost", "http://localhost:5173"),
        ("LOCALHOST:1", "https://app.example"),
        ("mcp.example.com", "https://mcp.example.com"),
        ("[::1]:80", "HTTPS://APP.EXAMPLE"),
    ] {
        let answer = http("GET", &gateway.url("/servers"), &[("host", host), ("origin", origin)], "").await.unwrap();
        assert_eq!(answer.expect(200).unwrap().json().unwrap(), json!([]), "a refused deploy was made");
    }
}

#[tokio::test]
async fn simple_requests_of_pages_do_nothing() {
    let gateway = Gateway::start(&json!({"mcpServers": {"a": fixture(&[])}})).await.unwrap();
    gateway.wait_status("a", "ready").await.unwrap();
    let client = SseClient::connect(&gateway.url("/a/sse")).await.unwrap();
    let all = SseClient::connect(&gateway.url("/sse")).await.unwrap();
    let sessions = gateway.server("a").await.unwrap()["sessions"].clone();
    let accept = ("accept", "application/json, text/event-stream");
    for kind in [
        "text/plain",
        "text/plain;charset=application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/jsonp",
        "",
    ] {
        for url in [gateway.url("/a/mcp"), gateway.url("/mcp"), client.endpoint().to_owned(), all.endpoint().to_owned()]
        {
            let answer = http("POST", &url, &[("content-type", kind), accept], initialize()).await.unwrap();
            assert_eq!(answer.status, 415, "{kind:?}: {url}");
        }
    }
    let gzip = [JSON, accept, ("content-encoding", "gzip")];
    http("POST", &gateway.url("/a/mcp"), &gzip, initialize()).await.unwrap().expect(415).unwrap();
    assert_eq!(gateway.server("a").await.unwrap()["sessions"], sessions);
    client.no_event(Duration::from_millis(100)).await.unwrap();
}

#[tokio::test]
async fn headers_that_claim_an_identity_change_nothing() {
    let config = json!({"mcpServers": {"a": fixture(&[])}}).to_string();
    let gateway = Gateway::start_on("0.0.0.0:0", &config, |launch| launch).await.unwrap();
    let key = async |name: &str| gateway.keys(&["create", name, "--scopes", "call"]).await.unwrap();
    let (mine, theirs) = (key("mine").await, key("theirs").await);
    let bearer = format!("Bearer {theirs}");
    let known = async || {
        http("GET", &gateway.url("/openapi.json"), &[("authorization", &bearer)], "")
            .await
            .ok()
            .filter(|it| it.status == 200)
    };
    eventually(PATIENCE, "the keys to be known", known).await.unwrap();
    let options = |key: &str| ClientOptions::new("2025-11-25").header("x-api-key", key);
    let client = HttpClient::connect_with(&gateway.url("/a/mcp"), options(&mine)).await.unwrap();
    let session = client.session().unwrap();
    let claims = [
        "mcp-gateway-principal",
        "mcp-gateway-hop",
        "mcp-gateway-token",
        "mcp-gateway-anything",
        "x-mcp-authorized",
        "mcp-init-host",
        "router-key",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-user",
        "x-forwarded-proto",
        "forwarded",
        "x-real-ip",
        "x-remote-user",
        "remote-user",
        "x-user",
        "x-auth-request-user",
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
        "cookie",
        "proxy-authorization",
        "via",
        "x-envoy-internal",
        "x-amzn-oidc-identity",
        "cf-access-jwt-assertion",
        "baggage",
    ];
    let admin = mine.split('_').nth(1).unwrap();
    for claim in claims {
        for value in [admin, "anonymous", "127.0.0.1", "internal", "1", "/healthz"] {
            let claimed = (claim, value);
            let none = http("GET", &gateway.url("/servers"), &[claimed], "").await.unwrap();
            assert_eq!(none.status, 401, "{claim}: {value}");
            let low = http("GET", &gateway.url("/servers"), &[("authorization", bearer.as_str()), claimed], "")
                .await
                .unwrap();
            assert_eq!(low.status, 403, "{claim}: {value}");
            let headers = [("authorization", bearer.as_str()), ("mcp-session-id", session.as_str()), JSON, claimed];
            let foreign = http("DELETE", &gateway.url("/a/mcp"), &headers, "").await.unwrap();
            assert_eq!(foreign.status, 404, "{claim}: {value}");
        }
    }
    client.call("ping", json!({})).await.unwrap();
    let dressed = claims.iter().fold(options(&theirs), |options, claim| options.header(claim, "anonymous"));
    let dressed = HttpClient::connect_with(&gateway.url("/a/mcp"), dressed).await.unwrap();
    dressed.tool_text("pid", json!({})).await.unwrap();
    let plain = HttpClient::open(
        &gateway.url("/a/mcp"),
        options(&theirs).header("mcp-session-id", &dressed.session().unwrap()),
    );
    plain.call("ping", json!({})).await.unwrap();
}

#[tokio::test]
async fn the_gateway_starts_nothing_but_sidecars() {
    let gateway = Gateway::start(&json!({})).await.unwrap();
    let watch = async {
        for round in 0..20 {
            let mut servers = serde_json::Map::new();
            for n in 0..5 {
                let entry = json!({"command": "/bin/sh", "args": ["-c", format!("exec \"$0\" --name r{round}"), Bin::Fixture.text().unwrap()]});
                servers.insert(format!("s{n}"), entry);
            }
            let body = json!({"mcpServers": servers}).to_string();
            http("POST", &gateway.url("/deploy"), &[JSON], body).await.unwrap().expect(200).unwrap();
        }
    };
    let mut seen = 0;
    let look = async {
        loop {
            for process in gateway.census().below().iter().filter(|process| process.parent == gateway.pid()) {
                seen += 1;
                // Between fork and exec it is the gateway itself; dead, it has a name and no command line.
                let known = ["mcp-sidecar", "mcp-gateway"].iter().any(|name| process.command.contains(name));
                assert!(known || process.state == 'Z', "{process:?}");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = watch => {}
        () = look => {}
    }
    assert!(seen > 5);
}
