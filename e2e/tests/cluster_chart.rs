//! The life of a release, with servers that outlive it. It takes the release of the cluster away and brings it back, so it
//! runs when no other test does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::client::{Client, HttpClient};
use e2e::cluster::{Cluster, Namespace, Release, has_machine, helm, kubectl, machine, note, run, session_at};
use e2e::eventually;
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// How long pods may take to go.
const GONE: Duration = Duration::from_secs(90);
/// One test at a time.
static TURN: Mutex<()> = Mutex::const_new(());

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate is in the workspace's folder")
}

async fn git(arguments: &[&str]) -> Result<String> {
    let root = root().to_str().context("the path is no text")?;
    let told = run("git", &[&["-C", root], arguments].concat(), "").await?;
    Ok(told.trim().to_owned())
}

/// The charts as they were before their last change, in a folder.
async fn charts_before(folder: &Path) -> Result<PathBuf> {
    let last = git(&["log", "--max-count=1", "--format=%H", "--", "charts"]).await?;
    let before = git(&["rev-parse", "--verify", "--quiet", &format!("{last}^")]).await?;
    let archive = folder.join("charts.tar");
    let archive = archive.to_str().context("the path is no text")?;
    git(&["archive", "--output", archive, &before, "charts"]).await?;
    run("tar", &["-xf", archive, "-C", folder.to_str().context("the path is no text")?], "").await?;
    note(&format!("the chart before is that of {before}"));
    Ok(folder.join("charts/mcp-gateway"))
}

/// Checks that the process behind a session is still the same, and answers.
async fn goes_on(release: &Release, main: &Cluster, place: &Namespace, session: &str, pid: &str) -> Result<()> {
    let now = release.cluster(main).await?;
    let client = session_at(&now.address(place, "lasting"), &now, session);
    let same = client.tool_text("pid", json!({})).await?;
    ensure!(same == pid, "the process is {same} and was {pid}");
    Ok(())
}

/// Waits until nothing of the release runs any more: its pods let calls finish.
async fn gone(cluster: &Cluster) -> Result<()> {
    let left = ["get", "deployments,pods,services", "--namespace", &cluster.system, "-o", "name"];
    let left = [&left[..], &["-l", "app.kubernetes.io/instance=mcp-gateway"]].concat();
    eventually(GONE, "the release to go", async || kubectl(&left).await.ok()?.is_empty().then_some(())).await
}

async fn pods(place: &Namespace) -> Result<Vec<Value>> {
    Ok(place.pods("lasting").await?.iter().map(|pod| pod["metadata"]["uid"].clone()).collect())
}

#[tokio::test]
async fn servers_and_their_sessions_live_on_while_a_release_is_removed_installed_upgraded_and_rolled_back() {
    let _turn = TURN.lock().await;
    let (cluster, folder) = (Cluster::get().unwrap(), tempfile::tempdir().unwrap());
    if !has_machine() {
        return note("the release of this cluster is somebody else's: it stays");
    }
    let release = Release::main(&cluster).await.unwrap();
    let newest = Release::chart("mcp-gateway");
    let place = Namespace::new("lasting").await.unwrap();
    place.serve(&cluster, "lasting", &json!({})).await.unwrap();
    let client = release.cluster(&cluster).await.unwrap().connect(&place, "lasting").await.unwrap();
    let pid = client.tool_text("pid", json!({})).await.unwrap();
    let (session, before) = (client.session().unwrap(), pods(&place).await.unwrap());
    release.helm(&["test", "mcp-gateway", "--timeout", "2m"]).await.unwrap();

    // Removed, with the chart of the definition: what people made stays, and runs.
    release.uninstall().await.unwrap();
    release.helm(&["uninstall", "mcp-gateway-crds", "--wait"]).await.unwrap();
    gone(&cluster).await.unwrap();
    assert_eq!(place.get(&["mcpserver", "lasting"]).await.unwrap()["metadata"]["deletionTimestamp"], Value::Null);
    assert_eq!(pods(&place).await.unwrap(), before);
    place.wait_pods("lasting", 1).await.unwrap();

    // Installed again, as it was before the last change; then upgraded, rolled back, and upgraded once more.
    let crds = Release::chart("mcp-gateway-crds");
    let crds = crds.to_str().unwrap();
    release.helm(&["upgrade", "--install", "mcp-gateway-crds", crds, "--wait"]).await.unwrap();
    let (old, more) = match charts_before(folder.path()).await {
        Ok(old) => (old, vec![]),
        Err(error) => {
            note(&format!("no chart before this one ({error:#}): the upgrade is one of values"));
            (newest.clone(), vec!["--set", "gateway.logLevel=debug"])
        }
    };
    release.install(&old, &more).await.unwrap();
    let first = release.revision().await.unwrap();
    goes_on(&release, &cluster, &place, &session, &pid).await.unwrap();
    release.install(&newest, &[]).await.unwrap();
    goes_on(&release, &cluster, &place, &session, &pid).await.unwrap();
    release.roll_back(&first).await.unwrap();
    goes_on(&release, &cluster, &place, &session, &pid).await.unwrap();
    release.install(&newest, &[]).await.unwrap();
    goes_on(&release, &cluster, &place, &session, &pid).await.unwrap();
    assert_eq!(pods(&place).await.unwrap(), before);

    // And the operator works.
    place.serve(&cluster, "later", &json!({})).await.unwrap();
    release.cluster(&cluster).await.unwrap().connect(&place, "later").await.unwrap();
    release.helm(&["test", "mcp-gateway", "--timeout", "2m"]).await.unwrap();
}

/// What one namespace of its own has, of a release that is limited to it.
async fn check_limited(main: &Cluster, release: &Release, place: &Namespace, other: &Namespace) -> Result<()> {
    let own = release.cluster(main).await?;
    place.serve(&own, "limited", &json!({"args": ["--name", place.name()]})).await?;
    let client = own.connect(place, "limited").await?;
    ensure!(client.server()["serverInfo"]["name"] == place.name(), "{}", client.server());
    let elsewhere = own.address(other, "limited");
    let refused = HttpClient::connect_with(&elsewhere, own.client("2025-11-25")).await;
    ensure!(refused.is_err_and(|error| format!("{error:#}").contains("404")), "{elsewhere} is served");
    Ok(())
}

#[tokio::test]
async fn releases_that_are_limited_to_namespaces_work_side_by_side_with_roles_only() {
    let _turn = TURN.lock().await;
    let cluster = Cluster::get().unwrap();
    if !has_machine() {
        return note("the release of this cluster is somebody else's: it stays");
    }
    // One that serves all namespaces would serve these too.
    let main = Release::main(&cluster).await.unwrap();
    main.uninstall().await.unwrap();
    let chart = Release::chart("mcp-gateway");
    let mut all = Vec::new();
    for name in ["one", "two"] {
        let (system, place) = tokio::try_join!(Namespace::new(name), Namespace::new(name)).unwrap();
        machine(&["registries", system.name()]).await.unwrap();
        let release = main.another(&format!("mcp-gateway-{name}"), system.name()).unwrap();
        let only = format!("namespaces={{{}}},gateway.serviceAccountTokens.enabled=false", place.name());
        release.install(&chart, &["--set", &only]).await.unwrap();
        all.push((release, place, system));
    }
    let (one, two) = (&all[0], &all[1]);
    check_limited(&cluster, &one.0, &one.1, &two.1).await.unwrap();
    check_limited(&cluster, &two.0, &two.1, &one.1).await.unwrap();
    let wide = "clusterroles,clusterrolebindings,validatingadmissionpolicies";
    for name in ["one", "two"] {
        let selector = format!("app.kubernetes.io/instance=mcp-gateway-{name}");
        assert_eq!(kubectl(&["get", wide, "-l", &selector, "-o", "name"]).await.unwrap(), "");
    }
    for (release, ..) in &all {
        release.uninstall().await.unwrap();
    }
    main.install(&chart, &[]).await.unwrap();
}

/// The commands of a text, which are indented there.
fn commands(notes: &str) -> Vec<&str> {
    notes.lines().filter_map(|line| line.strip_prefix("  ")).collect()
}

#[tokio::test]
async fn what_helm_prints_after_an_install_is_a_script_that_works() {
    let _turn = TURN.lock().await;
    let cluster = Cluster::get().unwrap();
    let notes = helm(&["--namespace", &cluster.system, "get", "notes", "mcp-gateway"]).await.unwrap();
    let release = Release::main(&cluster).await.unwrap();
    let now = release.cluster(&cluster).await.unwrap();
    // As they are printed, with their indentation. No port of this machine is needed to forward from.
    let place = Namespace::existing("default", &["time"]);
    let forward = |line: &&str| line.contains("port-forward");
    let script: Vec<_> = commands(&notes).into_iter().map(|line| format!("  {line}")).collect();
    assert_eq!(script.iter().filter(|line| forward(&line.as_str())).count(), 1, "{notes}");
    let script: Vec<_> = script.into_iter().filter(|line| !forward(&line.as_str())).collect();
    let script = script.join("\n").replace("URL=http://localhost:8080", &format!("URL={}", now.url));
    let printed = run("bash", &["-euo", "pipefail", "-c", &script], "").await.unwrap();
    assert!(printed.contains("\"time\""), "{printed}");
    assert!(notes.contains(&format!("helm -n {} test mcp-gateway", cluster.system)), "{notes}");
    drop(place);
}
