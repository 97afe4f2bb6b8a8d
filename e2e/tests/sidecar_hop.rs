//! `mcp-sidecar serve --hop-keys`: in a cluster, callers are known by tokens.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Result;
use e2e::client::{Client, ClientOptions, HttpClient, SseClient};
use e2e::fixture::remote::Remote;
use e2e::harness::{Bin, Launch, Program};
use e2e::hop::{HopKey, PRINCIPAL, TOKEN, publish};
use e2e::http::{Response, http};
use e2e::{PATIENCE, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

const UID: &str = "0b1e";

/// A sidecar that knows a gateway and an operator.
struct Pod {
    sidecar: Program,
    folder: TempDir,
    gateway: HopKey,
    operator: HopKey,
}

impl Pod {
    async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let gateway = HopKey::new("g1", "mcp-gateway")?;
        let operator = HopKey::new("o1", "mcp-operator")?;
        publish(folder.path(), &[&gateway, &operator])?;
        let launch = Launch::new(Bin::Sidecar)?.args(["serve", "--listen", "0.0.0.0:0", "--admin", "127.0.0.1:0"]);
        let launch = launch.args(["--hop-audience", UID, "--hop-keys"]).arg(folder.path());
        let sidecar = launch.arg("--").arg(Bin::Fixture.path()?).listen().await?;
        let admin = sidecar.admin().await?;
        sidecar.wait_ready(&format!("{admin}/readyz")).await?;
        Ok(Self { sidecar, folder, gateway, operator })
    }

    async fn ask(&self, method: &str, path: &str, token: Option<&str>) -> Result<Response> {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(token.map(|token| (TOKEN, token)));
        http(method, &self.sidecar.url(path), &headers, "").await
    }

    async fn status(&self) -> Result<Value> {
        self.ask("GET", "/status", Some(&self.operator.token(UID))).await?.expect(200)?.json()
    }

    fn options(&self, principal: &str) -> ClientOptions {
        let token = self.gateway.token(UID);
        ClientOptions::new("2025-11-25").header(TOKEN, &token).header(PRINCIPAL, principal)
    }
}

#[tokio::test]
async fn nobody_is_let_in_without_a_token_for_this_server() {
    let pod = Pod::start().await.unwrap();
    let foreign = [pod.gateway.token("another"), pod.operator.token("another")];
    let stranger = HopKey::new("g1", "mcp-gateway").unwrap().token(UID);
    let old = pod.gateway.sign(&json!({"iss": "mcp-gateway", "aud": UID, "iat": 1000, "exp": 1060}));
    let mut texts = Vec::new();
    for token in [None, Some(""), Some("x.y.z"), Some(&stranger), Some(&old), Some(&foreign[0]), Some(&foreign[1])] {
        for (method, path) in [
            ("GET", "/status"),
            ("GET", "/logs"),
            ("GET", "/sse"),
            ("POST", "/mcp"),
            ("POST", "/message?sessionId=x"),
            ("GET", "/healthz"),
        ] {
            let answer = pod.ask(method, path, token).await.unwrap();
            assert_eq!(answer.status, 401, "{method} {path} {token:?}");
            texts.push(answer.json().unwrap()["error"]["message"].as_str().unwrap().to_owned());
        }
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "nothing is said about what is wrong: {texts:?}");
}

#[tokio::test]
async fn the_operator_sees_status_and_log_and_can_do_nothing_else() {
    let pod = Pod::start().await.unwrap();
    let token = pod.operator.token(UID);
    assert_eq!(pod.status().await.unwrap()["hopKeys"], json!(["g1", "o1"]));
    for (method, path, expected) in [
        ("GET", "/logs", 200),
        ("GET", "/status", 200),
        ("POST", "/status", 403),
        ("POST", "/mcp", 403),
        ("GET", "/mcp", 403),
        ("GET", "/sse", 403),
    ] {
        assert_eq!(pod.ask(method, path, Some(&token)).await.unwrap().status, expected, "{method} {path}");
    }
    let pretended = pod.operator.sign(&json!({"iss": "mcp-gateway", "aud": UID, "iat": 0, "exp": 60}));
    assert_eq!(pod.ask("POST", "/mcp", Some(&pretended)).await.unwrap().status, 401);
}

#[tokio::test]
async fn sessions_belong_to_the_principal_that_the_gateway_names() {
    let pod = Pod::start().await.unwrap();
    let alice = HttpClient::connect_with(&pod.sidecar.url("/mcp"), pod.options("alice")).await.unwrap();
    assert_eq!(alice.tool_text("echo", json!({"text": "a"})).await.unwrap(), "a");
    let session = alice.session().unwrap();
    let ping = json!({"jsonrpc": "2.0", "id": 9, "method": "ping"}).to_string();
    let token = pod.gateway.token(UID);
    for (principal, expected) in [(Some("bob"), 404), (None, 404), (Some("alice"), 200)] {
        let mut headers = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-session-id", session.as_str()),
            (TOKEN, token.as_str()),
        ];
        headers.extend(principal.map(|principal| (PRINCIPAL, principal)));
        let answer = http("POST", &pod.sidecar.url("/mcp"), &headers, ping.clone()).await.unwrap();
        assert_eq!(answer.status, expected, "{principal:?}");
    }
    let events = SseClient::connect_with(&pod.sidecar.url("/sse"), pod.options("alice")).await.unwrap();
    assert_eq!(events.tool_text("echo", json!({"text": "b"})).await.unwrap(), "b");
    let headers = [("content-type", "application/json"), (TOKEN, token.as_str()), (PRINCIPAL, "bob")];
    let answer = http("POST", events.endpoint(), &headers, ping).await.unwrap();
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn a_new_key_is_known_soon_after_it_is_published_and_an_old_one_is_not_any_more() {
    let pod = Pod::start().await.unwrap();
    let next = HopKey::new("g2", "mcp-gateway").unwrap();
    let status = async |token: &str| pod.ask("GET", "/status", Some(token)).await.unwrap();
    assert_eq!(status(&next.token(UID)).await.status, 401);
    publish(pod.folder.path(), &[&pod.gateway, &next, &pod.operator]).unwrap();
    let known = async || (pod.status().await.ok()?["hopKeys"] == json!(["g1", "g2", "o1"])).then_some(());
    eventually(PATIENCE, "the new key", known).await.unwrap();
    assert_eq!(status(&next.token(UID)).await.status, 200);
    assert_eq!(status(&pod.gateway.token(UID)).await.status, 200);
    publish(pod.folder.path(), &[&next, &pod.operator]).unwrap();
    let gone = async || (status(&pod.gateway.token(UID)).await.status == 401).then_some(());
    eventually(PATIENCE, "the end of the old key", gone).await.unwrap();
    assert_eq!(status(&next.token(UID)).await.status, 200);
}

#[tokio::test]
async fn keys_and_audience_are_given_together_and_without_any_only_this_machine_is_listened_to() {
    for (flags, says) in [
        (&["--hop-keys", "/"][..], "--hop-audience"),
        (&["--hop-audience", "x"], "--hop-keys"),
        (&["--hop-keys", "/", "--hop-audience", "x", "--key-file", "/f"], "cannot be used with"),
        (&["--name", "x"], "give --key-file"),
    ] {
        let launch = Launch::new(Bin::Sidecar).unwrap().args(["serve", "--listen", ":0"]).args(flags.iter().copied());
        let mut program = launch.args(["--", "true"]).spawn().unwrap();
        assert_eq!(program.wait(PATIENCE).await.unwrap().code(), Some(2), "{flags:?}");
        program.wait_log(says).await.unwrap();
    }
}

#[tokio::test]
async fn a_copy_of_the_program_runs_where_it_was_put() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("mcp-sidecar");
    let make = async |to: &Path| {
        let mut program = Launch::new(Bin::Sidecar)?.arg("copy").arg(to).spawn()?;
        anyhow::Ok(program.wait(PATIENCE).await?.code())
    };
    // A second time as well: an init container may run again.
    for _ in 0..2 {
        assert_eq!(make(&copy).await.unwrap(), Some(0));
        assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o555);
    }
    let mut version = Launch::program(&copy).arg("--version").spawn().unwrap();
    assert_eq!(version.wait(PATIENCE).await.unwrap().code(), Some(0));
    assert_eq!(make(&folder.path().join("missing/file")).await.unwrap(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_for_a_server_elsewhere_is_taken_from_the_environment() {
    let remote = Remote::from_flags(&[]).await.unwrap();
    let launch = |url: &str| {
        let launch = Launch::new(Bin::Sidecar)?.args(["serve", "--listen", "127.0.0.1:0", "--url", url]);
        anyhow::Ok(launch.args(["--header-env", "Authorization=MCP_HEADER_0"]))
    };
    let sidecar = launch(&remote.url("/mcp")).unwrap().env("MCP_HEADER_0", "Bearer sk-very-secret\n");
    let sidecar = sidecar.listen().await.unwrap();
    sidecar.wait_ready(&sidecar.url("/readyz")).await.unwrap();
    let seen = remote.seen();
    assert!(!seen.is_empty() && seen.iter().all(|seen| seen.headers["authorization"] == "Bearer sk-very-secret"));
    let arguments = std::fs::read_to_string(format!("/proc/{}/cmdline", sidecar.pid())).unwrap();
    assert!(!arguments.contains("sk-very-secret"));
    let mut without = launch(&remote.url("/mcp")).unwrap().spawn().unwrap();
    assert_eq!(without.wait(PATIENCE).await.unwrap().code(), Some(2));
    without.wait_log("the variable MCP_HEADER_0 is not set").await.unwrap();
}
