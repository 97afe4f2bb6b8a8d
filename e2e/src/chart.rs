//! The chart mcp-gateway, as Helm renders it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use serde_json::Value;

/// The values of the chart's folder that turn everything on.
pub const FULL: &str = "ci/full-values.yaml";

static HELM: LazyLock<PathBuf> = LazyLock::new(|| {
    let output = Command::new(root().join("hack/tools")).args(["path", "helm"]).output().expect("it is a script");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Path::new(String::from_utf8_lossy(&output.stdout).trim()).join("helm")
});

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate is in the workspace's folder")
}

/// The chart's folder.
pub fn chart() -> PathBuf {
    root().join("charts/mcp-gateway")
}

/// Runs `helm` there.
pub fn helm(arguments: &[&str]) -> Output {
    Command::new(&*HELM).current_dir(chart()).args(arguments).output().expect("helm was installed")
}

/// The objects of a release in the namespace `mcp-system`, with its default values or with other ones.
pub fn render(arguments: &[&str]) -> Vec<Value> {
    let output = helm(&[&["template", "release", ".", "--namespace", "mcp-system"], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let objects = serde_saphyr::from_multiple::<Value>(&text).expect("helm prints YAML");
    objects.into_iter().filter(Value::is_object).collect()
}

/// Those of a kind.
pub fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The texts of a list.
pub fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}
