//! What stands below a cluster of our own: `hack/cluster`.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

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
