//! `mcp-sidecar` beside the protocol: its status, log and metrics, who may ask, where it listens, how it starts and stops.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::client::{Client, ClientOptions, HttpClient, SseClient};
use e2e::harness::{Bin, Launch, Program, Sidecar};
use e2e::http::{http, open};
use e2e::{PATIENCE, eventually};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

async fn status(sidecar: &Program) -> Result<Value> {
    http("GET", &sidecar.url("/status"), &[], "").await?.expect(200)?.json()
}

fn serve(args: &[&str]) -> Result<Launch> {
    let launch = Launch::new(Bin::Sidecar)?.arg("serve").args(args.iter().copied());
    Ok(launch.args(["--", &Bin::Fixture.text()?]))
}

/// The exit code and stderr of a sidecar that does not come to serve.
async fn fails(launch: Result<Launch>) -> Result<(i32, String)> {
    let mut sidecar = launch?.spawn()?;
    let code = sidecar.wait(PATIENCE).await?.code().context("it died by a signal")?;
    let first = sidecar.wait_log("error").await?;
    Ok((code, format!("{first}\n{}", sidecar.logs())))
}

#[tokio::test]
async fn the_status_tells_what_the_server_is_and_offers() {
    let sidecar = Sidecar::fixture(&["--name", "shown"], &["--name", "inner", "--extra-tools", "2"]).await.unwrap();
    sidecar.wait_ready(&sidecar.url("/readyz")).await.unwrap();
    let client = HttpClient::connect(&sidecar.url("/mcp"), "2025-11-25").await.unwrap();
    let status = status(&sidecar).await.unwrap();
    let catalogue = &status["catalogue"];
    assert_eq!((&status["phase"], &status["transport"]), (&json!("ready"), &json!("stdio")));
    assert_eq!(catalogue["serverInfo"]["name"], "inner");
    assert_eq!(catalogue["protocolVersion"], "2025-11-25");
    assert_eq!(catalogue["instructions"], "fixture!");
    for (key, method) in [
        ("tools", "tools/list"),
        ("prompts", "prompts/list"),
        ("resources", "resources/list"),
        ("resourceTemplates", "resources/templates/list"),
    ] {
        assert_eq!(catalogue[key], json!(client.list(method, key).await.unwrap()), "{key}");
    }
}

#[tokio::test]
async fn the_status_for_certain_clients_wants_to_know_what_they_declare() {
    let sidecar = Sidecar::fixture(&[], &[]).await.unwrap();
    sidecar.wait_ready(&sidecar.url("/readyz")).await.unwrap();
    let ask = async |text: &str| {
        let url = sidecar.url(&format!("/status?capabilities={text}"));
        http("GET", &url, &[], "").await.unwrap()
    };
    for text in ["", "garbage", "[]", "%7B%7D,%22clientInfo%22:%7B%7D", "%7B%7D%7D,%22a%22:%7B%22b%22:%7B%7D"] {
        let answer = ask(text).await;
        assert_eq!(answer.status, 400, "{text}");
        assert!(answer.json().unwrap()["error"]["message"].as_str().unwrap().contains("one JSON object"), "{text}");
    }
    let tools =
        ask("%7B%22sampling%22:%7B%7D%7D").await.expect(200).unwrap().json().unwrap()["catalogue"]["tools"].clone();
    assert!(tools.to_string().contains("\"sample\""), "{tools}");
}

#[tokio::test]
async fn sessions_and_processes_are_counted_and_the_probe_is_no_session() {
    let sidecar = Sidecar::fixture(&["--warm-spares", "0", "--admin", "127.0.0.1:0"], &[]).await.unwrap();
    sidecar.wait_ready(&sidecar.url("/readyz")).await.unwrap();
    let counts = async || {
        let status = status(&sidecar).await.unwrap();
        (status["sessions"].as_u64().unwrap(), status["processes"].as_u64().unwrap())
    };
    assert_eq!(counts().await, (0, 1));
    let client = HttpClient::connect(&sidecar.url("/mcp"), "2025-11-25").await.unwrap();
    let sse = SseClient::connect(&sidecar.url("/sse")).await.unwrap();
    assert_eq!(counts().await, (2, 3));
    let metrics = format!("{}/metrics", sidecar.admin().await.unwrap());
    let text = http("GET", &metrics, &[], "").await.unwrap().text();
    for line in ["mcp_server_ready 1\n", "mcp_server_sessions 2\n", "mcp_server_processes 3\n"] {
        assert!(text.contains(line), "{text}");
    }
    client.delete().await.unwrap();
    drop(sse);
    eventually(PATIENCE, "all to end", async || (counts().await == (0, 1)).then_some(())).await.unwrap();
}

#[tokio::test]
async fn a_watched_status_comes_at_once_and_at_each_change() {
    let sidecar = Sidecar::fixture(&[], &["--fault", "slow-init=300"]).await.unwrap();
    let mut watch = open("GET", &sidecar.url("/status?watch"), &[], "").await.unwrap().into_events().await.unwrap();
    let mut phases = Vec::new();
    while phases.last() != Some(&json!("ready")) {
        let event = watch.data(PATIENCE).await.unwrap();
        assert_eq!(event.event.as_deref(), Some("status"));
        phases.push(serde_json::from_str::<Value>(&event.data.unwrap()).unwrap()["phase"].take());
    }
    assert_eq!(phases.first(), Some(&json!("starting")));
    let client = HttpClient::connect(&sidecar.url("/mcp"), "2025-11-25").await.unwrap();
    client.tool("crash", json!({"code": 5})).await.unwrap_err();
    let event = watch.data(PATIENCE).await.unwrap();
    let now: Value = serde_json::from_str(&event.data.unwrap()).unwrap();
    assert_eq!((&now["lastExit"]["code"], &now["restarts"]), (&json!(5), &json!(1)));
}

#[tokio::test]
async fn a_changed_list_is_seen_in_the_status_of_a_shared_server() {
    let sidecar = Sidecar::fixture(&["--mode", "shared"], &[]).await.unwrap();
    sidecar.wait_ready(&sidecar.url("/readyz")).await.unwrap();
    let before = status(&sidecar).await.unwrap()["catalogue"]["version"].as_u64();
    let client = HttpClient::connect(&sidecar.url("/mcp"), "2025-11-25").await.unwrap();
    client.tool("add_tool", json!({"name": "fresh"})).await.unwrap();
    let look = async || {
        let catalogue = status(&sidecar).await.ok()?["catalogue"].take();
        let listed = catalogue["tools"].as_array()?.iter().any(|tool| tool["name"] == "fresh");
        (listed && catalogue["version"].as_u64() > before).then_some(())
    };
    eventually(PATIENCE, "the new tool in the catalogue", look).await.unwrap();
}

#[tokio::test]
async fn the_log_shows_the_last_lines_and_follows() {
    let script = r#"for n in 1 2 3; do echo "line $n" >&2; done; exec "$0""#;
    let command = ["/bin/sh", "-c", script, &Bin::Fixture.text().unwrap()];
    let sidecar = Sidecar::start(&["--warm-spares", "0"], &command).await.unwrap();
    sidecar.wait_ready(&sidecar.url("/readyz")).await.unwrap();
    let last = http("GET", &sidecar.url("/logs?lines=2"), &[], "").await.unwrap();
    assert_eq!(last.text(), "line 2\nline 3\n");
    let follow = open("GET", &sidecar.url("/logs?lines=0&follow"), &[], "").await.unwrap();
    let _client = HttpClient::connect(&sidecar.url("/mcp"), "2025-11-25").await.unwrap();
    let stop = async {
        let came = async || http("GET", &sidecar.url("/logs"), &[], "").await.ok().filter(|all| all.text().len() == 42);
        eventually(PATIENCE, "six lines", came).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        sidecar.signal(rustix::process::Signal::TERM).unwrap();
    };
    let (followed, ()) = tokio::join!(follow.collect(), stop);
    assert_eq!(followed.unwrap().text(), "line 1\nline 2\nline 3\n");
}

#[tokio::test]
async fn beyond_this_machine_a_key_is_needed() {
    let (code, text) = fails(serve(&["--listen", "0.0.0.0:0"])).await.unwrap();
    assert!(code == 2 && text.contains("--key-file"), "{code}: {text}");
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let flags = ["--listen", "0.0.0.0:0", "--key-file", keys.to_str().unwrap()];
    let (code, text) = fails(serve(&flags)).await.unwrap();
    assert!(code == 2 && text.contains("cannot read the keys in"), "{code}: {text}");
    fs::write(&keys, "# nobody\n").unwrap();
    assert_eq!(fails(serve(&flags)).await.unwrap().0, 2);

    fs::write(&keys, "# two\nalpha-key\n\nbeta-key\n").unwrap();
    let sidecar = serve(&flags).unwrap().listen().await.unwrap();
    for key in ["alpha-key", "beta-key"] {
        let bearer = ClientOptions::new("2025-11-25").header("authorization", &format!("Bearer {key}"));
        let client = HttpClient::connect_with(&sidecar.url("/mcp"), bearer).await.unwrap();
        client.tool_text("pid", json!({})).await.unwrap();
        let header = ClientOptions::new("2024-11-05").header("x-api-key", key);
        SseClient::connect_with(&sidecar.url("/sse"), header).await.unwrap();
    }
    let wrong =
        [("authorization", "Bearer gamma"), ("authorization", "Basic alpha-key"), ("x-api-key", ""), ("x", "y")];
    for header in wrong {
        for (method, path) in [
            ("GET", "/sse"),
            ("POST", "/message"),
            ("POST", "/mcp"),
            ("DELETE", "/mcp"),
            ("GET", "/status"),
            ("GET", "/logs"),
        ] {
            let answer = http(method, &sidecar.url(path), &[header], "").await.unwrap();
            assert_eq!(answer.status, 401, "{method} {path} with {header:?}");
        }
    }
    assert_eq!(http("GET", &sidecar.url("/healthz"), &[], "").await.unwrap().status, 200);
    assert!(!sidecar.logs().contains("-key"));
}

#[tokio::test]
async fn what_cannot_be_served_is_said_with_what_to_do_and_the_exit_code() {
    let taken = Sidecar::fixture(&[], &[]).await.unwrap();
    let address = taken.origin().trim_start_matches("http://");
    let (code, text) = fails(serve(&["--listen", address])).await.unwrap();
    assert!(code == 1 && text.contains("is in use by another program; choose another with --listen"), "{text}");
    let (code, text) = fails(serve(&["--listen", "127.0.0.1:0", "--admin", address])).await.unwrap();
    assert!(code == 1 && text.contains("choose another with --admin"), "{text}");
    for flags in [&["--listen", "nowhere"][..], &["--mode", "odd"], &["--idle-timeout", "soon"], &["--no-such-flag"]] {
        assert_eq!(fails(serve(flags)).await.unwrap().0, 2, "{flags:?}");
    }
    let nothing = Launch::new(Bin::Sidecar).map(|launch| launch.arg("serve"));
    assert_eq!(fails(nothing).await.unwrap().0, 2);
}

#[tokio::test]
async fn on_a_unix_socket_a_session_belongs_to_the_principal_that_opened_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let sidecar = serve(&["--listen", &format!("unix:{}", socket.display())]).unwrap().spawn().unwrap();
    sidecar.wait_output("listening on unix:").await.unwrap();
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let url = |path: &str| format!("unix:{}:{path}", socket.display());
    let post = async |principal: &str, session: Option<&str>, body: Value| {
        let mut headers = vec![("content-type", "application/json"), ("mcp-gateway-principal", principal)];
        headers.extend(session.map(|session| ("mcp-session-id", session)));
        http("POST", &url("/mcp"), &headers, body.to_string()).await.unwrap()
    };
    let info = json!({"name": "raw", "version": "0"});
    let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info});
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
    let opened = post("alice", None, hello).await.expect(200).unwrap();
    let session = opened.header("mcp-session-id").unwrap();
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    assert_eq!(post("alice", Some(session), list.clone()).await.status, 200);
    assert_eq!(post("mallory", Some(session), list).await.status, 404);
}

#[tokio::test]
async fn a_supervised_sidecar_ends_with_its_supervisor() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    mknodat(CWD, &input, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let mut supervisor = fs::File::options().read(true).write(true).open(&input).unwrap();
    let source = json!({"command": {"command": Bin::Fixture.text().unwrap(), "args": ["--fault", "ignore-eof"]}});
    writeln!(supervisor, "{}", json!({"name": "s", "source": source})).unwrap();
    let script = r#"exec "$0" serve --listen 127.0.0.1:0 --supervised < "$1""#;
    let args = ["-c", script, &Bin::Sidecar.text().unwrap(), input.to_str().unwrap()];
    let mut sidecar = Launch::program("/bin/sh").args(args).listen().await.unwrap();
    let client = HttpClient::connect(&sidecar.url("/mcp"), "2025-11-25").await.unwrap();
    let census = sidecar.census();
    drop(supervisor);
    let _cut = client.tool_text("silent", json!({})).await;
    let limit = Duration::from_secs(5);
    sidecar.wait(limit).await.context("the sidecar goes on").unwrap();
    let gone = async || census.alive().iter().all(|process| process.state == 'Z').then_some(());
    eventually(limit, "its processes to end", gone).await.unwrap();
}
