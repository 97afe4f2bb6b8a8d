//! What dies on a real cluster, and how soon all is well again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::client::{Client, HttpClient};
use e2e::cluster::{Cluster, Namespace, kubectl};
use e2e::{PATIENCE, eventually};
use serde_json::{Value, json};

/// How long pods may take to come and to go, and another operator to take over.
const PODS: Duration = Duration::from_secs(120);

/// A server of the fixture, ready.
async fn server(cluster: &Cluster, place: &Namespace, name: &str) -> Result<()> {
    let image = cluster.fixture.as_ref().context("an image of the fixture; CLUSTER=current has none")?;
    let spec = json!({"image": image, "imagePullPolicy": "IfNotPresent", "command": "/usr/local/bin/fixture"});
    place.server(name, &spec).await?;
    place.wait_ready(name).await
}

/// A session, a moment after the server got ready: the gateway learns of it by itself.
async fn connect(cluster: &Cluster, place: &Namespace, server: &str) -> Result<HttpClient> {
    let url = cluster.url(&format!("/{}/{server}/mcp", place.name()));
    let open = async || HttpClient::connect_with(&url, cluster.client("2025-11-25")).await.ok();
    eventually(PATIENCE, format!("{server} at the gateway"), open).await
}

async fn echo(client: &HttpClient) -> Result<()> {
    let text = client.tool_text("echo", json!({"text": "hello"})).await?;
    ensure!(text == "hello", "the echo is {text}");
    Ok(())
}

/// Kills pods as a lost node does: nothing is drained.
async fn kill_pods(namespace: &str, selector: &[&str]) -> Result<()> {
    let arguments = [&["--namespace", namespace, "delete", "pod", "--grace-period=0", "--force"], selector].concat();
    kubectl(&arguments).await.map(drop)
}

/// The pods of a part of the release, by name.
async fn parts(cluster: &Cluster, part: &str) -> Result<Vec<String>> {
    let selector = format!("app.kubernetes.io/name=mcp-{part}");
    let names = ["-o", "jsonpath={.items[*].metadata.name}"];
    let names =
        kubectl(&[&["--namespace", &cluster.system, "get", "pods", "-l", &selector], &names[..]].concat()).await?;
    Ok(names.split_whitespace().map(ToOwned::to_owned).collect())
}

async fn rolled_out(cluster: &Cluster, deployment: &str) -> Result<()> {
    let deployment = format!("deployment/{deployment}");
    let arguments = ["--namespace", &cluster.system, "rollout", "status", &deployment, "--timeout=120s"];
    kubectl(&arguments).await.map(drop)
}

#[tokio::test]
async fn a_process_that_is_killed_is_told_to_its_session_and_counted() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("child").await.unwrap();
    server(&cluster, &place, "child").await.unwrap();
    let client = connect(&cluster, &place, "child").await.unwrap();
    let error = format!("{:#}", client.tool("crash", json!({"signal": 9})).await.unwrap_err());
    assert!(error.contains("signal 9") || error.contains("SIGKILL"), "{error}");
    // The session lives on, with a new process.
    eventually(PATIENCE, "the session to work", async || echo(&client).await.ok()).await.unwrap();
    let counted = async || {
        let status = place.get(&["mcpserver", "child"]).await.ok()?["status"].take();
        (status["restarts"].as_i64()? >= 1 && status["lastExit"]["signal"] == 9).then_some(())
    };
    eventually(PODS, "the exit in the status", counted).await.unwrap();
    place.wait_ready("child").await.unwrap();
}

#[tokio::test]
async fn a_pod_that_is_killed_is_replaced_and_its_sessions_are_not_found() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("pod").await.unwrap();
    server(&cluster, &place, "pod").await.unwrap();
    let client = connect(&cluster, &place, "pod").await.unwrap();
    echo(&client).await.unwrap();
    kill_pods(place.name(), &["-l", "mcpgateway.dev/server=pod"]).await.unwrap();
    let lost = async || {
        let error = echo(&client).await.err()?;
        format!("{error:#}").contains("404").then_some(())
    };
    eventually(PODS, "404 for the old session", lost).await.unwrap();
    place.wait_ready("pod").await.unwrap();
    echo(&connect(&cluster, &place, "pod").await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn another_operator_takes_over_and_calls_go_on_meanwhile() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("operator").await.unwrap();
    server(&cluster, &place, "before").await.unwrap();
    let client = connect(&cluster, &place, "before").await.unwrap();
    kill_pods(&cluster.system, &["-l", "app.kubernetes.io/name=mcp-operator"]).await.unwrap();
    echo(&client).await.unwrap();
    server(&cluster, &place, "after").await.unwrap();
    echo(&client).await.unwrap();
    echo(&connect(&cluster, &place, "after").await.unwrap()).await.unwrap();
    rolled_out(&cluster, "mcp-gateway-operator").await.unwrap();
}

#[tokio::test]
async fn sessions_of_one_server_outlive_a_replica_of_the_gateway() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("replica").await.unwrap();
    server(&cluster, &place, "replica").await.unwrap();
    let client = connect(&cluster, &place, "replica").await.unwrap();
    let pid = client.tool_text("pid", json!({})).await.unwrap();
    let replicas = parts(&cluster, "gateway").await.unwrap();
    assert_eq!(replicas.len(), 2, "{replicas:?}");
    for replica in replicas {
        kill_pods(&cluster.system, &[&replica]).await.unwrap();
        // Whichever replica is asked: the session is in the pod of the server.
        let same = async || client.tool_text("pid", json!({})).await.ok();
        assert_eq!(eventually(PATIENCE, "an answer", same).await.unwrap(), pid);
        rolled_out(&cluster, "mcp-gateway").await.unwrap();
    }
    let servers = cluster.request("GET", "/servers", &Value::Null).await.unwrap();
    assert_eq!(servers.status, 200);
}
