//! What passes through `mcp-sidecar` between a client and its server, over both transports.

use std::time::Duration;

use anyhow::Result;
use e2e::client::{Client, ClientOptions, HttpClient, Reply, SseClient};
use e2e::fixture::ODD_RESULT;
use e2e::harness::{Bin, Launch, Sidecar};
use serde_json::{Value, json};

/// One client of each transport, and one of Streamable HTTP without a stream of its own.
async fn clients(sidecar: &Sidecar, options: &ClientOptions) -> Result<[Box<dyn Client>; 3]> {
    let url = sidecar.url("/mcp");
    let sse = SseClient::connect_with(&sidecar.url("/sse"), options.clone()).await?;
    let http = HttpClient::connect_with(&url, options.clone()).await?;
    let bare = HttpClient::connect_with(&url, options.clone().without_stream()).await?;
    Ok([Box::new(sse), Box::new(http), Box::new(bare)])
}

async fn of_version(sidecar: &Sidecar, version: &str) -> Result<[Box<dyn Client>; 3]> {
    clients(sidecar, &ClientOptions::new(version)).await
}

async fn sidecar() -> Result<Sidecar> {
    Sidecar::fixture(&[], &[]).await
}

#[tokio::test]
async fn every_revision_is_negotiated_with_the_server_itself() {
    let sidecar = Sidecar::fixture(&[], &["--latest", "2025-06-18"]).await.unwrap();
    for (asked, given) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-06-18"),
        ("2099-01-01", "2025-06-18"),
    ] {
        for client in of_version(&sidecar, asked).await.unwrap() {
            let server = client.server();
            assert_eq!(server["protocolVersion"], given, "{asked}");
            assert_eq!((&server["x-vendor"]["n"], &server["instructions"]), (&json!(1.0), &json!("fixture!")));
        }
    }
}

#[tokio::test]
async fn what_a_client_says_of_itself_reaches_its_server() {
    let sidecar = sidecar().await.unwrap();
    let capabilities = json!({"sampling": {}, "roots": {"listChanged": true}, "x-vendor": {"deep": [1.5]}});
    let options = ClientOptions::new("2025-06-18").name("odd client").capabilities(capabilities.clone());
    for client in clients(&sidecar, &options).await.unwrap() {
        let who = client.tool("whoami", json!({})).await.unwrap()["structuredContent"].take();
        assert_eq!(who["initialize"]["capabilities"], capabilities);
        assert_eq!(who["initialize"]["clientInfo"]["name"], "odd client");
        assert_eq!((&who["initialized"], &who["version"]), (&json!(true), &json!("2025-06-18")));
        let tools = client.list("tools/list", "tools").await.unwrap();
        assert!(tools.iter().any(|tool| tool["name"] == "needs_sampling"));
    }
}

#[tokio::test]
async fn ids_of_every_form_come_back_byte_for_byte() {
    let sidecar = sidecar().await.unwrap();
    let ids = [
        "0",
        "-1",
        "1.0",
        "1e3",
        "-0",
        "9007199254740993",
        "123456789012345678901234567890",
        r#""""#,
        r#""1""#,
        r#""\u0061b""#,
        "\"\u{e9}\u{1f600}\"",
        r#""\"\\\/""#,
    ];
    for client in of_version(&sidecar, "2025-11-25").await.unwrap() {
        for id in ids {
            for method in ["ping", "fixture/echo", "no/such/method"] {
                let request = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"}}"#);
                let answer = client.request_raw(request).await.unwrap();
                assert_eq!(answer.id(), Some(id), "{method}");
            }
        }
        assert!(client.events().is_empty());
    }
}

#[tokio::test]
async fn params_and_results_pass_byte_for_byte() {
    let sidecar = sidecar().await.unwrap();
    let params = r#"{"x-vendor":[1.0,1e2,-0,12345678901234567890], "name":"raw" ,"arguments":{"b":"\u00e9\ud83d\ude00\/","a":null},"_meta":{"z":1,"y":2.50}}"#;
    let request = format!(r#"{{"method":"tools/call","params":{params},"id":"p","jsonrpc":"2.0"}}"#);
    let vendor = format!(r#"{{"jsonrpc":"2.0","id":"v","method":"fixture\/echo","params":{params}}}"#);
    for client in of_version(&sidecar, "2025-06-18").await.unwrap() {
        let answer = client.request_raw(request.clone()).await.unwrap().into_result().unwrap();
        assert_eq!(answer["content"][0]["text"], params);
        assert_eq!(client.request_raw(vendor.clone()).await.unwrap().raw_result().unwrap(), params);
        let odd = client.request("tools/call", json!({"name": "odd"})).await.unwrap();
        assert_eq!(odd.raw_result().unwrap(), ODD_RESULT);
    }
}

#[tokio::test]
async fn a_result_of_10_mb_passes_whole() {
    let sidecar = sidecar().await.unwrap();
    for client in of_version(&sidecar, "2025-11-25").await.unwrap() {
        let text = client.tool_text("blob", json!({"bytes": 10_000_000})).await.unwrap();
        assert!(text.len() == 10_000_000 && text.as_bytes().chunks(16).all(|chunk| chunk == b"0123456789abcdef"));
    }
}

#[tokio::test]
async fn the_server_asks_the_client_for_samples_input_and_roots() {
    let answers = |method: &str, params: &Value| -> Reply {
        Some(Ok(match method {
            "sampling/createMessage" => {
                let prompt = &params["messages"][0]["content"]["text"];
                json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": format!("re: {prompt}")}})
            }
            "elicitation/create" => json!({"action": "accept", "content": {"name": params["message"]}}),
            "roots/list" => json!({"roots": [{"uri": "file:///here"}]}),
            _ => json!({"x-method": method, "params": params}),
        }))
    };
    let sidecar = sidecar().await.unwrap();
    let capabilities = json!({"sampling": {}, "elicitation": {}, "roots": {}});
    let options = ClientOptions::new("2025-11-25").capabilities(capabilities).respond(answers);
    for client in clients(&sidecar, &options).await.unwrap() {
        assert_eq!(client.tool_text("sample", json!({"prompt": "a"})).await.unwrap(), "re: \"a\"");
        let text = client.tool_text("elicit", json!({"message": "name?"})).await.unwrap();
        assert_eq!(text, r#"{"action":"accept","content":{"name":"name?"}}"#);
        let text = client.tool_text("roots", json!({})).await.unwrap();
        assert_eq!(text, r#"{"roots":[{"uri":"file:///here"}]}"#);
        let text = client.tool_text("ask", json!({"method": "x/y", "params": {"n": 1.5}})).await.unwrap();
        assert_eq!(text, r#"{"x-method":"x/y","params":{"n":1.5}}"#);
        assert_eq!(client.tool_text("ask", json!({"method": "ping"})).await.unwrap(), "{}");
    }
}

#[tokio::test]
async fn a_client_that_declares_nothing_is_asked_nothing_and_its_refusals_reach_the_server() {
    let sidecar = sidecar().await.unwrap();
    for client in of_version(&sidecar, "2025-11-25").await.unwrap() {
        let text = client.tool_text("sample", json!({"prompt": "a"})).await.unwrap();
        assert_eq!(text, "the client did not declare sampling");
        let refused = client.tool_text("ask", json!({"method": "x/y"})).await.unwrap();
        assert!(refused.contains("-32601"), "{refused}");
    }
}

#[tokio::test]
async fn progress_and_logs_come_with_their_call_and_the_token_as_the_client_wrote_it() {
    let sidecar = sidecar().await.unwrap();
    for client in of_version(&sidecar, "2025-03-26").await.unwrap() {
        for token in ["7", "\"t\\u0031\"", "\"\""] {
            let params =
                format!(r#"{{"name":"progress","arguments":{{"steps":3}},"_meta":{{"progressToken":{token}}}}}"#);
            let request = format!(r#"{{"jsonrpc":"2.0","id":{token},"method":"tools/call","params":{params}}}"#);
            client.request_raw(request).await.unwrap().into_result().unwrap();
            for step in 1..=3 {
                let event = client.expect_event("notifications/progress").await.unwrap();
                assert_eq!(event.params()["progress"], step);
                assert!(event.raw().contains(&format!(r#""progressToken":{token},"#)), "{}", event.raw());
            }
        }
        client.call("logging/setLevel", json!({"level": "warning"})).await.unwrap();
        assert_eq!(client.tool_text("log", json!({"level": "info"})).await.unwrap(), "below the level");
        assert_eq!(client.tool_text("log", json!({"level": "error", "text": "x"})).await.unwrap(), "logged");
        assert_eq!(client.expect_event("notifications/message").await.unwrap().params()["data"], "x");
        assert!(client.events().is_empty());
    }
}

#[tokio::test]
async fn changes_and_updates_come_without_being_asked_for() {
    let sidecar = sidecar().await.unwrap();
    let [sse, http, _] = of_version(&sidecar, "2025-06-18").await.unwrap();
    for client in [sse, http] {
        assert_eq!(client.tool_text("add_tool", json!({"name": "fresh"})).await.unwrap(), "added");
        client.expect_event("notifications/tools/list_changed").await.unwrap();
        assert_eq!(client.tool_text("fresh", json!({})).await.unwrap(), "fresh");
        let uri = json!({"uri": "fixture://watched"});
        client.call("resources/subscribe", uri.clone()).await.unwrap();
        assert_eq!(client.tool_text("touch", uri.clone()).await.unwrap(), "told");
        let updated = client.expect_event("notifications/resources/updated").await.unwrap();
        assert_eq!(updated.params(), &uri);
        client.call("resources/unsubscribe", uri.clone()).await.unwrap();
        assert_eq!(client.tool_text("touch", uri).await.unwrap(), "nobody has subscribed");
        let note = json!({"method": "notifications/x-vendor", "params": {"n": 1.0}});
        client.tool_text("notify", note).await.unwrap();
        assert_eq!(client.expect_event("notifications/x-vendor").await.unwrap().params(), &json!({"n": 1.0}));
        assert!(client.events().is_empty());
    }
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_at_the_server_and_not_answered() {
    let sidecar = sidecar().await.unwrap();
    for client in of_version(&sidecar, "2025-11-25").await.unwrap() {
        for id in ["77", "\"c\\u0031\""] {
            let params = json!({"name": "sleep", "arguments": {"ms": 20_000}});
            let call = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}"#);
            let cancel = format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"r"}}}}"#
            );
            let call = async {
                tokio::time::timeout(Duration::from_millis(600), client.request_raw(call)).await.ok().transpose().ok()
            };
            let cancelled = async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                client.post(cancel.into()).await.unwrap();
                client.tool("cancelled_seen", json!({})).await.unwrap()["structuredContent"]["count"].as_u64()
            };
            let (answer, seen) = tokio::join!(call, cancelled);
            assert!(answer.flatten().is_none());
            assert!(seen >= Some(1));
        }
        assert!(client.events().iter().all(|event| event.id().is_none()));
    }
}

#[tokio::test]
async fn a_client_that_disconnects_mid_call_cancels_nothing_and_its_session_goes_on() {
    let sidecar = sidecar().await.unwrap();
    let client = HttpClient::connect(&sidecar.url("/mcp"), "2025-11-25").await.unwrap();
    let params = json!({"name": "sleep", "arguments": {"ms": 600}});
    let call = json!({"jsonrpc": "2.0", "id": "gone", "method": "tools/call", "params": params}).to_string();
    let opened = client.post_raw(call).await.unwrap();
    drop(opened);
    let count = client.tool("counter", json!({})).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let seen = client.tool("cancelled_seen", json!({})).await.unwrap();
    assert_eq!(seen["structuredContent"]["count"], 0);
    let next = client.tool("counter", json!({})).await.unwrap();
    assert_eq!(count["structuredContent"]["pid"], next["structuredContent"]["pid"]);
    assert_eq!(next["structuredContent"]["count"], 2);
    assert!(client.events().is_empty(), "{:?}", client.events());
}

#[tokio::test]
async fn lists_prompts_resources_and_completions_are_the_servers_own_page_by_page() {
    let sidecar = Sidecar::fixture(&[], &["--page-size", "5", "--extra-tools", "20"]).await.unwrap();
    let direct = Launch::new(Bin::Fixture).unwrap().args(["--remote", "streamable", "--extra-tools", "20"]);
    let direct = direct.listen().await.unwrap();
    let direct = HttpClient::connect(&direct.url("/mcp"), "2025-11-25").await.unwrap();
    let calls = [
        ("prompts/get", json!({"name": "greet", "arguments": {"name": "x"}})),
        ("resources/read", json!({"uri": "fixture://blob"})),
        ("resources/read", json!({"uri": "fixture://item/7"})),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "name", "value": "al"}}),
        ),
        ("resources/read", json!({"uri": "fixture://nothing"})),
        ("tools/call", json!({"name": "fail"})),
        ("tools/call", json!({"name": "refuse", "arguments": {"code": -32042}})),
        ("tools/list", json!({"cursor": "bad"})),
    ];
    for client in of_version(&sidecar, "2025-11-25").await.unwrap() {
        for (method, key) in [
            ("prompts/list", "prompts"),
            ("resources/list", "resources"),
            ("resources/templates/list", "resourceTemplates"),
        ] {
            assert_eq!(client.list(method, key).await.unwrap(), direct.list(method, key).await.unwrap());
        }
        let tools = client.list("tools/list", "tools").await.unwrap();
        assert_eq!(tools.len(), direct.list("tools/list", "tools").await.unwrap().len() + 2, "crash and close");
        for (method, params) in &calls {
            let outcome = client.request(method, params.clone()).await.unwrap().into_result();
            assert_eq!(outcome, direct.request(method, params.clone()).await.unwrap().into_result(), "{method}");
        }
    }
}
