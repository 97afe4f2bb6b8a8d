//! A package cache on a volume: it outlives the pods, and another request is installed anew.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::cluster::{Namespace, Volume, is_ready};
use e2e::eventually;
use serde_json::json;

/// How long pods may take to come and to go.
const PODS: Duration = Duration::from_secs(180);

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
    let place = Namespace::new("volume").await.unwrap();
    let volume = Volume::new(&place, "cached").await.unwrap();
    let cache = volume.claim(&place, "cache").await.unwrap();
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
