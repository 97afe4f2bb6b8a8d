//! `mcp-sidecar exec`: a sidecar whose server runs elsewhere, below a launcher.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::client::{Client, ClientOptions, HttpClient, RpcError, SseClient};
use e2e::harness::{Bin, Launch, Program, Sidecar};
use e2e::http::http;
use e2e::{PATIENCE, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// How long what is to end may take.
const LIMIT: Duration = Duration::from_secs(5);

/// The directory that both containers of a pod would share.
struct Shared(TempDir);

impl Shared {
    fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("launcher.sock")
    }

    fn address(&self) -> String {
        format!("unix:{}", self.path().display())
    }

    async fn sidecar(&self, flags: &[&str], command: &[&str]) -> Result<Sidecar> {
        Sidecar::start(&[&["--launcher", &self.address()], flags].concat(), command).await
    }

    fn launcher(&self) -> Result<Launch> {
        Ok(Launch::new(Bin::Sidecar)?.args(["exec", "--connect", &self.address()]))
    }

    /// A sidecar in front of the fixture, and its launcher.
    async fn start(&self, flags: &[&str], fixture_flags: &[&str]) -> Result<(Sidecar, Program)> {
        let fixture = Bin::Fixture.text()?;
        let sidecar = self.sidecar(flags, &[&[fixture.as_str()], fixture_flags].concat()).await?;
        let launcher = self.launcher()?.spawn()?;
        sidecar.wait_ready(&sidecar.url("/readyz")).await?;
        Ok((sidecar, launcher))
    }
}

async fn connect(sidecar: &Sidecar) -> Result<HttpClient> {
    HttpClient::connect(&sidecar.url("/mcp"), "2025-11-25").await
}

async fn pid(client: &dyn Client) -> Result<i32> {
    client.tool_text("pid", json!({})).await?.parse().context("no pid")
}

fn refusal<T: std::fmt::Debug>(outcome: Result<T>) -> RpcError {
    outcome.expect_err("it fails").downcast().expect("the error is one of JSON-RPC")
}

async fn status(sidecar: &Sidecar) -> Result<Value> {
    http("GET", &sidecar.url("/status"), &[], "").await?.expect(200)?.json()
}

/// The state of a process, and its parent.
fn stat(pid: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn parent(pid: i32) -> Option<i32> {
    stat(pid).map(|(_, parent)| parent)
}

/// A call that is under way, and something that happens meanwhile.
async fn during_a_call<T>(client: &dyn Client, ms: u64, work: impl Future<Output = T>) -> (Result<String>, T) {
    tokio::join!(client.tool_text("sleep", json!({"ms": ms})), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        work.await
    })
}

#[tokio::test]
async fn processes_are_the_launchers_and_all_traffic_passes() {
    for mode in ["perSession", "shared"] {
        let shared = Shared::new().unwrap();
        let (sidecar, launcher) = shared.start(&["--mode", mode], &[]).await.unwrap();
        let mode_bits = fs::metadata(shared.path()).unwrap().permissions().mode();
        assert_eq!(mode_bits & 0o777, 0o660);
        let clients: [Box<dyn Client>; 2] = [
            Box::new(connect(&sidecar).await.unwrap()),
            Box::new(SseClient::connect(&sidecar.url("/sse")).await.unwrap()),
        ];
        for client in &clients {
            let process = pid(client.as_ref()).await.unwrap();
            assert_eq!(parent(process), Some(launcher.pid()), "{mode}");
            let blob = client.tool("blob", json!({"bytes": 3_000_000})).await.unwrap();
            assert!(blob.to_string().len() > 3_000_000);
            assert_eq!(client.tool_text("echo", json!({"text": "é"})).await.unwrap(), "é");
        }
        assert!(sidecar.census().below().is_empty(), "{mode}: {}", sidecar.census());
        // A descriptor that stays behind would keep a server from ending.
        let below = launcher.census();
        assert!(below.program().unwrap().fds < 20, "{below}");
    }
}

#[tokio::test]
async fn a_session_that_ends_takes_its_process_along() {
    let shared = Shared::new().unwrap();
    let faults = ["--fault", "ignore-eof", "--fault", "ignore-term", "--fault", "fork-grandchild"];
    let (sidecar, launcher) = shared.start(&["--warm-spares", "0"], &faults).await.unwrap();
    let before = launcher.census().below().len();
    let client = connect(&sidecar).await.unwrap();
    pid(&client).await.unwrap();
    assert!(launcher.census().below().len() > before);
    client.delete().await.unwrap().expect(204).unwrap();
    let gone = async || (launcher.census().below().len() == before).then_some(());
    eventually(LIMIT, "the session's processes to end", gone).await.unwrap();
    assert_eq!(status(&sidecar).await.unwrap()["restarts"], 0);
}

#[tokio::test]
async fn sessions_opened_at_once_have_a_process_each_and_leave_no_descriptor_behind() {
    let shared = Shared::new().unwrap();
    let (sidecar, launcher) = shared.start(&["--warm-spares", "0"], &[]).await.unwrap();
    let fds = || [&*sidecar, &launcher].map(|program| program.census().program().map(|process| process.fds));
    let before = fds();
    let mut sessions = JoinSet::new();
    for number in 0..16 {
        let url = sidecar.url("/mcp");
        sessions.spawn(async move {
            let client = HttpClient::connect_with(&url, ClientOptions::new("2025-11-25").without_stream()).await?;
            assert_eq!(client.tool_text("echo", json!({"text": number.to_string()})).await?, number.to_string());
            let process = pid(&client).await?;
            client.delete().await?.expect(204)?;
            anyhow::Ok(process)
        });
    }
    let processes: BTreeSet<i32> = sessions.join_all().await.into_iter().collect::<Result<_>>().unwrap();
    assert_eq!(processes.len(), 16);
    let settled = async || fds().iter().zip(&before).all(|(now, before)| now <= before).then_some(());
    eventually(LIMIT, "the descriptors to be closed", settled)
        .await
        .unwrap_or_else(|_| panic!("{before:?} {:?}", fds()));
}

#[tokio::test]
async fn how_a_server_ended_and_its_last_words_reach_the_caller_without_the_launchers_secrets() {
    let shared = Shared::new().unwrap();
    let script = r#"echo "key is $API_TOKEN" >&2; exec "$0""#;
    let fixture = Bin::Fixture.text().unwrap();
    let sidecar = shared.sidecar(&[], &["/bin/sh", "-c", script, &fixture]).await.unwrap();
    let _launcher = shared.launcher().unwrap().env("API_TOKEN", "sk-very-secret").spawn().unwrap();
    let client = connect(&sidecar).await.unwrap();
    let before = pid(&client).await.unwrap();
    for (arguments, ended) in
        [(json!({"code": 3}), "exited with code 3"), (json!({"signal": 9}), "was ended by signal 9")]
    {
        let error = refusal(client.tool("crash", arguments).await);
        assert!(error.message.contains(ended), "{error}");
        assert_eq!(error.data["stderrTail"], json!(["key is ***"]));
    }
    assert_ne!(pid(&client).await.unwrap(), before);
}

#[tokio::test]
async fn when_the_launcher_is_killed_calls_fail_at_once_and_sessions_go_on_with_the_next_one() {
    for mode in ["perSession", "shared"] {
        let shared = Shared::new().unwrap();
        let (sidecar, mut launcher) = shared.start(&["--mode", mode], &["--fault", "ignore-eof"]).await.unwrap();
        let client = connect(&sidecar).await.unwrap();
        let before = client.tool("whoami", json!({})).await.unwrap();
        let below = launcher.census();
        let (call, ()) = during_a_call(&client, 60_000, async { launcher.kill().await.unwrap() }).await;
        let error = refusal(call);
        assert!(error.message.contains("was lost with the launcher that ran it"), "{mode}: {error}");
        assert_eq!((&error.data["exitCode"], &error.data["signal"]), (&Value::Null, &Value::Null));
        // Whoever inherits the dead may be slow to bury them.
        let dead = |pid| stat(pid).is_none_or(|(state, _)| state == 'Z');
        let gone = async || below.processes.iter().all(|process| dead(process.pid)).then_some(());
        eventually(LIMIT, "the launcher's processes to end", gone).await.unwrap();
        let _next = shared.launcher().unwrap().spawn().unwrap();
        assert_eq!(client.tool("whoami", json!({})).await.unwrap(), before, "{mode}: the handshake is repeated");
    }
}

#[tokio::test]
async fn a_launcher_waits_for_its_sidecar_and_ends_with_it_and_all_it_has_started() {
    let shared = Shared::new().unwrap();
    let mut launcher = shared.launcher().unwrap().spawn().unwrap();
    launcher.wait_log("waiting for the sidecar").await.unwrap();
    let fixture = Bin::Fixture.text().unwrap();
    let script = r#"(setsid sleep 300 &); "$0" --fault ignore-eof --fault ignore-term; true"#;
    let mut sidecar = shared.sidecar(&[], &["/bin/sh", "-c", script, &fixture]).await.unwrap();
    sidecar.wait_ready(&sidecar.url("/readyz")).await.unwrap();
    let below = launcher.census();
    assert!(below.below().len() > 2);
    sidecar.kill().await.unwrap();
    assert_eq!(launcher.wait(LIMIT).await.unwrap().code(), Some(0));
    assert!(below.alive().is_empty(), "{:?}", below.alive());
}

#[tokio::test]
async fn a_sidecar_that_stops_ends_its_processes_and_the_launcher() {
    let shared = Shared::new().unwrap();
    let (mut sidecar, mut launcher) = shared.start(&[], &[]).await.unwrap();
    let client = connect(&sidecar).await.unwrap();
    let stop = async { sidecar.signal(Signal::TERM).unwrap() };
    let (slept, ()) = during_a_call(&client, 1000, stop).await;
    assert_eq!(slept.unwrap(), "slept");
    assert_eq!(sidecar.wait(PATIENCE).await.unwrap().code(), Some(0));
    assert_eq!(launcher.wait(LIMIT).await.unwrap().code(), Some(0));
    assert!(!shared.path().exists() && launcher.census().processes.is_empty());
}

#[tokio::test]
async fn a_launcher_that_is_told_to_stop_lets_calls_finish_and_the_sidecar_stop_first() {
    let shared = Shared::new().unwrap();
    let (mut sidecar, mut launcher) = shared.start(&[], &[]).await.unwrap();
    let client = connect(&sidecar).await.unwrap();
    let stop = async {
        launcher.signal(Signal::TERM).unwrap();
        sidecar.wait_log("the launcher is stopping").await.unwrap();
    };
    let (slept, ()) = during_a_call(&client, 1500, stop).await;
    assert_eq!(slept.unwrap(), "slept");
    assert_eq!(sidecar.wait(PATIENCE).await.unwrap().code(), Some(0));
    assert_eq!(launcher.wait(LIMIT).await.unwrap().code(), Some(0));
    assert!(launcher.census().processes.is_empty());
}

#[tokio::test]
async fn a_launcher_does_not_wait_longer_than_its_drain_timeout() {
    let shared = Shared::new().unwrap();
    let fixture = Bin::Fixture.text().unwrap();
    let sidecar = shared.sidecar(&[], &[&fixture]).await.unwrap();
    let mut launcher = shared.launcher().unwrap().args(["--drain-timeout", "300ms"]).spawn().unwrap();
    let client = connect(&sidecar).await.unwrap();
    let stop = async { launcher.signal(Signal::TERM).unwrap() };
    let (cut, ()) = during_a_call(&client, 60_000, stop).await;
    assert!(cut.is_err());
    assert_eq!(launcher.wait(LIMIT).await.unwrap().code(), Some(1));
    assert!(launcher.census().processes.is_empty());
}

#[tokio::test]
async fn a_second_launcher_is_refused_and_disturbs_nobody() {
    let shared = Shared::new().unwrap();
    let (sidecar, launcher) = shared.start(&[], &[]).await.unwrap();
    let client = connect(&sidecar).await.unwrap();
    let process = pid(&client).await.unwrap();
    let mut second = shared.launcher().unwrap().spawn().unwrap();
    assert_eq!(second.wait(LIMIT).await.unwrap().code(), Some(1));
    second.wait_log("another launcher is connected").await.unwrap();
    assert_eq!((pid(&client).await.unwrap(), parent(process)), (process, Some(launcher.pid())));
}

#[tokio::test]
async fn a_program_that_is_missing_at_the_launchers_is_named() {
    let shared = Shared::new().unwrap();
    let sidecar = shared.sidecar(&[], &["no-such-program"]).await.unwrap();
    let _launcher = shared.launcher().unwrap().spawn().unwrap();
    let error = refusal(connect(&sidecar).await);
    let expected = "program `no-such-program` was not found in the server's container; looked in /";
    assert!(error.message.contains(expected), "{error}");
    let failing = async || status(&sidecar).await.ok().filter(|status| status["phase"] == "failing");
    let status = eventually(PATIENCE, "the phase failing", failing).await.unwrap();
    assert!(status["message"].as_str().unwrap().contains(expected), "{status}");
}

#[tokio::test]
async fn without_a_launcher_clients_are_told_and_the_server_is_tried_as_soon_as_one_comes() {
    let shared = Shared::new().unwrap();
    let fixture = Bin::Fixture.text().unwrap();
    let sidecar = shared.sidecar(&["--startup-timeout", "300ms"], &[&fixture]).await.unwrap();
    let error = refusal(connect(&sidecar).await);
    assert!(error.message.contains("no launcher connected within 300ms"), "{error}");
    let failing = async || status(&sidecar).await.ok().filter(|status| status["phase"] == "failing");
    eventually(PATIENCE, "the phase failing", failing).await.unwrap();
    let _launcher = shared.launcher().unwrap().spawn().unwrap();
    sidecar.wait_ready(&sidecar.url("/readyz")).await.unwrap();
}
