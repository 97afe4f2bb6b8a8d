//! Calls through the aggregate: what servers say on the way, how they fail, and that nobody gets another's answer.

use std::time::Duration;

use anyhow::Result;
use e2e::client::{Client, ClientOptions, HttpClient, Message, RpcError, SseClient};
use e2e::harness::{Bin, Gateway, fixture};
use e2e::http::http;
use e2e::{PATIENCE, eventually};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// A gateway whose servers are all ready.
async fn gateway(servers: Value) -> Gateway {
    Gateway::serving(&servers).await.expect("all servers become ready")
}

async fn both(gateway: &Gateway, options: fn(&str) -> ClientOptions) -> [Box<dyn Client>; 2] {
    let sse = SseClient::connect_with(&gateway.url("/sse"), options("2024-11-05")).await;
    let http = HttpClient::connect_with(&gateway.url("/mcp"), options("2025-11-25")).await;
    [Box::new(sse.expect("HTTP+SSE connects")), Box::new(http.expect("Streamable HTTP connects"))]
}

/// What came that nobody asked for; that lists have changed may be told at any time.
fn strays(client: &dyn Client) -> Vec<String> {
    let told =
        |event: &Message| event.method().is_some_and(|method| method == "ping" || method.ends_with("/list_changed"));
    client.events().into_iter().filter(|event| !told(event)).map(|event| event.raw().to_owned()).collect()
}

fn refusal<T: std::fmt::Debug>(outcome: Result<T>) -> RpcError {
    outcome.expect_err("it fails").downcast().expect("the error is one of JSON-RPC")
}

/// Declares everything, and answers what servers ask.
fn capable(version: &str) -> ClientOptions {
    let answer = |method: &str| match method {
        "sampling/createMessage" => {
            Some(json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": "sampled"}}))
        }
        "elicitation/create" => Some(json!({"action": "accept", "content": {"name": "Ann"}})),
        "roots/list" => Some(json!({"roots": [{"uri": "file:///r"}]})),
        _ => None,
    };
    ClientOptions::new(version)
        .capabilities(json!({"sampling": {}, "elicitation": {}, "roots": {"listChanged": true}}))
        .respond(move |method, _| Some(answer(method).ok_or_else(|| RpcError::new(-32601, "no such method"))))
}

#[tokio::test]
async fn progress_logs_and_questions_reach_the_session_they_belong_to_and_no_other() {
    let gateway = gateway(json!({"a": fixture(&[]), "b": fixture(&[])})).await;
    let bystanders = both(&gateway, capable).await;
    for client in &bystanders {
        client.tool_text("a-pid", json!({})).await.unwrap();
        client.tool_text("b-pid", json!({})).await.unwrap();
    }
    for client in both(&gateway, capable).await {
        let params = json!({"name": "a-progress", "arguments": {"steps": 3}, "_meta": {"progressToken": "mine"}});
        client.call("tools/call", params).await.unwrap();
        for step in 1..=3 {
            let progress = client.expect_event("notifications/progress").await.unwrap();
            assert_eq!(
                (&progress.params()["progressToken"], &progress.params()["progress"]),
                (&json!("mine"), &json!(step))
            );
        }
        client.call("logging/setLevel", json!({"level": "warning"})).await.unwrap();
        // The servers are told beside what else they are sent.
        let quiet = async || {
            (client.tool_text("b-log", json!({"level": "info"})).await.ok()? == "below the level").then_some(())
        };
        eventually(PATIENCE, "the level to reach the server", quiet).await.unwrap();
        assert_eq!(client.tool_text("b-log", json!({"level": "error", "text": "bad"})).await.unwrap(), "logged");
        let bad =
            async || client.expect_event("notifications/message").await.ok().filter(|it| it.params()["data"] == "bad");
        eventually(PATIENCE, "what is logged above the level", bad).await.unwrap();
        for server in ["a", "b"] {
            assert_eq!(client.tool_text(&format!("{server}-sample"), json!({"prompt": "?"})).await.unwrap(), "sampled");
            assert!(client.tool_text(&format!("{server}-elicit"), json!({})).await.unwrap().contains("Ann"));
            assert!(client.tool_text(&format!("{server}-roots"), json!({})).await.unwrap().contains("file:///r"));
        }
        client.call("resources/subscribe", json!({"uri": "b+fixture://watched"})).await.unwrap();
        assert_eq!(client.tool_text("b-touch", json!({"uri": "fixture://watched"})).await.unwrap(), "told");
        let updated = client.expect_event("notifications/resources/updated").await.unwrap();
        assert_eq!(updated.params()["uri"], "b+fixture://watched");
    }
    for client in &bystanders {
        client.call("ping", json!({})).await.unwrap();
        assert_eq!(strays(&**client), [""; 0]);
    }
}

#[tokio::test]
async fn a_changed_list_of_one_server_is_announced_and_merged() {
    let mut shared = fixture(&[]);
    shared["process"] = json!({"mode": "shared"});
    let gateway = gateway(json!({"a": shared})).await;
    for (client, name) in both(&gateway, ClientOptions::new).await.iter().zip(["first", "second"]) {
        client.tool_text("a-add_tool", json!({"name": name})).await.unwrap();
        client.expect_event("notifications/tools/list_changed").await.unwrap();
        let tool = format!("a-{name}");
        let look = async || {
            let tools = client.list("tools/list", "tools").await.ok()?;
            tools.iter().any(|it| it["name"] == tool.as_str()).then_some(())
        };
        eventually(PATIENCE, "the new tool to be listed", look).await.unwrap();
        assert_eq!(client.tool_text(&tool, json!({})).await.unwrap(), name);
    }
}

#[tokio::test]
async fn a_client_is_shown_what_servers_offer_to_those_with_its_capabilities() {
    let gateway = gateway(json!({"a": fixture(&[])})).await;
    for client in both(&gateway, capable).await {
        let look = async || {
            let tools = client.list("tools/list", "tools").await.ok()?;
            tools.iter().any(|it| it["name"] == "a-needs_sampling").then_some(())
        };
        eventually(PATIENCE, "the tool for clients that can sample", look).await.unwrap();
        client.tool_text("a-needs_sampling", json!({})).await.unwrap();
    }
    for client in both(&gateway, ClientOptions::new).await {
        assert_eq!(refusal(client.tool("a-needs_sampling", json!({})).await).code, -32602);
    }
}

#[tokio::test]
async fn a_call_ends_with_its_servers_timeout_and_not_before() {
    let (mut brief, patient) = (fixture(&[]), fixture(&[]));
    brief["process"] = json!({"requestTimeout": "300ms"});
    let gateway = gateway(json!({"brief": brief, "patient": patient})).await;
    let clients = both(&gateway, ClientOptions::new).await;
    for client in &clients {
        let error = refusal(client.tool("brief-silent", json!({})).await);
        assert_eq!(error.code, -32001);
        assert!(error.message.contains("within 0.3 s"), "{error}");
    }
    // The predecessor gives up after 10 s.
    let long = json!({"ms": 10_500});
    let [one, two] = &clients;
    let (one, two) = tokio::join!(one.tool_text("patient-sleep", long.clone()), two.tool_text("patient-sleep", long));
    assert_eq!((one.unwrap().as_str(), two.unwrap().as_str()), ("slept", "slept"));
}

#[tokio::test]
async fn a_server_that_dies_mid_call_is_told_of_with_its_last_words_and_comes_back() {
    let script = r#"echo disk is full >&2; exec "$0""#;
    let entry = json!({"command": "/bin/sh", "args": ["-c", script, Bin::Fixture.text().unwrap()]});
    let gateway = gateway(json!({"a": entry, "b": fixture(&[])})).await;
    for (count, client) in both(&gateway, ClientOptions::new).await.iter().enumerate() {
        let before = client.tool_text("a-pid", json!({})).await.unwrap();
        let other = client.tool_text("b-sleep", json!({"ms": 500}));
        let crash = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            client.tool("a-crash", json!({"code": 3})).await
        };
        let (other, sleeping, crashed) = tokio::join!(other, client.tool("a-sleep", json!({"ms": 20_000})), crash);
        for error in [refusal(sleeping), refusal(crashed)] {
            assert!(error.message.contains("exited with code 3; its last words: disk is full"), "{error}");
            assert_eq!(error.data["exitCode"], 3);
        }
        assert_eq!(other.unwrap(), "slept");
        assert_ne!(client.tool_text("a-pid", json!({})).await.unwrap(), before);
        let look = async || gateway.server("a").await.ok().filter(|server| server["restarts"] == count + 1);
        let server = eventually(PATIENCE, "the status to say so", look).await.unwrap();
        assert_eq!(server["lastExit"]["code"], 3);
    }
}

#[tokio::test]
async fn a_flood_of_stderr_and_junk_on_stdout_block_nobody() {
    let servers = json!({"floods": fixture(&["--fault", "stderr-flood=3000000"]), "junk": fixture(&["--fault", "junk", "--fault", "dup-answer"])});
    let gateway = gateway(servers).await;
    for client in both(&gateway, ClientOptions::new).await {
        for server in ["floods", "junk"] {
            assert_eq!(client.tool_text(&format!("{server}-echo"), json!({"text": server})).await.unwrap(), server);
        }
        client.call("ping", json!({})).await.unwrap();
        assert_eq!(strays(&*client), [""; 0]);
    }
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_at_its_server() {
    let gateway = gateway(json!({"a": fixture(&[])})).await;
    for client in both(&gateway, ClientOptions::new).await {
        client.tool_text("a-pid", json!({})).await.unwrap();
        let raw = r#"{"jsonrpc":"2.0","id":"late","method":"tools/call","params":{"name":"a-silent"}}"#.to_owned();
        let cancel = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            client.notify("notifications/cancelled", json!({"requestId": "late", "reason": "enough"})).await.unwrap();
            let seen = async || {
                let seen = client.tool("a-cancelled_seen", json!({})).await.ok()?;
                (seen["structuredContent"]["count"] == 1).then_some(())
            };
            eventually(PATIENCE, "the server to be told", seen).await.unwrap();
        };
        tokio::select! {
            answer = client.request_raw(raw) => assert!(answer.is_err(), "a cancelled call was answered"),
            () = cancel => {}
        }
    }
}

/// `calls` calls of one client whose ids are those of all others; each answer must be its own.
async fn storm(client: Box<dyn Client>, me: usize, calls: usize) {
    for n in 0..calls {
        let (server, text) = (["a", "b"][n % 2], format!("{me}/{n}"));
        let answer = client.tool_text(&format!("{server}-echo"), json!({"text": text})).await;
        assert_eq!(answer.expect("an answer"), text);
    }
    assert_eq!(strays(&*client), [""; 0]);
}

#[tokio::test]
async fn sessions_with_equal_ids_on_shared_servers_get_their_own_answers() {
    let (full, mut shared) = (std::env::var_os("E2E_FULL").is_some(), fixture(&[]));
    shared["process"] = json!({"mode": "shared"});
    let gateway = gateway(json!({"a": shared, "b": shared})).await;
    let (sessions, calls) = if full { (64, 1000) } else { (16, 40) };
    let mut storms = JoinSet::new();
    for me in 0..sessions {
        let client: Box<dyn Client> = if me % 2 == 0 {
            Box::new(SseClient::connect(&gateway.url("/sse")).await.unwrap())
        } else {
            Box::new(HttpClient::connect(&gateway.url("/mcp"), "2025-06-18").await.unwrap())
        };
        storms.spawn(storm(client, me, calls));
    }
    storms.join_all().await;
}

#[tokio::test]
async fn files_return_to_where_they_were_after_clients_of_all_servers_have_gone() {
    let mut shared = fixture(&[]);
    shared["process"] = json!({"mode": "shared"});
    let gateway = gateway(json!({"a": shared, "b": shared})).await;
    let visit = async |rounds: usize| {
        for _ in 0..rounds {
            let clients = both(&gateway, ClientOptions::new).await;
            for client in &clients {
                for tool in ["a-echo", "b-echo"].repeat(5) {
                    client.tool_text(tool, json!({"text": "x"})).await.unwrap();
                }
            }
            // The end of a stream of HTTP+SSE is the end of its session, calls under way included.
            let late = clients[0].tool("a-sleep", json!({"ms": 60_000}));
            tokio::time::timeout(Duration::from_millis(20), late).await.unwrap_err();
        }
    };
    visit(5).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = gateway.census().fds();
    visit(15).await;
    let look = async || (gateway.census().fds() <= before + 10).then_some(());
    let back = eventually(PATIENCE, "the files to be as before", look).await;
    back.unwrap_or_else(|error| panic!("{error}; before: {before}\n{}", gateway.census()));
}

#[tokio::test]
async fn a_client_that_takes_no_stream_is_not_asked_and_its_server_is_told_so() {
    let gateway = gateway(json!({"a": fixture(&[])})).await;
    let options = ClientOptions::new("2025-06-18").without_stream();
    let client = HttpClient::connect_with(&gateway.url("/mcp"), options).await.unwrap();
    let params = json!({"name": "a-ask", "arguments": {"method": "roots/list", "params": {}}});
    let call = json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params}).to_string();
    let session = client.session().unwrap();
    let headers = [("content-type", "application/json"), ("accept", "application/json"), ("mcp-session-id", &*session)];
    let told = http("POST", &gateway.url("/mcp"), &headers, call).await.unwrap().expect(200).unwrap().text();
    assert!(told.contains("the client cannot be asked: it takes no event stream"), "{told}");
}

#[tokio::test]
async fn tasks_of_2025_11_25_are_found_again_by_ids_that_say_whose_they_are() {
    let gateway = gateway(json!({"a": fixture(&[]), "b": fixture(&[])})).await;
    let related = "io.modelcontextprotocol/related-task";
    // As clients must: an answer says for which task it is, as the question did.
    let options = ClientOptions::new("2025-11-25")
        .capabilities(json!({"elicitation": {}}))
        .respond(|_, params| Some(Ok(json!({"action": "accept", "content": {}, "_meta": params["_meta"]}))));
    let client = HttpClient::connect_with(&gateway.url("/mcp"), options).await.unwrap();
    assert_eq!(client.server()["capabilities"]["tasks"], json!({"cancel": {}, "requests": {"tools": {"call": {}}}}));
    let call = json!({"name": "b-later", "arguments": {}, "task": {"ttl": 60000}});
    let made = client.call("tools/call", call).await.unwrap();
    let id = &made["task"]["taskId"];
    assert_eq!(id, "b+task 1");
    let told = client.expect_event("notifications/tasks/status").await.unwrap();
    assert!(told.raw().contains(r#""taskId":"b+task 1""#), "{}", told.raw());
    let got = client.call("tasks/get", json!({"taskId": id})).await.unwrap();
    assert_eq!((&got["taskId"], &got["status"]), (id, &json!("completed")));
    let result = client.call("tasks/result", json!({"taskId": id})).await.unwrap();
    assert_eq!(result["content"][0]["uri"], "b+fixture://text");
    assert_eq!(result["_meta"][related]["taskId"], *id);
    let asked = client.expect_event("elicitation/create").await.unwrap();
    assert!(asked.raw().contains(r#""taskId":"b+task 1""#), "{}", asked.raw());
    assert_eq!(client.call("tasks/cancel", json!({"taskId": id})).await.unwrap()["taskId"], *id);
    for (method, id, code) in
        [("tasks/get", "task 1", -32602), ("tasks/get", "a+task 1", -32602), ("tasks/update", "b+task 1", -32601)]
    {
        assert_eq!(refusal(client.call(method, json!({"taskId": id})).await).code, code, "{method} {id}");
    }
}

#[tokio::test]
async fn a_gateway_without_prefixes_shows_names_as_servers_have_them_and_tells_those_apart_that_two_have() {
    let servers = json!({"a": fixture(&[]), "b": fixture(&["--declare", "prompts"])});
    let gateway = Gateway::serving_with(&servers, |launch| launch.args(["--no-prefix"])).await.unwrap();
    let client = HttpClient::connect(&gateway.url("/mcp"), "2025-11-25").await.unwrap();
    assert_eq!(client.tool_text("echo", json!({"text": "é"})).await.unwrap(), "é");
    assert_eq!(client.tool_text("a-echo", json!({"text": "é"})).await.unwrap(), "é");
    let tools = client.list("tools/list", "tools").await.unwrap();
    assert!(tools.iter().any(|tool| tool["name"] == "echo") && !tools.iter().any(|tool| tool["name"] == "a-echo"));
    let prompts = client.list("prompts/list", "prompts").await.unwrap();
    let names: Vec<_> = prompts.iter().filter_map(|prompt| prompt["name"].as_str()).collect();
    assert!(names.iter().all(|name| name.starts_with("a-") || name.starts_with("b-")), "{names:?}");
    for name in names {
        client.call("prompts/get", json!({"name": name, "arguments": {"name": "x"}})).await.unwrap();
    }
}
