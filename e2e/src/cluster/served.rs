//! Servers of the tests' own program, and sessions with them.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Cluster, Namespace, kubectl};
use crate::client::HttpClient;
use crate::wait::{PATIENCE, eventually};

/// How long pods may take to come and to go.
const PODS: Duration = Duration::from_secs(180);
/// The revision that these sessions speak.
const VERSION: &str = "2025-11-25";

/// A figure, or what a test could not do, for whoever reads its output.
pub fn note(text: &str) {
    // Nobody may be there to read it.
    let _ = writeln!(std::io::stderr(), "note: {text}");
}

/// A manifest of `examples/kubernetes`.
///
/// # Errors
/// When it cannot be read.
pub fn example(name: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/kubernetes").join(name);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// Whether a pod takes requests.
pub fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|it| it["type"] == "Ready" && it["status"] == "True")
}

/// A session that was opened elsewhere, at another address of the same gateway.
pub fn session_at(url: &str, cluster: &Cluster, session: &str) -> HttpClient {
    let options = cluster.client(VERSION).without_stream();
    HttpClient::open(url, options.header("mcp-session-id", session).header("mcp-protocol-version", VERSION))
}

impl Cluster {
    /// The image that packages run in, with Python and Node.
    ///
    /// # Errors
    /// When there is no operator to ask.
    pub async fn runner(&self) -> Result<String> {
        let path = r#"jsonpath={..env[?(@.name=="MCP_RUNNER_IMAGE")].value}"#;
        kubectl(&["--namespace", &self.system, "get", "deployment", "mcp-gateway-operator", "-o", path]).await
    }

    /// The address of a server at the gateway.
    pub fn address(&self, place: &Namespace, server: &str) -> String {
        self.url(&format!("/{}/{server}/mcp", place.name()))
    }

    /// A session, a moment after the server got ready: the gateway learns of it by itself.
    ///
    /// # Errors
    /// When there is none for long.
    pub async fn connect(&self, place: &Namespace, server: &str) -> Result<HttpClient> {
        let url = self.address(place, server);
        let open = async || HttpClient::connect_with(&url, self.client(VERSION)).await.ok();
        eventually(PATIENCE, format!("{server} at the gateway"), open).await
    }
}

impl Namespace {
    /// Applies a server of the tests' own, with more in its spec, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not get so.
    pub async fn serve(&self, cluster: &Cluster, name: &str, more: &Value) -> Result<()> {
        self.server(name, &cluster.program(more)?).await?;
        self.wait_ready(name).await
    }

    /// Waits until exactly so many pods of a server are there and ready, and gives them.
    ///
    /// # Errors
    /// When it does not come to that.
    pub async fn wait_pods(&self, server: &str, count: usize) -> Result<Vec<Value>> {
        let look = async || {
            let pods = self.pods(server).await.ok()?;
            (pods.len() == count && pods.iter().all(is_ready)).then_some(pods)
        };
        eventually(PODS, format!("{count} ready pods of {server}"), look).await
    }
}
