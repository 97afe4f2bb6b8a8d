//! How long it takes from `kubectl apply` to the first answer of a tool, and where that time goes. Figures are printed;
//! what is tested is that every server answers.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::client::{Client, HttpClient};
use e2e::cluster::{Cluster, Namespace};
use e2e::eventually;
use serde_json::{Value, json};
use tokio::time::sleep;

/// How long a server may take to answer.
const LIMIT: Duration = Duration::from_secs(300);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(25);

/// What a server is: a package with an empty cache, or a program that the image has.
struct Kind {
    name: &'static str,
    spec: Value,
    tool: &'static str,
    arguments: Value,
}

/// Seconds since the apply began.
struct Times {
    applied: f64,
    /// The pod's containers all run: this is the time of a pod that does nothing else.
    running: f64,
    ready: f64,
    answered: f64,
}

impl Times {
    async fn of(cluster: &Cluster, place: &Namespace, kind: &Kind) -> Result<Self> {
        let began = Instant::now();
        let since = || began.elapsed().as_secs_f64();
        place.server(kind.name, &kind.spec).await?;
        let applied = since();
        let (running, ready, answered) =
            tokio::try_join!(running(place, kind.name, began), ready(place, kind.name, began), async {
                first_answer(cluster, place, kind).await?;
                Ok(since())
            })?;
        Ok(Self { applied, running, ready, answered })
    }
}

/// When all containers of the server's pod run.
async fn running(place: &Namespace, name: &str, began: Instant) -> Result<f64> {
    let look = async || {
        let pods = place.pods(name).await.ok()?;
        let status = &pods.first()?["status"];
        let all = status["containerStatuses"].as_array()?.iter().chain(status["initContainerStatuses"].as_array()?);
        let on =
            all.into_iter().all(|it| !it["state"]["running"].is_null() || it["state"]["terminated"]["exitCode"] == 0);
        on.then(|| began.elapsed().as_secs_f64())
    };
    eventually(LIMIT, "the containers", look).await
}

async fn ready(place: &Namespace, name: &str, began: Instant) -> Result<f64> {
    place.wait_ready(name).await?;
    Ok(began.elapsed().as_secs_f64())
}

async fn first_answer(cluster: &Cluster, place: &Namespace, kind: &Kind) -> Result<()> {
    let url = cluster.url(&format!("/{}/{}/mcp", place.name(), kind.name));
    let end = Instant::now() + LIMIT;
    loop {
        let answer = async {
            let client = HttpClient::connect_with(&url, cluster.client("2025-11-25")).await?;
            client.tool_text(kind.tool, kind.arguments.clone()).await
        };
        match answer.await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > end => return Err(error).context("no answer in time"),
            Err(_) => sleep(LOOK).await,
        }
    }
}

#[tokio::test]
async fn a_server_answers_after_it_was_applied_and_the_time_is_printed() {
    let cluster = Cluster::get().unwrap();
    let fixture = cluster.fixture.as_ref().map(|image| Kind {
        name: "program",
        spec: json!({"image": image, "imagePullPolicy": "IfNotPresent", "command": "/usr/local/bin/fixture"}),
        tool: "echo",
        arguments: json!({"text": "hello"}),
    });
    let package = Kind {
        name: "package",
        spec: json!({"command": "uvx", "args": ["mcp-server-time"]}),
        tool: "get_current_time",
        arguments: json!({"timezone": "UTC"}),
    };
    let rounds = if std::env::var_os("E2E_FULL").is_some() { 10 } else { 1 };
    let mut rows =
        vec!["seconds since `kubectl apply` began | returned | containers run | Ready | first answer".to_owned()];
    for kind in fixture.iter().chain([&package]) {
        for _ in 0..rounds {
            let place = Namespace::new("time").await.unwrap();
            let Times { applied, running, ready, answered } = Times::of(&cluster, &place, kind).await.unwrap();
            rows.push(format!("{} | {applied:.2} | {running:.2} | {ready:.2} | {answered:.2}", kind.name));
        }
    }
    writeln!(std::io::stderr(), "{}", rows.join("\n")).unwrap();
}
