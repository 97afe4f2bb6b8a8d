//! Releases of the charts of this checkout, by Helm.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::Value;
use tempfile::NamedTempFile;

use super::{Cluster, kubectl, run};
use crate::http::http;
use crate::wait::eventually;

/// How long the gateway may take to answer after Helm has said that it is there.
const ANSWERS: Duration = Duration::from_secs(30);

/// Runs `helm` and gives what it prints.
///
/// # Errors
/// When it fails.
pub async fn helm(arguments: &[&str]) -> Result<String> {
    run("helm", arguments, "").await
}

/// A release that may be installed, of the chart mcp-gateway.
#[derive(Debug)]
pub struct Release {
    name: String,
    namespace: String,
    values: NamedTempFile,
}

impl Release {
    /// The one that the tests' cluster has, with its values.
    ///
    /// # Errors
    /// When there is none.
    pub async fn main(cluster: &Cluster) -> Result<Self> {
        let arguments = ["--namespace", &cluster.system, "get", "values", "mcp-gateway", "--output", "json"];
        let mut values = NamedTempFile::new()?;
        values.write_all(helm(&arguments).await?.as_bytes())?;
        Ok(Self { name: "mcp-gateway".into(), namespace: cluster.system.clone(), values })
    }

    /// Another one, with the values of this one.
    ///
    /// # Errors
    /// When they cannot be copied.
    pub fn another(&self, name: &str, namespace: &str) -> Result<Self> {
        let mut values = NamedTempFile::new()?;
        values.write_all(&std::fs::read(self.values.path())?)?;
        Ok(Self { name: name.into(), namespace: namespace.into(), values })
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A chart of this checkout.
    pub fn chart(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts").join(name)
    }

    /// Runs `helm` in its namespace.
    ///
    /// # Errors
    /// When it fails.
    pub async fn helm(&self, arguments: &[&str]) -> Result<String> {
        helm(&[&["--namespace", &self.namespace], arguments].concat()).await
    }

    /// Installs or upgrades it with a chart, and waits until it answers.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn install(&self, chart: &Path, options: &[&str]) -> Result<()> {
        let chart = chart.to_str().context("the path of the chart is no text")?;
        let values = self.values.path().to_str().context("the path of the values is no text")?;
        let command = ["upgrade", "--install", &self.name, chart, "--values", values, "--wait", "--timeout", "3m"];
        self.helm(&[&command, options].concat()).await?;
        self.answers().await
    }

    /// Goes back to an earlier revision, and waits until it answers.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn roll_back(&self, revision: &str) -> Result<()> {
        self.helm(&["rollback", &self.name, revision, "--wait", "--timeout", "3m"]).await?;
        self.answers().await
    }

    /// Removes it, and waits until its pods are gone.
    ///
    /// # Errors
    /// When it stays.
    pub async fn uninstall(&self) -> Result<()> {
        self.helm(&["uninstall", &self.name, "--wait", "--timeout", "3m", "--ignore-not-found"]).await.map(drop)
    }

    /// The newest revision.
    ///
    /// # Errors
    /// When there is none.
    pub async fn revision(&self) -> Result<String> {
        let told = self.helm(&["history", &self.name, "--max", "1", "--output", "json"]).await?;
        let history: Value = serde_json::from_str(&told)?;
        history[0]["revision"].as_i64().map(|number| number.to_string()).context("it has no revision")
    }

    /// How tests reach it: its address from here (clusters of our own only), and its first key.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn cluster(&self, main: &Cluster) -> Result<Cluster> {
        let of = async |what: &str, path: &str| {
            let path = format!("jsonpath={path}");
            kubectl(&["--namespace", &self.namespace, "get", what, "--output", &path]).await
        };
        let address = of(&format!("service/{}", self.name), "{.spec.clusterIP}").await?;
        let key = of(&format!("secret/{}-first-key", self.name), "{.data.key}").await?;
        let key = String::from_utf8(BASE64_STANDARD.decode(key)?)?;
        Ok(Cluster { url: format!("http://{address}"), key, system: self.namespace.clone(), ..main.clone() })
    }

    async fn answers(&self) -> Result<()> {
        let path = "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}";
        let service = format!("service/{}", self.name);
        let address = kubectl(&["--namespace", &self.namespace, "get", &service, "--output", path]).await?;
        let url = format!("http://{address}/healthz");
        let look = async || http("GET", &url, &[], "").await.ok().filter(|answer| answer.status == 200);
        eventually(ANSWERS, format!("{url} to answer"), look).await.map(drop)
    }
}
