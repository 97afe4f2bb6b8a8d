//! A real cluster without its API server, or without what that keeps everything in: the gateway serves what it knows, and
//! all is well again afterwards.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::client::{Client, HttpClient};
use e2e::cluster::{Account, Cluster, Namespace, has_machine, kubectl, machine, note};
use e2e::eventually;
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// How long an outage lasts.
const OUTAGE: Duration = Duration::from_secs(30);
/// How long all may take to be as it should be afterwards.
const RECOVERY: Duration = Duration::from_secs(180);

static ALONE: Mutex<()> = Mutex::const_new(());

/// A component that is away until this is told to bring it back, or goes out of scope.
struct Away(Option<&'static str>);

impl Away {
    async fn now(component: &'static str) -> Result<Self> {
        machine(&["stop", component]).await?;
        Ok(Self(Some(component)))
    }

    async fn back(mut self) -> Result<()> {
        machine(&["start", self.0.take().context("it is back already")?]).await.map(drop)
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        if let Some(component) = self.0.take() {
            let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hack/cluster");
            let _ = std::process::Command::new(program).args(["start", component]).output();
        }
    }
}

/// Whoever calls while the cluster cannot be asked.
struct Callers {
    cluster: Cluster,
    place: Namespace,
    server: String,
    /// One server, by key.
    one: HttpClient,
    pid: String,
    /// All servers, by key and by an account of the cluster.
    all: [HttpClient; 2],
    account: Account,
}

impl Callers {
    async fn new(prefix: &str) -> Result<Self> {
        let cluster = Cluster::get()?;
        let place = Namespace::new(prefix).await?;
        let server = format!("{prefix}-{}", std::process::id());
        place.serve(&cluster, &server, &json!({})).await?;
        let account = Account::new(&place, "caller").await?;
        account.allow(&place, &["get"]).await?;
        let one = cluster.session(&place, &server).await?;
        let pid = one.tool_text("pid", json!({})).await?;
        let url = cluster.url("/mcp");
        let by_key = HttpClient::connect_with(&url, cluster.client("2025-11-25").without_stream()).await?;
        let by_account = HttpClient::connect_with(&url, account.client("2025-11-25").without_stream()).await?;
        Ok(Self { cluster, place, server, one, pid, all: [by_key, by_account], account })
    }

    /// Everything that a client does.
    async fn call(&self) -> Result<()> {
        let pid = self.one.tool_text("pid", json!({})).await?;
        ensure!(pid == self.pid, "the session has another process: {pid} instead of {}", self.pid);
        let url = self.cluster.url(&format!("/{}/{}/mcp", self.place.name(), self.server));
        for options in [self.cluster.client("2025-11-25"), self.account.client("2025-11-25")] {
            let client = HttpClient::connect_with(&url, options.without_stream()).await.context("a new session")?;
            client.tool("echo", json!({"text": "x"})).await?;
            client.delete().await?;
        }
        let tool = format!("{}-echo", self.server);
        for client in &self.all {
            let tools = client.list("tools/list", "tools").await.context("all servers")?;
            ensure!(tools.iter().any(|it| it["name"] == tool.as_str()), "{tool} is not listed");
            client.tool(&tool, json!({"text": "x"})).await?;
        }
        Ok(())
    }

    /// Calls so often that every replica of the gateway has been asked: each keeps what it was told of an account.
    async fn get_known(&self) -> Result<()> {
        for _ in 0..10 {
            self.call().await?;
        }
        Ok(())
    }

    /// Calls until the outage is over.
    async fn get_through(&self) -> Result<u32> {
        let (end, mut rounds) = (Instant::now() + OUTAGE, 0);
        while Instant::now() < end {
            self.call().await?;
            rounds += 1;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(rounds)
    }

    /// Everything works again: what was there, and what is new.
    async fn recovered(&self) -> Result<()> {
        let started = Instant::now();
        let answers = async || kubectl(&["get", "--raw", "/readyz"]).await.ok();
        eventually(RECOVERY, "the API server", answers).await?;
        let made = async || {
            self.place.serve(&self.cluster, "after", &json!({})).await.ok()?;
            self.cluster.session(&self.place, "after").await.ok()
        };
        eventually(RECOVERY, "a new server", made).await?;
        let took = started.elapsed().as_millis();
        note(&format!("from the end of the outage to a new server's session: {took} ms"));
        self.place.settles(&self.cluster).await?;
        self.call().await?;
        let status = self.place.get(&["mcpserver", &self.server]).await?["status"].take();
        ensure!(status["restarts"].as_u64().unwrap_or_default() == 0, "it has restarted: {status}");
        self.place.kubectl(&["delete", "mcpserver", "after"]).await?;
        let gone = async || self.place.pods("after").await.ok()?.is_empty().then_some(());
        eventually(RECOVERY, "its pods to go", gone).await
    }
}

/// Whether components can be stopped here.
fn can_stop() -> bool {
    if !has_machine() {
        note("only a cluster that hack/cluster has made is taken apart");
    }
    has_machine()
}

#[tokio::test]
async fn the_gateway_serves_what_it_knows_while_the_api_server_is_away() {
    let _alone = ALONE.lock().await;
    if !can_stop() {
        return;
    }
    let callers = Callers::new("api").await.unwrap();
    callers.get_known().await.unwrap();
    let away = Away::now("kube-apiserver").await.unwrap();
    let rounds = callers.get_through().await.unwrap();
    assert!(rounds > 1, "{rounds}");
    let servers = json!({"mcpServers": {"x": {"command": "uvx", "args": ["mcp-server-time"]}}});
    let answer = callers.cluster.request("POST", "/deploy", &servers).await.unwrap().expect(503).unwrap();
    assert!(answer.text().contains("the cluster cannot be changed now"), "{}", answer.text());
    away.back().await.unwrap();
    callers.recovered().await.unwrap();
}

#[tokio::test]
async fn the_gateway_serves_what_it_knows_while_etcd_is_away() {
    let _alone = ALONE.lock().await;
    if !can_stop() {
        return;
    }
    let callers = Callers::new("etcd").await.unwrap();
    callers.get_known().await.unwrap();
    let away = Away::now("etcd").await.unwrap();
    callers.get_through().await.unwrap();
    away.back().await.unwrap();
    callers.recovered().await.unwrap();
    callers.cluster.request("GET", "/servers", &Value::Null).await.unwrap().expect(200).unwrap();
}
