//! `mcp-sidecar serve --url` in front of servers of 2026-07-28, and of servers that come to be, or cease to be, of that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Result, ensure};
use e2e::client::{Client, HttpClient};
use e2e::fixture::MODERN;
use e2e::fixture::scripted::{Answer, Asked, Scripted, message, plain, server};
use e2e::harness::Sidecar;
use e2e::http::http;
use e2e::modern::{ModernClient, client, text};
use e2e::{PATIENCE, eventually};
use serde_json::{Value, json};

/// What a server of 2026-07-28 says, whose one tool has this schema.
fn newest(asked: &Asked, schema: &Value) -> Answer {
    let complete = |mut result: Value| {
        result["resultType"] = json!("complete");
        message(200, &asked.result(&result))
    };
    let refused = |status, code, text: &str, data| message(status, &asked.error(code, text, &data));
    if asked.header("mcp-protocol-version") != Some(MODERN) {
        return refused(400, -32022, "not spoken here", json!({"supported": [MODERN]}));
    }
    match asked.body["method"].as_str() {
        Some("server/discover") => complete(json!({"supportedVersions": [MODERN], "capabilities": {"tools": {}}})),
        Some("tools/list") => {
            complete(json!({"tools": [{"name": "any", "inputSchema": schema}], "ttlMs": 0, "cacheScope": "private"}))
        }
        Some("tools/call") => {
            let named = asked.header("mcp-name") == asked.body["params"]["name"].as_str();
            let text = if named { "called anew" } else { "the header does not name the tool" };
            complete(json!({"content": [{"type": "text", "text": text}]}))
        }
        _ => refused(404, -32601, "no such method", Value::Null),
    }
}

/// What a server says that only knows sessions.
fn older(asked: &Asked) -> Answer {
    if asked.header("mcp-method").is_some() {
        let text = "Bad Request: No valid session ID provided";
        return message(400, &asked.error(-32000, text, &Value::Null));
    }
    asked.usual()
}

/// A sidecar that has found out what its server speaks.
async fn ready(server: &Scripted) -> Result<Sidecar> {
    let sidecar = Sidecar::remote(&[], &server.url).await?;
    let status = async || http("GET", &sidecar.url("/status"), &[], "").await?.json();
    let look = async || status().await.ok().filter(|status| status["phase"] == "ready");
    let status = eventually(PATIENCE, "the sidecar to be ready", look).await?;
    ensure!(status["transport"] == "streamable-http", "{status}");
    Ok(sidecar)
}

async fn older_client(sidecar: &Sidecar) -> Result<HttpClient> {
    HttpClient::connect(&sidecar.url("/mcp"), "2025-06-18").await
}

async fn called_by(client: &ModernClient) -> Result<String> {
    Ok(text(&client.tool("any", json!({})).await?).to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_either_era_use_a_server_of_the_newest_revision_alone() {
    let server = plain(|asked| newest(&asked, &json!({"type": "object"}))).await;
    let sidecar = ready(&server).await.unwrap();
    assert_eq!(called_by(&client(&sidecar)).await.unwrap(), "called anew");
    let older = older_client(&sidecar).await.unwrap();
    assert_eq!(older.tool_text("any", json!({})).await.unwrap(), "called anew");
    let refused = client(&sidecar).post("no/such", json!({})).await.unwrap();
    assert_eq!(refused.outcome().unwrap(), (404, -32601));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_headers_are_refused_is_sent_again_once_the_tools_were_read_anew() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (changed, log) = (Arc::new(AtomicBool::new(false)), Arc::clone(&seen));
    let now = Arc::clone(&changed);
    let server = plain(move |asked| {
        let plain = json!({"type": "object", "properties": {"region": {"type": "string"}}});
        if !now.load(Ordering::SeqCst) {
            return newest(&asked, &plain);
        }
        let region = asked.header("mcp-param-region");
        log.lock().unwrap().push((asked.body["method"].as_str().map(ToOwned::to_owned), region.map(ToOwned::to_owned)));
        if asked.is("tools/call") && region.is_none() {
            return message(400, &asked.error(-32020, "Mcp-Param-Region is missing", &Value::Null));
        }
        let mut annotated = plain;
        annotated["properties"]["region"]["x-mcp-header"] = json!("Region");
        newest(&asked, &annotated)
    });
    let server = server.await;
    let sidecar = ready(&server).await.unwrap();
    let client = older_client(&sidecar).await.unwrap();
    changed.store(true, Ordering::SeqCst);
    assert_eq!(client.tool_text("any", json!({"region": "é"})).await.unwrap(), "called anew");
    let calls = |region: Option<&str>| (Some("tools/call".to_owned()), region.map(ToOwned::to_owned));
    let seen = seen.lock().unwrap();
    let seen: Vec<_> =
        seen.iter().filter(|(method, _)| method.as_deref() != Some("server/discover")).cloned().collect();
    assert_eq!(seen, [calls(None), (Some("tools/list".to_owned()), None), calls(Some("=?base64?w6k=?="))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_headers_are_refused_again_is_refused() {
    let server = plain(|asked| match asked.body["method"].as_str() {
        Some("tools/call") => message(400, &asked.error(-32020, "never right", &json!({"x": 1}))),
        _ => newest(&asked, &json!({"type": "object"})),
    });
    let server = server.await;
    let sidecar = ready(&server).await.unwrap();
    let refused = client(&sidecar).post("tools/call", json!({"name": "any", "arguments": {}})).await.unwrap();
    assert_eq!(refused.outcome().unwrap(), (400, -32020));
    assert_eq!(refused.json().unwrap()["error"]["data"], json!({"x": 1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_another_takes_the_place_of_is_used_as_what_that_is() {
    let is_newest = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&is_newest);
    let schema = json!({"type": "object"});
    let server = plain(move |asked| if now.load(Ordering::SeqCst) { newest(&asked, &schema) } else { older(&asked) });
    let server = server.await;
    let sidecar = ready(&server).await.unwrap();
    for (newest, expected) in [(false, "called"), (true, "called anew"), (false, "called"), (true, "called anew")] {
        is_newest.store(newest, Ordering::SeqCst);
        let newer = async || called_by(&client(&sidecar)).await.ok().filter(|text| text == expected);
        eventually(PATIENCE, format!("{expected} by a client of the newest revision"), newer).await.unwrap();
        let call = async || older_client(&sidecar).await?.tool_text("any", json!({})).await;
        let older = async || call().await.ok().filter(|text| text == expected);
        eventually(PATIENCE, format!("{expected} by an older client"), older).await.unwrap();
    }
}

/// Says when it is dropped.
struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_its_client_gives_up_is_ended_at_the_server() {
    let (begun, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (begins, ends) = (Arc::clone(&begun), Arc::clone(&ended));
    let server = server(move |asked| {
        let (begins, ends) = (Arc::clone(&begins), Arc::clone(&ends));
        async move {
            if asked.is("tools/call") {
                begins.store(true, Ordering::SeqCst);
                let _ended = Ended(ends);
                std::future::pending::<()>().await;
            }
            newest(&asked, &json!({"type": "object"}))
        }
    });
    let server = server.await;
    let sidecar = ready(&server).await.unwrap();
    let is = async |flag: &AtomicBool| flag.swap(false, Ordering::SeqCst).then_some(());
    let begins = async || is(&begun).await;
    let ends = async || is(&ended).await;
    let (newer, older) = (client(&sidecar), older_client(&sidecar).await.unwrap());

    tokio::select! {
        _ = newer.tool("any", json!({})) => panic!("the call has no answer"),
        begun = eventually(PATIENCE, "a call", begins) => begun.unwrap(),
    }
    eventually(PATIENCE, "the end of a call that its client left", ends).await.unwrap();

    let call = json!({"jsonrpc": "2.0", "id": "c", "method": "tools/call", "params": {"name": "any", "arguments": {}}});
    tokio::select! {
        _ = async { older.post_raw(call.to_string()).await?.collect().await } => panic!("the call has no answer"),
        begun = eventually(PATIENCE, "a call", begins) => begun.unwrap(),
    }
    older.notify("notifications/cancelled", json!({"requestId": "c"})).await.unwrap();
    eventually(PATIENCE, "the end of a call that its client cancelled", ends).await.unwrap();
}
