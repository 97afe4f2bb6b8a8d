//! All servers behind one stream: points 6 to 8 of the compatibility list, and what the predecessor's users suffer from.

use std::time::Duration;

use anyhow::Result;
use e2e::client::{Client, ClientOptions, HttpClient, Message, RpcError, SseClient};
use e2e::harness::{Gateway, fixture};
use e2e::http::{http, open};
use e2e::{PATIENCE, eventually};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");

/// A gateway whose servers are all ready, and in the lists of the aggregate if they have to be.
async fn gateway(servers: Value) -> Gateway {
    let gateway = Gateway::serving(&servers).await.expect("all servers become ready");
    let client = SseClient::connect(&gateway.url("/sse")).await.expect("HTTP+SSE connects");
    for (name, server) in servers.as_object().into_iter().flatten() {
        if server["route"]["aggregate"] != false {
            wait_tool(&client, &format!("{name}-echo"), true).await;
        }
    }
    gateway
}

/// A client of either transport.
async fn both(gateway: &Gateway, options: fn(&str) -> ClientOptions) -> [Box<dyn Client>; 2] {
    let sse = SseClient::connect_with(&gateway.url("/sse"), options("2024-11-05")).await;
    let http = HttpClient::connect_with(&gateway.url("/mcp"), options("2025-11-25")).await;
    [Box::new(sse.expect("HTTP+SSE connects")), Box::new(http.expect("Streamable HTTP connects"))]
}

/// What came that nobody asked for; that lists have changed may be told at any time.
fn strays(client: &dyn Client) -> Vec<String> {
    let told = |event: &Message| event.method().is_some_and(|method| method.ends_with("/list_changed"));
    client.events().into_iter().filter(|event| !told(event)).map(|event| event.raw().to_owned()).collect()
}

fn refusal<T: std::fmt::Debug>(outcome: Result<T>) -> RpcError {
    outcome.expect_err("it fails").downcast().expect("the error is one of JSON-RPC")
}

async fn names(client: &dyn Client, method: &str, key: &str) -> Vec<String> {
    let list = client.list(method, key).await.expect("a list");
    let field = if key == "resources" { "uri" } else { "name" };
    list.iter().map(|item| item[field].as_str().unwrap_or_default().to_owned()).collect()
}

/// Waits until the merged list of tools has one that is named so, or has none.
async fn wait_tool(client: &dyn Client, tool: &str, there: bool) {
    let look =
        async || (names(client, "tools/list", "tools").await.iter().any(|name| name == tool) == there).then_some(());
    eventually(PATIENCE, format!("{tool} to be listed: {there}"), look).await.expect("it is as it should be");
}

#[tokio::test]
async fn the_stream_comes_directly_and_can_be_attached_to() {
    let gateway = gateway(json!({"a": fixture(&[])})).await;
    let mut first = open("GET", &gateway.url("/sse"), &[], "").await.unwrap().into_events().await.unwrap();
    let event = first.data(PATIENCE).await.unwrap();
    assert_eq!(event.event.as_deref(), Some("endpoint"));
    let endpoint = event.data.unwrap();
    let session = endpoint.strip_prefix("/message?sessionId=").unwrap();
    let attach = gateway.url(&format!("/sse?sessionId={session}"));
    let mut second = open("GET", &attach, &[], "").await.unwrap().into_events().await.unwrap();
    assert!(second.data(PATIENCE).await.unwrap().data.unwrap().starts_with("/message?sessionId="));
    let ping = r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#;
    http("POST", &gateway.url(&endpoint), &[JSON], ping).await.unwrap().expect(202).unwrap();
    let answer = second.data(PATIENCE).await.unwrap().data.unwrap();
    assert_eq!(answer, r#"{"jsonrpc":"2.0","id":"p","result":{}}"#);
    let unknown = gateway.url("/sse?sessionId=nonsense");
    open("GET", &unknown, &[], "").await.unwrap().collect().await.unwrap().expect(404).unwrap();
}

#[tokio::test]
async fn every_request_is_accepted_at_once_and_answered_once() {
    let gateway = gateway(json!({"a": fixture(&[]), "b": fixture(&["--name", "b"])})).await;
    let client = SseClient::open(&gateway.url("/sse"), ClientOptions::new("2024-11-05")).await.unwrap();
    let post = async |id: u64, method: &str, params: Value| {
        let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string();
        http("POST", client.endpoint(), &[JSON], body).await.unwrap().expect(202).unwrap();
    };
    let hello =
        json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}});
    post(1, "initialize", hello).await;
    let answer = client.next_event().await.unwrap();
    assert_eq!(answer.clone().into_result().unwrap()["serverInfo"]["name"], "mcp-gateway");
    client.notify("notifications/initialized", json!({})).await.unwrap();
    post(2, "tools/call", json!({"name": "a-sleep", "arguments": {"ms": 1000}})).await;
    assert_eq!(strays(&client), [""; 0], "the POST waited for the answer");
    post(3, "tools/list", json!({})).await;
    post(4, "tools/call", json!({"name": "b-echo", "arguments": {"text": "x"}})).await;
    post(5, "resources/list", json!({})).await;
    post(6, "prompts/list", json!({})).await;
    post(7, "nonsense", json!({})).await;
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(
            client.take_event(&"an answer", &|event| event.id().is_some()).await.unwrap().id().unwrap().to_owned(),
        );
    }
    ids.sort_unstable();
    assert_eq!(ids, ["2", "3", "4", "5", "6", "7"]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(strays(&client), [""; 0]);
    let unknown = http("POST", &gateway.url("/message?sessionId=x"), &[JSON], "{}").await.unwrap();
    unknown.expect(404).unwrap();
    http("POST", &gateway.url("/message"), &[JSON], "{}").await.unwrap().expect(400).unwrap();
}

#[tokio::test]
async fn lists_are_merged_in_a_stable_order_and_names_are_taken_in_three_forms() {
    let gateway = gateway(json!({"one": fixture(&["--name", "1"]), "my_two": fixture(&["--page-size", "5"])})).await;
    for client in both(&gateway, ClientOptions::new).await {
        let tools = names(&*client, "tools/list", "tools").await;
        assert!(tools.contains(&"one-echo".to_owned()) && tools.contains(&"my_two-echo".to_owned()));
        assert_eq!(tools.len(), 66);
        assert_eq!(names(&*client, "tools/list", "tools").await, tools);
        for name in ["one-echo", "one_echo", "one__echo", "my_two-echo", "my_two_echo", "my_two__echo"] {
            let result = client.tool(name, json!({"text": name})).await.unwrap();
            assert_eq!(result["content"][0]["text"], name);
            let server = if name.starts_with("one") { "one" } else { "my_two" };
            assert_eq!(result["_meta"]["mcpgateway.dev/server"], server);
        }
    }
}

#[tokio::test]
async fn unknown_and_bare_names_are_refused_at_once() {
    let gateway = gateway(json!({"a": fixture(&[]), "b": fixture(&[])})).await;
    for client in both(&gateway, ClientOptions::new).await {
        for name in ["echo", "c-echo", "a-nonsense", "a-", "", "-echo", "a.echo", "A-echo"] {
            assert_eq!(refusal(client.tool(name, json!({"text": "x"})).await).code, -32602, "{name:?}");
        }
        let error = refusal(client.call("tools/call", json!({"arguments": {}})).await);
        assert_eq!(error.code, -32602);
        assert_eq!(refusal(client.call("prompts/get", json!({"name": "plain"})).await).code, -32602);
        assert!(
            [-32602, -32002]
                .contains(&refusal(client.call("resources/read", json!({"uri": "fixture://text"})).await).code)
        );
        client.call("ping", json!({})).await.unwrap();
        assert_eq!(strays(&*client), [""; 0]);
    }
    for server in ["a", "b"] {
        assert_eq!(gateway.server(server).await.unwrap()["restarts"], 0);
    }
}

#[tokio::test]
async fn resources_prompts_and_completions_are_merged_and_routed() {
    let gateway =
        gateway(json!({"a": fixture(&[]), "b": fixture(&[]), "bare": fixture(&["--declare", "tools"])})).await;
    for client in both(&gateway, ClientOptions::new).await {
        let prompts = names(&*client, "prompts/list", "prompts").await;
        assert_eq!(prompts, ["a-plain", "a-greet", "b-plain", "b-greet"]);
        let prompt =
            client.call("prompts/get", json!({"name": "b-greet", "arguments": {"name": "Ann"}})).await.unwrap();
        assert!(prompt["messages"][0]["content"]["text"].as_str().unwrap().starts_with("Hello Ann"));
        assert_eq!(prompt["_meta"]["mcpgateway.dev/server"], "b");
        let resources = names(&*client, "resources/list", "resources").await;
        assert_eq!(resources.len(), 6);
        for uri in &resources {
            let read = client.call("resources/read", json!({"uri": uri})).await.unwrap();
            assert_eq!(&read["contents"][0]["uri"], uri.as_str());
            assert_eq!(read["_meta"]["mcpgateway.dev/server"], uri.split('+').next().unwrap());
        }
        let templates = client.list("resources/templates/list", "resourceTemplates").await.unwrap();
        let template = templates[1]["uriTemplate"].as_str().unwrap();
        let read = client.call("resources/read", json!({"uri": template.replace("{id}", "7")})).await.unwrap();
        assert_eq!(read["contents"][0]["text"], "7");
        for reference in
            [json!({"type": "ref/prompt", "name": "a-greet"}), json!({"type": "ref/resource", "uri": template})]
        {
            let argument = json!({"name": "x", "value": ""});
            let completion =
                client.call("completion/complete", json!({"ref": reference, "argument": argument})).await.unwrap();
            assert_eq!(completion["completion"]["total"], 3);
        }
    }
}

#[tokio::test]
async fn lists_come_from_memory_while_servers_hang_crawl_or_are_dead() {
    let servers = json!({
        "good": fixture(&[]),
        "crawls": fixture(&["--fault", "slow-list=60000"]),
        "dead": fixture(&["--fault", "exit-at-start=1"]),
        "hangs": fixture(&["--fault", "never-init"]),
    });
    let gateway = Gateway::start(&json!({"mcpServers": servers})).await.unwrap();
    gateway.wait_status("good", "ready").await.unwrap();
    for client in both(&gateway, |version| ClientOptions::new(version).timeout(Duration::from_secs(5))).await {
        wait_tool(&*client, "good-echo", true).await;
        let page = client.call("tools/list", json!({})).await.unwrap();
        assert_eq!(page["_meta"]["mcpgateway.dev/unavailable"], json!(["crawls", "dead", "hangs"]));
        assert_eq!(client.tool_text("good-echo", json!({"text": "x"})).await.unwrap(), "x");
        assert_eq!(names(&*client, "resources/list", "resources").await.len(), 3);
        assert_eq!(refusal(client.tool("dead-echo", json!({"text": "x"})).await).code, -32602);
    }
}

#[tokio::test]
async fn servers_that_come_and_go_reach_open_sessions_at_once() {
    let gateway = gateway(json!({"a": fixture(&[])})).await;
    for client in both(&gateway, ClientOptions::new).await {
        client.tool_text("a-pid", json!({})).await.unwrap();
        gateway.deploy(&json!({"b": fixture(&[])})).await.unwrap().expect(200).unwrap();
        client.expect_event("notifications/tools/list_changed").await.unwrap();
        wait_tool(&*client, "b-echo", true).await;
        assert_eq!(client.tool_text("b-echo", json!({"text": "new"})).await.unwrap(), "new");
        let late = client.tool("b-sleep", json!({"ms": 60_000}));
        let delete = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            http("DELETE", &gateway.url("/servers/b"), &[], "").await.unwrap().expect(200).unwrap();
        };
        let (late, ()) = tokio::join!(late, delete);
        assert!(refusal(late).message.contains("server `b`"));
        client.expect_event("notifications/tools/list_changed").await.unwrap();
        wait_tool(&*client, "b-echo", false).await;
        assert_eq!(refusal(client.tool("b-echo", json!({"text": "x"})).await).code, -32602);
        client.tool_text("a-pid", json!({})).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_is_kept_out_or_whose_tools_are_denied_is_not_in_the_lists() {
    let (mut out, mut denied) = (fixture(&[]), fixture(&[]));
    out["route"] = json!({"aggregate": false});
    denied["tools"] = json!({"allow": ["e*", "add"], "deny": ["env", "elicit"]});
    let gateway = gateway(json!({"out": out, "denied": denied})).await;
    for client in both(&gateway, ClientOptions::new).await {
        assert_eq!(names(&*client, "tools/list", "tools").await, ["denied-echo", "denied-add"]);
        for name in ["out-echo", "denied-env", "denied-pid"] {
            assert_eq!(refusal(client.tool(name, json!({"name": "PATH"})).await).code, -32602, "{name}");
        }
    }
    HttpClient::connect(&gateway.url("/out/mcp"), "2025-11-25").await.unwrap();
}
