//! The release has two of each program. One of them dies on a real cluster, and the other goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::client::{Client, HttpClient};
use e2e::cluster::{Cluster, Load, Namespace, has_machine, is_ready, kill_container, kubectl, note, session_at};
use e2e::{PATIENCE, eventually};
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// Callers at each replica.
const CALLERS: usize = 3;
/// What a call takes, in milliseconds.
const CALL: u64 = 50;
const LEASE: &str = "lease/mcp-gateway-operator";

/// One test at a time: what one kills is what the others count on.
static TURN: Mutex<()> = Mutex::const_new(());

async fn system(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    kubectl(&[&["--namespace", &cluster.system], arguments].concat()).await
}

/// Waits until both pods of a part of the release are ready, and gives them.
async fn both(cluster: &Cluster, part: &str) -> Result<[Value; 2]> {
    let selector = format!("app.kubernetes.io/name=mcp-{part}");
    let look = async || {
        let told = system(cluster, &["get", "pods", "-l", &selector, "-o", "json"]).await.ok()?;
        let mut list: Value = serde_json::from_str(&told).ok()?;
        let Value::Array(mut pods) = list["items"].take() else { return None };
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        <[Value; 2]>::try_from(pods).ok().filter(|pods| pods.iter().all(is_ready))
    };
    eventually(4 * PATIENCE, format!("two ready pods of the {part}"), look).await
}

fn name(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().unwrap_or_default()
}

/// Who has the lease.
async fn holder(cluster: &Cluster) -> Result<String> {
    system(cluster, &["get", LEASE, "-o", "jsonpath={.spec.holderIdentity}"]).await
}

/// Removes the operator that works, and tells how long it takes until another does.
async fn take_over(cluster: &Cluster, how: &str, remove: impl AsyncFn(&Value) -> Result<()>) -> Result<()> {
    let pods = both(cluster, "operator").await?;
    let before = holder(cluster).await?;
    let works = pods.iter().find(|pod| name(pod) == before).context("the lease is nobody's")?;
    remove(works).await?;
    let start = Instant::now();
    let another = async || holder(cluster).await.ok().filter(|now| !now.is_empty() && *now != before);
    eventually(PATIENCE, "another operator", another).await?;
    note(&format!("{how}: another has the lease after {} ms", start.elapsed().as_millis()));
    Ok(())
}

#[tokio::test]
async fn another_operator_takes_over_and_calls_go_on_meanwhile() {
    let _turn = TURN.lock().await;
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("operator").await.unwrap();
    place.serve(&cluster, "before", &json!({})).await.unwrap();
    let client = cluster.connect(&place, "before").await.unwrap();
    let pid = client.tool_text("pid", json!({})).await.unwrap();
    let delete = async |pod: &Value, how: &[&str]| {
        system(&cluster, &[&["delete", "pod", name(pod), "--wait=false"], how].concat()).await.map(drop)
    };
    take_over(&cluster, "an operator is killed", async |pod| {
        // The pod goes too: its next container would have the lease already.
        if has_machine() {
            kill_container(pod, "operator")?;
        }
        delete(pod, &["--grace-period=0", "--force"]).await
    })
    .await
    .unwrap();
    place.serve(&cluster, "killed", &json!({})).await.unwrap();
    take_over(&cluster, "an operator is stopped", async |pod| delete(pod, &[]).await).await.unwrap();
    place.serve(&cluster, "stopped", &json!({})).await.unwrap();
    // Both at once.
    let all = ["delete", "pod", "--grace-period=0", "--force", "-l", "app.kubernetes.io/name=mcp-operator"];
    system(&cluster, &all).await.unwrap();
    assert_eq!(client.tool_text("pid", json!({})).await.unwrap(), pid);
    both(&cluster, "operator").await.unwrap();
    place.settles(&cluster).await.unwrap();
    assert_eq!(client.tool_text("pid", json!({})).await.unwrap(), pid);
}

/// The address of a replica of the gateway.
fn address(pod: &Value) -> Result<String> {
    let ports = pod["spec"]["containers"][0]["ports"].as_array().into_iter().flatten();
    let mut ports = ports.filter(|port| port["name"] == "http").filter_map(|port| port["containerPort"].as_u64());
    let port = ports.next().context("the gateway has a port")?;
    Ok(format!("http://{}:{port}", pod["status"]["podIP"].as_str().context("the gateway has an address")?))
}

/// Callers in sessions of theirs, at this address.
async fn callers(cluster: &Cluster, url: &str) -> Result<Load> {
    let mut clients = Vec::new();
    for _ in 0..CALLERS {
        clients.push(HttpClient::connect_with(url, cluster.client("2025-11-25").without_stream()).await?);
    }
    let clients = Arc::new(clients);
    Ok(Load::start(CALLERS, move |caller| {
        let clients = Arc::clone(&clients);
        async move { clients[caller].tool("sleep", json!({"ms": CALL})).await.map(drop) }
    }))
}

#[tokio::test]
async fn a_replica_of_the_gateway_that_is_killed_loses_what_it_is_asked_at_that_moment_and_nothing_else() {
    let _turn = TURN.lock().await;
    let cluster = Cluster::get().unwrap();
    if !has_machine() {
        return note("replicas are reached one by one, and killed, in a cluster of our own only");
    }
    let place = Namespace::new("replica").await.unwrap();
    place.serve(&cluster, "replica", &json!({})).await.unwrap();
    let witness = cluster.connect(&place, "replica").await.unwrap();
    let pid = witness.tool_text("pid", json!({})).await.unwrap();
    let pods = both(&cluster, "gateway").await.unwrap();
    let path = format!("/{}/replica/mcp", place.name());
    let [first, second] = pods.each_ref().map(|pod| address(pod).unwrap() + &path);
    let (there, elsewhere) = tokio::try_join!(callers(&cluster, &first), callers(&cluster, &second)).unwrap();
    tokio::time::sleep(Duration::from_millis(10 * CALL)).await;
    kill_container(&pods[0], "gateway").unwrap();
    // It starts again in the same pod, at the same address: its callers go on in their sessions.
    let back = async || session(&cluster, &first, &witness).tool_text("pid", json!({})).await.ok();
    assert_eq!(eventually(2 * PATIENCE, "the replica to come back", back).await.unwrap(), pid);
    let (there, elsewhere) = (there.stop().await, elsewhere.stop().await);
    for (where_, tally) in [("there", &there), ("at the other replica", &elsewhere)] {
        let (calls, lost) = (tally.calls, tally.lost.len());
        note(&format!("a gateway is killed: of those {where_} {calls} calls were answered, {lost} lost"));
    }
    assert!(elsewhere.lost.is_empty(), "lost at the other replica: {:?}", elsewhere.lost);
    // What was under way, and what came in the moment in which a process that is killed still listens.
    assert!(there.lost.len() <= 2 * CALLERS, "more than what was under way: {:?}", there.lost);
    assert_eq!(witness.tool_text("pid", json!({})).await.unwrap(), pid);
    both(&cluster, "gateway").await.unwrap();
    place.settles(&cluster).await.unwrap();
}

/// A session of somebody else's, at another address.
fn session(cluster: &Cluster, url: &str, other: &HttpClient) -> HttpClient {
    session_at(url, cluster, &other.session().unwrap_or_default())
}

#[tokio::test]
async fn a_session_over_all_servers_is_answered_by_whichever_replica_is_asked() {
    let _turn = TURN.lock().await;
    let cluster = Cluster::get().unwrap();
    if !has_machine() {
        return note("replicas are reached one by one in a cluster of our own only");
    }
    let place = Namespace::new("everywhere").await.unwrap();
    let server = format!("everywhere-{}", std::process::id());
    place.serve(&cluster, &server, &json!({})).await.unwrap();
    cluster.connect(&place, &server).await.unwrap();
    let pods = both(&cluster, "gateway").await.unwrap();
    let [home, away] = pods.each_ref().map(|pod| address(pod).unwrap() + "/mcp");
    let tool = format!("{server}-pid");
    let opened = HttpClient::connect_with(&home, cluster.client("2025-11-25").without_stream()).await.unwrap();
    let listed = async || {
        let tools = opened.list("tools/list", "tools").await.ok()?;
        tools.iter().any(|it| it["name"] == tool.as_str()).then_some(())
    };
    eventually(PATIENCE, "the server's tools", listed).await.unwrap();
    let pid = opened.tool_text(&tool, json!({})).await.unwrap();
    let asked = session(&cluster, &away, &opened);
    assert_eq!(asked.tool_text(&tool, json!({})).await.unwrap(), pid);
    let lists = (opened.list("tools/list", "tools").await.unwrap(), asked.list("tools/list", "tools").await.unwrap());
    assert_eq!(lists.0, lists.1);
    asked.delete().await.unwrap();
    let error = format!("{:#}", opened.tool_text(&tool, json!({})).await.unwrap_err());
    assert!(error.contains("404"), "{error}");
}

#[tokio::test]
async fn sessions_of_one_server_outlive_each_replica_of_the_gateway() {
    let _turn = TURN.lock().await;
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("outlive").await.unwrap();
    place.serve(&cluster, "outlive", &json!({})).await.unwrap();
    let client = cluster.connect(&place, "outlive").await.unwrap();
    let pid = client.tool_text("pid", json!({})).await.unwrap();
    for replica in both(&cluster, "gateway").await.unwrap() {
        system(&cluster, &["delete", "pod", "--grace-period=0", "--force", name(&replica)]).await.unwrap();
        // Whichever replica is asked: the session is in the pod of the server.
        let same = async || client.tool_text("pid", json!({})).await.ok();
        assert_eq!(eventually(PATIENCE, "an answer", same).await.unwrap(), pid);
        both(&cluster, "gateway").await.unwrap();
    }
    place.settles(&cluster).await.unwrap();
    cluster.request("GET", "/servers", &Value::Null).await.unwrap().expect(200).unwrap();
}
