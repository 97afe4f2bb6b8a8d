//! Keys that the programs of a release share are replaced while they are in use.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::client::{Client, HttpClient};
use e2e::cluster::{Cluster, Namespace};
use e2e::within;
use serde_json::json;

/// How long pods may take to know a key: the kubelet looks every minute.
const KNOWN: Duration = Duration::from_secs(240);
/// How long is watched what happens without the old key: longer than tokens live.
const AFTER: Duration = Duration::from_secs(70);
const PAUSE: Duration = Duration::from_millis(100);

/// One call, of the same process as ever.
async fn call(client: &HttpClient, pid: &str) -> Result<()> {
    let same = client.tool_text("pid", json!({})).await?;
    ensure!(same == pid, "the process is {same} and was {pid}");
    tokio::time::sleep(PAUSE).await;
    Ok(())
}

#[tokio::test]
async fn sessions_go_on_while_the_keys_of_hop_and_seal_are_replaced() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("keys").await.unwrap();
    place.serve(&cluster, "lasting", &json!({})).await.unwrap();
    let client = cluster.connect(&place, "lasting").await.unwrap();
    let pid = client.tool_text("pid", json!({})).await.unwrap();

    cluster.add_seal_key().await.unwrap();
    let kid = cluster.add_hop_key().await.unwrap();
    let signs = within(KNOWN, "the new key to sign", async {
        while cluster.signing_hop_key().await? != kid {
            call(&client, &pid).await?;
        }
        Ok(())
    });
    signs.await.unwrap();
    cluster.keep_hop_key(&kid).await.unwrap();
    let end = tokio::time::Instant::now() + AFTER;
    while tokio::time::Instant::now() < end {
        call(&client, &pid).await.unwrap();
    }
    // Who comes now knows the new key only.
    place.serve(&cluster, "later", &json!({})).await.unwrap();
    let later = cluster.connect(&place, "later").await.unwrap();
    assert_eq!(later.tool_text("echo", json!({"text": "later"})).await.unwrap(), "later");
    call(&client, &pid).await.unwrap();
}
