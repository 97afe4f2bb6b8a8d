//! What was installed on a volume outlives the pod that installed it.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::client::Client;
use e2e::cluster::{Cluster, Namespace, has_machine, kubectl, kubectl_with, state_folder};
use e2e::eventually;
use serde_json::{Value, json};

/// How long it may take until another pod is ready.
const PODS: Duration = Duration::from_secs(240);

/// A volume on node 1, of a class of its own. Where a cluster has classes, its default serves.
struct Volume {
    name: String,
}

impl Volume {
    /// Kubernetes hands a folder that it calls `local` over to the group of the pod, and others not.
    async fn new(place: &Namespace, server: &str) -> Result<Self> {
        let name = format!("{}-{server}", place.name());
        fs::create_dir_all(state_folder()?.join("volumes").join(&name))?;
        let on_node = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]});
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": name,
                "persistentVolumeReclaimPolicy": "Retain", "local": {"path": format!("/run/cluster/volumes/{name}")},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_node]}]}},
            },
        });
        kubectl_with(&["apply", "-f", "-"], &volume.to_string()).await?;
        Ok(Self { name })
    }

    async fn remove(self) -> Result<()> {
        kubectl(&["delete", "persistentvolume", &self.name, "--wait=false"]).await.map(drop)
    }
}

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
    let volume = if has_machine() { Some(Volume::new(place, server).await?) } else { None };
    let mut cache = json!({"medium": "PersistentVolumeClaim", "size": "1Gi"});
    if let Some(volume) = &volume {
        cache["storageClassName"] = json!(volume.name);
    }
    spec["packages"] = json!({"cache": cache});
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
    match volume {
        Some(volume) => volume.remove().await,
        None => Ok(()),
    }
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
