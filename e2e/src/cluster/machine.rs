//! What stands below a cluster of our own: `hack/cluster`.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::run;

/// Whether the cluster is one of our own, whose parts can be stopped and whose files can be read.
pub fn has_machine() -> bool {
    env::var_os("CLUSTER").is_none_or(|kind| kind == "own")
}

/// Runs `hack/cluster`, which knows the cluster's name by the environment.
///
/// # Errors
/// When it fails.
pub async fn machine(arguments: &[&str]) -> Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hack/cluster");
    run(script.to_str().context("the path of the script is no text")?, arguments, "").await
}

/// The folder with the cluster's files, which its nodes see as `/run/cluster`.
///
/// # Errors
/// When no kubeconfig tells where it is.
pub fn state_folder() -> Result<PathBuf> {
    let kubeconfig = PathBuf::from(env::var_os("KUBECONFIG").context("KUBECONFIG is not set")?);
    Ok(kubeconfig.parent().context("the kubeconfig is in no folder")?.to_owned())
}

/// The address of this machine, as pods reach it.
///
/// # Errors
/// When the cluster is not one of our own.
pub fn host_address() -> Result<String> {
    let number = fs::read_to_string(state_folder()?.join("number")).context("a cluster of our own has a number")?;
    Ok(format!("10.200.{}.1", number.trim()))
}

/// Kills the first process of a container of a pod, and all others with it: nobody in there can do anything before.
///
/// # Errors
/// When the cluster is not one of our own, or it has none.
pub fn kill_container(pod: &Value, container: &str) -> Result<()> {
    let status = &pod["status"];
    let statuses = [&status["initContainerStatuses"], &status["containerStatuses"]];
    let mut statuses = statuses.into_iter().filter_map(Value::as_array).flatten();
    let found = statuses.find(|it| it["name"] == container).with_context(|| format!("no container {container}"))?;
    let id = found["containerID"].as_str().and_then(|id| id.split("//").nth(1)).context("it has not started")?;
    let first = processes_of(id)?.into_iter().min().with_context(|| format!("{container} has no process"))?;
    let first = Pid::from_raw(first).context("a process has a number")?;
    kill_process(first, Signal::KILL).context("the process cannot be killed")
}

/// Processes in the control group that the container has.
fn processes_of(container: &str) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended meanwhile.
        if fs::read_to_string(entry.path().join("cgroup")).is_ok_and(|groups| groups.contains(container)) {
            found.push(pid);
        }
    }
    Ok(found)
}
