//! A cluster of our own leaves nothing on this machine, at whatever moment whoever starts it is interrupted.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{has_machine, note, state_folder};
use e2e::{eventually, within};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// How long a cluster may take to come, and to go.
const LIMIT: Duration = Duration::from_secs(180);

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../hack").join(name)
}

/// A cluster that is started and interrupted, gone at the latest with the test.
struct Passing(String);

impl Drop for Passing {
    fn drop(&mut self) {
        let down = std::process::Command::new(script("cluster")).arg("down").env("CLUSTER_NAME", &self.0).output();
        // What is left is told by the test.
        drop(down);
    }
}

/// Starts a script of `hack`, with a cluster of that name, in a process group of its own as a terminal's commands have it.
fn start(name: &str, file: &str, arguments: &[&str]) -> Result<Child> {
    // Where the test itself is deaf to interrupts, the script is not.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(script(file)).args(arguments);
    command.env("CLUSTER", "own").env("CLUSTER_NAME", name).process_group(0);
    command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().context("cannot start the script")
}

/// Interrupts all of it, as Ctrl-C does, and waits for its end.
async fn interrupt(child: Child) -> Result<()> {
    let group = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).context("it has ended already")?;
    kill_process_group(group, Signal::INT)?;
    let output =
        within(LIMIT, "the end of what was interrupted", async { Ok(child.wait_with_output().await?) }).await?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(130), "it ended with {}: {told}", output.status);
    Ok(())
}

/// What files below these folders contain the text, or have it in their names.
fn containing(files: impl IntoIterator<Item = String>, text: &str) -> Vec<String> {
    files.into_iter().filter(|file| std::fs::read_to_string(file).is_ok_and(|it| it.contains(text))).collect()
}

/// The entries of a folder, with something behind.
fn entries(folder: &str, behind: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| format!("{}{behind}", entry.path().display())).collect()
}

/// What there is of a cluster of that name.
fn traces(name: &str) -> Result<Vec<String>> {
    let state = state_folder()?.with_file_name(format!("own-{name}"));
    let mut traces = containing(entries("/sys/class/net", "/ifalias"), &format!("mcp-gateway/{name}\n"));
    // Its processes see its folder as /run/cluster; the machine itself may have mounts in it.
    traces.extend(containing(entries("/proc", "/mountinfo"), &format!("/own-{name} /run/cluster ")));
    traces.extend(containing(["/proc/self/mountinfo".to_owned()], &format!("/own-{name}/")));
    let groups = entries("/sys/fs/cgroup", "").into_iter().flat_map(|hierarchy| entries(&hierarchy, ""));
    traces.extend(groups.filter(|group| group.contains(&format!("mcp-gateway.{name}."))));
    traces.extend(state.exists().then(|| state.display().to_string()));
    Ok(traces)
}

/// Lets it come so far that there is this file in the folder of the cluster, and interrupts it then.
async fn leaves_nothing(name: &str, file: &str, arguments: &[&str], until: &str) -> Result<()> {
    let child = start(name, file, arguments)?;
    let mark = state_folder()?.with_file_name(format!("own-{name}")).join(until);
    eventually(LIMIT, mark.display(), async || mark.exists().then_some(())).await?;
    ensure!(!traces(name)?.is_empty(), "nothing is seen of it while it is there");
    interrupt(child).await?;
    let left = traces(name)?;
    ensure!(left.is_empty(), "{file} {arguments:?} was interrupted, and left: {left:#?}");
    Ok(())
}

#[tokio::test]
async fn who_is_interrupted_while_a_cluster_starts_or_is_used_leaves_nothing() {
    if !has_machine() {
        return note("only clusters of our own are made on this machine");
    }
    let name = format!("interrupted-{}", std::process::id());
    let _passing = Passing(name.clone());
    leaves_nothing(&name, "cluster", &["up", "--control-plane-only"], "components/etcd").await.unwrap();
    let used = r#"touch "$(dirname "$KUBECONFIG")/used"; exec sleep 600"#;
    leaves_nothing(&name, "on-cluster", &["--control-plane-only", "--", "sh", "-c", used], "used").await.unwrap();
}
