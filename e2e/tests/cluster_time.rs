//! How long it takes from `kubectl apply` to the first answer of a tool, and where that time goes. Figures are printed;
//! what is tested is that every server answers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::client::{Client, HttpClient};
use e2e::cluster::{Cluster, Namespace, Volume, note};
use e2e::eventually;
use serde_json::{Value, json};
use tokio::time::sleep;

/// How long a server may take to answer.
const LIMIT: Duration = Duration::from_secs(300);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(25);

/// What a server is: a program that the image has, or a package, whose cache is empty, or is a volume that has it.
struct Kind {
    name: String,
    spec: Value,
    tool: &'static str,
    arguments: Value,
}

/// Seconds since the apply began.
#[derive(Clone, Copy)]
struct Times {
    applied: f64,
    /// There is a pod: what the operator and Kubernetes' own controllers take.
    made: f64,
    /// The pod's containers all run: this is the time of a pod that does nothing else.
    running: f64,
    ready: f64,
    answered: f64,
}

impl Times {
    async fn of(cluster: &Cluster, place: &Namespace, kind: &Kind) -> Result<Self> {
        let began = Instant::now();
        let since = || began.elapsed().as_secs_f64();
        place.server(&kind.name, &kind.spec).await?;
        let applied = since();
        let answered = async {
            first_answer(cluster, place, kind).await?;
            Ok(since())
        };
        let (made, running, ready, answered) = tokio::try_join!(
            Box::pin(made(place, &kind.name, began)),
            Box::pin(running(place, &kind.name, began)),
            Box::pin(ready(place, &kind.name, began)),
            Box::pin(answered)
        )?;
        Ok(Self { applied, made, running, ready, answered })
    }

    /// What is not Kubernetes' own: until there is a pod, and from the start of its last container to the answer, the
    /// start of the program included.
    fn ours(&self) -> f64 {
        (self.made - self.applied).max(0.0) + (self.answered - self.running).max(0.0)
    }

    /// The median of each column.
    fn median(rounds: &[Self]) -> Self {
        let of = |column: fn(&Self) -> f64| {
            let mut values: Vec<_> = rounds.iter().map(column).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Self {
            applied: of(|it| it.applied),
            made: of(|it| it.made),
            running: of(|it| it.running),
            ready: of(|it| it.ready),
            answered: of(|it| it.answered),
        }
    }

    fn row(&self, name: &str) -> String {
        let Self { applied, made, running, ready, answered } = self;
        let ours = self.ours();
        format!("{name} | {applied:.2} | {made:.2} | {running:.2} | {ready:.2} | {answered:.2} | {ours:.2}")
    }
}

/// When there is a pod.
async fn made(place: &Namespace, name: &str, began: Instant) -> Result<f64> {
    let look = async || place.pods(name).await.ok()?.first().map(|_| began.elapsed().as_secs_f64());
    eventually(LIMIT, "a pod", look).await
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
        name: "program".to_owned(),
        spec: json!({"image": image, "imagePullPolicy": "IfNotPresent", "command": "/usr/local/bin/fixture"}),
        tool: "echo",
        arguments: json!({"text": "hello"}),
    });
    let package = Kind {
        name: "package".to_owned(),
        spec: json!({"command": "uvx", "args": ["mcp-server-time"]}),
        tool: "get_current_time",
        arguments: json!({"timezone": "UTC"}),
    };
    let rounds = if std::env::var_os("E2E_FULL").is_some() { 10 } else { 1 };
    let mut rows = vec!["seconds, medians | applied | a pod | containers run | Ready | first answer | ours".to_owned()];
    for kind in fixture.iter().chain([&package]) {
        let mut times = Vec::new();
        for _ in 0..rounds {
            let place = Namespace::new("time").await.unwrap();
            times.push(Times::of(&cluster, &place, kind).await.unwrap());
        }
        rows.push(Times::median(&times).row(&kind.name));
    }
    let times = cached(&cluster, package, rounds).await.unwrap();
    rows.push(Times::median(&times).row("package that the volume has"));
    note(&rows.join("\n"));
}

/// Servers whose package another one has installed on their volume before.
async fn cached(cluster: &Cluster, mut kind: Kind, rounds: usize) -> Result<Vec<Times>> {
    let place = Namespace::new("time").await?;
    let volume = Volume::new(&place, "package").await?;
    kind.spec["packages"] = json!({"cache": volume.claim(&place, "packages").await?});
    let mut times = Vec::new();
    for round in 0..=rounds {
        // What was made for one of the same name would have to go first.
        kind.name = format!("package-{round}");
        let this = Times::of(cluster, &place, &kind).await?;
        // The first has installed it.
        times.extend((round > 0).then_some(this));
        place.kubectl(&["delete", "mcpserver", &kind.name]).await?;
        let gone = async || place.pods(&kind.name).await.ok()?.is_empty().then_some(());
        eventually(LIMIT, "its pod to go", gone).await?;
    }
    Ok(times)
}
