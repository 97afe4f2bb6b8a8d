//! Nodes that are drained, and nodes that are lost. It takes a cluster of our own with two nodes (`NODES=2`), and the second
//! of them away.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::client::Client;
use e2e::cluster::{Cluster, Namespace, is_ready, kubectl, machine};
use e2e::eventually;
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// One test at a time.
static TURN: Mutex<()> = Mutex::const_new(());
/// How long it may take until a node counts as lost, its pods are given up, and others are there.
const MOVED: Duration = Duration::from_secs(240);
const NODE: &str = "node-2";

/// Gives the node back, also when the test fails.
struct Back;

impl Drop for Back {
    fn drop(&mut self) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../hack/cluster");
        let _ = Command::new(script).args(["mend", "2"]).output();
        let _ = Command::new("kubectl").args(["uncordon", NODE]).output();
    }
}

fn nodes(pods: &[Value]) -> BTreeSet<&str> {
    pods.iter().filter_map(|pod| pod["spec"]["nodeName"].as_str()).collect()
}

async fn two_nodes() -> Result<()> {
    let ready = async || {
        let told = kubectl(&["get", "nodes", "--no-headers"]).await.ok()?;
        (told.lines().filter(|line| line.contains(" Ready ")).count() == 2).then_some(())
    };
    eventually(MOVED, "two nodes: NODES=2 hack/on-cluster", ready).await
}

/// Waits until a server's status counts so many pods, and `Ready` is what it is to be.
async fn counted(place: &Namespace, server: &str, pods: i64, ready: &str) -> Result<()> {
    let look = async || {
        let status = place.get(&["mcpserver", server]).await.ok()?["status"].take();
        let conditions = status["conditions"].as_array()?;
        let is = conditions.iter().any(|it| it["type"] == "Ready" && it["status"] == ready);
        (is && status["readyReplicas"].as_i64().unwrap_or_default() == pods).then_some(())
    };
    eventually(MOVED, format!("{pods} pods and Ready={ready} in the status of {server}"), look).await
}

/// Waits until nothing of a server is there but so many ready pods, none of them elsewhere.
async fn settled(place: &Namespace, server: &str, count: usize, on: &[&str]) -> Result<()> {
    let look = async || {
        let pods = place.list(&["pods", "-l", &format!("mcpgateway.dev/server={server}")]).await.ok()?;
        let all = pods.len() == count && pods.iter().all(is_ready);
        (all && nodes(&pods).iter().all(|node| on.contains(node))).then_some(())
    };
    eventually(MOVED, format!("{count} pods of {server}, on {on:?}, and no others"), look).await
}

async fn parts_are_ready(cluster: &Cluster) -> Result<()> {
    for part in ["mcp-gateway", "mcp-gateway-operator"] {
        let part = format!("deployment/{part}");
        kubectl(&["--namespace", &cluster.system, "rollout", "status", &part, "--timeout=180s"]).await?;
    }
    Ok(())
}

async fn echo(cluster: &Cluster, place: &Namespace, server: &str) -> Result<()> {
    let client = cluster.connect(place, server).await?;
    let text = client.tool_text("echo", json!({"text": "hello"})).await?;
    ensure!(text == "hello", "the echo is {text}");
    Ok(())
}

#[tokio::test]
async fn a_node_that_is_drained_loses_its_pods_and_no_server() {
    let _turn = TURN.lock().await;
    let cluster = Cluster::get().unwrap();
    two_nodes().await.unwrap();
    let place = Namespace::new("drained").await.unwrap();
    place.serve(&cluster, "spread", &json!({"replicas": 2})).await.unwrap();
    let pods = place.wait_pods("spread", 2).await.unwrap();
    assert_eq!(nodes(&pods).len(), 2, "both are on {:?}", nodes(&pods));
    let _back = Back;
    let drain = ["drain", NODE, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=180s"];
    let drained = kubectl(&drain);
    let served = async {
        // One pod at least is there all the time.
        for _ in 0..20 {
            echo(&cluster, &place, "spread").await?;
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        Ok::<_, anyhow::Error>(())
    };
    tokio::try_join!(drained, served).unwrap();
    settled(&place, "spread", 2, &["node-1"]).await.unwrap();
    counted(&place, "spread", 2, "True").await.unwrap();
    parts_are_ready(&cluster).await.unwrap();
    let left = kubectl(&["get", "pods", "-A", "--field-selector", "spec.nodeName=node-2", "-o", "name"]).await.unwrap();
    assert_eq!(left, "");
}

#[tokio::test]
async fn a_node_that_is_lost_is_told_of_and_made_up_for() {
    let _turn = TURN.lock().await;
    let cluster = Cluster::get().unwrap();
    two_nodes().await.unwrap();
    let place = Namespace::new("lost").await.unwrap();
    place.serve(&cluster, "spread", &json!({"replicas": 2})).await.unwrap();
    let bound = json!({"nodeSelector": {"kubernetes.io/hostname": NODE}});
    place.serve(&cluster, "bound", &bound).await.unwrap();
    let pods = place.wait_pods("spread", 2).await.unwrap();
    assert_eq!(nodes(&pods).len(), 2, "both are on {:?}", nodes(&pods));
    let back = Back;
    machine(&["cut", "2"]).await.unwrap();
    // What is left is told: one pod of the one, none of the other.
    counted(&place, "bound", 0, "False").await.unwrap();
    counted(&place, "spread", 1, "True").await.unwrap();
    // Its pods are made up for, where another node takes them.
    let told = place.wait_condition("bound", "Available", "False", "Unschedulable").await.unwrap();
    assert!(told.contains("no node takes pod"), "{told}");
    counted(&place, "spread", 2, "True").await.unwrap();
    echo(&cluster, &place, "spread").await.unwrap();
    parts_are_ready(&cluster).await.unwrap();
    // When the node is back, nothing of before is left.
    drop(back);
    two_nodes().await.unwrap();
    settled(&place, "spread", 2, &["node-1"]).await.unwrap();
    settled(&place, "bound", 1, &[NODE]).await.unwrap();
    counted(&place, "bound", 1, "True").await.unwrap();
    echo(&cluster, &place, "bound").await.unwrap();
}
