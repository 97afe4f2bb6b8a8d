//! The API that users of the gateway's predecessor call (compatibility list 1-5 and 9-11), per server.

use std::time::Duration;

use anyhow::Result;
use e2e::PATIENCE;
use e2e::client::{Client, HttpClient, SseClient};
use e2e::harness::{Bin, Gateway, fixture};
use e2e::http::{Response, http, open};
use serde_json::json;

const JSON: (&str, &str) = ("content-type", "application/json");

async fn gateway() -> Gateway {
    Gateway::start(&json!({})).await.expect("the gateway starts")
}

async fn post(gateway: &Gateway, path: &str, body: impl Into<String>) -> Result<Response> {
    http("POST", &gateway.url(path), &[JSON], body.into()).await
}

async fn get(gateway: &Gateway, path: &str) -> Result<Response> {
    http("GET", &gateway.url(path), &[], "").await
}

/// The number of sidecars and the process of each.
fn sidecars(gateway: &Gateway) -> Vec<i32> {
    let census = gateway.census();
    let sidecars = census.below().into_iter().filter(|process| process.parent == gateway.pid());
    sidecars.map(|process| process.pid).collect()
}

#[tokio::test]
async fn a_deploy_is_answered_in_both_forms_with_a_result_for_each_entry_and_a_summary() {
    let gateway = gateway().await;
    let entry = json!({"command": Bin::Fixture.text().unwrap(), "args": ["--name", "t"], "env": {"KEY1": "VALUE1"}});
    let answer = gateway.deploy(&json!({"time": entry, "other": fixture(&[])})).await.unwrap().expect(200).unwrap();
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let answer = answer.json().unwrap();
    assert_eq!((&answer["status"], &answer["success"]), (&json!("success"), &json!(true)));
    let deployed = json!({"name": "time", "status": "deployed", "message": "deployed; ready"});
    assert_eq!(answer["results"]["time"], deployed);
    let summary = json!({"total": 2, "deployed": 2, "existed": 0, "replaced": 0, "failed": 0});
    assert_eq!(answer["summary"], summary);
    let client = HttpClient::connect(&gateway.url("/time/mcp"), "2025-11-25").await.unwrap();
    assert_eq!(client.server()["serverInfo"]["name"], "t");
    assert_eq!(client.tool_text("env", json!({"name": "KEY1"})).await.unwrap(), "VALUE1");
}

#[tokio::test]
async fn bad_entries_are_refused_one_by_one_and_good_ones_beside_them_are_deployed() {
    let gateway = gateway().await;
    let servers = json!({
        "good": fixture(&[]),
        "neither": {},
        "both": {"command": "x", "url": "http://h/mcp"},
        "bad name!": fixture(&[]),
        "sse": fixture(&[]),
        "Deploy": fixture(&[]),
        "missing": {"command": "no-such-program"},
        "login": {"url": "http://user:hunter2@127.0.0.1:9/mcp"},
        "typo": {"comand": "x"},
    });
    let answer = gateway.deploy(&servers).await.unwrap().expect(400).unwrap().json().unwrap();
    assert_eq!((&answer["status"], &answer["success"]), (&json!("error"), &json!(false)));
    for (name, part) in [
        ("neither", "it needs `command` (a program to start) or `url` (a server elsewhere)"),
        ("both", "`command` and `url` exclude each other"),
        ("bad name!", "has the character ' '"),
        ("sse", "is reserved for the gateway's own addresses"),
        ("Deploy", "is reserved"),
        ("login", "must not hold a user name or a password: send them in `headers`"),
        ("missing", "the program `no-such-program` was not found (looked in /"),
        ("typo", "did you mean `command`?"),
    ] {
        let result = &answer["results"][name];
        assert_eq!((&result["name"], &result["status"]), (&json!(name), &json!("failed")));
        assert!(result["error"].as_str().unwrap().contains(part), "{result}");
        assert!(answer["error"].as_str().unwrap().contains(&format!("{name}: ")), "{answer}");
    }
    assert_eq!(answer["results"]["good"]["message"], "deployed; ready");
    assert_eq!(answer["summary"], json!({"total": 9, "deployed": 1, "existed": 0, "replaced": 0, "failed": 8}));
    HttpClient::connect(&gateway.url("/good/mcp"), "2025-06-18").await.unwrap();
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused_with_what_is_wrong_and_where() {
    let gateway = Gateway::start_with(r#"{"maxBodyBytes": 1024}"#, |launch| launch).await.unwrap();
    for (body, part) in [
        ("{\n  \"mcpServers\": {\n    \"a\": }", "line 3, column 10"),
        ("", "line 1, column 1"),
        ("[]", "line 1, column 1"),
        ("{}", "mcpServers"),
        (r#"{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}"#, "`a` stands twice"),
    ] {
        let answer = post(&gateway, "/deploy", body).await.unwrap().expect(400).unwrap().json().unwrap();
        assert_eq!(answer["success"], false);
        assert!(answer["error"].as_str().unwrap().contains(part), "{answer}");
    }
    let answer = http("POST", &gateway.url("/deploy"), &[JSON], &b"{\"\xff\": 1}"[..]).await.unwrap();
    assert!(answer.expect(400).unwrap().text().contains("not UTF-8"));
    let large = post(&gateway, "/deploy", " ".repeat(2000)).await.unwrap().expect(413).unwrap().json().unwrap();
    assert!(large["error"].as_str().unwrap().contains("1024 bytes"), "{large}");
    for query in ["wait=soon", "wait=", "wait=1s&wait=2s"] {
        let answer = post(&gateway, &format!("/deploy?{query}"), r#"{"mcpServers": {}}"#).await.unwrap();
        assert!(answer.expect(400).unwrap().json().unwrap()["error"].as_str().unwrap().contains("wait"), "{query}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_declared_to_be_json_is_refused_and_nothing_is_deployed() {
    let gateway = gateway().await;
    let body = json!({"mcpServers": {"a": fixture(&[])}}).to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "text/json"]
    {
        let answer = http("POST", &gateway.url("/deploy"), &[("content-type", kind)], body.clone()).await.unwrap();
        assert!(answer.expect(415).unwrap().text().contains("`Content-Type: application/json`"));
    }
    http("POST", &gateway.url("/deploy"), &[], body).await.unwrap().expect(415).unwrap();
    assert_eq!(get(&gateway, "/servers").await.unwrap().json().unwrap(), json!([]));
}

#[tokio::test]
async fn what_documentation_shows_is_accepted_as_it_is_pasted() {
    let gateway = gateway().await;
    let command = Bin::Fixture.text().unwrap();
    let body = format!(
        "// my servers\n{{ \"mcpServers\": {{ /* one */ \"a\": {{ \"type\": \"stdio\", \"command\": \"{command}\", \"args\": [\"--name\", \"a\",], \"disabled\": false, \"autoApprove\": [], }}, }}, }}"
    );
    let headers = [("content-type", "Application/JSON; charset=utf-8")];
    let answer = http("POST", &gateway.url("/deploy?wait=20s"), &headers, body).await.unwrap();
    let answer = answer.expect(200).unwrap().json().unwrap();
    let message = answer["results"]["a"]["message"].as_str().unwrap();
    assert!(message.starts_with("deployed; ready; ") && message.contains("`autoApprove` is ignored"), "{message}");
}

#[tokio::test]
async fn waiting_says_why_a_server_is_not_ready() {
    let gateway = gateway().await;
    let servers = json!({"broken": fixture(&["--fault", "exit-at-start=7"]), "good": fixture(&[])});
    let answer = gateway.deploy(&servers).await.unwrap().expect(200).unwrap().json().unwrap();
    assert_eq!(answer["results"]["good"]["message"], "deployed; ready");
    let message = answer["results"]["broken"]["message"].as_str().unwrap();
    assert!(message.contains("exited with code 7; its last words: fixture: cannot start"), "{message}");
    let body = json!({"mcpServers": {"slow": fixture(&["--fault", "never-init"])}}).to_string();
    let answer = post(&gateway, "/deploy?wait=200ms", body).await.unwrap().expect(200).unwrap().json().unwrap();
    let message = answer["results"]["slow"]["message"].as_str().unwrap();
    assert!(message.starts_with("deployed; not ready yet: starting"), "{message}");
}

#[tokio::test]
async fn an_argument_that_looks_secret_is_warned_of_by_its_name() {
    let gateway = gateway().await;
    let script = ["-c", r#"exec "$0""#, &Bin::Fixture.text().unwrap(), "--api-key=hunter2"];
    let servers = json!({"open": {"command": "/bin/sh", "args": script}, "good": fixture(&[])});
    let answer = gateway.deploy(&servers).await.unwrap().expect(200).unwrap();
    assert!(!answer.text().contains("hunter2"), "{}", answer.text());
    let results = &answer.json().unwrap()["results"];
    let warnings = results["open"]["warnings"].as_array().unwrap();
    assert!(warnings.len() == 1 && warnings[0].as_str().unwrap().contains("`--api-key`"), "{warnings:?}");
    assert!(results["good"]["warnings"].is_null(), "{results}");
}

#[tokio::test]
async fn the_same_configuration_again_restarts_nothing_and_a_changed_one_replaces_the_server() {
    let gateway = gateway().await;
    let servers = json!({"a": fixture(&["--name", "first"])});
    gateway.deploy(&servers).await.unwrap().expect(200).unwrap();
    let before = sidecars(&gateway);
    let answer = gateway.deploy(&servers).await.unwrap().expect(200).unwrap().json().unwrap();
    assert_eq!(answer["results"]["a"]["status"], "existed");
    assert_eq!(answer["summary"]["existed"], 1);
    assert_eq!(sidecars(&gateway), before);
    let servers = json!({"a": fixture(&["--name", "second"])});
    let answer = gateway.deploy(&servers).await.unwrap().expect(200).unwrap().json().unwrap();
    assert_eq!((&answer["results"]["a"]["status"], &answer["summary"]["replaced"]), (&json!("replaced"), &json!(1)));
    let client = HttpClient::connect(&gateway.url("/a/mcp"), "2025-11-25").await.unwrap();
    assert_eq!(client.server()["serverInfo"]["name"], "second");
}

#[tokio::test]
async fn every_form_of_the_stream_begins_with_an_endpoint_that_is_a_path() {
    let gateway = Gateway::start(&json!({"mcpServers": {"a": fixture(&[])}})).await.unwrap();
    gateway.wait_status("a", "ready").await.unwrap();
    let bearer = [("authorization", "Bearer whatever")];
    for (path, headers) in
        [("/a/sse", &[][..]), ("/a/sse/sse", &[]), ("/a/sse?api_key=whatever", &[]), ("/a/sse/sse", &bearer[..])]
    {
        let answer = open("GET", &gateway.url(path), headers, "").await.unwrap();
        let header = |name: &str| answer.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("cache-control").as_deref(), Some("no-cache, no-transform"));
        assert_eq!(header("x-accel-buffering").as_deref(), Some("no"));
        let first = answer.into_events().await.unwrap().data(PATIENCE).await.unwrap();
        assert_eq!(first.event.as_deref(), Some("endpoint"));
        assert!(first.data.unwrap().starts_with("/a/message?sessionId="), "{path}");
    }
}

#[tokio::test]
async fn an_unknown_server_is_answered_with_the_names_there_are() {
    let gateway = Gateway::start(&json!({"mcpServers": {"b": fixture(&[]), "a": fixture(&[])}})).await.unwrap();
    for (method, path) in [
        ("GET", "/c/sse"),
        ("GET", "/c/sse/sse"),
        ("POST", "/c/message?sessionId=x"),
        ("POST", "/c/mcp"),
        ("GET", "/servers/c"),
    ] {
        let answer =
            http(method, &gateway.url(path), &[JSON], "{}").await.unwrap().expect(404).unwrap().json().unwrap();
        assert_eq!(answer["servers"], json!(["a", "b"]), "{path}");
        assert_eq!(answer["error"], "no server is named `c`; there are: a, b");
    }
}

#[tokio::test]
async fn posts_are_accepted_at_once_and_answered_on_the_stream() {
    let gateway = Gateway::start(&json!({"mcpServers": {"a": fixture(&[])}})).await.unwrap();
    let client = SseClient::connect(&gateway.url("/a/sse")).await.unwrap();
    let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "sleep", "arguments": {"ms": 1500}}});
    let answer = http("POST", client.endpoint(), &[JSON], call.to_string()).await.unwrap().expect(202).unwrap();
    assert_eq!(answer.text(), "Accepted");
    assert!(client.events().is_empty(), "the POST waited for the answer");
    let answer = client.next_event().await.unwrap();
    assert_eq!(answer.id(), Some("7"));
    let unknown = post(&gateway, "/a/message?sessionId=nonsense", call.to_string()).await.unwrap();
    assert_eq!(unknown.expect(404).unwrap().json().unwrap()["error"]["code"], -32001);
    let absent = post(&gateway, "/a/message", call.to_string()).await.unwrap().expect(400).unwrap();
    assert!(absent.text().contains("`sessionId` is missing"));
    client.no_event(Duration::from_millis(100)).await.unwrap();
}

#[tokio::test]
async fn services_are_listed_with_their_secrets_masked_and_deleted_by_name() {
    let gateway = gateway().await;
    assert_eq!(get(&gateway, "/services").await.unwrap().expect(200).unwrap().json().unwrap(), json!([]));
    let entry = json!({"command": Bin::Fixture.text().unwrap(), "args": ["--name", "x"], "env": {"TOKEN": "hunter2"}});
    gateway.deploy(&json!({"a": entry, "r": {"url": "http://127.0.0.1:9/?k=hunter2", "headers": {"Authorization": "Bearer hunter2"}}})).await.unwrap();
    for path in ["/services", "/servers", "/servers/a", "/servers/r"] {
        let text = get(&gateway, path).await.unwrap().expect(200).unwrap().text();
        assert!(text.contains("***") && !text.contains("hunter2"), "{text}");
    }
    let list = get(&gateway, "/services").await.unwrap().json().unwrap();
    assert_eq!(
        (&list[0]["name"], &list[0]["env"]["TOKEN"], &list[1]["name"]),
        (&json!("a"), &json!("***"), &json!("r"))
    );
    let delete = async |query: &str| http("DELETE", &gateway.url(&format!("/delete{query}")), &[], "").await.unwrap();
    let answer = delete("?name=a").await.expect(200).unwrap().json().unwrap();
    assert_eq!((&answer["status"], &answer["success"]), (&json!("success"), &json!(true)));
    assert_eq!(delete("?name=a").await.expect(404).unwrap().json().unwrap()["servers"], json!(["r"]));
    assert!(delete("").await.expect(400).unwrap().text().contains("`name` is missing"));
    http("DELETE", &gateway.url("/servers/r"), &[], "").await.unwrap().expect(200).unwrap();
    gateway.wait_childless(PATIENCE).await.unwrap();
}
