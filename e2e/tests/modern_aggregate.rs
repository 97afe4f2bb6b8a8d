//! Clients of 2026-07-28 before all servers together, of which some speak that revision and some an older one.

use std::collections::BTreeSet;

use e2e::harness::{Gateway, fixture};
use e2e::http::http;
use e2e::modern::{Answer, ModernClient, listen, message, names, of_all, text};
use e2e::{PATIENCE, eventually};
use serde_json::{Value, json};

const SERVER_KEY: &str = "mcpgateway.dev/server";

async fn gateway() -> Gateway {
    Gateway::of_both_eras().await.expect("both become ready")
}

#[tokio::test]
async fn a_gateway_is_discovered_as_one_server_that_offers_what_its_servers_do() {
    let gateway = gateway().await;
    let found = of_all(&gateway).result("server/discover", json!({})).await.unwrap();
    assert_eq!((&found["supportedVersions"], &found["resultType"]), (&json!(["2026-07-28"]), &json!("complete")));
    assert_eq!((&found["ttlMs"], &found["cacheScope"]), (&json!(0), &json!("private")));
    let capabilities = json!({
        "tools": {"listChanged": true}, "prompts": {"listChanged": true},
        "resources": {"listChanged": true, "subscribe": true}, "completions": {}, "logging": {},
        "extensions": {"io.modelcontextprotocol/tasks": {}},
    });
    assert_eq!(found["capabilities"], capabilities);
    assert_eq!(found["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "mcp-gateway");
    let instructions = found["instructions"].as_str().unwrap();
    assert!(instructions.contains("# old") && instructions.contains("# new"), "{instructions}");
    // All of its servers say how long their lists hold.
    let new = Gateway::serving(&json!({"new": fixture(&["--era", "modern"])})).await.unwrap();
    for method in ["server/discover", "tools/list"] {
        let answer = of_all(&new).result(method, json!({})).await.unwrap();
        assert_eq!((&answer["ttlMs"], &answer["cacheScope"]), (&json!(5000), &json!("private")), "{method}");
    }
    let few = Gateway::serving(&json!({"few": fixture(&["--declare", "tools"])})).await.unwrap();
    let found = of_all(&few).result("server/discover", json!({})).await.unwrap();
    assert!(found["capabilities"]["resources"]["subscribe"].is_null(), "{found}");
    assert!(found["capabilities"]["logging"].is_null() && found["capabilities"]["extensions"].is_null(), "{found}");
}

#[tokio::test]
async fn the_lists_of_all_servers_are_one_in_pages_that_say_how_long_they_hold() {
    let servers = json!({
        "old": fixture(&["--extra-tools", "600"]),
        "new": fixture(&["--era", "modern", "--extra-tools", "600"]),
    });
    let gateway = Gateway::serving(&servers).await.unwrap();
    let modern = of_all(&gateway);
    let (mut tools, mut cursor, mut pages) = (BTreeSet::new(), json!(""), 0);
    while !cursor.is_null() {
        let page = modern.result("tools/list", json!({ "cursor": cursor })).await.unwrap();
        assert_eq!((&page["resultType"], &page["cacheScope"]), (&json!("complete"), &json!("private")));
        assert_eq!(page["ttlMs"], 0);
        tools.extend(page["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()));
        (cursor, pages) = (page["nextCursor"].clone(), pages + 1);
    }
    assert!(pages > 1 && tools.contains("old-extra_599") && tools.contains("new-extra_599"), "{pages}");
    let stale = modern.post("tools/list", json!({"cursor": "stale"})).await.unwrap();
    assert_eq!(stale.outcome().unwrap(), (200, -32602));
    for (method, key, expected) in [
        ("prompts/list", "prompts", ["old-greet", "new-greet"]),
        ("resources/list", "resources", ["old+fixture://text", "new+fixture://text"]),
        ("resources/templates/list", "resourceTemplates", ["old+fixture://item/{id}", "new+fixture://item/{id}"]),
    ] {
        let all = names(&modern, method, key).await.unwrap();
        assert!(expected.iter().all(|name| all.contains(*name)), "{all:?}");
    }
}

#[tokio::test]
async fn a_call_goes_to_its_server_under_the_name_that_it_has_there() {
    let gateway = gateway().await;
    let modern = of_all(&gateway);
    for server in ["old", "new"] {
        let result = modern.tool(&format!("{server}-echo"), json!({"text": "hi"})).await.unwrap();
        assert_eq!((text(&result), &result["resultType"]), ("hi", &json!("complete")));
        assert_eq!(result["_meta"][SERVER_KEY], server);
    }
    let raw = modern.tool("new-raw", json!({"a": 1})).await.unwrap();
    let sent: Value = serde_json::from_str(text(&raw)).unwrap();
    assert_eq!((&sent["name"], &sent["arguments"]), (&json!("raw"), &json!({"a": 1})));
    for (method, params, expected) in [
        ("tools/call", json!({"name": "new-none"}), (200, -32602)),
        ("tools/call", json!({"name": "other-echo"}), (200, -32602)),
        ("prompts/get", json!({"name": "new-none"}), (200, -32602)),
        ("ping", json!({}), (404, -32601)),
        ("initialize", json!({}), (404, -32601)),
        ("no/such", json!({}), (404, -32601)),
        ("tools/call", json!({"name": "old-refuse", "arguments": {"code": -32000}}), (200, -32000)),
        ("tools/call", json!({"name": "new-sample"}), (400, -32021)),
    ] {
        assert_eq!(
            modern.post(method, params.clone()).await.unwrap().outcome().unwrap(),
            expected,
            "{method} {params}"
        );
    }
}

#[tokio::test]
async fn a_list_that_changed_for_a_client_leaves_its_other_lists_as_they_were() {
    let gateway = Gateway::serving(&json!({"made": fixture(&["--like-everything"])})).await.unwrap();
    let able = of_all(&gateway).capabilities(json!({"sampling": {}}));
    let offered = async || {
        let tools = names(&able, "tools/list", "tools").await.ok()?;
        tools.contains("made-trigger-sampling-request").then_some(())
    };
    eventually(PATIENCE, "what is for clients with a model", offered).await.unwrap();
    let arguments = json!({"name": "new", "data": "data:text/plain;base64,bmV3"});
    able.tool("made-gzip-file-as-resource", arguments).await.unwrap();
    let listed = async || {
        let resources = names(&able, "resources/list", "resources").await.ok()?;
        resources.contains("made+fixture://made/new").then_some(())
    };
    eventually(PATIENCE, "the new resource", listed).await.unwrap();
    assert!(offered().await.is_some(), "it was the resources that changed");
}

#[tokio::test]
async fn headers_must_say_what_the_body_says_and_those_for_arguments_are_passed_on() {
    let gateway = gateway().await;
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "new-echo", "arguments": {"text": "hi"}, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    }});
    for (name, status) in [("new-echo", 200), ("echo", 400), ("", 400)] {
        let mut headers = vec![
            ("content-type", "application/json"),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-session-id", "is-ignored"),
        ];
        headers.extend((!name.is_empty()).then_some(("mcp-name", name)));
        let answer = http("POST", &gateway.url("/mcp"), &headers, call.to_string()).await.unwrap();
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        assert!(answer.header("mcp-session-id").is_none());
    }
    let route = async |client: ModernClient| {
        let params = json!({"name": "new-route", "arguments": {"region": "eu"}});
        client.post("tools/call", params).await.unwrap().outcome().unwrap()
    };
    assert_eq!(route(of_all(&gateway).header("mcp-param-region", "eu")).await, (200, 0));
    assert_eq!(route(of_all(&gateway).header("mcp-param-region", "us")).await, (400, -32020));
    assert_eq!(route(of_all(&gateway)).await, (400, -32020));
    for method in ["GET", "DELETE"] {
        let answer = http(method, &gateway.url("/mcp"), &[("mcp-protocol-version", "2026-07-28")], "").await.unwrap();
        assert_eq!(answer.status, 405, "{method}");
    }
}

#[tokio::test]
async fn progress_and_log_lines_come_before_the_answer() {
    let gateway = gateway().await;
    let modern =
        of_all(&gateway).meta("progressToken", json!("p")).meta("io.modelcontextprotocol/logLevel", json!("info"));
    let call = async |tool: String, arguments: Value| -> Answer {
        modern.post("tools/call", json!({"name": tool, "arguments": arguments})).await.unwrap()
    };
    for server in ["old", "new"] {
        let answer = call(format!("{server}-progress"), json!({"steps": 3})).await;
        assert!(answer.streamed && answer.messages.len() == 4, "{answer:?}");
        assert!(answer.messages[..3].iter().all(|message| message.contains(r#""progressToken":"p""#)), "{answer:?}");
        let answer = call(format!("{server}-log"), json!({"level": "warning", "text": "careful"})).await;
        assert!(answer.messages.len() == 2 && answer.messages[0].contains("careful"), "{answer:?}");
    }
}

#[tokio::test]
async fn resources_prompts_and_what_completes_them_lead_to_their_servers_and_back() {
    let gateway = gateway().await;
    let modern = of_all(&gateway);
    for server in ["old", "new"] {
        let uri = format!("{server}+fixture://item/5");
        let read = modern.result("resources/read", json!({ "uri": uri })).await.unwrap();
        assert_eq!((&read["contents"][0]["uri"], &read["contents"][0]["text"]), (&json!(uri), &json!("5")));
        let links = modern.tool(&format!("{server}-link"), json!({})).await.unwrap();
        assert_eq!(links["content"][0]["uri"], format!("{server}+fixture://text"));
        assert_eq!(links["content"][1]["resource"]["uri"], format!("{server}+fixture://item/1"));
        let none = format!("{server}+fixture://none");
        let missing = modern.post("resources/read", json!({ "uri": none })).await.unwrap();
        assert_eq!(missing.outcome().unwrap(), (200, -32602));
        assert_eq!(missing.json().unwrap()["error"]["data"]["uri"], none);
        let greet = json!({"name": format!("{server}-greet"), "arguments": {"name": "Ann"}});
        let greeting = modern.result("prompts/get", greet).await.unwrap();
        assert!(greeting["messages"][0]["content"]["text"].as_str().unwrap().starts_with("Hello Ann"));
        for (reference, value, expected) in [
            (json!({"type": "ref/prompt", "name": format!("{server}-greet")}), "al", json!(["alice", "albert"])),
            (
                json!({"type": "ref/resource", "uri": format!("{server}+fixture://item/{{id}}")}),
                "1",
                json!(["1", "10"]),
            ),
        ] {
            let params = json!({"ref": reference, "argument": {"name": "name", "value": value}});
            let completed = modern.result("completion/complete", params).await.unwrap();
            assert_eq!(completed["completion"]["values"], expected);
        }
    }
    let nobody = modern.post("resources/read", json!({"uri": "fixture://text"})).await.unwrap();
    assert_eq!(nobody.outcome().unwrap(), (200, -32602));
    assert_eq!(nobody.json().unwrap()["error"]["data"]["uri"], "fixture://text");
}

#[tokio::test]
async fn what_a_server_wants_to_know_is_a_result_and_its_state_comes_back_as_it_was() {
    let gateway = gateway().await;
    let modern = of_all(&gateway).capabilities(json!({"elicitation": {"form": {}}}));
    let mut params = json!({"name": "new-elicit", "arguments": {"message": "user?"}});
    let asked = modern.result("tools/call", params.clone()).await.unwrap();
    assert_eq!(asked["resultType"], "input_required");
    let (key, question) = asked["inputRequests"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(question["method"], "elicitation/create");
    params["requestState"] = asked["requestState"].clone();
    params["inputResponses"] = json!({key: {"action": "accept", "content": {"name": "ann"}}});
    let answer = modern.result("tools/call", params).await.unwrap();
    assert!(text(&answer).contains(r#""name":"ann""#), "{answer}");
}

#[tokio::test]
async fn a_client_that_goes_has_cancelled_its_request() {
    let gateway = gateway().await;
    let modern = of_all(&gateway).meta("progressToken", json!(1));
    for server in ["old", "new"] {
        let params = json!({"name": format!("{server}-progress"), "arguments": {"steps": 1000, "ms": 20}});
        let mut events = modern.open("tools/call", params).await.unwrap().into_events().await.unwrap();
        message(&mut events).await.unwrap();
        drop(events);
        eventually(PATIENCE, "the cancellation", async || {
            let seen = modern.tool(&format!("{server}-cancelled_seen"), json!({})).await.ok()?;
            (seen["structuredContent"]["count"] == 1).then_some(())
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_server_that_does_not_work_fails_its_own_calls_and_no_list() {
    let gateway = gateway().await;
    let once = json!({"command": "/bin/sh", "args": ["-c", "exit 3"]});
    gateway.deploy(&json!({"dead": once})).await.unwrap();
    let modern = of_all(&gateway);
    let list = modern.result("tools/list", json!({})).await.unwrap();
    assert_eq!(list["_meta"]["mcpgateway.dev/unavailable"], json!(["dead"]));
    assert!(names(&modern, "tools/list", "tools").await.unwrap().contains("new-echo"));
    let died = modern.post("tools/call", json!({"name": "new-crash", "arguments": {"code": 3}})).await.unwrap();
    assert_eq!(died.outcome().unwrap(), (200, -32603));
    assert!(died.json().unwrap()["error"]["message"].as_str().unwrap().contains('3'), "{died:?}");
    assert_eq!(text(&modern.tool("old-echo", json!({"text": "hi"})).await.unwrap()), "hi");
    assert_eq!(text(&modern.tool("new-echo", json!({"text": "hi"})).await.unwrap()), "hi");
}

#[tokio::test]
async fn a_client_is_shown_what_servers_offer_to_those_with_its_capabilities() {
    let gateway = gateway().await;
    let able = of_all(&gateway).capabilities(json!({"sampling": {}}));
    eventually(PATIENCE, "the tool for clients that can sample", async || {
        names(&able, "tools/list", "tools").await.ok()?.contains("old-needs_sampling").then_some(())
    })
    .await
    .unwrap();
    assert!(!names(&of_all(&gateway), "tools/list", "tools").await.unwrap().contains("old-needs_sampling"));
}

#[tokio::test]
async fn what_a_client_makes_a_server_offer_is_told_listed_and_can_be_called() {
    let era = |era| fixture(&["--era", era]);
    let servers = json!({"old": era("legacy"), "both": era("first"), "new": era("modern")});
    let gateway = Gateway::serving(&servers).await.unwrap();
    let modern = of_all(&gateway);
    for server in ["old", "both", "new"] {
        let (mut events, _) = listen(&modern, json!({"toolsListChanged": true})).await.unwrap();
        modern.tool(&format!("{server}-add_tool"), json!({"name": "made"})).await.unwrap();
        assert_eq!(message(&mut events).await.unwrap()["method"], "notifications/tools/list_changed", "{server}");
        let tool = format!("{server}-made");
        assert!(names(&modern, "tools/list", "tools").await.unwrap().contains(&tool), "{server}");
        assert_eq!(text(&modern.tool(&tool, json!({})).await.unwrap()), "made");
    }
}

#[tokio::test]
async fn clients_of_both_eras_use_one_address() {
    use e2e::client::{Client, HttpClient};
    let gateway = gateway().await;
    let legacy = HttpClient::connect(&gateway.url("/mcp"), "2025-11-25").await.unwrap();
    assert_eq!(legacy.tool_text("old-echo", json!({"text": "hi"})).await.unwrap(), "hi");
    assert_eq!(text(&of_all(&gateway).tool("old-echo", json!({"text": "hi"})).await.unwrap()), "hi");
}
