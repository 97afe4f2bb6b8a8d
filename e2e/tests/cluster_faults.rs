//! What dies in the pod of a server on a real cluster, and that all is well again. What dies of the release is in
//! `cluster_replicas.rs`.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::client::{Client, HttpClient};
use e2e::cluster::{Cluster, Namespace, has_machine, kill_container, note};
use e2e::{PATIENCE, eventually};
use serde_json::json;

/// How long pods may take to come and to go.
const PODS: Duration = Duration::from_secs(120);

async fn echo(client: &HttpClient) -> Result<()> {
    let text = client.tool_text("echo", json!({"text": "hello"})).await?;
    ensure!(text == "hello", "the echo is {text}");
    Ok(())
}

#[tokio::test]
async fn a_process_that_is_killed_is_told_to_its_session_and_counted() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("child").await.unwrap();
    place.serve(&cluster, "child", &json!({})).await.unwrap();
    let client = cluster.connect(&place, "child").await.unwrap();
    let error = format!("{:#}", client.tool("crash", json!({"signal": 9})).await.unwrap_err());
    assert!(error.contains("signal 9") || error.contains("SIGKILL"), "{error}");
    // The session lives on, with a new process.
    eventually(PATIENCE, "the session to work", async || echo(&client).await.ok()).await.unwrap();
    let counted = async || {
        let status = place.get(&["mcpserver", "child"]).await.ok()?["status"].take();
        (status["restarts"].as_i64()? >= 1 && status["lastExit"]["signal"] == 9).then_some(())
    };
    eventually(PODS, "the exit in the status", counted).await.unwrap();
    place.settles(&cluster).await.unwrap();
}

/// Waits until the session is told to be over.
async fn is_lost(client: &HttpClient) -> Result<()> {
    let lost = async || format!("{:#}", echo(client).await.err()?).contains("404").then_some(());
    eventually(PODS, "404 for the old session", lost).await
}

#[tokio::test]
async fn a_sidecar_that_is_killed_starts_again_and_only_its_sessions_end() {
    let cluster = Cluster::get().unwrap();
    if !has_machine() {
        return note("processes in pods are killed in a cluster of our own only");
    }
    let place = Namespace::new("sidecar").await.unwrap();
    place.serve(&cluster, "sidecar", &json!({})).await.unwrap();
    let client = cluster.connect(&place, "sidecar").await.unwrap();
    echo(&client).await.unwrap();
    let before = place.wait_pods("sidecar", 1).await.unwrap().remove(0);
    kill_container(&before, "sidecar").unwrap();
    is_lost(&client).await.unwrap();
    let restarted = async || {
        let pod = place.pods("sidecar").await.ok()?.pop()?;
        let sidecar = pod["status"]["initContainerStatuses"].as_array()?.iter().find(|it| it["name"] == "sidecar")?;
        (sidecar["restartCount"] == 1 && sidecar["ready"] == true).then(|| pod["metadata"]["uid"].clone())
    };
    let uid = eventually(PODS, "the sidecar to start again", restarted).await.unwrap();
    assert_eq!(uid, before["metadata"]["uid"], "it is another pod");
    place.settles(&cluster).await.unwrap();
    echo(&cluster.connect(&place, "sidecar").await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_pod_that_is_killed_is_replaced_and_its_sessions_are_not_found() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("pod").await.unwrap();
    place.serve(&cluster, "pod", &json!({})).await.unwrap();
    let client = cluster.connect(&place, "pod").await.unwrap();
    echo(&client).await.unwrap();
    let selector = ["delete", "pod", "--grace-period=0", "--force", "-l", "mcpgateway.dev/server=pod"];
    place.kubectl(&selector).await.unwrap();
    is_lost(&client).await.unwrap();
    place.settles(&cluster).await.unwrap();
    echo(&cluster.connect(&place, "pod").await.unwrap()).await.unwrap();
}
