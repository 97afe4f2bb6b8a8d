//! The official clients against the gateway of a cluster, at the addresses that everybody uses.

use anyhow::Result;
use e2e::cluster::{Cluster, Namespace, run};
use e2e::matrix::{Cell, Path, repository, run_all, version};
use serde_json::json;

/// Every version of either SDK, and either SDK at every address; without a cluster `sdk.rs` has all that there are.
const CELLS: [(&str, &str); 8] = [
    ("python-v1-sse", "/time/sse"),
    ("python-v1", "/mcp"),
    ("python-v2", "/everything/mcp"),
    ("python-v2-sse", "/sse"),
    ("ts-v1", "/everything/mcp"),
    ("ts-v1-sse", "/sse"),
    ("ts-v2-sse", "/time/sse"),
    ("ts-v2", "/mcp"),
];

/// Installs what the clients run with, where it is missing.
async fn tools() -> Result<()> {
    let tools = repository().join("hack/tools");
    run(&tools.to_string_lossy(), &["uv", "node", "python-clients", "ts-clients"], "").await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_official_sdk_works_with_servers_on_a_cluster() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::existing("default", &["time", "everything"]);
    let time = format!("mcp-server-time@{}", version("SERVER_TIME").unwrap());
    let everything = format!("@modelcontextprotocol/server-everything@{}", version("SERVER_EVERYTHING").unwrap());
    place.server("time", &json!({"command": "uvx", "args": [time]})).await.unwrap();
    place.server("everything", &json!({"command": "npx", "args": ["-y", everything]})).await.unwrap();
    tools().await.unwrap();
    for name in ["time", "everything"] {
        place.wait_ready(name).await.unwrap();
        cluster.session(&place, name).await.unwrap();
    }
    let rows = CELLS.map(|(client, address)| {
        let server = if address == "/time/sse" { "time" } else { "everything" };
        let path = if ["/sse", "/mcp"].contains(&address) { Path::All } else { Path::Own };
        let cell = Cell { client: client.into(), server: server.into(), path, in_matrix: false };
        vec![(cell, cluster.url(address))]
    });
    run_all(rows.into(), Some(&cluster.key)).await.unwrap();
}
