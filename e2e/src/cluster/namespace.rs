//! A namespace of a test.

use std::io::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{kubectl, kubectl_with};
use crate::wait::eventually;

/// How long a server may take to get ready: packages are fetched.
const READY: &str = "--timeout=300s";
/// How long a condition may take to come.
const CONDITION: Duration = Duration::from_secs(180);

/// A namespace that ends with the test.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    /// Whether it was there before, so that only what the test made goes.
    servers: Option<Vec<String>>,
}

impl Namespace {
    /// Makes one, where only pods of the Pod Security Standard `restricted` are let in.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn new(prefix: &str) -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("{prefix}-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let manifest = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        kubectl_with(&["apply", "-f", "-"], &manifest.to_string()).await?;
        Ok(Self { name, servers: None })
    }

    /// One that is there: these servers are removed from it at the end.
    pub fn existing(name: &str, servers: &[&str]) -> Self {
        Self { name: name.into(), servers: Some(servers.iter().map(ToString::to_string).collect()) }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `kubectl` in it.
    ///
    /// # Errors
    /// As [`kubectl`].
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        kubectl(&[&["--namespace", &self.name], arguments].concat()).await
    }

    /// Applies manifests.
    ///
    /// # Errors
    /// When one is refused.
    pub async fn apply(&self, manifests: &str) -> Result<String> {
        kubectl_with(&["--namespace", &self.name, "apply", "-f", "-"], manifests).await
    }

    /// Applies an `McpServer` with that spec.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn server(&self, name: &str, spec: &Value) -> Result<()> {
        let server = json!({"apiVersion": "mcpgateway.dev/v1alpha1", "kind": "McpServer", "metadata": {"name": name}, "spec": spec});
        self.apply(&server.to_string()).await.map(drop)
    }

    /// What `kubectl get WHAT -o json` says.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn get(&self, what: &[&str]) -> Result<Value> {
        let text = self.kubectl(&[&["get"], what, &["-o", "json"]].concat()).await?;
        serde_json::from_str(&text).context("kubectl prints no JSON")
    }

    /// The items of a list.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn list(&self, what: &[&str]) -> Result<Vec<Value>> {
        let mut list = self.get(what).await?;
        let Value::Array(items) = list["items"].take() else { anyhow::bail!("kubectl prints no list: {list}") };
        Ok(items)
    }

    /// The pods of a server that are not about to end.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn pods(&self, server: &str) -> Result<Vec<Value>> {
        let mut pods = self.list(&["pods", "-l", &format!("mcpgateway.dev/server={server}")]).await?;
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        Ok(pods)
    }

    /// Waits until a server is ready, as people do.
    ///
    /// # Errors
    /// When it does not get so.
    pub async fn wait_ready(&self, name: &str) -> Result<()> {
        let server = format!("mcpserver/{name}");
        self.kubectl(&["wait", "--for=condition=Ready", &server, READY]).await.map(drop)
    }

    /// Waits until a condition of a server has this status and reason, and gives its message.
    ///
    /// # Errors
    /// When it does not get so.
    pub async fn wait_condition(&self, name: &str, kind: &str, status: &str, reason: &str) -> Result<String> {
        let mut seen = Value::Null;
        let look = async || {
            seen = self.get(&["mcpserver", name]).await.ok()?["status"]["conditions"].take();
            let mut all = seen.as_array()?.iter();
            let found = all.find(|it| it["type"] == kind && it["status"] == status && it["reason"] == reason)?;
            Some(found["message"].as_str().unwrap_or_default().to_owned())
        };
        let told = eventually(CONDITION, format!("{kind}={status} ({reason}) of {name}"), look).await;
        told.with_context(|| format!("its conditions are {seen}"))
    }

    /// Waits until a condition of a server is false for this reason, with a message that has all these words.
    ///
    /// # Errors
    /// When it does not get so.
    pub async fn told(&self, name: &str, (kind, reason): (&str, &str), words: &[&str]) -> Result<()> {
        let message = self.wait_condition(name, kind, "False", reason).await?;
        for word in words {
            ensure!(message.contains(word), "{name}: `{word}` is not in: {message}");
        }
        Ok(())
    }

    /// For the log of a test that failed: what is here.
    fn tell(&self) {
        let run = |arguments: &[&str]| {
            let output = Command::new("kubectl").args(["--namespace", &self.name]).args(arguments).output();
            let text = output.map(|it| String::from_utf8_lossy(&it.stdout).into_owned()).unwrap_or_default();
            let _ = write!(std::io::stderr(), "--- {}: {}\n{text}", self.name, arguments.join(" "));
        };
        run(&["get", "mcpservers,deployments,pods", "-o", "wide"]);
        run(&[
            "get",
            "mcpservers",
            "-o",
            "jsonpath={range .items[*]}{.metadata.name}{\"\\n\"}{range .status.conditions[*]}{\"  \"}{.type}={.status} {.reason}: {.message}{\"\\n\"}{end}{end}",
        ]);
        run(&["get", "events", "--sort-by=.lastTimestamp"]);
        run(&["logs", "-l", "app.kubernetes.io/name=mcp-server", "--all-containers", "--prefix", "--tail=20"]);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        let mut command = Command::new("kubectl");
        match &self.servers {
            None => command.args(["delete", "namespace", &self.name]),
            Some(servers) => {
                command.args(["--namespace", &self.name, "delete", "--ignore-not-found", "mcpservers"]).args(servers)
            }
        };
        // Whether it works is not the test's matter: the cluster ends soon.
        let _ = command.arg("--wait=false").output();
    }
}
