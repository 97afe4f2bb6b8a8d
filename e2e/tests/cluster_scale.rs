//! Many servers before a control plane without nodes (`hack/on-cluster --control-plane-only`): what they cost the operator,
//! which runs here, with the rights that the chart gives it. `E2E_FULL=1`: a thousand of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Release, Request, helm, kubectl, kubectl_with, note, requests_of};
use e2e::harness::{Bin, Launch, Program};
use e2e::{eventually, within};
use serde_json::{Value, json};

/// So many servers are there before memory is measured; the small version of the test is these.
const FIRST: usize = 50;
const SYSTEM: &str = "mcp-system";
const ACCOUNT: &str = "mcp-gateway-operator";
const PLACE: &str = "scale";
/// How long all of them may take.
const CONVERGED: Duration = Duration::from_secs(900);
/// Nobody has written for so long: all is done.
const QUIET: Duration = Duration::from_secs(15);
/// How long is watched that nothing is written.
const REST: Duration = Duration::from_secs(60);
/// The most writes that a server may take on the whole, events aside.
const WRITES: usize = 8;
/// The most memory that a server may take in the operator, in bytes.
const MEMORY: u64 = 12 << 10;

fn is_full() -> bool {
    std::env::var_os("E2E_FULL").is_some()
}

/// The charts, without pods of their own.
async fn install() -> Result<()> {
    for (chart, options) in [("mcp-gateway-crds", ""), ("mcp-gateway", "operator.replicas=0,gateway.replicas=0")] {
        let path = Release::chart(chart);
        let path = path.to_str().context("the path of the chart is no text")?;
        let command = ["upgrade", "--install", chart, path, "--namespace", SYSTEM, "--create-namespace"];
        helm(&[&command, &["--set", options][..if options.is_empty() { 0 } else { 2 }]].concat()).await?;
    }
    kubectl(&["wait", "--for=condition=Established", "crd/mcpservers.mcpgateway.dev", "--timeout=60s"]).await?;
    kubectl(&["create", "namespace", PLACE]).await.map(drop)
}

/// The operator as the chart runs it, by a token of its service account.
async fn operator(folder: &Path) -> Result<Program> {
    let mut config: Value = serde_json::from_str(&kubectl(&["config", "view", "--raw", "-o", "json"]).await?)?;
    let token = kubectl(&["--namespace", SYSTEM, "create", "token", ACCOUNT, "--duration=2h"]).await?;
    config["users"][0]["user"] = json!({"token": token.trim()});
    let kubeconfig = folder.join("kubeconfig");
    std::fs::write(&kubeconfig, config.to_string())?;
    let operator = Launch::new(Bin::Operator)?
        .args(["run", "--namespace", SYSTEM, "--lease-name", ACCOUNT, "--admin", "127.0.0.1:0"])
        .args(["--operator-keys-secret", "mcp-gateway-operator-keys"])
        .args(["--sidecar-image", "sidecar", "--runner-image", "runner"])
        .env("KUBECONFIG", kubeconfig.to_str().context("the path is no text")?)
        .spawn()?;
    operator.wait_log("this operator works now").await?;
    Ok(operator)
}

/// The memory of a program that is no file's, in bytes.
fn memory(program: &Program) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

/// What the operator has written, the lease and events aside.
fn writes() -> Result<Vec<Request>> {
    let counts = |request: &Request| {
        request.writes() && !matches!(request.resource.as_str(), "leases" | "events") && request.resource != "secrets"
    };
    Ok(requests_of(SYSTEM, ACCOUNT)?.into_iter().filter(counts).collect())
}

async fn create(numbers: Range<usize>) -> Result<()> {
    if numbers.is_empty() {
        return Ok(());
    }
    let mut manifests = String::new();
    for number in numbers {
        let metadata = json!({"name": format!("s{number:04}"), "namespace": PLACE});
        let spec = json!({"command": "/server", "image": "server"});
        let server =
            json!({"apiVersion": "mcpgateway.dev/v1alpha1", "kind": "McpServer", "metadata": metadata, "spec": spec});
        writeln!(manifests, "---\n{server}")?;
    }
    kubectl_with(&["create", "-f", "-"], &manifests).await.map(drop)
}

/// Waits until all of them have been worked on, and all that Kubernetes makes of that is told.
async fn converged(count: usize) -> Result<()> {
    let look = async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let told = kubectl(&["--namespace", PLACE, "get", "mcpservers", "-o", "json"]).await.ok()?;
        let servers: Value = serde_json::from_str(&told).ok()?;
        let done = |server: &&Value| {
            let status = &server["status"];
            let accepted = status["conditions"].as_array().into_iter().flatten();
            let accepted = accepted.into_iter().any(|it| it["type"] == "Accepted" && it["status"] == "True");
            accepted && status["observedGeneration"] == server["metadata"]["generation"] && status["replicas"] == 1
        };
        (servers["items"].as_array()?.iter().filter(done).count() == count).then_some(())
    };
    eventually(CONVERGED, format!("{count} servers"), look).await?;
    within(CONVERGED, "nothing to be written any more", async {
        let mut before = usize::MAX;
        loop {
            let now = writes()?.len();
            if now == before {
                return Ok(());
            }
            before = now;
            tokio::time::sleep(QUIET).await;
        }
    })
    .await
}

/// How many of the writes were for which server: all that it has begins with its name.
fn by_server(writes: &[Request]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for write in writes {
        let server = write.name.split('-').next().unwrap_or_default();
        *counts.entry(server).or_default() += 1;
    }
    counts
}

/// Writes by kind and outcome, for people.
fn by_kind(writes: &[Request]) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for Request { verb, resource, code, .. } in writes {
        *kinds.entry(format!("{verb} {resource} {code}")).or_default() += 1;
    }
    kinds
}

#[tokio::test]
async fn many_servers_come_to_rest_after_few_writes_each() {
    let (count, folder) = (if is_full() { 1000 } else { FIRST }, tempfile::tempdir().unwrap());
    install().await.unwrap();
    let operator = operator(folder.path()).await.unwrap();
    let start = Instant::now();
    create(0..FIRST).await.unwrap();
    converged(FIRST).await.unwrap();
    // What it takes for any number of servers is there by now.
    let before = memory(&operator).unwrap();
    create(FIRST..count).await.unwrap();
    converged(count).await.unwrap();
    let (took, all) = (start.elapsed(), writes().unwrap());
    tokio::time::sleep(REST).await;
    let at_rest = writes().unwrap().split_off(all.len());
    let after = memory(&operator).unwrap();
    let counts = by_server(&all);
    let most = counts.iter().max_by_key(|(_, count)| **count).unwrap();
    note(&format!(
        "{count} servers in {took:?}, with the quiet at the end: {} writes, at most {most:?}, then {} in {REST:?}; {:?}",
        all.len(),
        at_rest.len(),
        by_kind(&all)
    ));
    assert_eq!(counts.len(), count);
    let of_most: Vec<_> = all.iter().filter(|it| it.name.starts_with(*most.0)).collect();
    // On the whole: who is looked at in between, on a machine that is busy, is told of one state more.
    assert!(all.len() <= WRITES * count, "{most:?}: {of_most:#?}");
    assert!(at_rest.is_empty(), "{at_rest:#?}");
    if count > FIRST {
        check_memory(before, after, count - FIRST).unwrap();
    }
}

fn check_memory(before: u64, after: u64, servers: usize) -> Result<()> {
    let each = after.saturating_sub(before) / u64::try_from(servers)?;
    note(&format!("the operator: {before} bytes with {FIRST} servers, {after} with {servers} more: {each} each"));
    ensure!(each <= MEMORY, "each server takes {each} bytes of the operator");
    Ok(())
}
