//! `mcp-sidecar serve --url`: servers elsewhere.

use std::time::Duration;

use anyhow::Result;
use e2e::client::{Client, ClientOptions, HttpClient, RpcError, SseClient};
use e2e::fixture::remote::Remote;
use e2e::harness::Sidecar;
use e2e::http::http;
use e2e::{PATIENCE, eventually};
use serde_json::{Value, json};

/// What the prober of a sidecar opens for itself.
const OWN: usize = 1;

async fn fixture(flags: &[&str]) -> Remote {
    Remote::from_flags(flags).await.expect("the fixture starts")
}

/// A sidecar in front of `url` that has found its server.
async fn ready(flags: &[&str], url: &str) -> Sidecar {
    let sidecar = Sidecar::remote(flags, url).await.expect("the sidecar starts");
    phase(&sidecar, "ready").await;
    sidecar
}

async fn connect(sidecar: &Sidecar) -> HttpClient {
    HttpClient::connect(&sidecar.url("/mcp"), "2025-11-25").await.expect("the handshake succeeds")
}

async fn echo(client: &dyn Client, text: &str) -> Result<String> {
    client.tool_text("echo", json!({"text": text})).await
}

fn refusal<T: std::fmt::Debug>(outcome: Result<T>) -> RpcError {
    outcome.expect_err("the request is refused").downcast().expect("the error is one of JSON-RPC")
}

/// The status, once its phase is this one.
async fn phase(sidecar: &Sidecar, phase: &str) -> Value {
    let look = async || {
        let status = http("GET", &sidecar.url("/status"), &[], "").await.ok()?.json().ok()?;
        (status["phase"] == phase).then_some(status)
    };
    eventually(PATIENCE, format!("the phase {phase}"), look).await.expect("the phase comes")
}

/// Waits until so many sessions are open at the server.
async fn sessions(remote: &Remote, count: usize) {
    let look = async || (remote.sessions() == count).then_some(());
    eventually(PATIENCE, format!("{count} sessions at the server"), look).await.expect("the sessions settle");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_transport_is_found_out_by_trying() {
    for (speaks, base, path, found) in [
        ("streamable", "", "/mcp", "streamable-http"),
        ("streamable", "", "", "streamable-http"),
        ("streamable", "/deep/down", "", "streamable-http"),
        ("sse", "", "/sse", "sse"),
        ("sse", "", "/", "sse"),
        ("sse", "/deep/down", "/sse", "sse"),
        ("both", "", "", "streamable-http"),
        ("both", "", "/sse", "sse"),
    ] {
        let remote = fixture(&["--remote", speaks, "--base", base]).await;
        let sidecar = ready(&[], &remote.url(path)).await;
        assert_eq!(phase(&sidecar, "ready").await["transport"], found, "{speaks} {base}{path}");
        for client in [
            &connect(&sidecar).await as &dyn Client,
            &SseClient::connect(&sidecar.url("/sse")).await.unwrap() as &dyn Client,
        ] {
            assert_eq!(echo(client, "hello").await.unwrap(), "hello", "{speaks} {base}{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transport_that_is_configured_is_not_asked_for() {
    let remote = fixture(&["--remote", "both"]).await;
    let sidecar = ready(&["--transport", "sse"], &remote.url("/sse")).await;
    assert_eq!(phase(&sidecar, "ready").await["transport"], "sse");
    assert!(remote.seen().iter().all(|seen| seen.method != "POST" || seen.target.starts_with("/message")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_said_to_be_missing_and_found_when_it_comes() {
    let address = fixture(&["--remote", "both"]).await.origin().replace("http://", "");
    let sidecar = Sidecar::remote(&[], &format!("http://{address}/mcp")).await.unwrap();
    let status = phase(&sidecar, "failing").await;
    let text = status["message"].as_str().unwrap();
    assert!(text.contains(&format!("cannot connect to http://{address}: Connection refused")), "{text}");
    let _remote = fixture(&["--remote", "both", "--listen", &address]).await;
    phase(&sidecar, "ready").await;
    assert_eq!(echo(&connect(&sidecar).await, "there").await.unwrap(), "there");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_without_a_server_says_what_was_tried() {
    let remote = fixture(&["--remote", "both", "--base", "/x"]).await;
    let sidecar = Sidecar::remote(&[], &remote.origin()).await.unwrap();
    let status = phase(&sidecar, "failing").await;
    let text = status["message"].as_str().unwrap();
    assert!(text.contains("speaks neither Streamable HTTP nor HTTP+SSE"), "{text}");
    assert!(text.contains("check `url`"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn configured_headers_go_with_every_request_and_their_lack_is_named() {
    for (speaks, path) in [("streamable", "/mcp"), ("sse", "/sse")] {
        let flags = ["--remote", speaks, "--require-header", "authorization=Bearer s3cret"];
        let remote = fixture(&flags).await;
        let without = Sidecar::remote(&[], &remote.url(path)).await.unwrap();
        let text = phase(&without, "failing").await["message"].to_string();
        assert!(text.contains("401 Unauthorized") && text.contains("credentials in `headers`"), "{text}");
        let sidecar = ready(&["--header", "Authorization: Bearer s3cret"], &remote.url(path)).await;
        let client = connect(&sidecar).await;
        assert_eq!(echo(&client, "in").await.unwrap(), "in");
        client.delete().await.unwrap();
        sessions(&remote, OWN).await;
        assert!(!sidecar.logs().contains("s3cret") && !without.logs().contains("s3cret"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_named_and_not_followed() {
    let elsewhere = fixture(&["--remote", "both"]).await;
    let remote = fixture(&["--remote", "both", "--redirect-to", &elsewhere.origin()]).await;
    for path in ["/moved/mcp", "/moved/sse"] {
        for transport in ["auto", "streamable-http", "sse"] {
            let flags = ["--header", "Authorization: Bearer s3cret", "--transport", transport];
            let sidecar = Sidecar::remote(&flags, &remote.url(path)).await.unwrap();
            let text = phase(&sidecar, "failing").await["message"].to_string();
            let target = path.replace("/moved", &elsewhere.origin());
            assert!(text.contains(&format!("redirects (307 Temporary Redirect) to {target}")), "{text}");
        }
    }
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_inside_is_not_connected_to_when_only_public_ones_are_wanted() {
    let remote = fixture(&["--remote", "both"]).await;
    let port = remote.origin().rsplit_once(':').unwrap().1.to_owned();
    let hosts = ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0", "[::1]", "[::ffff:127.0.0.1]"];
    for host in hosts {
        for transport in ["auto", "sse"] {
            let flags = ["--public-addresses-only", "--transport", transport];
            let sidecar = Sidecar::remote(&flags, &format!("http://{host}:{port}/mcp")).await.unwrap();
            let text = phase(&sidecar, "failing").await["message"].to_string();
            assert!(text.contains("is not a public one"), "{host}: {text}");
        }
    }
    assert!(remote.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_client_session_has_one_at_the_server_which_ends_with_it() {
    for (speaks, path) in [("streamable", "/mcp"), ("sse", "/sse")] {
        let remote = fixture(&["--remote", speaks]).await;
        let sidecar = ready(&[], &remote.url(path)).await;
        sessions(&remote, OWN).await;
        let clients = [connect(&sidecar).await, connect(&sidecar).await, connect(&sidecar).await];
        sessions(&remote, OWN + 3).await;
        assert_eq!(phase(&sidecar, "ready").await["processes"], OWN + 3);
        for client in &clients {
            client.delete().await.unwrap();
        }
        sessions(&remote, OWN).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_shared_mode_there_is_one_session_for_all() {
    let remote = fixture(&["--remote", "both"]).await;
    let sidecar = ready(&["--mode", "shared"], &remote.url("/mcp")).await;
    let (one, two) = (connect(&sidecar).await, SseClient::connect(&sidecar.url("/sse")).await.unwrap());
    assert_eq!((echo(&one, "1").await.unwrap(), echo(&two, "2").await.unwrap()), ("1".into(), "2".into()));
    assert_eq!(remote.sessions(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_questions_reports_and_news_reach_the_client() {
    for (speaks, path) in [("streamable", "/mcp"), ("sse", "/sse")] {
        let remote = fixture(&["--remote", speaks]).await;
        let sidecar = ready(&[], &remote.url(path)).await;
        let options = ClientOptions::new("2025-11-25").capabilities(json!({"elicitation": {}}));
        let options = options.respond(|_, _| Some(Ok(json!({"action": "accept", "content": {"text": "blue"}}))));
        let client = HttpClient::connect_with(&sidecar.url("/mcp"), options).await.unwrap();
        assert_eq!(client.tool_text("elicit", json!({"message": "colour?"})).await.unwrap(), "blue");
        let params = json!({"name": "progress", "arguments": {"steps": 2}, "_meta": {"progressToken": "mine"}});
        client.call("tools/call", params).await.unwrap();
        for step in [1, 2] {
            let event = client.expect_event("notifications/progress").await.unwrap();
            assert_eq!((&event.params()["progress"], &event.params()["progressToken"]), (&json!(step), &json!("mine")));
        }
        client.call("resources/subscribe", json!({"uri": "test://watched"})).await.unwrap();
        client.tool("touch", json!({"uri": "test://watched"})).await.unwrap();
        client.expect_event("notifications/resources/updated").await.unwrap();
        client.tool("add_tool", json!({"name": "new"})).await.unwrap();
        client.expect_event("notifications/tools/list_changed").await.unwrap();
        assert_eq!(client.tool_text("new", json!({})).await.unwrap(), "new");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_in_json_is_understood() {
    let remote = fixture(&["--remote", "streamable", "--json"]).await;
    let sidecar = ready(&[], &remote.url("/mcp")).await;
    let client = connect(&sidecar).await;
    let odd = client.request("tools/call", json!({"name": "odd"})).await.unwrap();
    assert_eq!(odd.raw_result().as_deref(), Some(e2e::fixture::ODD_RESULT));
    client.tool("add_tool", json!({"name": "new"})).await.unwrap();
    client.expect_event("notifications/tools/list_changed").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_stream_is_cut_is_fetched_again() {
    let remote = fixture(&["--remote", "streamable"]).await;
    let sidecar = ready(&[], &remote.url("/mcp")).await;
    let client = connect(&sidecar).await;
    assert_eq!(client.tool_text("cut", json!({"ms": 200})).await.unwrap(), "slept");
    let resumed =
        |seen: &e2e::fixture::remote::Seen| seen.method == "GET" && seen.headers.contains_key("last-event-id");
    assert!(remote.seen().iter().any(resumed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_server_forgets_is_replaced_and_only_the_call_that_found_out_fails() {
    let remote = fixture(&["--remote", "streamable", "--expire-after", "2"]).await;
    let sidecar = ready(&[], &remote.url("/mcp")).await;
    let options = ClientOptions::new("2025-06-18").name("replayed");
    let client = HttpClient::connect_with(&sidecar.url("/mcp"), options).await.unwrap();
    for round in 0..2 {
        echo(&client, "1").await.unwrap();
        let who = client.tool("whoami", json!({})).await.unwrap();
        let who = &who["structuredContent"];
        assert_eq!(who["initialize"]["clientInfo"]["name"], "replayed", "{round}");
        assert_eq!((&who["version"], &who["initialized"]), (&json!("2025-06-18"), &json!(true)));
        let error = refusal(echo(&client, "3").await);
        assert!(error.message.contains("no longer knows the session"), "{error}");
    }
    assert!(phase(&sidecar, "ready").await["restarts"].as_u64() >= Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_fails_its_calls_and_is_used_again_when_it_is_back() {
    for (speaks, path) in [("streamable", "/mcp"), ("sse", "/sse")] {
        let remote = fixture(&["--remote", speaks]).await;
        let address = remote.origin().replace("http://", "");
        let sidecar = ready(&[], &remote.url(path)).await;
        let client = connect(&sidecar).await;
        let (cut, ()) = tokio::join!(client.tool("sleep", json!({"ms": 60_000})), async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            drop(remote);
        });
        let error = refusal(cut);
        assert!(error.message.starts_with("server `remote`: "), "{error}");
        let _remote = fixture(&["--remote", speaks, "--listen", &address]).await;
        let back = async || echo(&client, "back").await.ok();
        assert_eq!(eventually(PATIENCE, "the server to be used again", back).await.unwrap(), "back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_call_is_cancelled_at_the_server() {
    for (speaks, path) in [("streamable", "/mcp"), ("sse", "/sse")] {
        let remote = fixture(&["--remote", speaks]).await;
        let sidecar = ready(&["--request-timeout", "300ms"], &remote.url(path)).await;
        let client = connect(&sidecar).await;
        assert_eq!(refusal(client.tool("silent", json!({})).await).code, -32001);
        let seen = async || {
            let seen = client.tool("cancelled_seen", json!({})).await.ok()?;
            (seen["structuredContent"]["count"] == 1).then_some(())
        };
        eventually(PATIENCE, "the server to be told", seen).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_pass_up_to_the_limit_and_are_refused_beyond_it() {
    for flags in [&["--remote", "streamable"][..], &["--remote", "streamable", "--json"], &["--remote", "sse"]] {
        let remote = fixture(flags).await;
        let sidecar = ready(&["--max-message-bytes", "4000000"], &remote.origin()).await;
        let client = connect(&sidecar).await;
        assert_eq!(client.tool_text("blob", json!({"bytes": 3_900_000})).await.unwrap().len(), 3_900_000);
        let long = "x".repeat(1_900_000);
        assert_eq!(echo(&client, &long).await.unwrap(), long);
        let error = refusal(client.tool("blob", json!({"bytes": 4_100_000})).await);
        let told = if flags.contains(&"sse") { "longer than the limit of 4000000" } else { "larger than 4000000" };
        assert!(error.message.contains(told), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_calls_at_once_than_may_be_under_way_are_all_answered() {
    let remote = fixture(&["--remote", "both"]).await;
    for path in ["/mcp", "/sse"] {
        let sidecar = ready(&[], &remote.url(path)).await;
        let client = connect(&sidecar).await;
        let calls = (0..400).map(|n| {
            let client = &client;
            async move {
                client.tool("sleep", json!({"ms": 20})).await.unwrap();
                assert_eq!(echo(client, &n.to_string()).await.unwrap(), n.to_string());
            }
        });
        let mut calls: Vec<_> = calls.map(Box::pin).collect();
        // Each is polled until all are done.
        std::future::poll_fn(|context| {
            calls.retain_mut(|call| call.as_mut().poll(context).is_pending());
            if calls.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}
