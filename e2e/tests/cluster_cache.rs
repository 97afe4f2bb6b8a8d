//! What was installed on a volume outlives the pod that installed it.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::client::Client;
use e2e::cluster::{Cluster, Namespace, Volume};
use e2e::eventually;
use serde_json::{Value, json};

/// How long it may take until another pod is ready.
const PODS: Duration = Duration::from_secs(240);

/// The name of the only pod, which is ready and another than before, and what its sidecar has said.
async fn pod_after(place: &Namespace, server: &str, before: &str) -> Result<(String, String)> {
    let look = async || {
        let pods = place.wait_pods(server, 1).await.ok()?;
        pods[0]["metadata"]["name"].as_str().filter(|name| *name != before).map(ToOwned::to_owned)
    };
    let name = eventually(PODS, format!("another pod of {server} than {before:?}"), look).await?;
    let said = place.kubectl(&["logs", &name, "--container", "sidecar"]).await?;
    Ok((name, said))
}

async fn check(cluster: &Cluster, place: &Namespace, server: &str, mut spec: Value) -> Result<()> {
    let volume = Volume::new(place, server).await?;
    spec["packages"] = json!({"cache": volume.cache()});
    place.server(server, &spec).await?;
    place.wait_ready(server).await?;
    let (first, said) = pod_after(place, server, "").await?;
    ensure!(said.contains("installing"), "{first} says nothing of an installation: {said}");

    // Another pod finds what the first has installed.
    place.kubectl(&["delete", "pod", &first]).await?;
    let (second, said) = pod_after(place, server, &first).await?;
    ensure!(!said.contains("installing"), "{second} says: {said}");

    // And needs no registry.
    spec["packages"]["offline"] = json!(true);
    place.server(server, &spec).await?;
    let (third, said) = pod_after(place, server, &second).await?;
    ensure!(!said.contains("installing"), "{third} says: {said}");
    place.wait_ready(server).await?;
    let client = cluster.connect(place, server).await?;
    ensure!(!client.list("tools/list", "tools").await?.is_empty(), "it has no tools");
    Ok(())
}

#[tokio::test]
async fn a_python_package_on_a_volume_is_installed_once_and_starts_offline() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("cache").await.unwrap();
    let spec = json!({"command": "uvx", "args": ["mcp-server-time"]});
    check(&cluster, &place, "python", spec).await.unwrap();
}

#[tokio::test]
async fn an_npm_package_on_a_volume_is_installed_once_and_starts_offline() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("cache").await.unwrap();
    let spec = json!({"command": "npx", "args": ["-y", "@modelcontextprotocol/server-everything"]});
    check(&cluster, &place, "npm", spec).await.unwrap();
}
