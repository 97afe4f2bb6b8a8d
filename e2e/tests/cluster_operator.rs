//! The operator is killed at every write, before and after it takes effect: what there is in the end is the same.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::cluster::{Cluster, Hold, Namespace, Relay, kubectl};
use e2e::harness::{Bin, Launch, Program};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

/// How long a change may take to be worked off, a killed operator included.
const LIMIT: Duration = Duration::from_secs(120);
/// What does not change for so long is the end.
const STILL: Duration = Duration::from_secs(4);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);
const SERVER: &str = "subject";
const OPERATOR: &str = "--selector=app.kubernetes.io/name=mcp-operator";
const OWNED: &str =
    "deployments,services,serviceaccounts,networkpolicies,configmaps,poddisruptionbudgets,persistentvolumeclaims";

/// The installed operator stands aside, until the test has ended.
struct Aside {
    system: String,
    replicas: String,
}

impl Aside {
    async fn step(system: &str) -> Result<Self> {
        let get = ["--namespace", system, "get", "deployment", OPERATOR, "-o", "jsonpath={.items[0].spec.replicas}"];
        let replicas = kubectl(&get).await?;
        kubectl(&["--namespace", system, "scale", "deployment", OPERATOR, "--replicas=0"]).await?;
        kubectl(&["--namespace", system, "wait", "--for=delete", "pod", OPERATOR, "--timeout=120s"]).await?;
        Ok(Self { system: system.to_owned(), replicas })
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let replicas = format!("--replicas={}", self.replicas);
        let scale = ["--namespace", &self.system, "scale", "deployment", OPERATOR, &replicas];
        // What comes next finds out.
        let _ = std::process::Command::new("kubectl").args(scale).output();
    }
}

/// An operator that is started again when it was killed.
struct Operator<'a> {
    relay: &'a Relay,
    launch: Launch,
    running: Program,
    killed: usize,
}

impl<'a> Operator<'a> {
    fn start(relay: &'a Relay, place: &Namespace) -> Result<Self> {
        // The same name each time: it takes up its own lease at once.
        let names = [("MCP_NAMESPACE", place.name()), ("MCP_NAMESPACES", place.name()), ("MCP_IDENTITY", "subject")];
        let images = [("MCP_SIDECAR_IMAGE", "localhost/sidecar:1"), ("MCP_RUNNER_IMAGE", "localhost/runner:1")];
        let launch = Launch::new(Bin::Operator)?.arg("run").env("KUBECONFIG", &relay.kubeconfig());
        let launch = names.iter().chain(&images).fold(launch, |launch, (name, value)| launch.env(name, value));
        Ok(Self { relay, running: launch.spawn()?, launch, killed: 0 })
    }

    /// Kills it, if it waits for a write that is held back, and starts another.
    async fn turn(&mut self) -> Result<()> {
        if self.relay.has_held() {
            self.running.kill().await?;
            self.relay.hold(None);
            self.running = self.launch.spawn()?;
            self.killed += 1;
        }
        Ok(())
    }

    /// Waits until there is what is expected; or, where nothing is, until nothing changes.
    async fn settle(&mut self, place: &Namespace, expected: Option<&Value>) -> Result<Value> {
        let (began, mut last, mut since) = (Instant::now(), Value::Null, Instant::now());
        loop {
            self.turn().await?;
            let now = state(place).await?;
            let reached = expected.map_or_else(|| since.elapsed() > STILL && now == last, |expected| *expected == now);
            if reached && !self.relay.has_held() {
                return Ok(now);
            }
            if now != last {
                (last, since) = (now, Instant::now());
            }
            ensure!(began.elapsed() < LIMIT, "it ends in {last:#}\ninstead of {:#}", expected.unwrap_or(&Value::Null));
            sleep(LOOK).await;
        }
    }

    /// A server is created, changed and deleted; what there is after each.
    async fn life(&mut self, place: &Namespace, expected: Option<&[Value; 3]>) -> Result<[Value; 3]> {
        let claim = json!({"cache": {"medium": "PersistentVolumeClaim"}});
        let created = json!({"command": "uvx", "args": ["a"], "replicas": 0, "packages": claim});
        let changed = json!({"command": "uvx", "args": ["b"], "replicas": 0, "tools": {"deny": ["x"]}});
        place.server(SERVER, &created).await?;
        let first = self.settle(place, expected.map(|it| &it[0])).await?;
        place.server(SERVER, &changed).await?;
        let second = self.settle(place, expected.map(|it| &it[1])).await?;
        place.kubectl(&["delete", "mcpserver", SERVER, "--wait=false"]).await?;
        let third = self.settle(place, expected.map(|it| &it[2])).await?;
        Ok([first, second, third])
    }
}

/// Everything that was made for the server, and what is said of it, without what differs from one to the next.
async fn state(place: &Namespace) -> Result<Value> {
    let objects = place.list(&[OWNED, "-l", &format!("mcpgateway.dev/server={SERVER}")]).await?;
    let servers = place.list(&["mcpservers"]).await?;
    let uid = servers.first().and_then(|server| server["metadata"]["uid"].as_str()).unwrap_or("-").to_owned();
    let mut objects: Vec<Value> = objects.into_iter().map(owned).collect();
    objects.sort_by_key(|object| (object["kind"].to_string(), object["name"].to_string()));
    let text = json!({"objects": objects, "servers": servers.iter().map(told).collect::<Vec<_>>()}).to_string();
    Ok(serde_json::from_str(&text.replace(&uid, "UID"))?)
}

fn owned(mut object: Value) -> Value {
    let mut spec = object["spec"].take();
    if let Some(spec) = spec.as_object_mut() {
        // The cluster's own additions.
        for key in ["clusterIP", "clusterIPs", "volumeName"] {
            spec.remove(key);
        }
    }
    let metadata = &object["metadata"];
    json!({"kind": object["kind"], "name": metadata["name"], "labels": metadata["labels"],
        "owners": metadata["ownerReferences"], "deleted": !metadata["deletionTimestamp"].is_null(),
        "spec": spec, "data": object["data"]})
}

fn told(server: &Value) -> Value {
    let conditions = server["status"]["conditions"].as_array().into_iter().flatten();
    let conditions: Map<String, Value> = conditions
        .map(|it| (it["type"].to_string(), json!([it["status"], it["reason"], it["observedGeneration"]])))
        .collect();
    let seen = server["status"]["observedGeneration"] == server["metadata"]["generation"];
    json!({"seen": seen, "conditions": conditions})
}

#[tokio::test]
async fn an_operator_that_is_killed_at_any_write_leaves_the_same_as_one_that_is_not() {
    let cluster = Cluster::get().unwrap();
    let _aside = Aside::step(&cluster.system).await.unwrap();
    let place = Namespace::new("killed").await.unwrap();
    let relay = Relay::start().await.unwrap();
    let mut operator = Operator::start(&relay, &place).unwrap();
    // What it makes once, such as keys, it makes in the first life.
    operator.life(&place, None).await.unwrap();
    relay.hold(None);
    let expected = operator.life(&place, None).await.unwrap();
    let writes = relay.writes();
    assert!(expected[2]["objects"].as_array().is_some_and(Vec::is_empty), "{:#}", expected[2]);
    let step = if std::env::var_os("E2E_FULL").is_some() { 1 } else { 4 };
    for write in (1..=writes).step_by(step) {
        for effective in [false, true] {
            relay.hold(Some(Hold { write, effective }));
            operator.life(&place, Some(&expected)).await.unwrap();
        }
    }
    let lives = writes.div_ceil(step) * 2;
    // How writes are bundled differs a little: the last ones may not come.
    assert!(operator.killed + 2 >= lives, "{} of {lives} were killed, of {writes} writes", operator.killed);
}
