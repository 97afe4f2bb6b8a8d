//! `mcp-sidecar` with many sessions and many calls: nobody gets what is another's, nothing is lost, nothing is left.
//!
//! `E2E_FULL=1` runs the sizes of the soak.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use e2e::client::{Client, ClientOptions, HttpClient, SseClient};
use e2e::harness::Sidecar;
use e2e::http::{http, open};
use e2e::{PATIENCE, eventually};
use serde_json::json;
use tokio::task::JoinSet;

/// Calls that a session has under way at a time.
const AT_ONCE: usize = 4;

/// The size of the soak, or the small one.
fn sized(full: usize, small: usize) -> usize {
    if std::env::var_os("E2E_FULL").is_some() { full } else { small }
}

/// Sessions of both transports in turn. Each numbers its requests from 1 on, so that all use the same ids.
async fn sessions(sidecar: &Sidecar, count: usize) -> Result<Vec<Arc<dyn Client>>> {
    let mut sessions: Vec<Arc<dyn Client>> = Vec::new();
    for number in 0..count {
        sessions.push(if number % 2 == 0 {
            Arc::new(SseClient::connect(&sidecar.url("/sse")).await?)
        } else {
            let options = ClientOptions::new("2025-11-25").without_stream();
            Arc::new(HttpClient::connect_with(&sidecar.url("/mcp"), options).await?)
        });
    }
    Ok(sessions)
}

/// Makes `calls` calls, some at a time, and checks that each gets its own answer.
async fn work(session: usize, client: Arc<dyn Client>, calls: usize) {
    let mut under_way = JoinSet::new();
    for call in 0..calls {
        if under_way.len() == AT_ONCE {
            under_way.join_next().await.expect("some are under way").expect("the call went well");
        }
        let client = Arc::clone(&client);
        under_way.spawn(async move {
            let text = format!("call {call} of session {session}");
            assert_eq!(client.tool_text("echo", json!({"text": text})).await.expect("it is answered"), text);
        });
    }
    under_way.join_all().await;
}

async fn equal_ids(mode: &str, count: usize, calls: usize) -> Result<()> {
    let sidecar = Sidecar::fixture(&["--mode", mode], &[]).await?;
    let sessions = sessions(&sidecar, count).await?;
    let workers: JoinSet<()> =
        sessions.iter().enumerate().map(|(number, client)| work(number, Arc::clone(client), calls)).collect();
    workers.join_all().await;
    for client in sessions {
        assert!(client.events().is_empty(), "answers that nobody waited for: {:?}", client.events());
    }
    Ok(())
}

#[tokio::test]
async fn equal_ids_of_many_sessions_never_meet_in_a_shared_process() {
    equal_ids("shared", 64, sized(1000, 15)).await.unwrap();
}

#[tokio::test]
async fn equal_ids_of_many_sessions_never_meet_in_processes_of_their_own() {
    equal_ids("perSession", sized(64, 10), sized(1000, 60)).await.unwrap();
}

#[tokio::test]
async fn questions_of_many_calls_at_once_are_answered_each_for_its_own() {
    let sidecar = Sidecar::fixture(&[], &[]).await.unwrap();
    let options = ClientOptions::new("2025-11-25").capabilities(json!({"sampling": {}})).respond(|_, params| {
        let text = format!("re: {}", params["messages"][0]["content"]["text"].as_str().unwrap_or_default());
        Some(Ok(json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": text}})))
    });
    let url = sidecar.url("/mcp");
    let clients: [Arc<dyn Client>; 3] = [
        Arc::new(SseClient::connect_with(&sidecar.url("/sse"), options.clone()).await.unwrap()),
        Arc::new(HttpClient::connect_with(&url, options.clone()).await.unwrap()),
        Arc::new(HttpClient::connect_with(&url, options.without_stream()).await.unwrap()),
    ];
    let ask = |client: &Arc<dyn Client>, number: usize| {
        let client = Arc::clone(client);
        async move {
            let text = client.tool_text("sample", json!({"prompt": number.to_string()})).await.unwrap();
            assert_eq!(text, format!("re: {number}"));
        }
    };
    let asked: JoinSet<()> = clients.iter().flat_map(|client| (0..20).map(move |number| ask(client, number))).collect();
    asked.join_all().await;
    assert!(clients.iter().all(|client| client.events().iter().all(|event| event.method().is_some())));
}

/// A server that writes 20,000 log lines at once before it answers a call.
const BURST: &str = r#"while read -r line; do
    id=${line##*\"id\":}; id=${id%%[,\}]*}
    case $line in
    *initialize\"*) result='{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"b","version":"0"}}';;
    *tools/call*)
        result='{"content":[{"type":"text","text":"done"}]}'
        seq -f '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":%.0f}}' 20000;;
    *) continue;;
    esac
    echo "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":$result}"
done"#;

#[tokio::test]
async fn a_burst_of_messages_cuts_no_client_that_reads() {
    let sidecar = Sidecar::start(&[], &["/bin/sh", "-c", BURST]).await.unwrap();
    let sse = SseClient::connect(&sidecar.url("/sse")).await.unwrap();
    let http = HttpClient::connect(&sidecar.url("/mcp"), "2025-06-18").await.unwrap();
    for client in [&sse as &dyn Client, &http] {
        assert_eq!(client.tool_text("burst", json!({})).await.unwrap(), "done");
        let events = client.events();
        assert_eq!(events.len(), 20_000);
        assert!(events.iter().zip(1..).all(|(event, number)| event.params()["data"] == number), "they are in order");
    }
}

#[tokio::test]
async fn after_calls_and_disconnects_files_processes_and_memory_are_back_at_the_baseline() {
    let sidecar = Sidecar::fixture(&["--warm-spares", "0"], &[]).await.unwrap();
    sidecar.wait_ready(&sidecar.url("/readyz")).await.unwrap();
    // What the first session needs for good is there before the count.
    work(0, sessions(&sidecar, 1).await.unwrap().remove(0), 10).await;
    let alone = async || (sidecar.census().below().len() == 1).then_some(());
    eventually(PATIENCE, "the first session to end", alone).await.unwrap();
    let before = sidecar.census().program().unwrap().clone();

    let options = ClientOptions::new("2025-06-18").without_stream();
    let client = HttpClient::connect_with(&sidecar.url("/mcp"), options).await.unwrap();
    for number in 0..sized(2000, 200) {
        let ms = if number % 4 == 0 { 50 } else { 0 };
        let params = json!({"name": "sleep", "arguments": {"ms": ms}});
        let call = json!({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).to_string();
        let posted = tokio::time::timeout(Duration::from_millis(20), client.post_raw(call)).await;
        // Every fourth goes away before its answer.
        if let Ok(answer) = posted {
            answer.unwrap().collect().await.unwrap();
        }
        if number % 50 == 0 {
            let listening = client.request_http("GET", &[("accept", "text/event-stream")], "").await.unwrap();
            let sse = open("GET", &sidecar.url("/sse"), &[], "").await.unwrap();
            let refused = http("POST", &sidecar.url("/mcp"), &[], "junk").await.unwrap();
            assert_eq!((listening.status, sse.status, refused.status), (200, 200, 415));
        }
    }
    client.tool_text("echo", json!({"text": "still here"})).await.unwrap();
    client.delete().await.unwrap().expect(204).unwrap();
    drop(client);
    let back = async || {
        let now = sidecar.census();
        (now.below().len() == 1 && now.program()?.fds <= before.fds).then_some(())
    };
    let settled = eventually(Duration::from_secs(5), "all to be as before", back).await;
    settled.unwrap_or_else(|error| panic!("{error}; before: {before:?}; now:\n{}", sidecar.census()));
    let rss = sidecar.census().program().unwrap().rss;
    assert!(rss < before.rss + (8 << 10), "{rss} KiB, before {} KiB", before.rss);
}
