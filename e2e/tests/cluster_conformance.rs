//! The public conformance suite through a gateway and pods of a cluster, whose server is on this machine.

use anyhow::{Result, ensure};
use e2e::cluster::{Cluster, Namespace, has_machine, host_address, note};
use e2e::conformance::Findings;
use e2e::harness::{Bin, Launch};
use e2e::with_key::WithKey;
use serde_json::json;

/// What is required of each revision, and how much of that passes without anything in front of the server.
const REQUIRED: [(&str, (usize, usize)); 2] = [("2025-11-25", (83, 0)), ("2026-07-28", (197, 0))];

#[tokio::test]
async fn a_gateway_and_pods_change_nothing_that_a_server_is_found_to_do() {
    let cluster = Cluster::get().unwrap();
    if !has_machine() {
        return note("this machine is reached from the pods of a cluster of our own only");
    }
    let place = Namespace::new("conformance").await.unwrap();
    let listen = format!("{}:0", host_address().unwrap());
    let server = Launch::new(Bin::Conformance).unwrap().args(["--listen", &listen]).listen().await.unwrap();
    place.server("suite", &json!({"url": server.url("/mcp")})).await.unwrap();
    place.wait_ready("suite").await.unwrap();
    cluster.connect(&place, "suite").await.unwrap();
    let door = WithKey::start(&cluster.url, &cluster.key).await.unwrap();
    let path = cluster.address(&place, "suite").replace(&cluster.url, "");
    for (revision, expected) in REQUIRED {
        found(&format!("{}{path}", door.url), revision, expected).await.unwrap();
    }
}

async fn found(url: &str, revision: &str, expected: (usize, usize)) -> Result<()> {
    let findings = Findings::of_server(url, &["--requirements", revision]).await?;
    ensure!(findings.totals() == expected, "{revision}: {findings:?}");
    Ok(())
}
