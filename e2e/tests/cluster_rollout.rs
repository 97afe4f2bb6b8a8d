//! Rolling updates under load on a real cluster: of the gateway, and of a server.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::client::{Client, HttpClient, StatusError, was_not_sent};
use e2e::cluster::{Cluster, Load, Namespace, Tally, kubectl};
use e2e::{PATIENCE, eventually};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// Callers of each kind.
const CALLERS: usize = 3;
/// How long pods may take to come and to go.
const PODS: Duration = Duration::from_secs(240);
/// What a long call takes, in milliseconds.
const LONG: u64 = 2000;

/// One update at a time: what one does is what the other must not see.
static ALONE: Mutex<()> = Mutex::const_new(());

async fn echo(client: &HttpClient, tool: &str) -> Result<()> {
    let text = client.tool_text(tool, json!({"text": "hello"})).await?;
    ensure!(text == "hello", "the echo is {text}");
    Ok(())
}

/// A call in a session of its own.
async fn visit(cluster: &Cluster, url: &str) -> Result<()> {
    let client = HttpClient::connect_with(url, cluster.client("2025-11-25").without_stream()).await?;
    echo(&client, "echo").await?;
    client.delete().await.map(drop)
}

/// Whether there is no such session any more, so that the request was given to nobody, and a new session is to be opened.
fn is_over(error: &anyhow::Error) -> bool {
    error.downcast_ref::<StatusError>().is_some_and(|it| it.status == 404)
}

/// Callers that open a session for each call, and end it. One that was opened in a pod a moment before that ended is
/// opened again: how often that was is counted.
fn newcomers(cluster: &Cluster, url: &str) -> (Load, Arc<AtomicUsize>) {
    let (cluster, url, over) = (cluster.clone(), url.to_owned(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&over);
    let load = Load::start(CALLERS, move |_| {
        let (cluster, url, over) = (cluster.clone(), url.clone(), Arc::clone(&count));
        async move {
            match visit(&cluster, &url).await {
                Err(error) if is_over(&error) => over.fetch_add(1, Ordering::Relaxed),
                done => return done,
            };
            visit(&cluster, &url).await
        }
    });
    (load, over)
}

/// Callers that stay in sessions that are open.
async fn residents(cluster: &Cluster, place: &Namespace, server: &str) -> Result<Load> {
    let mut clients = Vec::new();
    for _ in 0..CALLERS {
        clients.push(cluster.session(place, server).await?);
    }
    let clients = Arc::new(clients);
    Ok(Load::start(CALLERS, move |caller| {
        let clients = Arc::clone(&clients);
        async move { echo(&clients[caller], "echo").await }
    }))
}

fn tell(what: &str, tally: &Tally) {
    let Tally { calls, again, lost, slowest } = tally;
    let (lost, slowest) = (lost.len(), slowest.as_millis());
    let told = format!("measured: {what}: {calls} calls, {lost} lost, {again} connected again, slowest {slowest} ms");
    let _ = writeln!(std::io::stderr(), "{told}");
}

/// Calls that take a while, one after the other, until the session is over: how many were answered, and what was said
/// then.
async fn until_over(client: &HttpClient, tool: &str) -> (usize, String) {
    let mut answered = 0;
    loop {
        match client.tool(tool, json!({"ms": LONG})).await {
            Ok(_) => answered += 1,
            Err(error) if was_not_sent(&error) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) if is_over(&error) => return (answered, String::new()),
            Err(error) => return (answered, format!("{error:#}")),
        }
    }
}

async fn rollout(namespace: &str, what: &[&str]) -> Result<()> {
    kubectl(&[&["--namespace", namespace, "rollout"], what].concat()).await.map(drop)
}

#[tokio::test]
async fn a_rolling_update_of_the_gateway_loses_no_call() {
    let _alone = ALONE.lock().await;
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("update").await.unwrap();
    let name = format!("update-{}", std::process::id());
    place.serve(&cluster, &name, &json!({})).await.unwrap();
    let witness = cluster.session(&place, &name).await.unwrap();
    let pid = witness.tool_text("pid", json!({})).await.unwrap();
    let mut everywhere = JoinSet::new();
    for _ in 0..2 * CALLERS {
        let all = cluster.client("2025-11-25").without_stream();
        let client = HttpClient::connect_with(&cluster.url("/mcp"), all).await.unwrap();
        let tool = format!("{name}-sleep");
        everywhere.spawn(async move { until_over(&client, &tool).await });
    }
    let (fresh, over) = newcomers(&cluster, &cluster.url(&format!("/{}/{name}/mcp", place.name())));
    let bound = residents(&cluster, &place, &name).await.unwrap();

    rollout(&cluster.system, &["restart", "deployment/mcp-gateway"]).await.unwrap();
    rollout(&cluster.system, &["status", "deployment/mcp-gateway", "--timeout=240s"]).await.unwrap();
    // The last of the old pods goes on for a while.
    let ended = tokio::time::timeout(PODS, everywhere.join_all()).await.context("a session never ended").unwrap();
    let (fresh, bound) = (fresh.stop().await, bound.stop().await);
    tell("gateway updated, a session for each call", &fresh);
    assert_eq!(over.load(Ordering::Relaxed), 0, "a session of one server ended");
    tell("gateway updated, sessions that were open", &bound);
    assert!(fresh.lost.is_empty() && bound.lost.is_empty(), "lost: {:?} {:?}", fresh.lost, bound.lost);
    assert_eq!(witness.tool_text("pid", json!({})).await.unwrap(), pid, "the session went on in another process");
    // What was under way over all servers was answered; then the session was not there any more.
    assert!(ended.iter().all(|(answered, why)| *answered > 0 && why.is_empty()), "{ended:?}");
}

#[tokio::test]
async fn a_rolling_update_of_a_server_keeps_old_sessions_for_a_while_and_new_ones_going() {
    let _alone = ALONE.lock().await;
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("roll").await.unwrap();
    let round = |round: &str| json!({"replicas": 2, "env": [{"name": "ROUND", "value": round}]});
    place.serve(&cluster, "roll", &round("1")).await.unwrap();
    let both = async || {
        let server = place.get(&["mcpserver", "roll"]).await.ok()?;
        (server["status"]["readyReplicas"] == 2).then_some(())
    };
    eventually(PODS, "two replicas", both).await.unwrap();
    let mut old = JoinSet::new();
    for _ in 0..2 * CALLERS {
        let client = cluster.session(&place, "roll").await.unwrap();
        old.spawn(async move { until_over(&client, "sleep").await });
    }
    let (fresh, over) = newcomers(&cluster, &cluster.url(&format!("/{}/roll/mcp", place.name())));

    place.serve(&cluster, "roll", &round("2")).await.unwrap();
    let ended = tokio::time::timeout(PODS, old.join_all()).await.context("a session never ended").unwrap();
    let fresh = fresh.stop().await;
    let told = format!("server updated, a session for each call ({} opened again)", over.load(Ordering::Relaxed));
    tell(&told, &fresh);
    assert!(fresh.lost.is_empty(), "lost: {:?}", fresh.lost);
    assert!(ended.iter().all(|(answered, why)| *answered > 0 && why.is_empty()), "{ended:?}");
    let renewed = async || {
        let client = cluster.session(&place, "roll").await.ok()?;
        (client.tool_text("env", json!({"name": "ROUND"})).await.ok()? == "2").then_some(())
    };
    eventually(PATIENCE, "the new round", renewed).await.unwrap();
}
