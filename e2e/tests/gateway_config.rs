//! Servers of the configuration file: read again as it changes, and nobody else's to change.

use anyhow::Result;
use e2e::client::{Client, HttpClient};
use e2e::harness::{Bin, Gateway, Launch, fixture};
use e2e::http::http;
use e2e::{PATIENCE, eventually};
use serde_json::json;

/// Waits until these servers, and no others, are there.
async fn wait_names(gateway: &Gateway, names: &[&str]) -> Result<()> {
    let look = async || {
        let list = http("GET", &gateway.url("/servers"), &[], "").await.ok()?.json().ok()?;
        let found: Vec<_> = list.as_array()?.iter().map(|server| server["name"].as_str().unwrap_or_default()).collect();
        (found == names).then_some(())
    };
    eventually(PATIENCE, format!("the servers to be {names:?}"), look).await
}

async fn name_of(gateway: &Gateway, server: &str) -> Result<String> {
    let client = HttpClient::connect(&gateway.url(&format!("/{server}/mcp")), "2025-11-25").await?;
    Ok(client.server()["serverInfo"]["name"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_server_of_the_file_is_not_changed_or_deleted_by_the_api() {
    let gateway = Gateway::start(&json!({"mcpServers": {"a": fixture(&[])}})).await.unwrap();
    gateway.wait_status("a", "ready").await.unwrap();
    assert_eq!(gateway.server("a").await.unwrap()["origin"], "file");
    let same = gateway.deploy(&json!({"a": fixture(&[])})).await.unwrap().expect(200).unwrap().json().unwrap();
    assert_eq!(same["results"]["a"]["status"], "existed");
    let answer = gateway.deploy(&json!({"a": fixture(&["--name", "x"]), "b": fixture(&[])})).await.unwrap();
    let answer = answer.expect(409).unwrap().json().unwrap();
    assert_eq!((&answer["success"], &answer["results"]["b"]["status"]), (&json!(false), &json!("deployed")));
    assert_eq!(answer["results"]["a"]["error"], "server `a` is defined in the configuration file; change it there");
    for path in ["/servers/a", "/delete?name=a"] {
        let answer = http("DELETE", &gateway.url(path), &[], "").await.unwrap().expect(409).unwrap().json().unwrap();
        assert!(answer["error"].as_str().unwrap().contains("change it there"), "{answer}");
    }
    assert_eq!(name_of(&gateway, "a").await.unwrap(), "fixture");
}

#[tokio::test]
async fn added_changed_and_removed_servers_follow_the_file_and_the_others_go_on() {
    let first = json!({"kept": fixture(&[]), "changed": fixture(&["--name", "old"]), "removed": fixture(&[])});
    let gateway = Gateway::start(&json!({"mcpServers": first})).await.unwrap();
    gateway.wait_status("kept", "ready").await.unwrap();
    gateway.wait_status("changed", "ready").await.unwrap();
    let client = HttpClient::connect(&gateway.url("/kept/mcp"), "2025-11-25").await.unwrap();
    let pid = client.tool_text("pid", json!({})).await.unwrap();
    let second = json!({"kept": fixture(&[]), "changed": fixture(&["--name", "new"]), "added": fixture(&[])});
    gateway.configure(&json!({"mcpServers": second}).to_string()).unwrap();
    wait_names(&gateway, &["added", "changed", "kept"]).await.unwrap();
    gateway.wait_status("added", "ready").await.unwrap();
    let renamed = async || name_of(&gateway, "changed").await.ok().filter(|name| name == "new");
    eventually(PATIENCE, "the changed server to be replaced", renamed).await.unwrap();
    http("GET", &gateway.url("/removed/sse"), &[], "").await.unwrap().expect(404).unwrap();
    assert_eq!(client.tool_text("pid", json!({})).await.unwrap(), pid, "the server that was kept was restarted");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_changes_nothing_and_is_told_with_its_mistakes() {
    let gateway = Gateway::start(&json!({"mcpServers": {"a": fixture(&[])}})).await.unwrap();
    gateway.wait_status("a", "ready").await.unwrap();
    gateway.configure(r#"{"mcpServers": {"a": {"comand": "x"}"#).unwrap();
    let line = gateway.wait_log("the configuration is not taken").await.unwrap();
    assert!(line.contains("config.json:1:"), "{line}");
    gateway.configure("{\n  \"mcpServers\": {\"a\": {\"comand\": \"x\"}},\n  \"cros\": true\n}").unwrap();
    gateway.wait_log("config.json:3:3: unknown field `cros`").await.unwrap();
    assert_eq!(name_of(&gateway, "a").await.unwrap(), "fixture");
    gateway.configure(&json!({"cors": true, "mcpServers": {"b": fixture(&[])}}).to_string()).unwrap();
    wait_names(&gateway, &["b"]).await.unwrap();
    gateway.wait_log("settings other than servers take effect when the gateway is started again").await.unwrap();
    std::fs::remove_file(gateway.config_file()).unwrap();
    gateway.deploy(&json!({"c": fixture(&[])})).await.unwrap().expect(200).unwrap();
    wait_names(&gateway, &["b", "c"]).await.unwrap();
}

#[tokio::test]
async fn a_deployed_server_comes_back_when_the_file_lets_go_of_its_name() {
    let mut gateway = Gateway::start(&json!({})).await.unwrap();
    gateway.deploy(&json!({"a": fixture(&["--name", "deployed"])})).await.unwrap().expect(200).unwrap();
    let file = json!({"mcpServers": {"a": fixture(&["--name", "file"])}}).to_string();
    let is = async |gateway: &Gateway, name: &str| {
        let look = async || name_of(gateway, "a").await.ok().filter(|found| found == name);
        eventually(PATIENCE, format!("the server to be that of {name}"), look).await.unwrap();
    };
    for _ in 0..2 {
        gateway.configure(&file).unwrap();
        is(&gateway, "file").await;
        gateway.stop(PATIENCE).await.unwrap();
        gateway.restart().await.unwrap();
        is(&gateway, "file").await;
        gateway.configure("{}").unwrap();
        is(&gateway, "deployed").await;
    }
}

#[tokio::test]
async fn a_suspended_server_is_known_and_does_not_run_until_it_is_resumed() {
    let gateway = Gateway::start(&json!({})).await.unwrap();
    let (mut on, mut off) = (fixture(&[]), fixture(&[]));
    gateway.deploy(&json!({"a": on})).await.unwrap().expect(200).unwrap();
    let client = HttpClient::connect(&gateway.url("/a/mcp"), "2025-11-25").await.unwrap();
    off["suspend"] = json!(true);
    let answer = gateway.deploy(&json!({"a": off})).await.unwrap().expect(200).unwrap().json().unwrap();
    assert_eq!(answer["results"]["a"]["message"], "replaced; suspended");
    gateway.wait_childless(PATIENCE).await.unwrap();
    assert!(client.tool("pid", json!({})).await.is_err());
    let refused = http("GET", &gateway.url("/a/sse"), &[], "").await.unwrap().expect(503).unwrap();
    assert!(refused.text().contains("suspended") && refused.header("retry-after").is_some());
    assert_eq!(gateway.server("a").await.unwrap()["status"], "suspended");
    on["disabled"] = json!(false);
    let answer = gateway.deploy(&json!({"a": on})).await.unwrap().expect(200).unwrap().json().unwrap();
    assert_eq!(answer["results"]["a"]["message"], "replaced; ready");
    name_of(&gateway, "a").await.unwrap();
}

#[tokio::test]
async fn all_mistakes_of_the_file_are_told_at_once_when_the_gateway_is_started() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("gateway.yaml");
    std::fs::write(&config, "listen: nowhere\nmcpServers:\n  a: {comand: x}\n  sse: {command: x}\n").unwrap();
    let launch = Launch::new(Bin::Gateway).unwrap().args(["serve", "--config"]).arg(&config);
    let mut program = launch.arg("--state-dir").arg(dir.path().join("state")).spawn().unwrap();
    assert_eq!(program.wait(PATIENCE).await.unwrap().code(), Some(2));
    for part in ["gateway.yaml:1:9: `listen`", "gateway.yaml:3:7: server `a`", "gateway.yaml:4:3: server `sse`"] {
        program.wait_log(part).await.unwrap();
    }
}

#[tokio::test]
async fn a_yaml_file_holds_settings_beside_the_servers() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("gateway.yaml");
    let command = Bin::Fixture.text().unwrap();
    let text = format!(
        "listen: 127.0.0.1:0\nstateDir: {}\nmcpServers:\n  a:\n    command: {command}\n    env: {{VERSION: 3.10}}\n",
        dir.path().join("state").display()
    );
    std::fs::write(&config, text).unwrap();
    let gateway = Launch::new(Bin::Gateway).unwrap().args(["serve", "--config"]).arg(&config).listen().await.unwrap();
    let client = HttpClient::connect(&gateway.url("/a/mcp"), "2025-11-25").await.unwrap();
    assert_eq!(client.tool_text("env", json!({"name": "VERSION"})).await.unwrap(), "3.10");
    assert!(dir.path().join("state/lock").exists());
}

#[tokio::test]
async fn what_is_deployed_as_the_file_has_it_stays_when_the_file_lets_go_of_it() {
    let mut gateway = Gateway::start(&json!({"mcpServers": {"a": fixture(&[])}})).await.unwrap();
    let same = gateway.deploy(&json!({"a": fixture(&[])})).await.unwrap().expect(200).unwrap().json().unwrap();
    assert_eq!(same["results"]["a"]["status"], "existed");
    gateway.configure("{}").unwrap();
    let deployed = async || gateway.server("a").await.ok().filter(|server| server["origin"] == "deploy");
    eventually(PATIENCE, "the server to be a deployed one", deployed).await.unwrap();
    gateway.kill().await.unwrap();
    gateway.restart().await.unwrap();
    assert_eq!(gateway.server("a").await.unwrap()["origin"], "deploy");
}
