//! `kubectl` and other programs, with the kubeconfig of the environment.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::wait::within;

/// How long one call may take: it may wait for pods itself.
const LIMIT: Duration = Duration::from_secs(600);

/// Runs `kubectl` and gives what it prints.
///
/// # Errors
/// When it fails; the error has what it complains of.
pub async fn kubectl(arguments: &[&str]) -> Result<String> {
    kubectl_with(arguments, "").await
}

/// As [`kubectl`], with a standard input.
///
/// # Errors
/// As [`kubectl`].
pub async fn kubectl_with(arguments: &[&str], input: &str) -> Result<String> {
    run("kubectl", arguments, input).await
}

/// Runs a program and gives what it prints.
///
/// # Errors
/// When it fails; the error has what it complains of.
pub async fn run(program: &str, arguments: &[&str], input: &str) -> Result<String> {
    let what = format!("{program} {}", arguments.join(" "));
    within(LIMIT, what.clone(), async {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let mut stdin = child.stdin.take().context("it has no standard input")?;
        stdin.write_all(input.as_bytes()).await.with_context(|| what.clone())?;
        drop(stdin);
        let output = child.wait_with_output().await?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{what}: {told}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    })
    .await
}

/// The columns of what `kubectl get` prints.
pub trait Cut {
    /// The words of each line.
    fn rows(&self) -> Vec<Vec<&str>>;
}

impl Cut for str {
    fn rows(&self) -> Vec<Vec<&str>> {
        self.lines().map(|line| line.split_whitespace().collect()).collect()
    }
}
