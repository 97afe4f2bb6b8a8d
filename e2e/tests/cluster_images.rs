//! The image with everything in it, as `docker run -p 8080:8080` uses it: the gateway of one machine.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::client::{Client, ClientOptions, HttpClient};
use e2e::cluster::{Cluster, Namespace, kubectl};
use e2e::eventually;
use e2e::http::http;
use serde_json::{Value, json};

/// How long the pod may take to come.
const POD: Duration = Duration::from_secs(120);
/// How the pod reaches the package registries, and what it may do: next to nothing.
const MANIFEST: &str = r#"
{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "all-in-one", "labels": {"app": "all-in-one"}}, "spec": {
  "automountServiceAccountToken": false,
  "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
  "containers": [{
    "name": "gateway", "imagePullPolicy": "IfNotPresent",
    "envFrom": [{"secretRef": {"name": "host-registries", "optional": true}}],
    "securityContext": {
      "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}},
    "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
    "volumeMounts": [
      {"name": "registries", "mountPath": "/etc/host-registries"},
      {"name": "state", "mountPath": "/var/lib/mcp"}, {"name": "tmp", "mountPath": "/tmp"}]}],
  "volumes": [
    {"name": "registries", "configMap": {"name": "host-registries", "optional": true}},
    {"name": "state", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]}}
"#;

/// The pod, which goes with the test.
struct Pod;

impl Pod {
    async fn start(place: &Namespace, image: &str) -> Result<String> {
        let mut manifest: Value = serde_json::from_str(MANIFEST)?;
        manifest["spec"]["containers"][0]["image"] = image.into();
        place.apply(&manifest.to_string()).await?;
        place.kubectl(&["wait", "--for=condition=Ready", "pod/all-in-one", "--timeout=120s"]).await?;
        let address = place.kubectl(&["get", "pod", "all-in-one", "-o", "jsonpath={.status.podIP}"]).await?;
        Ok(format!("http://{address}:8080"))
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let mut command = std::process::Command::new("kubectl");
        // The cluster ends soon.
        let _ = command
            .args(["--namespace=default", "delete", "--ignore-not-found", "--wait=false", "pod/all-in-one"])
            .output();
    }
}

#[tokio::test]
async fn the_image_with_everything_serves_what_is_deployed_to_whoever_has_a_key() {
    let cluster = Cluster::get().unwrap();
    let Some(image) = &cluster.all_in_one else { return };
    let place = Namespace::existing("default", &[]);
    let _pod = Pod;
    let url = Pod::start(&place, image).await.unwrap();
    let refused = http("GET", &format!("{url}/servers"), &[], "").await.unwrap();
    assert_eq!(refused.status, 401);
    let create = ["--namespace=default", "exec", "all-in-one", "--", "mcp-gateway", "keys", "create", "first"];
    let key = kubectl(&create).await.unwrap();
    let key = key.split_whitespace().find(|word| word.starts_with("mgw_")).context("no key was printed").unwrap();
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = json!({"mcpServers": {"time": {"command": "uvx", "args": ["mcp-server-time"]}}}).to_string();
    // The gateway takes a new key up a moment later.
    let deploy = async || {
        let answer = http("POST", &format!("{url}/deploy?wait=4m"), &headers, body.clone()).await.ok()?;
        (answer.status != 401).then_some(answer)
    };
    let answer = eventually(POD, "the key to be taken", deploy).await.unwrap().expect(200).unwrap().json().unwrap();
    assert_eq!(answer["results"]["time"]["message"], "deployed; ready", "{answer}");
    let options = ClientOptions::new("2025-11-25").header("authorization", &bearer);
    let client = HttpClient::connect_with(&format!("{url}/mcp"), options).await.unwrap();
    let now = client.tool_text("time-get_current_time", json!({"timezone": "Europe/Berlin"})).await.unwrap();
    assert!(now.contains("Europe/Berlin"), "{now}");
}
