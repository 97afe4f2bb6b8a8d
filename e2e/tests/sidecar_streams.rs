//! Event streams of `mcp-sidecar`: what goes on which, what is sent again, and what becomes of readers that do not read.

use std::time::Duration;

use anyhow::Result;
use e2e::client::{Client, ClientOptions, HttpClient, Message, SseClient};
use e2e::harness::Sidecar;
use e2e::http::{http, open};
use e2e::sse::{Event, EventStream};
use e2e::{PATIENCE, eventually};
use serde_json::{Value, json};

const EVENTS: (&str, &str) = ("accept", "text/event-stream");

async fn sidecar(flags: &[&str]) -> Result<Sidecar> {
    Sidecar::fixture(flags, &[]).await
}

/// A client that reads no stream of its own.
async fn connect(sidecar: &Sidecar, version: &str) -> Result<HttpClient> {
    let options = ClientOptions::new(version).without_stream();
    HttpClient::connect_with(&sidecar.url("/mcp"), options).await
}

fn call(id: u64, name: &str, arguments: &Value) -> String {
    let params = json!({"name": name, "arguments": arguments, "_meta": {"progressToken": "t"}});
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string()
}

async fn stream(client: &HttpClient, body: String) -> Result<EventStream> {
    client.post_raw(body).await?.into_events().await
}

async fn listen(client: &HttpClient) -> Result<EventStream> {
    client.request_http("GET", &[EVENTS], "").await?.into_events().await
}

/// The events up to the end of the stream, or up to `count` of them, without keep-alive.
async fn take(stream: &mut EventStream, count: usize) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    while events.len() < count {
        let Some(event) = e2e::within(PATIENCE, "an event", stream.next()).await? else { break };
        events.extend(Some(event).filter(|event| event.id.is_some() || event.data.is_some()));
    }
    Ok(events)
}

/// What an event is about: the step of a progress report, `answer`, a method, or `primer`.
fn gist(event: &Event) -> String {
    let Some(data) = event.data.as_deref().filter(|data| !data.is_empty()) else { return "primer".into() };
    let message = Message::parse(data).expect("data is a message");
    match (message.method(), message.params()["progress"].as_u64()) {
        (_, Some(step)) => step.to_string(),
        (Some(method), None) => method.into(),
        (None, None) => format!("answer {}", message.id().unwrap_or("without id")),
    }
}

fn gists(events: &[Event]) -> Vec<String> {
    events.iter().map(gist).collect()
}

#[tokio::test]
async fn streams_begin_with_a_primer_from_2025_11_25_on() {
    let sidecar = sidecar(&[]).await.unwrap();
    for (version, primer) in [("2025-11-25", true), ("2025-06-18", false), ("2025-03-26", false)] {
        let client = connect(&sidecar, version).await.unwrap();
        let mut listening = listen(&client).await.unwrap();
        let mut posted = stream(&client, call(9, "progress", &json!({"steps": 2, "ms": 150}))).await.unwrap();
        let events = take(&mut posted, 9).await.unwrap();
        let expected: &[&str] = if primer { &["primer", "1", "2", "answer 9"] } else { &["1", "2", "answer 9"] };
        assert_eq!(gists(&events), expected, "{version}");
        client.tool_text("add_tool", json!({"name": "x"})).await.unwrap();
        let events = take(&mut listening, 1 + usize::from(primer)).await.unwrap();
        assert_eq!(gist(events.last().unwrap()), "notifications/tools/list_changed", "{version}");
        assert_eq!(gist(&events[0]) == "primer", primer, "{version}");
        assert!(events.iter().all(|event| event.id.is_some()));
    }
}

#[tokio::test]
async fn a_broken_stream_goes_on_where_it_broke_and_no_event_comes_twice() {
    let sidecar = sidecar(&[]).await.unwrap();
    for (version, before) in [("2025-11-25", 0), ("2025-11-25", 1), ("2025-11-25", 3), ("2025-06-18", 2)] {
        let client = connect(&sidecar, version).await.unwrap();
        let mut posted = stream(&client, call(9, "progress", &json!({"steps": 5, "ms": 100}))).await.unwrap();
        let primed = usize::from(version == "2025-11-25");
        let seen = take(&mut posted, before + primed).await.unwrap();
        let last = seen.last().unwrap().id.clone().unwrap();
        drop(posted);
        // Once while the call is under way, and once when all is over.
        for wait in [0, 700] {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            let rest = take(&mut client.resume(&last).await.unwrap(), 99).await.unwrap();
            let steps = (before + 1..=5).map(|step| step.to_string());
            assert_eq!(gists(&rest), steps.chain(["answer 9".into()]).collect::<Vec<_>>(), "{version} after {last}");
        }
    }
}

#[tokio::test]
async fn an_answer_alone_on_a_stream_that_has_begun_is_there_for_whoever_resumes() {
    let sidecar = sidecar(&[]).await.unwrap();
    let client = connect(&sidecar, "2025-11-25").await.unwrap();
    let silent = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call",
        "params": {"name": "sleep", "arguments": {"ms": 400}}});
    let mut posted = stream(&client, silent.to_string()).await.unwrap();
    let primer = take(&mut posted, 1).await.unwrap().remove(0);
    assert_eq!((gist(&primer).as_str(), primer.retry), ("primer", Some(1000)));
    drop(posted);
    let primer = primer.id.unwrap();
    // Once while the call is under way, and once when all is over.
    for wait in [0, 700] {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let rest = take(&mut client.resume(&primer).await.unwrap(), 9).await.unwrap();
        assert_eq!(gists(&rest), ["answer 9"], "after {wait} ms");
    }
}

#[tokio::test]
async fn what_comes_while_nobody_listens_is_sent_when_somebody_does_and_once_only() {
    let sidecar = sidecar(&["--mode", "shared"]).await.unwrap();
    let (client, other) =
        (connect(&sidecar, "2025-06-18").await.unwrap(), connect(&sidecar, "2025-06-18").await.unwrap());
    let add = async |name: &str| other.tool_text("add_tool", json!({"name": name})).await.unwrap();
    add("early").await;
    let mut listening = listen(&client).await.unwrap();
    add("late").await;
    let expected = ["notifications/tools/list_changed", "notifications/tools/list_changed"];
    assert_eq!(gists(&take(&mut listening, 2).await.unwrap()), expected);
    let mut again = listen(&client).await.unwrap();
    add("later").await;
    assert_eq!(gists(&take(&mut again, 1).await.unwrap()), expected[..1]);
    assert!(take(&mut listening, 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_nobody_listens_for_comes_beside_a_call_when_one_is_under_way() {
    let sidecar = sidecar(&[]).await.unwrap();
    let client = connect(&sidecar, "2025-06-18").await.unwrap();
    client.tool_text("add_tool", json!({"name": "x"})).await.unwrap();
    client.expect_event("notifications/tools/list_changed").await.unwrap();
}

#[tokio::test]
async fn a_client_that_takes_no_stream_for_its_call_is_asked_on_another_or_not_at_all() {
    let sidecar = sidecar(&[]).await.unwrap();
    let client = connect(&sidecar, "2025-06-18").await.unwrap();
    let (url, session) = (sidecar.url("/mcp"), client.session().unwrap());
    let headers = [("content-type", "application/json"), ("accept", "application/json"), ("mcp-session-id", &*session)];
    let ask = || http("POST", &url, &headers, call(5, "ask", &json!({"method": "roots/list", "params": {}})));
    let told = ask().await.unwrap().expect(200).unwrap().text();
    assert!(told.contains("the client cannot be asked: it takes no event stream"), "{told}");
    let mut listening = listen(&client).await.unwrap();
    let reply = async {
        let asked = take(&mut listening, 1).await.unwrap().remove(0);
        let asked = Message::parse(&asked.data.unwrap()).unwrap();
        assert_eq!(asked.method(), Some("roots/list"));
        client.reply(asked.id().unwrap(), &json!({"roots": []})).await.unwrap();
    };
    let (told, ()) = tokio::join!(ask(), reply);
    assert!(told.unwrap().expect(200).unwrap().text().contains("roots"));
}

#[tokio::test]
async fn a_second_listener_takes_over_and_the_first_stream_ends() {
    let sidecar = sidecar(&[]).await.unwrap();
    let client = connect(&sidecar, "2025-06-18").await.unwrap();
    let mut first = listen(&client).await.unwrap();
    let mut second = listen(&client).await.unwrap();
    assert!(take(&mut first, 1).await.unwrap().is_empty());
    client.tool_text("add_tool", json!({"name": "x"})).await.unwrap();
    assert_eq!(take(&mut second, 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_event_that_never_was_cannot_be_resumed_from() {
    let sidecar = sidecar(&[]).await.unwrap();
    let client = connect(&sidecar, "2025-11-25").await.unwrap();
    for id in ["77-1", "nonsense", "", "-1", "1-x"] {
        let headers = [EVENTS, ("last-event-id", id)];
        let answer = client.request_http("GET", &headers, "").await.unwrap().collect().await.unwrap();
        assert_eq!(answer.status, 400, "{id}");
        assert!(answer.text().contains("`Last-Event-ID` names no event of this session"));
    }
}

#[tokio::test]
async fn a_cancelled_request_is_answered_with_nothing_when_no_stream_has_begun() {
    let sidecar = sidecar(&[]).await.unwrap();
    let client = connect(&sidecar, "2025-06-18").await.unwrap();
    let (url, session) = (sidecar.url("/mcp"), client.session().unwrap());
    let kind = ("content-type", "application/json");
    let headers = [kind, ("accept", "application/json"), ("mcp-session-id", &*session)];
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        client.notify("notifications/cancelled", json!({"requestId": 5})).await.unwrap();
    };
    let (answer, ()) = tokio::join!(http("POST", &url, &headers, call(5, "silent", &json!({}))), cancel);
    assert!(answer.unwrap().expect(202).unwrap().body.is_empty());
}

#[tokio::test]
async fn streams_tell_proxies_to_leave_them_alone() {
    let sidecar = sidecar(&[]).await.unwrap();
    let client = connect(&sidecar, "2025-11-25").await.unwrap();
    let listening = client.request_http("GET", &[EVENTS], "").await.unwrap();
    let sse = open("GET", &sidecar.url("/sse"), &[], "").await.unwrap();
    let posted = client.post_raw(call(1, "sleep", &json!({"ms": 300}))).await.unwrap();
    for opened in [listening, sse, posted] {
        let header = |name: &str| opened.headers[name].to_str().unwrap();
        assert_eq!((opened.status, header("content-type")), (200, "text/event-stream"));
        assert_eq!((header("cache-control"), header("x-accel-buffering")), ("no-cache, no-transform", "no"));
    }
}

#[tokio::test]
async fn an_event_stream_of_2024_can_be_attached_to_again_by_its_session() {
    let sidecar = sidecar(&[]).await.unwrap();
    let first = SseClient::connect(&sidecar.url("/sse")).await.unwrap();
    let pid = first.tool_text("pid", json!({})).await.unwrap();
    let id = first.endpoint().split('=').next_back().unwrap();
    let url = sidecar.url(&format!("/sse?sessionId={id}"));
    let second = SseClient::open(&url, ClientOptions::new("2024-11-05")).await.unwrap();
    assert_eq!(second.endpoint(), first.endpoint());
    assert_eq!(second.tool_text("pid", json!({})).await.unwrap(), pid);
    assert!(first.next_event().await.unwrap_err().to_string().contains("the event stream ended"));
}

#[tokio::test]
async fn a_slow_reader_is_cut_and_its_session_ended_while_others_go_on() {
    for mode in ["perSession", "shared"] {
        let sidecar = sidecar(&["--mode", mode]).await.unwrap();
        let other = SseClient::connect(&sidecar.url("/sse")).await.unwrap();
        // Opened, and never read again.
        let mut slow = open("GET", &sidecar.url("/sse"), &[], "").await.unwrap().into_events().await.unwrap();
        let endpoint = slow.data(PATIENCE).await.unwrap().data.unwrap();
        let post = async |body: String| {
            http("POST", &sidecar.url(&endpoint), &[("content-type", "application/json")], body).await.unwrap().status
        };
        let info = json!({"name": "slow", "version": "0"});
        let params = json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": info});
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        assert_eq!(post(hello.to_string()).await, 202);
        for id in 1..=24 {
            post(call(id, "blob", &json!({"bytes": 2 << 20}))).await;
        }
        let cut = eventually(PATIENCE, "the slow reader to be cut", async || {
            assert_eq!(other.tool_text("echo", json!({"text": "on"})).await.unwrap(), "on");
            (post(json!({"jsonrpc": "2.0", "method": "notifications/x"}).to_string()).await == 404).then_some(())
        });
        cut.await.unwrap();
        sidecar.wait_log("a client reads too slowly").await.unwrap();
        other.tool_text("blob", json!({"bytes": 10_000_000})).await.unwrap();
    }
}

#[tokio::test]
async fn many_streams_at_once_are_served_and_leave_no_file_open() {
    let count = if std::env::var_os("E2E_FULL").is_some() { 1000 } else { 150 };
    let sidecar = sidecar(&["--mode", "shared"]).await.unwrap();
    sidecar.wait_ready(&sidecar.url("/readyz")).await.unwrap();
    let fds = async || sidecar.census().program().map(|program| program.fds);
    let before = fds().await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(SseClient::connect(&sidecar.url("/sse")).await.unwrap());
    }
    clients[0].tool_text("add_tool", json!({"name": "news"})).await.unwrap();
    for client in &clients {
        client.expect_event("notifications/tools/list_changed").await.unwrap();
    }
    drop(clients);
    let back = async || fds().await.filter(|now| *now <= before);
    eventually(Duration::from_secs(5), "the files to be closed", back).await.unwrap();
}
