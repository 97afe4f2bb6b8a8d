//! Where settings come from, and that each has its effect.

use anyhow::Result;
use e2e::PATIENCE;
use e2e::client::{Client, HttpClient};
use e2e::harness::{Bin, Gateway, Launch, fixture};
use e2e::http::http;
use serde_json::json;

/// Every variable that `mcp-gateway serve --help` tells of, with a value for it; but for those that say where files are.
const VARIABLES: [(&str, &str); 23] = [
    ("MCP_ADMIN", "127.0.0.1:0"),
    ("MCP_ALLOW_ANONYMOUS", "1"),
    ("MCP_ALLOWED_ORIGIN", "https://app.example"),
    ("MCP_API_KEYS_SECRET", "clients"),
    ("MCP_CORS", "yes"),
    ("MCP_DEPLOY_NAMESPACE", "team"),
    ("MCP_DRAIN_TIMEOUT", "1m30s"),
    ("MCP_KEYS_SECRET", "own"),
    ("MCP_KUBERNETES", "no"),
    ("MCP_LISTEN", "127.0.0.1:0"),
    ("MCP_LOG", "debug"),
    ("MCP_LOG_FORMAT", "json"),
    ("MCP_MAX_BODY_BYTES", "1000000"),
    ("MCP_MAX_STREAMS_PER_PRINCIPAL", "50"),
    ("MCP_NAMESPACES", "team,other"),
    ("MCP_NO_PREFIX", "true"),
    ("MCP_PUBLIC_HOST", "gate.example"),
    ("MCP_PUBLIC_URL", "https://gate.example"),
    ("MCP_QUERY_KEYS", "true"),
    ("MCP_REQUEST_TIMEOUT", "1h30m"),
    ("MCP_SERVICE", "gate"),
    ("MCP_SHORT_NAME_NAMESPACES", "team"),
    ("MCP_TOKEN_AUDIENCE", "gate"),
];
const FILES: [&str; 3] = ["MCP_CONFIG", "MCP_SIDECAR", "MCP_STATE_DIR"];

/// What the gateway prints, called so.
fn printed(args: &[&str]) -> Result<String> {
    let output = std::process::Command::new(Bin::Gateway.path()?).args(args).output()?;
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test]
async fn every_variable_in_the_environment_is_the_gateways_and_no_servers() {
    let help = printed(&["--help"]).unwrap() + &printed(&["serve", "--help"]).unwrap();
    let told: Vec<_> =
        help.split("[env:").skip(1).filter_map(|rest| rest.split(['=', ']']).next().map(str::trim)).collect();
    let known: Vec<_> = VARIABLES.iter().map(|(name, _)| *name).chain(FILES).collect();
    for name in &told {
        assert!(known.contains(name), "{name} is in no list of this test");
    }
    for name in &known {
        assert!(told.contains(name), "{name} is not in the help");
    }

    // Nothing of it may keep a sidecar, which inherits the environment, from starting.
    let all = |launch| VARIABLES.iter().fold(launch, |launch: Launch, (name, value)| launch.env(name, value));
    let strays = |launch: Launch| all(launch).env("MCP_LAUNCHER", "unix:/nowhere").env("MCP_MODE", "nonsense");
    let gateway = Gateway::start_with(&json!({"mcpServers": {"a": fixture(&[])}}).to_string(), strays).await.unwrap();
    gateway.wait_status("a", "ready").await.unwrap();
    let headers = [("host", "gate.example"), ("origin", "https://app.example")];
    let answer = http("GET", &gateway.url("/servers"), &headers, "").await.unwrap().expect(200).unwrap();
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
}

#[tokio::test]
async fn flags_go_before_the_environment_which_goes_before_the_file() {
    let admitted = async |launched: fn(Launch) -> Launch| {
        let gateway = Gateway::start_with(r#"{"publicHosts": ["file.example"]}"#, launched).await.unwrap();
        let mut admitted = Vec::new();
        for host in ["file.example", "environment.example", "flag.example"] {
            if http("GET", &gateway.url("/servers"), &[("host", host)], "").await.unwrap().status == 200 {
                admitted.push(host);
            }
        }
        admitted
    };
    assert_eq!(admitted(|launch| launch).await, ["file.example"]);
    let environment = |launch: Launch| launch.env("MCP_PUBLIC_HOST", "environment.example");
    assert_eq!(admitted(environment).await, ["environment.example"]);
    let both =
        |launch: Launch| launch.env("MCP_PUBLIC_HOST", "environment.example").args(["--public-host", "flag.example"]);
    assert_eq!(admitted(both).await, ["flag.example"]);
}

#[tokio::test]
async fn the_gateways_limits_hold_for_servers_that_set_none() {
    let config = json!({"requestTimeout": "700ms", "maxBodyBytes": 20_000, "mcpServers": {"a": fixture(&[])}});
    let gateway = Gateway::start(&config).await.unwrap();
    gateway.wait_status("a", "ready").await.unwrap();
    for path in ["/a/mcp", "/mcp"] {
        let tool = |name: &str| if path == "/mcp" { format!("a-{name}") } else { name.to_owned() };
        let client = HttpClient::connect(&gateway.url(path), "2025-11-25").await.unwrap();
        let late = client.tool(&tool("sleep"), json!({"ms": 60_000})).await.unwrap_err();
        assert!(format!("{late:#}").contains("did not answer tools/call within 0.7 s"), "{path}: {late:#}");
        let large = client.tool(&tool("echo"), json!({"text": "x".repeat(30_000)})).await.unwrap_err();
        assert!(format!("{large:#}").contains("20000"), "{path}: {large:#}");
    }
}

#[tokio::test]
async fn clients_beyond_the_soft_limit_of_open_files_are_served_and_servers_keep_that_limit() {
    let limited = ["-c", r#"ulimit -Sn 100; exec "$0" "$@""#];
    let look = r#"ulimit -Sn >&2; exec "$0""#;
    let server = json!({"command": "/bin/sh", "args": ["-c", look, Bin::Fixture.text().unwrap()]});
    let config = json!({"mcpServers": {"a": server}}).to_string();
    let gateway = Gateway::start_with(&config, |launch| launch.through("/bin/sh", limited)).await.unwrap();
    gateway.wait_status("a", "ready").await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..150 {
        streams.push(e2e::http::open("GET", &gateway.url("/sse"), &[], "").await.unwrap());
    }
    http("GET", &gateway.url("/healthz"), &[], "").await.unwrap().expect(200).unwrap();
    let log = http("GET", &gateway.url("/servers/a/logs"), &[], "").await.unwrap().text();
    assert!(log.lines().all(|line| line == "100"), "{log}");
}

#[tokio::test]
async fn help_and_version_are_told_and_a_bad_flag_is_a_usage_error() {
    let help = printed(&["serve", "--help"]).unwrap();
    for flag in ["--listen", "--admin", "--config", "--state-dir", "--allow-anonymous", "--request-timeout"] {
        assert!(help.contains(flag), "{flag} is not in the help");
    }
    assert!(printed(&["--version"]).unwrap().starts_with("mcp-gateway "));
    let usage = Launch::new(Bin::Gateway).unwrap().args(["serve", "--request-timeout", "soon"]);
    let mut program = usage.spawn().unwrap();
    assert_eq!(program.wait(PATIENCE).await.unwrap().code(), Some(2));
    program.wait_log("must be a length of time").await.unwrap();
}

#[tokio::test]
async fn the_admin_port_is_no_business_of_pages_and_one_that_is_taken_is_told() {
    let gateway = Gateway::start(&json!({})).await.unwrap();
    let admin = gateway.admin().await.unwrap();
    let metrics = format!("{admin}/metrics");
    http("GET", &metrics, &[], "").await.unwrap().expect(200).unwrap();
    http("GET", &metrics, &[("host", "evil.example")], "").await.unwrap().expect(403).unwrap();
    http("GET", &metrics, &[("origin", "http://evil.example")], "").await.unwrap().expect(403).unwrap();
    let taken = admin.trim_start_matches("http://").to_owned();
    let folder = tempfile::tempdir().unwrap();
    let launch = Launch::new(Bin::Gateway).unwrap().args(["serve", "--listen", "127.0.0.1:0", "--admin", &taken]);
    let mut second = launch.arg("--state-dir").arg(folder.path()).spawn().unwrap();
    assert_eq!(second.wait(PATIENCE).await.unwrap().code(), Some(1));
    second.wait_log("--admin").await.unwrap();
}
