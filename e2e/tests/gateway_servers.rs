//! Many servers, bad ones among them, on one machine: none keeps another waiting, and each tells what it is doing.

use std::time::Duration;

use e2e::client::{Client, ClientOptions, HttpClient, SseClient};
use e2e::harness::{Bin, Gateway, fixture};
use e2e::http::{Opened, http, open};
use e2e::{PATIENCE, eventually, within};
use serde_json::{Map, json};

async fn connect(gateway: &Gateway, server: &str) -> anyhow::Result<HttpClient> {
    HttpClient::connect(&gateway.url(&format!("/{server}/mcp")), "2025-11-25").await
}

#[tokio::test]
async fn twenty_servers_start_beside_ten_that_hang_or_fail() {
    let mut servers = Map::new();
    for n in 0..10 {
        let fault = if n % 2 == 0 { "never-init" } else { "exit-at-start=1" };
        // Names sort before those of the good ones, and are started first.
        servers.insert(format!("bad{n}"), fixture(&["--fault", fault]));
    }
    for n in 0..20 {
        servers.insert(format!("good{n}"), fixture(&["--name", &format!("n{n}")]));
    }
    let gateway = Gateway::start(&json!({})).await.unwrap();
    let body = json!({"mcpServers": servers}).to_string();
    let answer = http("POST", &gateway.url("/deploy"), &[("content-type", "application/json")], body).await.unwrap();
    assert_eq!(answer.expect(200).unwrap().json().unwrap()["summary"]["deployed"], 30);
    for n in 0..20 {
        gateway.wait_status(&format!("good{n}"), "ready").await.unwrap();
        let client = connect(&gateway, &format!("good{n}")).await.unwrap();
        assert_eq!(client.server()["serverInfo"]["name"], format!("n{n}"));
    }
    assert_eq!(gateway.wait_status("bad1", "failing").await.unwrap()["lastExit"]["code"], 1);
    assert_eq!(gateway.server("bad0").await.unwrap()["status"], "starting");
}

#[tokio::test]
async fn clients_of_a_slow_server_wait_and_those_of_others_do_not() {
    let slow = fixture(&["--fault", "slow-init=2500", "--fault", "slow-list=100"]);
    let gateway = Gateway::start(&json!({"mcpServers": {"slow": slow, "quick": fixture(&[])}})).await.unwrap();
    let (slow, quick) = tokio::join!(connect(&gateway, "slow"), async {
        let client = connect(&gateway, "quick").await.unwrap();
        client.tool_text("pid", json!({})).await.unwrap();
        gateway.server("slow").await.unwrap()["status"].clone()
    });
    assert_eq!(quick, "starting");
    slow.unwrap().tool_text("pid", json!({})).await.unwrap();
}

#[tokio::test]
async fn a_program_that_is_gone_at_a_restart_is_named_in_the_status() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("server");
    std::fs::copy(Bin::Fixture.path().unwrap(), &program).unwrap();
    let mut gateway = Gateway::start(&json!({})).await.unwrap();
    gateway.deploy(&json!({"a": {"command": program}, "b": fixture(&[])})).await.unwrap().expect(200).unwrap();
    gateway.stop(PATIENCE).await.unwrap();
    std::fs::remove_file(&program).unwrap();
    gateway.restart().await.unwrap();
    let server = gateway.wait_status("a", "failing").await.unwrap();
    assert!(server["message"].as_str().unwrap().contains(program.to_str().unwrap()), "{server}");
    let error = format!("{:#}", connect(&gateway, "a").await.unwrap_err());
    assert!(error.contains("was not found"), "{error}");
    connect(&gateway, "b").await.unwrap();
    std::fs::copy(Bin::Fixture.path().unwrap(), &program).unwrap();
    gateway.wait_status("a", "ready").await.unwrap();
}

#[tokio::test]
async fn a_server_tells_what_it_is_and_how_its_last_process_ended() {
    let gateway = Gateway::start(&json!({"mcpServers": {"a": fixture(&[])}})).await.unwrap();
    let server = gateway.wait_status("a", "ready").await.unwrap();
    assert_eq!(server["endpoints"], json!({"mcp": "/a/mcp", "sse": "/a/sse"}));
    assert_eq!((&server["transport"], &server["protocolVersion"]), (&json!("stdio"), &json!("2025-11-25")));
    assert_eq!((&server["serverInfo"]["name"], &server["ready"]), (&json!("fixture"), &json!(true)));
    let counts = ["tools", "resources", "prompts"].map(|list| server[list].as_u64().unwrap() > 0);
    assert_eq!(counts, [true; 3]);
    let client = connect(&gateway, "a").await.unwrap();
    client.tool("crash", json!({"signal": 9})).await.unwrap_err();
    client.tool_text("pid", json!({})).await.unwrap();
    let look = async || gateway.server("a").await.ok().filter(|server| server["restarts"] == 1);
    let server = eventually(PATIENCE, "the restart to be counted", look).await.unwrap();
    assert_eq!((&server["lastExit"]["signal"], &server["status"]), (&json!(9), &json!("ready")));
}

#[tokio::test]
async fn the_log_of_a_server_is_its_standard_error() {
    let script = r#"echo one >&2; echo two >&2; exec "$0""#;
    let entry = json!({"command": "/bin/sh", "args": ["-c", script, Bin::Fixture.text().unwrap()], "process": {"warmSpares": 0}});
    let gateway = Gateway::start(&json!({"mcpServers": {"a": entry, "asleep": {"command": "x", "suspend": true}}}))
        .await
        .unwrap();
    gateway.wait_status("a", "ready").await.unwrap();
    let logs =
        async |query: &str| http("GET", &gateway.url(&format!("/servers/a/logs{query}")), &[], "").await.unwrap();
    assert_eq!(logs("").await.expect(200).unwrap().text(), "one\ntwo\n");
    assert_eq!(logs("?lines=1").await.expect(200).unwrap().text(), "two\n");
    assert_eq!(logs("?lines=many").await.expect(400).unwrap().json().unwrap()["success"], false);
    let mut follow = open("GET", &gateway.url("/servers/a/logs?lines=0&follow"), &[], "").await.unwrap();
    let _client = connect(&gateway, "a").await.unwrap();
    let mut text = String::new();
    within(PATIENCE, "the lines of the new process", async {
        while !text.ends_with("one\ntwo\n") {
            text += &chunk(&mut follow).await;
        }
        Ok(())
    })
    .await
    .unwrap();
    for (name, status) in [("asleep", 503), ("unknown", 404)] {
        let answer = http("GET", &gateway.url(&format!("/servers/{name}/logs")), &[], "").await.unwrap();
        assert_eq!(answer.expect(status).unwrap().json().unwrap()["success"], false);
    }
}

async fn chunk(opened: &mut Opened) -> String {
    let chunk = opened.chunk().await.expect("the log goes on").expect("it has no end");
    String::from_utf8_lossy(&chunk).into_owned()
}

#[tokio::test]
async fn figures_of_a_server_end_with_it() {
    let gateway = Gateway::start(&json!({})).await.unwrap();
    let metrics = format!("{}/metrics", gateway.admin().await.unwrap());
    let page = async || http("GET", &metrics, &[], "").await.unwrap().expect(200).unwrap().text();
    gateway.deploy(&json!({"a": fixture(&[]), "b": fixture(&["--fault", "exit-at-start=1"])})).await.unwrap();
    let text = page().await;
    for line in [
        "mcp_gateway_server_ready{server=\"a\"} 1",
        "mcp_gateway_server_ready{server=\"b\"} 0",
        "mcp_gateway_server_restarts{server=\"a\"} 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    http("DELETE", &gateway.url("/servers/a"), &[], "").await.unwrap().expect(200).unwrap();
    let text = page().await;
    assert!(!text.contains("server=\"a\"") && text.contains("server=\"b\""), "{text}");
    http("GET", &gateway.url("/metrics"), &[], "").await.unwrap().expect(404).unwrap();
}

#[tokio::test]
async fn a_caller_holds_as_many_streams_as_the_settings_say() {
    let config = json!({"maxStreamsPerPrincipal": 3, "mcpServers": {"a": fixture(&[])}});
    let gateway = Gateway::start(&config).await.unwrap();
    let mut clients = Vec::new();
    for path in ["/a/sse", "/sse", "/a/sse"] {
        clients.push(SseClient::open(&gateway.url(path), ClientOptions::new("2024-11-05")).await.unwrap());
    }
    let refused = http("GET", &gateway.url("/a/sse"), &[], "").await.unwrap().expect(429).unwrap();
    assert!(refused.header("retry-after").is_some() && refused.text().contains("maxStreamsPerPrincipal"));
    let options = ClientOptions::new("2025-11-25").without_stream();
    let client = HttpClient::connect_with(&gateway.url("/a/mcp"), options).await.unwrap();
    client.tool_text("pid", json!({})).await.unwrap();
    http("GET", &gateway.url("/servers"), &[], "").await.unwrap().expect(200).unwrap();
    clients.pop();
    let free = async || SseClient::connect(&gateway.url("/a/sse")).await.ok();
    eventually(PATIENCE, "the place of the stream that was closed", free).await.unwrap();
}

/// Clients that call and vanish, without a word or in the middle of a call.
async fn visit(gateway: &Gateway, calls: usize) {
    let text = "x".repeat(500);
    for round in 0..calls / 20 {
        let path = ["/a/mcp", "/a/sse"][round % 2];
        let client: Box<dyn Client> = if round % 2 == 0 {
            Box::new(HttpClient::connect(&gateway.url(path), "2025-06-18").await.expect("it connects"))
        } else {
            Box::new(SseClient::connect(&gateway.url(path)).await.expect("it connects"))
        };
        for _ in 0..20 {
            client.tool_text("echo", json!({"text": text})).await.expect("an answer");
        }
        if round % 5 == 0 {
            let late = client.tool("sleep", json!({"ms": 60_000}));
            tokio::time::timeout(Duration::from_millis(20), late).await.expect_err("it sleeps");
        }
    }
}

#[tokio::test]
async fn files_and_memory_return_to_where_they_were_after_many_calls_and_disconnects() {
    let entry = json!({"command": Bin::Fixture.text().unwrap(), "process": {"mode": "shared", "idleTimeout": "1s"}});
    let gateway = Gateway::start(&json!({"mcpServers": {"a": entry}})).await.unwrap();
    gateway.wait_status("a", "ready").await.unwrap();
    visit(&gateway, 200).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = gateway.census();
    tokio::join!(visit(&gateway, 1000), visit(&gateway, 1000));
    let look = async || {
        let now = gateway.census();
        let settled = now.processes.len() == before.processes.len() && now.fds() <= before.fds() + 4;
        settled.then_some(now)
    };
    let after = eventually(PATIENCE, "files and processes to be as before", look).await;
    let after = after.unwrap_or_else(|error| panic!("{error}\nbefore:\n{before}after:\n{}", gateway.census()));
    let rss = |census: &e2e::harness::Census| census.processes.iter().map(|process| process.rss).sum::<u64>();
    assert!(rss(&after) < rss(&before) + (4 << 10), "before:\n{before}after:\n{after}");
}
