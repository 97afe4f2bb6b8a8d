//! What the documents say of Kubernetes is true: their commands are run, one after the other.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::client::HttpClient;
use e2e::cluster::{Cluster, Namespace};
use e2e::document::{blocks, printed};
use e2e::harness::{Bin, Launch};
use e2e::{PATIENCE, eventually};
use serde_json::json;

/// How long all of it may take: packages are fetched.
const LIMIT: Duration = Duration::from_secs(600);

/// Runs the scripts as one, as a reader's shell does, and gives what they are to print and what they print.
async fn run(document: &str, system: &str) -> Result<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let text = std::fs::read_to_string(root.join(document))?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let here = |text: &str| text.replace("8080", &port.to_string()).replace("mcp-system", system);
    let blocks = blocks(&text, "sh cluster");
    let written: Vec<_> = blocks.iter().map(|block| here(&block.output)).collect();
    let script: String = blocks.iter().map(|block| here(&block.script) + "\n").collect();
    let programs = Bin::Gateway.path()?;
    let programs = programs.parent().context("a program is in a folder")?.display();
    let script = format!("cd '{}'\nPATH='{programs}':$PATH\n{script}", root.display());
    let mut shell = Launch::program("bash").args(["-euo", "pipefail", "-c", &script]).spawn()?;
    let status = shell.wait(LIMIT).await.with_context(|| shell.output());
    let (output, complaints) = (shell.output(), shell.logs());
    ensure!(status?.success(), "the commands printed: {output}\nand: {complaints}");
    Ok((written.join("\n"), output))
}

#[tokio::test]
async fn the_commands_for_kubernetes_work_and_print_what_is_written() {
    let cluster = Cluster::get().unwrap();
    let _deployed = Namespace::existing(&cluster.system, &["new-york"]);
    let _applied = Namespace::existing("default", &["time"]);
    let (written, output) = run("README.md", &cluster.system).await.unwrap();
    assert!(printed(&written, &output), "written:\n{written}\nprinted:\n{output}");
}

#[tokio::test]
async fn a_client_key_is_added_to_a_cluster_as_the_documents_say() {
    let cluster = Cluster::get().unwrap();
    let (written, output) = run("docs/operations.md", &cluster.system).await.unwrap();
    assert!(printed(&written, &output), "written:\n{written}\nprinted:\n{output}");
    let key = output.lines().find(|line| line.starts_with("mgw_")).unwrap();
    for key in [key, &cluster.key] {
        let caller = Cluster { key: key.to_owned(), ..cluster.clone() };
        let known = async || HttpClient::connect_with(&cluster.url("/mcp"), caller.client("2025-11-25")).await.ok();
        eventually(PATIENCE, "the gateway to know the key", known).await.unwrap();
    }
    // It may call, and nothing else.
    let refused = cluster.request_as(key, "POST", "/deploy", &json!({"mcpServers": {}})).await.unwrap();
    assert_eq!(refused.status, 403);
}
