//! What `mcp-sidecar` leaves behind: nothing, whatever its server does and however either ends.

use std::time::Duration;

use anyhow::{Result, bail};
use e2e::client::{Client, ClientOptions, HttpClient, SseClient};
use e2e::harness::{Bin, Census, Launch, Sidecar};
use e2e::http::http;
use e2e::{PATIENCE, eventually};
use rustix::process::Signal;
use serde_json::json;
use tokio::task::{JoinSet, LocalSet};

/// How long what is to end may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Server processes that are hard to get rid of, as shell commands; `"$0"` is the fixture.
const STUBBORN: [(&str, &str); 6] = [
    ("ignores the end of stdin and SIGTERM", r#"exec "$0" --fault ignore-eof --fault ignore-term"#),
    ("leaves a child and an orphan that ignores SIGTERM", r#"exec "$0" --fault fork-grandchild"#),
    ("has a child in a session of its own", r#"setsid sleep 300 & exec "$0""#),
    ("has a grandchild in a session of its own", r#"sh -c 'setsid sleep 300 & wait' & exec "$0""#),
    ("leaves an orphan that has children", r#"(setsid sh -c 'sleep 300 & setsid sleep 300 & wait' &); exec "$0""#),
    ("leaves an orphan that moves on", r#"(setsid sh -c 'sh -c "sleep 300 & sleep 0.1" & sleep 300' &); exec "$0""#),
];

/// A server that is a shell.
async fn shell(flags: &[&str], script: &str) -> Result<Sidecar> {
    Sidecar::start(flags, &["/bin/sh", "-c", script, &Bin::Fixture.text()?]).await
}

async fn connect(sidecar: &Sidecar) -> Result<HttpClient> {
    HttpClient::connect(&sidecar.url("/mcp"), "2025-11-25").await
}

async fn wait_ready(sidecar: &Sidecar) -> Result<()> {
    sidecar.wait_ready(&sidecar.url("/readyz")).await
}

/// Those of the census that still run. Whoever inherits the dead may be slow to bury them.
fn running(census: &Census) -> Vec<String> {
    census.alive().into_iter().filter(|process| process.state != 'Z').map(|process| process.command).collect()
}

async fn gone(census: &Census) -> Result<()> {
    let look = async || running(census).is_empty().then_some(());
    if eventually(LIMIT, "the processes to end", look).await.is_err() {
        bail!("after {LIMIT:?} these are left: {:?}", running(census));
    }
    Ok(())
}

/// Runs `test` on all of [`STUBBORN`] at once.
async fn all_stubborn<F: Future<Output = ()> + 'static>(test: fn(&'static str, &'static str) -> F) {
    let (local, mut tests) = (LocalSet::new(), JoinSet::new());
    for (what, script) in STUBBORN {
        tests.spawn_local_on(test(what, script), &local);
    }
    local.run_until(tests.join_all()).await;
}

/// Waits until exactly `count` processes are below the sidecar, dead ones included.
async fn below(sidecar: &Sidecar, count: usize) -> Result<()> {
    let look = async || (sidecar.census().below().len() == count).then_some(());
    if eventually(LIMIT, "processes", look).await.is_err() {
        bail!("after {LIMIT:?} there are not {count} below, but:\n{}", sidecar.census());
    }
    Ok(())
}

#[tokio::test]
async fn nothing_is_left_when_the_sidecar_has_stopped() {
    all_stubborn(|what, script| async move {
        let mut sidecar = shell(&[], script).await.unwrap();
        wait_ready(&sidecar).await.unwrap();
        let client = connect(&sidecar).await.unwrap();
        client.tool_text("pid", json!({})).await.unwrap();
        let census = sidecar.census();
        assert_eq!(sidecar.stop(PATIENCE).await.unwrap(), 0, "{what}");
        gone(&census).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    })
    .await;
}

#[tokio::test]
async fn nothing_of_a_session_is_left_when_it_was_deleted() {
    all_stubborn(|what, script| async move {
        let sidecar = shell(&["--warm-spares", "0"], script).await.unwrap();
        wait_ready(&sidecar).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let before = sidecar.census().below().len();
        let client = connect(&sidecar).await.unwrap();
        client.tool_text("pid", json!({})).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(sidecar.census().below().len() > before);
        client.delete().await.unwrap().expect(204).unwrap();
        below(&sidecar, before).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    })
    .await;
}

#[tokio::test]
async fn nothing_of_a_server_is_left_when_it_has_crashed() {
    all_stubborn(|what, script| async move {
        let sidecar = shell(&["--warm-spares", "0"], script).await.unwrap();
        wait_ready(&sidecar).await.unwrap();
        let client = connect(&sidecar).await.unwrap();
        client.tool_text("pid", json!({})).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let before = sidecar.census().below().len();
        for _ in 0..2 {
            client.tool("crash", json!({"signal": 9})).await.unwrap_err();
        }
        client.tool_text("pid", json!({})).await.unwrap();
        below(&sidecar, before).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    })
    .await;
}

#[tokio::test]
async fn an_event_stream_that_breaks_takes_its_process_along() {
    let sidecar = Sidecar::fixture(&["--warm-spares", "0"], &["--fault", "fork-grandchild"]).await.unwrap();
    wait_ready(&sidecar).await.unwrap();
    let before = sidecar.census().below().len();
    let client = SseClient::connect(&sidecar.url("/sse")).await.unwrap();
    assert!(sidecar.census().below().len() > before);
    drop(client);
    below(&sidecar, before).await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_during_the_handshake_takes_its_process_along() {
    let sidecar = Sidecar::fixture(&["--warm-spares", "0"], &["--fault", "never-init"]).await.unwrap();
    let options = ClientOptions::new("2025-11-25").timeout(Duration::from_millis(400));
    below(&sidecar, 1).await.unwrap();
    HttpClient::connect_with(&sidecar.url("/mcp"), options.clone()).await.unwrap_err();
    SseClient::connect_with(&sidecar.url("/sse"), options).await.unwrap_err();
    below(&sidecar, 1).await.unwrap();
}

#[tokio::test]
async fn a_session_that_is_deleted_mid_call_ends_the_call_and_its_process() {
    let sidecar = Sidecar::fixture(&["--warm-spares", "0"], &[]).await.unwrap();
    wait_ready(&sidecar).await.unwrap();
    let client = connect(&sidecar).await.unwrap();
    let delete = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        client.delete().await.unwrap().expect(204).unwrap();
    };
    let (slept, ()) = tokio::join!(client.tool("sleep", json!({"ms": 60_000})), delete);
    slept.unwrap_err();
    below(&sidecar, 1).await.unwrap();
}

#[tokio::test]
async fn a_server_may_end_in_peace_when_its_input_ends() {
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("note");
    let script = format!(r#"trap 'echo told >> {0}' TERM; "$0"; echo "ended with $?" >> {0}"#, note.display());
    let sidecar = shell(&["--warm-spares", "0"], &script).await.unwrap();
    wait_ready(&sidecar).await.unwrap();
    connect(&sidecar).await.unwrap().delete().await.unwrap().expect(204).unwrap();
    below(&sidecar, 2).await.unwrap();
    assert_eq!(std::fs::read_to_string(note).unwrap(), "ended with 0\n");
}

#[tokio::test]
async fn a_server_inherits_no_file_and_no_ignored_signal_of_the_sidecar() {
    let look = "ls /proc/self/fd | wc -w >&2; grep -E 'Sig(Blk|Ign)' /proc/self/status >&2; exec";
    let server = format!(r#"{look} "$0""#);
    let script = format!(r#"{look} "$0" serve --listen 127.0.0.1:0 --warm-spares 0 -- /bin/sh -c "$1" "$2""#);
    // A job that a script starts in the background ignores SIGINT, and the sidecar does not: it would differ in that.
    let args = ["--default-signal", "/bin/sh", "-c", &script];
    let programs = [&*Bin::Sidecar.text().unwrap(), &server, &Bin::Fixture.text().unwrap()];
    let sidecar = Launch::program("env").args(args).args(programs).listen().await.unwrap();
    sidecar.wait_ready(&sidecar.url("/readyz")).await.unwrap();
    let told = http("GET", &sidecar.url("/logs"), &[], "").await.unwrap().text();
    assert!(sidecar.logs().starts_with(&told), "{told}, where the sidecar has {}", sidecar.logs());
}

#[tokio::test]
async fn orphans_that_end_by_themselves_do_not_stay_as_zombies() {
    let script = r#"(setsid sh -c 'sleep 0.2 & exit 3' &); (sleep 0.2 &); exec "$0""#;
    let sidecar = shell(&["--warm-spares", "0"], script).await.unwrap();
    wait_ready(&sidecar).await.unwrap();
    let _client = connect(&sidecar).await.unwrap();
    below(&sidecar, 2).await.unwrap();
}

#[tokio::test]
async fn a_second_signal_aborts_and_leaves_nothing_either() {
    all_stubborn(|what, script| async move {
        let mut sidecar = shell(&[], script).await.unwrap();
        wait_ready(&sidecar).await.unwrap();
        let client = connect(&sidecar).await.unwrap();
        let census = sidecar.census();
        let call = async { client.tool("sleep", json!({"ms": 60_000})).await.unwrap_err() };
        let stop = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            sidecar.signal(Signal::TERM).unwrap();
            sidecar.wait_log("stopping").await.unwrap();
            sidecar.signal(Signal::TERM).unwrap();
        };
        tokio::join!(call, stop);
        assert_eq!(sidecar.wait(LIMIT).await.unwrap().code(), Some(1), "{what}");
        gone(&census).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    })
    .await;
}

#[tokio::test]
async fn servers_end_with_a_sidecar_that_is_killed() {
    for script in [r#"exec "$0""#, r#""$0"; true"#, r#"exec "$0" --fault ignore-eof --fault ignore-term"#] {
        let mut sidecar = shell(&[], script).await.unwrap();
        wait_ready(&sidecar).await.unwrap();
        let client = connect(&sidecar).await.unwrap();
        client.tool_text("pid", json!({})).await.unwrap();
        let census = sidecar.census();
        sidecar.kill().await.unwrap();
        gone(&census).await.unwrap_or_else(|error| panic!("{script}: {error}"));
    }
}

/// As in a container, where the session that everything runs in was begun outside, and has no number inside.
#[tokio::test]
async fn nothing_of_a_session_is_left_in_a_pid_namespace_either() {
    let inside = ["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let script = STUBBORN.map(|(_, script)| script)[4];
    let command = ["/bin/sh", "-c", script, &Bin::Fixture.text().unwrap()];
    let start = Sidecar::start_with(&["--warm-spares", "0"], &command, |launch| launch.through("unshare", inside));
    let sidecar = start.await.unwrap();
    wait_ready(&sidecar).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = sidecar.census().below().len();
    let client = connect(&sidecar).await.unwrap();
    client.tool_text("pid", json!({})).await.unwrap();
    client.delete().await.unwrap().expect(204).unwrap();
    below(&sidecar, before).await.unwrap();
    assert!(!sidecar.logs().contains("panicked"), "{}", sidecar.logs());
}
