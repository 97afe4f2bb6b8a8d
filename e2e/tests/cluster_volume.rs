//! A package cache on a volume: it outlives the pods, and another request is installed anew.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::cluster::{Cluster, Namespace, is_ready, kubectl, kubectl_with};
use e2e::eventually;
use serde_json::json;

/// How long pods may take to come and to go.
const PODS: Duration = Duration::from_secs(180);

/// A folder of the node as a volume: clusters for tests have nobody who makes volumes. Gone with the test.
struct Volume {
    name: String,
}

impl Volume {
    /// It, and a claim for it in the namespace of the test, where everybody may write.
    async fn new(cluster: &Cluster, place: &Namespace) -> Result<Self> {
        let (name, path) = (format!("{}-volume", place.name()), format!("/run/mcp-test/{}", place.name()));
        let volume = Self { name: name.clone() };
        let size = json!({"storage": "1Gi"});
        let persistent = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {"capacity": size, "accessModes": ["ReadWriteMany"], "storageClassName": "",
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": path, "type": "DirectoryOrCreate"},
                "claimRef": {"namespace": place.name(), "name": "cache"}}});
        kubectl_with(&["apply", "-f", "-"], &persistent.to_string()).await?;
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "cache"},
            "spec": {"accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeName": name,
                "resources": {"requests": size}}});
        place.apply(&claim.to_string()).await?;
        open(cluster, &name, &path).await?;
        Ok(volume)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("kubectl").args(["delete", "--wait=false", "pv", &self.name]).output();
        let _ = Command::new("kubectl").args(["delete", "--wait=false", "pod", &self.name]).output();
    }
}

/// Lets everybody write into a folder of the node: a pod of root does, where such are let in.
async fn open(cluster: &Cluster, name: &str, path: &str) -> Result<()> {
    let container = json!({"name": "open", "image": cluster.runner().await?, "imagePullPolicy": "IfNotPresent",
        "command": ["chmod", "0777", "/volume"], "securityContext": {"runAsUser": 0, "runAsNonRoot": false},
        "volumeMounts": [{"name": "volume", "mountPath": "/volume"}]});
    let volume = json!({"name": "volume", "hostPath": {"path": path, "type": "DirectoryOrCreate"}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {"restartPolicy": "Never", "containers": [container], "volumes": [volume]}});
    kubectl_with(&["apply", "-f", "-"], &pod.to_string()).await?;
    let done = "--for=jsonpath={.status.phase}=Succeeded";
    kubectl(&["wait", "--namespace", "default", done, &format!("pod/{name}"), "--timeout=60s"]).await.map(drop)
}

/// What is installed on the volume, as the one pod that is ready sees it.
async fn installations(place: &Namespace) -> Result<(String, Vec<String>)> {
    let pods = place.pods("cached").await?;
    let [pod] = &pods[..] else { anyhow::bail!("there are {} pods", pods.len()) };
    let name = Some(pod)
        .filter(|pod| is_ready(pod))
        .and_then(|pod| pod["metadata"]["name"].as_str())
        .context("it is not ready")?;
    let folders = "ls -d /var/cache/mcp/mcp-server-time-*/";
    let listed = place.kubectl(&["exec", name, "-c", "server", "--", "sh", "-c", folders]).await?;
    Ok((name.to_owned(), listed.lines().map(ToOwned::to_owned).collect()))
}

/// As [`installations`], of another pod than this.
async fn of_another_pod(place: &Namespace, before: &str) -> Result<(String, Vec<String>)> {
    let other = async || installations(place).await.ok().filter(|(pod, _)| pod != before);
    eventually(PODS, "another pod to be ready", other).await
}

#[tokio::test]
async fn what_is_installed_outlives_the_pod_until_an_update_is_asked_for() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("volume").await.unwrap();
    let _volume = Volume::new(&cluster, &place).await.unwrap();
    let cache = json!({"medium": "PersistentVolumeClaim", "claimName": "cache"});
    let spec = json!({"command": "uvx", "args": ["mcp-server-time"], "packages": {"cache": cache}});
    place.server("cached", &spec).await.unwrap();
    let (first, installed) = of_another_pod(&place, "").await.unwrap();
    assert_eq!(installed.len(), 1, "{installed:?}");

    place.kubectl(&["delete", "pod", &first]).await.unwrap();
    let (second, again) = of_another_pod(&place, &first).await.unwrap();
    assert_eq!(again, installed);

    let update = r#"{"spec":{"packages":{"update":"2026-11-27"}}}"#;
    place.kubectl(&["patch", "mcpserver", "cached", "--type=merge", "-p", update]).await.unwrap();
    let (_, anew) = of_another_pod(&place, &second).await.unwrap();
    assert_eq!(anew.len(), 2, "{anew:?}");
    assert!(anew.contains(&installed[0]), "what others may use stays: {anew:?}");
}
