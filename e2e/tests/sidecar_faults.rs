//! `mcp-sidecar` in front of servers that do not start, do not answer, or die.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::client::{Client, ClientOptions, HttpClient, RpcError, SseClient};
use e2e::harness::{Bin, Launch, Sidecar};
use e2e::http::http;
use e2e::{PATIENCE, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

async fn connect(sidecar: &Sidecar) -> Result<HttpClient> {
    HttpClient::connect(&sidecar.url("/mcp"), "2025-11-25").await
}

/// The error of JSON-RPC in what a call came to.
fn refusal<T: std::fmt::Debug>(outcome: Result<T>) -> RpcError {
    outcome.expect_err("it fails").downcast().expect("the error is one of JSON-RPC")
}

async fn status(sidecar: &Sidecar) -> Result<Value> {
    http("GET", &sidecar.url("/status"), &[], "").await?.expect(200)?.json()
}

/// The status, once its phase is this one.
async fn phase(sidecar: &Sidecar, phase: &str) -> Result<Value> {
    let look = async || status(sidecar).await.ok().filter(|status| status["phase"] == phase);
    eventually(PATIENCE, format!("the phase {phase}"), look).await
}

/// The fixture, started by a shell that does `first` before.
fn shell(first: &str) -> Result<[String; 4]> {
    Ok(["/bin/sh".into(), "-c".into(), format!(r#"{first} exec "$0""#), Bin::Fixture.text()?])
}

async fn pid(client: &dyn Client) -> Result<i32> {
    client.tool_text("pid", json!({})).await?.parse().context("no pid")
}

#[tokio::test]
async fn a_missing_program_is_named_to_clients_and_in_the_status() {
    let sidecar = Sidecar::start(&[], &["no-such-program", "--flag"]).await.unwrap();
    let http = refusal(connect(&sidecar).await);
    let sse = refusal(SseClient::connect(&sidecar.url("/sse")).await);
    let status = phase(&sidecar, "failing").await.unwrap();
    for text in [&http.message, &sse.message, status["message"].as_str().unwrap()] {
        assert!(text.contains("program `no-such-program` was not found; looked in /"), "{text}");
    }
    assert_eq!((status["processes"].as_u64(), status["restarts"].as_u64()), (Some(0), Some(0)));
}

#[tokio::test]
async fn a_program_that_may_not_be_run_is_named_too() {
    let sidecar = Sidecar::start(&[], &["/etc/passwd"]).await.unwrap();
    let error = refusal(connect(&sidecar).await);
    assert!(error.message.contains("program `/etc/passwd`"), "{error}");
}

#[tokio::test]
async fn a_server_that_exits_at_once_is_reported_with_code_and_last_words() {
    for mode in ["perSession", "shared"] {
        let sidecar = Sidecar::fixture(&["--mode", mode], &["--fault", "exit-at-start=7"]).await.unwrap();
        let error = refusal(connect(&sidecar).await);
        assert!(error.message.contains("exited with code 7"), "{mode}: {error}");
        assert_eq!(error.data["exitCode"], 7);
        assert_eq!(error.data["stderrTail"], json!(["fixture: cannot start: told to exit with 7"]));
        let status = phase(&sidecar, "failing").await.unwrap();
        assert!(status["message"].as_str().unwrap().contains("exited with code 7"), "{status}");
        assert_eq!(status["lastExit"]["code"], 7);
    }
}

#[tokio::test]
async fn a_server_that_never_answers_initialize_is_given_up_after_the_startup_timeout() {
    for mode in ["perSession", "shared"] {
        let flags = ["--startup-timeout", "300ms", "--mode", mode];
        let sidecar = Sidecar::fixture(&flags, &["--fault", "never-init"]).await.unwrap();
        let error = refusal(connect(&sidecar).await);
        assert!(error.message.contains("did not answer initialize within 0.3 s"), "{mode}: {error}");
        assert!(error.message.contains("`startupTimeout`"), "{error}");
        let ended = async || (status(&sidecar).await.ok()?["sessions"] == 0).then_some(());
        eventually(PATIENCE, "the session that never opened to end", ended).await.unwrap();
    }
}

#[tokio::test]
async fn a_call_that_is_never_answered_ends_with_the_request_timeout_and_is_cancelled_at_the_server() {
    let sidecar = Sidecar::fixture(&["--request-timeout", "300ms"], &[]).await.unwrap();
    let client = connect(&sidecar).await.unwrap();
    let error = refusal(client.tool("silent", json!({})).await);
    assert_eq!(error.code, -32001);
    assert!(error.message.contains("tools/call within 0.3 s; a longer `requestTimeout`"), "{error}");
    let seen = client.tool("cancelled_seen", json!({})).await.unwrap();
    assert_eq!(seen["structuredContent"]["count"], 1);
}

#[tokio::test]
async fn progress_and_questions_to_the_client_put_the_request_timeout_off() {
    let sidecar = Sidecar::fixture(&["--request-timeout", "600ms"], &[]).await.unwrap();
    let options = ClientOptions::new("2025-11-25").capabilities(json!({"sampling": {}}));
    let options = options.respond(|_, _| None);
    let client = HttpClient::connect_with(&sidecar.url("/mcp"), options).await.unwrap();
    let params = json!({"name": "progress", "arguments": {"steps": 6, "ms": 200}, "_meta": {"progressToken": "t"}});
    client.call("tools/call", params).await.unwrap();
    let answer = async {
        let question = client.expect_event("sampling/createMessage").await?;
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let result = json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": "late"}});
        client.reply(question.id().context("no id")?, &result).await
    };
    let (text, answered) = tokio::join!(client.tool_text("sample", json!({"prompt": "?"})), answer);
    answered.unwrap();
    assert_eq!(text.unwrap(), "late");
}

#[tokio::test]
async fn a_server_that_exits_mid_call_fails_all_its_calls_and_the_session_goes_on_with_a_new_one() {
    let sidecar = Sidecar::start(&[], &shell("echo disk is full >&2;").unwrap()).await.unwrap();
    let client = connect(&sidecar).await.unwrap();
    let before = pid(&client).await.unwrap();
    let (sleeping, crashed) =
        tokio::join!(client.tool("sleep", json!({"ms": 20_000})), client.tool("crash", json!({"code": 3})));
    for error in [refusal(sleeping), refusal(crashed)] {
        assert!(error.message.contains("exited with code 3; its last words: disk is full"), "{error}");
        assert_eq!(error.data["exitCode"], 3);
        assert_eq!(error.data["signal"], Value::Null);
        assert_eq!(error.data["stderrTail"], json!(["disk is full"]));
    }
    assert_ne!(pid(&client).await.unwrap(), before);
    let status = status(&sidecar).await.unwrap();
    assert_eq!((status["restarts"].as_u64(), &status["lastExit"]["code"]), (Some(1), &json!(3)));
}

#[tokio::test]
async fn a_server_that_is_killed_mid_call_is_reported_with_the_signal() {
    for mode in ["perSession", "shared"] {
        let sidecar = Sidecar::fixture(&["--mode", mode], &[]).await.unwrap();
        let client = SseClient::connect(&sidecar.url("/sse")).await.unwrap();
        let before = pid(&client).await.unwrap();
        let error = refusal(client.tool("crash", json!({"signal": 9})).await);
        assert!(error.message.contains("was ended by signal 9"), "{mode}: {error}");
        assert_eq!((&error.data["exitCode"], &error.data["signal"]), (&Value::Null, &json!(9)));
        assert_ne!(pid(&client).await.unwrap(), before);
    }
}

#[tokio::test]
async fn a_new_process_gets_the_handshake_the_log_level_and_the_subscriptions_again() {
    let sidecar = Sidecar::fixture(&[], &[]).await.unwrap();
    let options = ClientOptions::new("2025-06-18").name("replayed").capabilities(json!({"roots": {"x-vendor": 1.0}}));
    let client = HttpClient::connect_with(&sidecar.url("/mcp"), options).await.unwrap();
    let before = client.tool("whoami", json!({})).await.unwrap();
    client.call("logging/setLevel", json!({"level": "error"})).await.unwrap();
    client.call("resources/subscribe", json!({"uri": "fixture://watched"})).await.unwrap();
    refusal(client.tool("crash", json!({})).await);
    assert_eq!(client.tool("whoami", json!({})).await.unwrap(), before);
    assert_eq!(client.tool_text("log", json!({"level": "info"})).await.unwrap(), "below the level");
    assert_eq!(client.tool_text("touch", json!({"uri": "fixture://watched"})).await.unwrap(), "told");
    client.expect_event("notifications/resources/updated").await.unwrap();
}

#[tokio::test]
async fn a_server_that_crashes_at_every_call_answers_each_with_the_reason_and_is_not_started_in_a_hot_loop() {
    let sidecar = Sidecar::fixture(&["--warm-spares", "0"], &["--fault", "crash-loop"]).await.unwrap();
    let client = connect(&sidecar).await.unwrap();
    for _ in 0..4 {
        let error = refusal(client.tool("echo", json!({"text": "x"})).await);
        assert_eq!(error.data["signal"], 6, "{error}");
    }
    let status = phase(&sidecar, "failing").await.unwrap();
    assert!(status["message"].as_str().unwrap().contains("signal 6"), "{status}");
    assert!((4..12).contains(&status["restarts"].as_u64().unwrap()), "{status}");
}

#[tokio::test]
async fn a_server_that_dies_when_idle_is_restarted_ever_more_slowly() {
    let sidecar = Sidecar::fixture(&["--warm-spares", "0"], &["--fault", "exit-after-init"]).await.unwrap();
    let _client = connect(&sidecar).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let restarts = status(&sidecar).await.unwrap()["restarts"].as_u64().unwrap();
    assert!((2..16).contains(&restarts), "{restarts} restarts");
}

#[tokio::test]
async fn calls_are_refused_with_the_reason_when_a_server_that_worked_cannot_be_started_any_more() {
    for mode in ["perSession", "shared"] {
        let dir = tempfile::tempdir().unwrap();
        let broken = dir.path().join("broken");
        let first = format!("[ ! -e {} ] || {{ echo no more >&2; exit 9; }};", broken.display());
        let flags = ["--warm-spares", "0", "--mode", mode];
        let sidecar = Sidecar::start(&flags, &shell(&first).unwrap()).await.unwrap();
        let client = connect(&sidecar).await.unwrap();
        std::fs::write(&broken, "").unwrap();
        refusal(client.tool("crash", json!({"code": 1})).await);
        let error = refusal(client.tool("pid", json!({})).await);
        assert!(error.message.contains("exited with code 9; its last words: no more"), "{mode}: {error}");
        std::fs::remove_file(&broken).unwrap();
        let recovered = eventually(PATIENCE, "the server to work again", async || pid(&client).await.ok());
        recovered.await.unwrap();
    }
}

#[tokio::test]
async fn the_death_of_the_probed_process_or_of_a_spare_disturbs_no_session() {
    let sidecar = Sidecar::fixture(&[], &[]).await.unwrap();
    phase(&sidecar, "ready").await.unwrap();
    let client = connect(&sidecar).await.unwrap();
    let own = pid(&client).await.unwrap();
    let others = async || {
        let pids: Vec<_> =
            sidecar.census().below().iter().map(|process| process.pid).filter(|pid| *pid != own).collect();
        Some(pids).filter(|pids| pids.len() == 2)
    };
    for other in eventually(PATIENCE, "the probe's process and the spare", others).await.unwrap() {
        kill_process(Pid::from_raw(other).unwrap(), Signal::KILL).unwrap();
    }
    let next = connect(&sidecar).await.unwrap();
    assert_ne!(pid(&next).await.unwrap(), own);
    assert_eq!(pid(&client).await.unwrap(), own);
    let all = async || (sidecar.census().below().len() == 4).then_some(());
    eventually(PATIENCE, "a new process for the probe, and a new spare", all).await.unwrap();
    assert_eq!(status(&sidecar).await.unwrap()["phase"], "ready");
}

#[tokio::test]
async fn without_files_for_another_process_new_sessions_are_told_so_and_old_ones_go_on() {
    let script = r#"ulimit -n 48; exec "$0" serve --listen 127.0.0.1:0 --warm-spares 0 -- "$1""#;
    let args = ["-c", script, &Bin::Sidecar.text().unwrap(), &Bin::Fixture.text().unwrap()];
    let sidecar = Launch::program("/bin/sh").args(args).listen().await.unwrap();
    let url = sidecar.url("/mcp");
    let connect = || HttpClient::connect_with(&url, ClientOptions::new("2025-11-25").without_stream());
    let mut clients = vec![connect().await.unwrap()];
    let error = loop {
        match connect().await {
            Ok(client) => clients.push(client),
            Err(error) => break refusal::<()>(Err(error)),
        }
        assert!(clients.len() < 40);
    };
    assert!(error.message.contains("cannot be started") && error.message.contains("Too many open files"), "{error}");
    for client in &clients {
        pid(client).await.unwrap();
    }
    for client in clients.drain(1..) {
        client.delete().await.unwrap();
    }
    let again = eventually(PATIENCE, "room for a process", async || connect().await.ok()).await.unwrap();
    pid(&again).await.unwrap();
}
