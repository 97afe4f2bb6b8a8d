//! Who may do what at a gateway that others than this machine can reach.

use std::time::Duration;

use anyhow::Result;
use e2e::client::{Client, ClientOptions, HttpClient, SseClient, StatusError};
use e2e::harness::{Gateway, fixture};
use e2e::http::{http, open};
use e2e::{PATIENCE, eventually, within};
use serde_json::{Value, json};

/// A gateway on all interfaces, with one server.
async fn gateway() -> Gateway {
    let config = json!({"mcpServers": {"a": fixture(&[])}}).to_string();
    Gateway::start_on("0.0.0.0:0", &config, |launch| launch).await.expect("the gateway starts")
}

/// A new key that the gateway knows already.
async fn key(gateway: &Gateway, scopes: &str) -> String {
    let key = gateway.keys(&["create", "test", "--scopes", scopes]).await.expect("the key is made");
    until(gateway, &key, 200).await;
    key
}

async fn status(gateway: &Gateway, key: &str) -> Result<u16> {
    Ok(http("GET", &gateway.url("/openapi.json"), &[("x-api-key", key)], "").await?.status)
}

/// Waits until the key is good for nothing (401) or something (200).
async fn until(gateway: &Gateway, key: &str, expected: u16) {
    let look = async || status(gateway, key).await.ok().filter(|status| *status == expected);
    eventually(PATIENCE, format!("the key to get {expected}"), look).await.expect("the key is as it should be");
}

/// The public part of a key.
fn id(key: &str) -> &str {
    key.split('_').nth(1).expect("a key has three parts")
}

async fn revoke(gateway: &Gateway, key: &str) {
    gateway.keys(&["revoke", id(key)]).await.expect("the key is revoked");
    until(gateway, key, 401).await;
}

fn with(key: &str, version: &str) -> ClientOptions {
    ClientOptions::new(version).header("authorization", &format!("Bearer {key}"))
}

fn refused<T: std::fmt::Debug>(outcome: Result<T>) -> u16 {
    outcome.expect_err("it fails").downcast::<StatusError>().expect("the error is a status").status
}

#[tokio::test]
async fn every_route_has_its_answer_to_every_credential() {
    let gateway = gateway().await;
    let (call, deploy, revoked) =
        (key(&gateway, "call").await, key(&gateway, "deploy").await, key(&gateway, "call,deploy").await);
    let expired = gateway.keys(&["create", "old", "--expires-in", "1ms"]).await.unwrap();
    revoke(&gateway, &revoked).await;
    let bearer = |key: &str| ("authorization", format!("Bearer {key}"));
    let credentials = [
        ("none", ("x-nothing", String::new())),
        ("garbage", bearer("garbage")),
        ("wrong scheme", ("authorization", format!("Basic {call}"))),
        ("expired", bearer(&expired)),
        ("revoked", ("x-api-key", revoked)),
        ("call", bearer(&call)),
        ("deploy", ("x-api-key", deploy)),
        ("query", ("x-nothing", String::new())),
    ];
    // What a call key, a deploy key and a call key in the query get; all others get 401.
    for (method, path, answers) in [
        ("HEAD", "/sse", [200, 403, 200]),
        ("HEAD", "/a/sse", [200, 403, 200]),
        ("HEAD", "/a/sse/sse", [200, 403, 200]),
        ("POST", "/message", [400, 403, 401]),
        ("POST", "/a/message", [400, 403, 401]),
        ("POST", "/mcp", [415, 403, 401]),
        ("POST", "/a/mcp", [415, 403, 401]),
        ("POST", "/stream", [415, 403, 401]),
        ("POST", "/a/stream", [415, 403, 401]),
        ("GET", "/mcp", [405, 403, 401]),
        ("DELETE", "/a/mcp", [400, 403, 401]),
        ("POST", "/deploy", [403, 415, 401]),
        ("DELETE", "/delete", [403, 400, 401]),
        ("GET", "/servers", [403, 200, 401]),
        ("GET", "/services", [403, 200, 401]),
        ("GET", "/servers/a", [403, 200, 401]),
        ("DELETE", "/servers/b", [403, 404, 401]),
        ("GET", "/servers/a/logs", [403, 200, 401]),
        ("GET", "/openapi.json", [200, 200, 401]),
        ("GET", "/nothing", [404, 404, 401]),
        ("POST", "/unknown/mcp", [404, 403, 401]),
        ("OPTIONS", "/mcp", [204, 403, 401]),
        ("PUT", "/deploy", [403, 405, 401]),
        ("GET", "/healthz", [200, 200, 200]),
        ("GET", "/readyz", [200, 200, 200]),
    ] {
        for (credential, (name, value)) in &credentials {
            let expected = match *credential {
                _ if path.ends_with('z') => 200,
                "call" => answers[0],
                "deploy" => answers[1],
                "query" => answers[2],
                _ => 401,
            };
            let query = if *credential == "query" { format!("?api_key={call}") } else { String::new() };
            let answer = http(method, &gateway.url(&format!("{path}{query}")), &[(name, value)], "").await.unwrap();
            assert_eq!(answer.status, expected, "{credential}: {method} {path}: {}", answer.text());
            assert_eq!(answer.header("www-authenticate").is_some(), expected == 401, "{credential}: {method} {path}");
        }
    }
}

#[tokio::test]
async fn without_a_key_nobody_is_served_and_the_log_says_how_to_make_one() {
    let gateway = gateway().await;
    gateway.wait_log("make one with `mcp-gateway keys create NAME`").await.unwrap();
    http("POST", &gateway.url("/deploy"), &[("content-type", "application/json")], "{}")
        .await
        .unwrap()
        .expect(401)
        .unwrap();
    assert!(gateway.keys(&["list"]).await.unwrap().is_empty());
    let both = key(&gateway, "call,deploy").await;
    let client = HttpClient::connect_with(&gateway.url("/a/mcp"), with(&both, "2025-11-25")).await.unwrap();
    client.tool_text("pid", json!({})).await.unwrap();
}

#[tokio::test]
async fn anybody_is_served_where_that_was_asked_for_though_not_under_any_name() {
    let config = json!({"mcpServers": {"a": fixture(&[])}}).to_string();
    let gateway = Gateway::start_on("0.0.0.0:0", &config, |launch| launch.arg("--allow-anonymous")).await.unwrap();
    HttpClient::connect(&gateway.url("/a/mcp"), "2025-11-25").await.unwrap();
    http("GET", &gateway.url("/servers"), &[("host", "evil.example")], "").await.unwrap().expect(403).unwrap();
}

#[tokio::test]
async fn keys_are_made_listed_and_revoked_while_the_gateway_runs() {
    let gateway = gateway().await;
    let made = key(&gateway, "call").await;
    assert!(made.starts_with("mgw_"));
    let list = gateway.keys(&["list"]).await.unwrap();
    assert!(list.starts_with(&format!("{}\ttest\tcall\t", id(&made))), "{list}");
    let secret = made.rsplit('_').next().unwrap();
    let stored = std::fs::read_to_string(gateway.state_dir().join("keys.json")).unwrap();
    assert!(!list.contains(secret) && !stored.contains(secret) && !stored.contains(&made));
    revoke(&gateway, &made).await;
    for (args, part) in [
        (&["revoke", "0123456789ab"][..], "no key has the id `0123456789ab`"),
        (&["create", "x", "--scopes", "admin"], "is no scope"),
        (&["create", " "], "name must have 1 to 64"),
    ] {
        let error = format!("{:#}", gateway.keys(args).await.unwrap_err());
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_stream_ends_when_the_key_it_was_opened_with_is_revoked_or_expires() {
    let gateway = gateway().await;
    let (kept, revoked) = (key(&gateway, "call").await, key(&gateway, "call").await);
    let brief = gateway.keys(&["create", "brief", "--scopes", "call", "--expires-in", "4s"]).await.unwrap();
    until(&gateway, &brief, 200).await;
    let stream = async |key: &str, path: &str| {
        let header = format!("Bearer {key}");
        let opened = open("GET", &gateway.url(path), &[("authorization", &header)], "").await.unwrap();
        let mut events = opened.into_events().await.unwrap();
        events.data(PATIENCE).await.unwrap();
        events
    };
    let mut stays = stream(&kept, "/a/sse").await;
    let mut ended =
        vec![stream(&revoked, "/a/sse").await, stream(&revoked, "/sse").await, stream(&brief, "/a/sse").await];
    revoke(&gateway, &revoked).await;
    for events in &mut ended {
        let end = within(PATIENCE, "the stream to end", async {
            while events.next().await?.is_some() {}
            Ok(())
        });
        end.await.unwrap();
    }
    until(&gateway, &brief, 401).await;
    assert!(
        tokio::time::timeout(Duration::from_millis(700), stays.next()).await.is_err(),
        "another's stream ended too"
    );
}

#[tokio::test]
async fn a_key_in_the_query_opens_a_stream_whose_endpoint_is_good_for_its_own_posts_only() {
    let gateway = gateway().await;
    let key = key(&gateway, "call").await;
    for (path, message) in [("/a/sse", "/a/message"), ("/sse", "/message"), ("/a/sse/sse", "/a/message")] {
        let url = gateway.url(&format!("{path}?api_key={key}"));
        let client = SseClient::connect_with(&url, ClientOptions::new("2024-11-05")).await.unwrap();
        client.call("tools/list", json!({})).await.unwrap();
        let (endpoint, pass) = client.endpoint().split_once("?sessionId=").unwrap();
        assert!(endpoint.ends_with(message) && !client.endpoint().contains(&key));
        for (method, path) in [
            ("GET", format!("/a/sse?sessionId={pass}")),
            ("GET", format!("/sse?sessionId={pass}")),
            ("POST", format!("/mcp?sessionId={pass}")),
            ("POST", format!("/deploy?sessionId={pass}")),
            ("GET", format!("/servers?sessionId={pass}")),
            ("GET", format!("/servers?api_key={key}")),
            ("POST", format!("/a/mcp?api_key={key}")),
            ("POST", format!("{message}?sessionId={pass}x")),
        ] {
            let headers = [("content-type", "application/json")];
            http(method, &gateway.url(&path), &headers, "{}").await.unwrap().expect(401).unwrap();
        }
        let headers = [("content-type", "application/json"), ("mcp-session-id", pass)];
        http("POST", &gateway.url("/a/mcp"), &headers, "{}").await.unwrap().expect(401).unwrap();
        let other = if message == "/message" { "/a/message" } else { "/message" };
        let answer = http("POST", &gateway.url(&format!("{other}?sessionId={pass}")), &headers, "{}").await.unwrap();
        answer.expect(404).unwrap();
        client.call("ping", json!({})).await.unwrap();
    }
    let client = SseClient::connect_with(&gateway.url("/a/sse"), with(&key, "2024-11-05")).await.unwrap();
    let post = http("POST", client.endpoint(), &[("content-type", "application/json")], "{}").await.unwrap();
    post.expect(401).unwrap();
    let url = gateway.url(&format!("/a/sse?api_key={key}"));
    let client = SseClient::connect_with(&url, ClientOptions::new("2024-11-05")).await.unwrap();
    revoke(&gateway, &key).await;
    assert!(
        matches!(client.call("ping", json!({})).await, Err(error) if format!("{error:#}").contains("401") || format!("{error:#}").contains("ended"))
    );
}

#[tokio::test]
async fn keys_in_the_query_can_be_switched_off() {
    let config = json!({"queryKeys": false, "mcpServers": {"a": fixture(&[])}}).to_string();
    let gateway = Gateway::start_on("0.0.0.0:0", &config, |launch| launch).await.unwrap();
    let key = key(&gateway, "call").await;
    for path in ["/a/sse", "/sse", "/a/sse/sse"] {
        http("GET", &gateway.url(&format!("{path}?api_key={key}")), &[], "").await.unwrap().expect(401).unwrap();
    }
}

#[tokio::test]
async fn a_session_is_not_there_for_anybody_else() {
    let gateway = gateway().await;
    let (mine, theirs) = (key(&gateway, "call").await, key(&gateway, "call").await);
    for base in ["/a", ""] {
        let http_client =
            HttpClient::connect_with(&gateway.url(&format!("{base}/mcp")), with(&mine, "2025-11-25")).await.unwrap();
        let sse =
            SseClient::connect_with(&gateway.url(&format!("{base}/sse")), with(&mine, "2024-11-05")).await.unwrap();
        let session = http_client.session().unwrap();
        let bearer = format!("Bearer {theirs}");
        let thief = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-session-id", &session),
        ];
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
        let url = gateway.url(&format!("{base}/mcp"));
        let unknown = [thief[0], thief[1], thief[2], ("mcp-session-id", "nonsense")];
        for method in ["POST", "GET", "DELETE"] {
            let stolen = http(method, &url, &thief, call.clone()).await.unwrap().expect(404).unwrap();
            let nothing = http(method, &url, &unknown, call.clone()).await.unwrap().expect(404).unwrap();
            assert_eq!(stolen.text(), nothing.text(), "{method}");
        }
        http("POST", sse.endpoint(), &thief[..3], call.clone()).await.unwrap().expect(404).unwrap();
        let attach = sse.endpoint().replace("/message?", "/sse?");
        http("GET", &attach, &thief[..1], "").await.unwrap().expect(404).unwrap();
        http("POST", sse.endpoint(), &thief[1..3], call.clone()).await.unwrap().expect(401).unwrap();
        for client in [&http_client as &dyn Client, &sse] {
            client.call("ping", json!({})).await.unwrap();
            assert!(client.events().is_empty());
        }
    }
}

#[tokio::test]
async fn a_changed_handle_opens_nothing() {
    let gateway = gateway().await;
    let key = key(&gateway, "call").await;
    let client = HttpClient::connect_with(&gateway.url("/a/mcp"), with(&key, "2025-11-25")).await.unwrap();
    let session = client.session().unwrap();
    for at in (0..session.len()).step_by(7) {
        let mut changed = session.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let options = with(&key, "2025-11-25").header("mcp-session-id", std::str::from_utf8(&changed).unwrap());
        let outcome = HttpClient::open(&gateway.url("/a/mcp"), options).call("ping", json!({})).await;
        assert_eq!(refused::<Value>(outcome), 404, "byte {at}");
    }
    client.call("ping", json!({})).await.unwrap();
}
