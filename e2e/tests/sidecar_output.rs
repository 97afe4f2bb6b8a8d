//! `mcp-sidecar` in front of servers that write what they should not, or do not read what they should.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use e2e::client::{Client, HttpClient, RpcError, SseClient};
use e2e::fixture::ODD_RESULT;
use e2e::harness::{Bin, Launch, Program, Sidecar};
use e2e::http::http;
use e2e::{PATIENCE, eventually};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// Whether sizes are those of the soak.
fn full() -> bool {
    std::env::var_os("E2E_FULL").is_some()
}

/// The error of JSON-RPC in what a call came to.
fn refusal<T: std::fmt::Debug>(outcome: Result<T>) -> RpcError {
    outcome.expect_err("it fails").downcast().expect("the error is one of JSON-RPC")
}

async fn status(sidecar: &Program) -> Result<Value> {
    http("GET", &sidecar.url("/status"), &[], "").await?.expect(200)?.json()
}

async fn both(sidecar: &Sidecar) -> Result<[Box<dyn Client>; 2]> {
    let http = HttpClient::connect(&sidecar.url("/mcp"), "2025-06-18").await?;
    Ok([Box::new(http), Box::new(SseClient::connect(&sidecar.url("/sse")).await?)])
}

#[tokio::test]
async fn messages_are_found_in_any_output_and_each_request_is_answered_once() {
    for fault in [
        "junk",
        "half-lines",
        "two-per-line",
        "crlf",
        "bom",
        "binary",
        "log-on-stdout",
        "huge-line=300000",
        "batch-out",
        "dup-answer",
        "wrong-id",
        "notify-before-init-answer",
        "slow-init=300",
    ] {
        let sidecar = Sidecar::fixture(&["--max-message-bytes", "100000"], &["--fault", fault]).await.unwrap();
        for client in both(&sidecar).await.unwrap() {
            let text = "\u{e9}\u{1f600} \"quoted\"\n";
            assert_eq!(client.tool_text("echo", json!({"text": text})).await.unwrap(), text, "{fault}");
            let odd = client.request("tools/call", json!({"name": "odd"})).await.unwrap();
            assert_eq!(odd.raw_result().unwrap(), ODD_RESULT, "{fault}");
            client.call("ping", json!({})).await.unwrap();
            let strays: Vec<_> = client.events().into_iter().filter(|event| event.id().is_some()).collect();
            assert!(strays.is_empty(), "{fault}: {strays:?}");
        }
        assert_eq!(status(&sidecar).await.unwrap()["restarts"], 0, "{fault}");
    }
}

#[tokio::test]
async fn an_answer_whose_line_ends_with_the_process_counts_and_half_of_one_does_not() {
    let sidecar = Sidecar::fixture(&[], &["--fault", "missing-newline"]).await.unwrap();
    for client in both(&sidecar).await.unwrap() {
        assert_eq!(client.tool_text("echo", json!({"text": "last"})).await.unwrap(), "last");
        // A call that is sent before the end is seen fails with it.
        let next = async || client.tool_text("echo", json!({"text": "next"})).await.ok();
        assert_eq!(eventually(PATIENCE, "an answer of the next process", next).await.unwrap(), "next");
    }
    let sidecar = Sidecar::fixture(&[], &["--fault", "half-answer"]).await.unwrap();
    for client in both(&sidecar).await.unwrap() {
        assert_eq!(refusal(client.tool("echo", json!({"text": "x"})).await).data["exitCode"], 6);
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_fails_that_call_only() {
    let sidecar = Sidecar::fixture(&["--max-message-bytes", "100000"], &[]).await.unwrap();
    for client in both(&sidecar).await.unwrap() {
        let pid = client.tool_text("pid", json!({})).await.unwrap();
        for bytes in [100_000, 5_000_000] {
            let sleeping = client.tool("sleep", json!({"ms": 300}));
            let (slept, error) = tokio::join!(sleeping, client.tool("blob", json!({"bytes": bytes})));
            let error = refusal(error);
            assert!(error.message.contains("100000"), "{bytes}: {error}");
            slept.unwrap();
        }
        assert_eq!(client.tool_text("blob", json!({"bytes": 90_000})).await.unwrap().len(), 90_000);
        assert_eq!(client.tool_text("pid", json!({})).await.unwrap(), pid);
    }
}

#[tokio::test]
async fn an_answer_that_nests_too_deep_fails_that_call_only() {
    let sidecar = Sidecar::fixture(&[], &["--fault", "deep-json=100000"]).await.unwrap();
    for client in both(&sidecar).await.unwrap() {
        let error = refusal(client.tool("echo", json!({"text": "x"})).await);
        assert!(error.message.contains("nests deeper than 64 levels"), "{error}");
        client.call("tools/list", json!({})).await.unwrap();
    }
    assert_eq!(status(&sidecar).await.unwrap()["restarts"], 0);
}

#[tokio::test]
async fn a_flood_of_stderr_is_drained_and_only_its_end_is_kept() {
    let bytes: u64 = if full() { 100 << 20 } else { 10 << 20 };
    let flood = format!("stderr-flood={bytes}");
    let sidecar = Sidecar::fixture(&["--warm-spares", "0"], &["--fault", &flood]).await.unwrap();
    for client in both(&sidecar).await.unwrap() {
        assert_eq!(client.tool_text("echo", json!({"text": "dry"})).await.unwrap(), "dry");
    }
    let kept = http("GET", &sidecar.url("/logs?lines=100000"), &[], "").await.unwrap();
    assert!((1..=1000).contains(&kept.text().lines().count()));
    let rss = sidecar.census().program().unwrap().rss;
    assert!(rss < 48 << 10, "{rss} KiB");
}

#[tokio::test]
async fn a_server_that_writes_junk_without_end_disturbs_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let flag = folder.path().join("flood");
    let script = format!(r#"[ ! -e {} ] || exec yes "this is no message"; exec "$0""#, flag.display());
    let command = ["/bin/sh", "-c", &script, &Bin::Fixture.text().unwrap()];
    let flags = ["--warm-spares", "0", "--startup-timeout", "2s"];
    let sidecar = Sidecar::start(&flags, &command).await.unwrap();
    let others = both(&sidecar).await.unwrap();
    File::create(&flag).unwrap();
    let work = async {
        for number in 0..50 {
            for client in &others {
                let text = number.to_string();
                assert_eq!(client.tool_text("echo", json!({"text": text})).await.unwrap(), text);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let url = sidecar.url("/mcp");
    let (flooded, ()) = tokio::join!(HttpClient::connect(&url, "2025-06-18"), work);
    assert!(refusal(flooded).message.contains("did not answer initialize"));
}

#[tokio::test]
async fn an_orphan_that_writes_on_when_its_server_has_ended_is_not_waited_for() {
    let script = r#""$0"; code=$?; setsid yes "this is no message" & exit $code"#;
    let command = ["/bin/sh", "-c", script, &Bin::Fixture.text().unwrap()];
    let sidecar = Sidecar::start(&["--warm-spares", "0"], &command).await.unwrap();
    for client in both(&sidecar).await.unwrap() {
        assert_eq!(refusal(client.tool("crash", json!({"code": 3})).await).data["exitCode"], 3);
        client.tool_text("pid", json!({})).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_stops_reading_times_out_and_can_be_left() {
    let flags = ["--request-timeout", "400ms", "--warm-spares", "0"];
    let sidecar = Sidecar::fixture(&flags, &["--fault", "stdin-stall"]).await.unwrap();
    let client = HttpClient::connect(&sidecar.url("/mcp"), "2025-11-25").await.unwrap();
    for text in ["small".to_owned(), "x".repeat(1 << 20)] {
        assert_eq!(refusal(client.tool("echo", json!({"text": text})).await).code, -32001);
    }
    client.delete().await.unwrap().expect(204).unwrap();
    let ended = async || (status(&sidecar).await.ok()?["processes"].as_u64()? < 2).then_some(());
    eventually(PATIENCE, "the process of the session to end", ended).await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_read_is_given_up_when_too_much_waits_for_it() {
    if !full() {
        return;
    }
    let sidecar = Sidecar::fixture(&["--warm-spares", "0"], &["--fault", "stdin-stall"]).await.unwrap();
    let client = Arc::new(HttpClient::connect(&sidecar.url("/mcp"), "2025-11-25").await.unwrap());
    let call = |_| {
        let client = Arc::clone(&client);
        async move { refusal(client.tool("echo", json!({"text": "x".repeat(15 << 20)})).await) }
    };
    let calls: JoinSet<RpcError> = (0..5).map(call).collect();
    for error in calls.join_all().await {
        assert!(error.message.contains("does not read its standard input"), "{error}");
    }
}

/// A sidecar that is told by its standard input what to run, and the folder and pipe it needs.
async fn supervised(launch: &Value) -> Result<(Program, TempDir, File)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("input");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    let mut input = File::options().read(true).write(true).open(&path)?;
    writeln!(input, "{launch}")?;
    let command = r#"exec "$0" serve --listen 127.0.0.1:0 --supervised < "$1""#;
    let launch = Launch::program("/bin/sh").args(["-c", command, &Bin::Sidecar.text()?]).arg(path);
    Ok((launch.listen().await?, folder, input))
}

/// Nothing that the sidecar tells holds the secret.
async fn keeps(sidecar: &Program, secret: &str) -> Result<()> {
    let error = refusal(HttpClient::connect(&sidecar.url("/mcp"), "2025-11-25").await);
    assert!(error.message.contains("login with *** was refused"), "{error}");
    let look = async || status(sidecar).await.ok().filter(|status| status["phase"] == "failing");
    let status = eventually(PATIENCE, "the probe to fail", look).await?;
    assert_eq!(status["lastExit"]["stderrTail"], json!(["fixture: login with *** was refused"]));
    let logs = http("GET", &sidecar.url("/logs"), &[], "").await?.text();
    for told in [error.data.to_string(), status.to_string(), logs, sidecar.logs(), sidecar.output()] {
        assert!(!told.contains(secret), "{told}");
    }
    Ok(())
}

#[tokio::test]
async fn a_secret_that_was_given_to_the_server_and_written_to_stderr_is_told_to_nobody() {
    let env = json!({"SECRET": "hunter2 & co"});
    let args = ["--fault", "leak-secret-stderr"];
    let source = json!({"command": {"command": Bin::Fixture.text().unwrap(), "args": args, "env": env}});
    let (sidecar, _folder, _input) = supervised(&json!({"name": "leaky", "source": source})).await.unwrap();
    keeps(&sidecar, "hunter2").await.unwrap();
}

#[tokio::test]
async fn a_secret_that_the_server_inherits_is_told_to_nobody() {
    let command = [Bin::Fixture.text().unwrap(), "--fault".into(), "leak-secret-stderr".into()];
    let sidecar = Sidecar::start_with(&[], &command, |launch| launch.env("SECRET", "hunter2 & co")).await.unwrap();
    keeps(&sidecar, "hunter2").await.unwrap();
}
