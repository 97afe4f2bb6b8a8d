//! What was deployed is kept: over restarts, kills, and whatever happens to the state directory.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use e2e::PATIENCE;
use e2e::client::{Client, HttpClient};
use e2e::harness::{Bin, Gateway, Launch, fixture};
use e2e::http::http;
use serde_json::{Value, json};

/// A server that is known and does not run.
fn suspended(name: &str) -> Value {
    let mut entry = fixture(&["--name", name]);
    entry["suspend"] = json!(true);
    entry
}

/// The servers there are, and the last argument of each.
async fn servers(gateway: &Gateway) -> Result<BTreeMap<String, String>> {
    let list = http("GET", &gateway.url("/servers"), &[], "").await?.expect(200)?.json()?;
    let entry = |server: &Value| {
        let last = server["args"].as_array().and_then(|args| args.last()?.as_str());
        (server["name"].as_str().unwrap_or_default().to_owned(), last.unwrap_or_default().to_owned())
    };
    Ok(list.as_array().into_iter().flatten().map(entry).collect())
}

fn files(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).expect("the directory is there").flatten().map(|entry| entry.path()).collect()
}

#[tokio::test]
async fn all_routes_are_back_before_the_gateway_says_that_it_is_ready() {
    let mut gateway = Gateway::start(&json!({})).await.unwrap();
    let entries = json!({
        "good": fixture(&["--name", "kept"]),
        "hanging": fixture(&["--fault", "never-init"]),
        "broken": fixture(&["--fault", "exit-at-start=1"]),
        "asleep": suspended("x"),
    });
    let body = json!({"mcpServers": entries}).to_string();
    let answer = http("POST", &gateway.url("/deploy"), &[("content-type", "application/json")], body).await.unwrap();
    answer.expect(200).unwrap();
    let before = gateway.server("good").await.unwrap();
    for kill in [false, true] {
        if kill {
            gateway.kill().await.unwrap();
        } else {
            assert_eq!(gateway.stop(PATIENCE).await.unwrap(), 0);
        }
        gateway.restart().await.unwrap();
        gateway.ready().await.unwrap();
        let names: Vec<_> = servers(&gateway).await.unwrap().into_keys().collect();
        assert_eq!(names, ["asleep", "broken", "good", "hanging"]);
        let client = HttpClient::connect(&gateway.url("/good/mcp"), "2025-11-25").await.unwrap();
        assert_eq!(client.server()["serverInfo"]["name"], "kept");
        let after = gateway.server("good").await.unwrap();
        assert_eq!((&after["createdAt"], &after["args"]), (&before["createdAt"], &before["args"]));
    }
}

/// What servers are known to be: there, with this version, or not.
type Known = BTreeMap<String, Option<String>>;

/// Deploys, changes and deletes servers until the gateway is gone; gives what was acknowledged, and the name about which
/// nothing was said.
async fn churn(origin: String, round: u64, worker: usize) -> (Known, String) {
    let (mut acknowledged, mut step) = (Known::new(), 0);
    loop {
        let (name, version) = (format!("s{worker}-{}", step % 7), format!("{round}.{step}"));
        let state = if step % 3 == 2 { None } else { Some(version) };
        let sent = match &state {
            None => http("DELETE", &format!("{origin}/servers/{name}"), &[], "").await,
            Some(version) => {
                let body = json!({"mcpServers": {&name: suspended(version)}}).to_string();
                http("POST", &format!("{origin}/deploy"), &[("content-type", "application/json")], body).await
            }
        };
        let Ok(answer) = sent else { return (acknowledged, name) };
        assert!(matches!((answer.status, &state), (200, _) | (404, None)), "{}: {}", answer.status, answer.text());
        acknowledged.insert(name, state);
        step += 1;
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_at_any_moment_and_nothing_is_half_there() {
    let mut gateway = Gateway::start(&json!({})).await.unwrap();
    let mut expected = Known::new();
    for round in 0..12 {
        let origin = gateway.origin().to_owned();
        let kill = async {
            tokio::time::sleep(Duration::from_millis(40 + 17 * round)).await;
            gateway.kill().await.unwrap();
        };
        let (one, two, ()) = tokio::join!(churn(origin.clone(), round, 0), churn(origin, round, 1), kill);
        gateway.restart().await.unwrap();
        let now = servers(&gateway).await.unwrap();
        for (acknowledged, open) in [one, two] {
            expected.extend(acknowledged);
            expected.insert(open.clone(), now.get(&open).cloned());
        }
        let kept = expected.iter().filter_map(|(name, state)| Some((name.clone(), state.clone()?))).collect();
        assert_eq!(now, kept, "round {round}");
        assert!(!gateway.logs().contains("damaged"));
        let stray = files(&gateway.state_dir().join("servers"));
        assert_eq!(stray.len(), now.len(), "{stray:?}");
    }
    assert_eq!(expected.len(), 14, "the rounds are too short to have deployed them all");
}

#[tokio::test]
async fn a_second_gateway_on_the_same_state_is_told_who_has_it() {
    let gateway = Gateway::start(&json!({})).await.unwrap();
    let launch = Launch::new(Bin::Gateway).unwrap().args(["serve", "--listen", "127.0.0.1:0", "--state-dir"]);
    let mut second = launch.arg(gateway.state_dir()).spawn().unwrap();
    assert_eq!(second.wait(PATIENCE).await.unwrap().code(), Some(1));
    let line = second.wait_log("is in use by another gateway").await.unwrap();
    assert!(line.contains(&format!("(process {})", gateway.pid())) && line.contains("--state-dir"), "{line}");
    gateway.deploy(&json!({"a": fixture(&[])})).await.unwrap().expect(200).unwrap();
}

#[tokio::test]
async fn files_that_are_damaged_or_left_by_a_crash_keep_nobody_else_from_coming_back() {
    let mut gateway = Gateway::start(&json!({})).await.unwrap();
    gateway.deploy(&json!({"a": suspended("a")})).await.unwrap().expect(200).unwrap();
    let directory = gateway.state_dir().join("servers");
    let [file] = files(&directory).try_into().unwrap();
    gateway.deploy(&json!({"b": fixture(&[])})).await.unwrap().expect(200).unwrap();
    gateway.kill().await.unwrap();
    let whole = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    std::fs::write(directory.join(".b.json.0.tmp"), "{").unwrap();
    std::fs::write(directory.join("notes.txt"), "?").unwrap();
    gateway.restart().await.unwrap();
    gateway.wait_log("a stored server is damaged and left alone").await.unwrap();
    assert_eq!(servers(&gateway).await.unwrap().into_keys().collect::<Vec<_>>(), ["b"]);
    gateway.wait_status("b", "ready").await.unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap().len(), whole.len() / 2);
    assert!(!directory.join(".b.json.0.tmp").exists());
    gateway.deploy(&json!({"a": suspended("again")})).await.unwrap().expect(200).unwrap();
    gateway.stop(PATIENCE).await.unwrap();
    gateway.restart().await.unwrap();
    assert_eq!(servers(&gateway).await.unwrap()["a"], "again");
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_one_is_refused_with_what_to_do() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let launch = Launch::new(Bin::Gateway).unwrap().args(["serve", "--listen", "127.0.0.1:0", "--state-dir"]);
    let mut program = launch.arg(file.path()).spawn().unwrap();
    assert_eq!(program.wait(PATIENCE).await.unwrap().code(), Some(1));
    program.wait_log("choose a directory with --state-dir").await.unwrap();
}

/// Gives a gateway a file system of its own as state directory, where the system lets this user mount one.
fn mounted(options: &str) -> Option<impl FnOnce(Launch) -> Launch> {
    let private = ["--user", "--map-root-user", "--mount", "--"];
    let allowed = Command::new("unshare").args(private).args(["mount", "-t", "tmpfs", "tmpfs", "/tmp"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "CI must allow to mount a file system (unshare --user --mount)");
        // Nothing is left to do when stderr is closed.
        let _ = writeln!(std::io::stderr(), "skipped: this user may mount no file system (unshare --user --mount)");
        return None;
    }
    let find = r#"for arg; do [ "$last" != --state-dir ] || state=$arg; last=$arg; done"#;
    let script = format!(r#"{find}; mkdir -p "$state"; mount -t tmpfs -o {options} tmpfs "$state"; exec "$@""#);
    let shell = ["/bin/sh", "-ec", &script, "sh"].map(String::from);
    Some(move |launch: Launch| launch.through("unshare", private.map(String::from).into_iter().chain(shell)))
}

#[tokio::test]
async fn a_full_disk_refuses_what_does_not_fit_and_nothing_else() {
    let Some(mounted) = mounted("size=128k") else { return };
    let gateway = Gateway::start_with("{}", mounted).await.unwrap();
    gateway.deploy(&json!({"a": fixture(&[])})).await.unwrap().expect(200).unwrap();
    let mut large = suspended("large");
    large["env"] = json!({"LARGE": "x".repeat(200_000)});
    for _ in 0..2 {
        let answer = gateway.deploy(&json!({"large": large, "bad": {}})).await.unwrap().expect(400).unwrap();
        assert!(answer.text().contains("free some space in the state directory and try again"), "{}", answer.text());
        let answer = gateway.deploy(&json!({"a": large, "small": suspended("small")})).await.unwrap();
        let answer = answer.expect(507).unwrap().json().unwrap();
        assert_eq!(answer["results"]["a"]["status"], "failed");
        assert!(matches!(answer["results"]["small"]["status"].as_str(), Some("deployed" | "existed")), "{answer}");
    }
    assert_eq!(servers(&gateway).await.unwrap().into_keys().collect::<Vec<_>>(), ["a", "small"]);
    let client = HttpClient::connect(&gateway.url("/a/mcp"), "2025-11-25").await.unwrap();
    client.tool_text("pid", json!({})).await.unwrap();
    http("DELETE", &gateway.url("/servers/small"), &[], "").await.unwrap().expect(200).unwrap();
}

#[tokio::test]
async fn a_gateway_starts_again_on_a_disk_that_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let gateway = r#""$0" serve --listen 127.0.0.1:0 --state-dir "$1""#;
    let stop = r#"while ! [ -S "$1"/run/* ]; do sleep 0.05; done; kill $!; wait $!"#;
    let fill = r#"cat /dev/zero > "$1/fill" 2>/dev/null || true"#;
    let script = format!(
        r#"mount -t tmpfs -o size=128k tmpfs "$1"; mkdir "$1/servers"; {gateway} --config "$2" > /dev/null & {stop};
        {fill}; exec {gateway} --config "$2""#
    );
    let config = folder.path().with_extension("json");
    std::fs::write(&config, json!({"mcpServers": {"a": fixture(&[])}}).to_string()).unwrap();
    let program = Bin::Gateway.text().unwrap();
    let private = ["--user", "--map-root-user", "--mount", "--", "/bin/sh", "-ec", &script, &program, state];
    let launch = Launch::program("unshare").args(private).arg(&config);
    let gateway = launch.listen().await.unwrap();
    let list = http("GET", &gateway.url("/servers"), &[], "").await.unwrap().expect(200).unwrap();
    assert_eq!(list.json().unwrap()[0]["name"], "a");
    std::fs::remove_file(config).unwrap();
}

#[tokio::test]
async fn a_state_directory_that_is_read_only_is_refused_with_what_to_do() {
    let Some(mounted) = mounted("ro") else { return };
    let error = Gateway::start_with("{}", mounted).await.unwrap_err();
    assert!(format!("{error:#}").contains("mount the state directory writable, or choose another"), "{error:#}");
}
