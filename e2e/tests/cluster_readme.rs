//! What README.md says of Kubernetes is true: its commands are run, one after the other.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, Namespace};
use e2e::document::{blocks, printed};
use e2e::harness::Launch;

/// How long all of it may take: packages are fetched.
const LIMIT: Duration = Duration::from_secs(600);

/// Runs the scripts as one, as a reader's shell does, and gives what they are to print and what they print.
async fn run(system: &str) -> Result<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let readme = std::fs::read_to_string(root.join("README.md"))?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let here = |text: &str| text.replace("8080", &port.to_string()).replace("mcp-system", system);
    let blocks = blocks(&readme, "sh cluster");
    let written: Vec<_> = blocks.iter().map(|block| here(&block.output)).collect();
    let script: String = blocks.iter().map(|block| here(&block.script) + "\n").collect();
    let script = format!("cd '{}'\n{script}", root.display());
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
    let (written, output) = run(&cluster.system).await.unwrap();
    assert!(printed(&written, &output), "written:\n{written}\nprinted:\n{output}");
}
