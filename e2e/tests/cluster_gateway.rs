//! The gateway's side of a real cluster: how soon it knows, and what it tells those who deploy.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::client::{Client, HttpClient};
use e2e::cluster::{Cluster, Namespace, kubectl_with};
use e2e::http::Response;
use e2e::{PATIENCE, eventually};
use serde_json::{Value, json};

/// Figures are told and not judged: this machine may be busy.
fn tell(what: &str, took: Duration) {
    let _ = writeln!(std::io::stderr(), "measured: {what}: {} ms", took.as_millis());
}

/// A name that no other run has, as names alone mean one server of the whole cluster.
fn unique(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

async fn deploy(cluster: &Cluster, path: &str, name: &str, entry: &Value) -> Result<Response> {
    cluster.request("POST", path, &json!({"mcpServers": {name: entry}})).await
}

/// Waits until the client was told that the tools have changed, and those of the server are there, or are not.
async fn tools_change(client: &HttpClient, server: &str, there: bool) -> Result<()> {
    loop {
        let tools = client.list("tools/list", "tools").await?;
        let prefix = format!("{server}-");
        let has = tools.iter().any(|tool| tool["name"].as_str().is_some_and(|name| name.starts_with(&prefix)));
        if has == there {
            return Ok(());
        }
        client.expect_event("notifications/tools/list_changed").await?;
    }
}

#[tokio::test]
async fn what_comes_and_goes_reaches_a_live_session_over_all_servers() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("routes").await.unwrap();
    let name = unique("soon");
    let all = HttpClient::connect_with(&cluster.url("/mcp"), cluster.client("2025-11-25")).await.unwrap();
    place.serve(&cluster, &name, &json!({})).await.unwrap();
    let ready = Instant::now();
    let session = async {
        cluster.session(&place, &name).await.unwrap();
        tell("from Ready to a session with the server", ready.elapsed());
    };
    let listed = async {
        tools_change(&all, &name, true).await.unwrap();
        tell("from Ready to the changed list", ready.elapsed());
    };
    tokio::join!(session, listed);
    assert_eq!(all.tool_text(&format!("{name}-echo"), json!({"text": "hello"})).await.unwrap(), "hello");

    place.kubectl(&["delete", "mcpserver", &name, "--wait=false"]).await.unwrap();
    let deleted = Instant::now();
    tools_change(&all, &name, false).await.unwrap();
    tell("from the deletion to the changed list", deleted.elapsed());
    let error = format!("{:#}", all.tool(&format!("{name}-echo"), json!({"text": "x"})).await.unwrap_err());
    assert!(error.contains("Unknown tool"), "{error}");
    let path = format!("/{}/{name}/mcp", place.name());
    let gone = async || (cluster.request("POST", &path, &json!({})).await.ok()?.status == 404).then_some(());
    eventually(PATIENCE, "the route to go", gone).await.unwrap();
}

#[tokio::test]
async fn a_deployment_that_waits_says_that_it_is_ready_or_why_not() {
    let cluster = Cluster::get().unwrap();
    let (good, bad) = (unique("wait"), unique("missing"));
    let _place = Namespace::existing(&cluster.system, &[&good, &bad]);
    let package = "mcp-gateway-has-no-such-package";
    let servers = json!({"mcpServers": {
        &good: {"command": "uvx", "args": ["mcp-server-time"]},
        &bad: {"command": "uvx", "args": [package]},
    }});
    // An answer may take longer than requests do otherwise: it is asked for again.
    let answered = async || {
        let answer = cluster.request("POST", "/deploy?wait=20s", &servers).await.ok()?.expect(200).ok()?.json().ok()?;
        let message = |name: &str| answer["results"][name]["message"].as_str().unwrap_or_default().to_owned();
        let (good, bad) = (message(&good), message(&bad));
        (!good.contains("not ready yet") && !bad.contains("not ready yet")).then_some((good, bad))
    };
    let limit = Duration::from_secs(300);
    let (good, bad) = eventually(limit, "both servers to be ready or to fail", answered).await.unwrap();
    assert!(good.ends_with("; ready") || good.ends_with("already; ready"), "{good}");
    assert!(bad.contains(package), "{bad}");
}

#[tokio::test]
async fn what_others_manage_is_neither_changed_nor_removed() {
    let cluster = Cluster::get().unwrap();
    let name = unique("foreign");
    let place = Namespace::existing(&cluster.system, &[&name]);
    place.server(&name, &json!({"command": "uvx", "args": ["mcp-server-time"], "suspend": true})).await.unwrap();
    let before = place.get(&["mcpserver", &name]).await.unwrap();
    let entry = json!({"command": "uvx", "args": ["another"], "env": {"TOKEN": "hunter2"}});
    let answer = deploy(&cluster, "/deploy", &name, &entry).await.unwrap().expect(409).unwrap().text();
    assert!(answer.contains("managed by kubectl-client-side-apply"), "{answer}");
    let path = format!("/servers/{name}");
    let answer = cluster.request("DELETE", &path, &Value::Null).await.unwrap().expect(409).unwrap().text();
    assert!(answer.contains("managed by kubectl-client-side-apply"), "{answer}");
    let after = place.get(&["mcpserver", &name]).await.unwrap();
    assert_eq!(after["spec"], before["spec"]);
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert!(place.get(&["secret", &format!("{name}-deploy-env")]).await.is_err(), "a Secret was made");
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_noticed_before_anything_is_made() {
    let cluster = Cluster::get().unwrap();
    let name = unique("taken");
    let place = Namespace::existing(&cluster.system, &[&name]);
    let secret = format!("{name}-deploy-env");
    let theirs =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret}, "stringData": {"A": "theirs"}});
    place.apply(&theirs.to_string()).await.unwrap();
    let entry = json!({"command": "uvx", "args": ["mcp-server-time"], "env": {"TOKEN": "hunter2"}});
    let watch = async || place.get(&["mcpserver", &name]).await.is_ok();
    let answer = deploy(&cluster, "/deploy", &name, &entry).await.unwrap().expect(409).unwrap().text();
    assert!(answer.contains(&secret) && !answer.contains("hunter2"), "{answer}");
    assert!(!watch().await, "a server was made");
    let after = place.get(&["secret", &secret]).await.unwrap();
    assert_eq!(after["data"], json!({"A": "dGhlaXJz"}));
    place.kubectl(&["delete", "secret", &secret]).await.unwrap();
}

#[tokio::test]
async fn a_server_that_somebody_takes_over_is_theirs_with_its_secret() {
    let cluster = Cluster::get().unwrap();
    let name = unique("over");
    let place = Namespace::existing(&cluster.system, &[&name]);
    let entry = |secret: &str| json!({"command": "uvx", "args": ["mcp-server-time"], "env": {"TOKEN": secret}, "disabled": true});
    deploy(&cluster, "/deploy", &name, &entry("one")).await.unwrap().expect(200).unwrap();
    let secret = format!("{name}-deploy-env");
    let version =
        async || place.get(&["secret", &secret]).await.map(|it| it["metadata"]["resourceVersion"].clone()).unwrap();
    let before = version().await;
    let theirs = json!({
        "apiVersion": "mcpgateway.dev/v1alpha1", "kind": "McpServer",
        "metadata": {"name": name, "namespace": cluster.system}, "spec": {"command": "uvx", "args": ["mcp-server-git"]},
    });
    let apply = ["apply", "--server-side", "--force-conflicts", "--field-manager=argocd", "-f", "-"];
    kubectl_with(&apply, &theirs.to_string()).await.unwrap();
    let answer = deploy(&cluster, "/deploy", &name, &entry("two")).await.unwrap().expect(409).unwrap().text();
    assert!(answer.contains("managed by argocd"), "{answer}");
    assert_eq!(version().await, before, "the Secret was changed");
    let path = format!("/servers/{name}");
    cluster.request("DELETE", &path, &Value::Null).await.unwrap().expect(409).unwrap();
}

#[tokio::test]
async fn what_was_removed_is_deployed_again_at_once_with_its_secret() {
    let cluster = Cluster::get().unwrap();
    let name = unique("again");
    let place = Namespace::existing(&cluster.system, &[&name]);
    let entry = json!({"command": "uvx", "args": ["mcp-server-time"], "env": {"TOKEN": "one"}, "disabled": true});
    deploy(&cluster, "/deploy", &name, &entry).await.unwrap().expect(200).unwrap();
    let path = format!("/servers/{name}");
    cluster.request("DELETE", &path, &Value::Null).await.unwrap().expect(200).unwrap();
    let again = async || deploy(&cluster, "/deploy", &name, &entry).await.ok()?.expect(200).ok();
    eventually(PATIENCE, "the second deployment", again).await.unwrap();
    let owner = &place.get(&["secret", &format!("{name}-deploy-env")]).await.unwrap()["metadata"]["ownerReferences"][0];
    assert_eq!(owner["uid"], place.get(&["mcpserver", &name]).await.unwrap()["metadata"]["uid"]);
}

#[tokio::test]
async fn what_looks_secret_in_an_argument_or_a_url_is_warned_of() {
    let cluster = Cluster::get().unwrap();
    let (open, far) = (unique("open"), unique("far"));
    let _place = Namespace::existing(&cluster.system, &[&open, &far]);
    let servers = json!({"mcpServers": {
        &open: {"command": "uvx", "args": ["mcp-server-time", "--api-key=hunter2"], "disabled": true},
        &far: {"url": "https://mcp.example.com/mcp?token=hunter2", "disabled": true},
    }});
    let answer = cluster.request("POST", "/deploy", &servers).await.unwrap().expect(200).unwrap();
    assert!(!answer.text().contains("hunter2"), "{}", answer.text());
    let results = &answer.json().unwrap()["results"];
    for (server, named) in [(&open, "`--api-key`"), (&far, "`?token=`")] {
        let warning = results[server]["warnings"][0].as_str().unwrap_or_default();
        assert!(warning.contains(named), "{server}: {results}");
    }
}
