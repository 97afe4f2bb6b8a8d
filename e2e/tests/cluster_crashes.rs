//! What the status says of servers that end again and again: it is true at every moment.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::cluster::{Cluster, Namespace};
use serde_json::json;

/// How long what was told must stay the same.
const STEADY: Duration = Duration::from_secs(12);

#[tokio::test]
async fn what_ends_again_and_again_is_said_to_at_every_moment() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("ends").await.unwrap();
    let fault = |fault: &str| json!({"args": ["--fault", fault], "resources": {"limits": {"memory": "64Mi"}}});
    place.server("crash", &cluster.program(&fault("exit-at-start=7")).unwrap()).await.unwrap();
    place.server("memory", &cluster.program(&fault("eat-memory=268435456")).unwrap()).await.unwrap();
    place.server("ports", &cluster.program(&fault("listen=8080")).unwrap()).await.unwrap();
    // A container that ends, not a process in it: a header that no request can have.
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bad"}, "stringData": {"value": "a\nb"}});
    place.apply(&secret.to_string()).await.unwrap();
    let headers = json!([{"name": "X-Token", "valueFrom": {"secretKeyRef": {"name": "bad", "key": "value"}}}]);
    place.server("container", &json!({"url": "http://absent/mcp", "headers": headers})).await.unwrap();

    let words = ["exited with code 7", "told to exit with 7"];
    place.told("crash", ("Available", "CrashLoop"), &words).await.unwrap();
    place.told("crash", ("Verified", "ProcessFailed"), &words).await.unwrap();
    let words = ["container `server` used more memory than it may", "raise spec.resources.limits.memory"];
    place.told("memory", ("Available", "OutOfMemory"), &words).await.unwrap();
    let words =
        ["cannot listen on port 8080: Address already in use", "ports 8080 and 8081 of the pod are the sidecar's"];
    place.told("ports", ("Available", "CrashLoop"), &words).await.unwrap();
    let words = ["container `sidecar`", "ends again and again", "exited with code 2", "`X-Token` cannot be sent"];
    place.told("container", ("Available", "CrashLoop"), &words).await.unwrap();

    let exit = async |name: &str| place.get(&["mcpserver", name]).await.map(|mut it| it["status"]["lastExit"].take());
    assert_eq!(exit("crash").await.unwrap()["code"], 7);
    assert_eq!(exit("container").await.unwrap()["code"], 2);
    let memory = exit("memory").await.unwrap();
    assert_eq!((&memory["outOfMemory"], &memory["signal"]), (&json!(true), &json!(9)), "{memory}");

    let end = tokio::time::Instant::now() + STEADY;
    while tokio::time::Instant::now() < end {
        for (name, reason) in [("crash", "CrashLoop"), ("memory", "OutOfMemory"), ("container", "CrashLoop")] {
            assert_eq!(available(&place, name).await.unwrap(), reason, "{name}");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The reason of the condition `Available`.
async fn available(place: &Namespace, name: &str) -> Result<String> {
    let server = place.get(&["mcpserver", name]).await?;
    let mut conditions = server["status"]["conditions"].as_array().into_iter().flatten();
    let condition = conditions.find(|it| it["type"] == "Available").context("nothing is said of Available")?;
    Ok(condition["reason"].as_str().unwrap_or_default().to_owned())
}
