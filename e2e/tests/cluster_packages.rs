//! Where servers on a cluster get their packages: a registry that asks who is there, an authority of one server's own, and
//! the same versions in each replica.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use e2e::client::Client;
use e2e::cluster::{Cluster, Namespace, kubectl, kubectl_with, note};
use e2e::eventually;
use serde_json::{Value, json};

/// How long pods may take to come and to go.
const PODS: Duration = Duration::from_secs(180);
/// An index of Python packages and a registry of npm packages, with one package each, for whoever knows the password.
const REGISTRY: &str = include_str!("../src/cluster/registry.py");
const USER: &str = "reader";
const PASSWORD: &str = "of-the-registry";

/// A pod with the registry, ready, and its Service.
async fn registry(cluster: &Cluster, place: &Namespace) -> Result<()> {
    let labels = json!({"app": "registry"});
    let credentials = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let container = json!({
        "name": "registry", "image": cluster.runner().await?, "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", REGISTRY, credentials],
        "readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}
    });
    let security = json!({"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "registry", "labels": labels},
        "spec": {"containers": [container], "securityContext": security}
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "registry"},
        "spec": {"selector": labels, "ports": [{"port": 8000}]}
    });
    place.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [pod, service]}).to_string()).await?;
    place.kubectl(&["wait", "--for=condition=Ready", "pod/registry", "--timeout=60s"]).await.map(drop)
}

#[tokio::test]
async fn packages_come_from_a_registry_that_asks_for_a_password() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("guarded").await.unwrap();
    registry(&cluster, &place).await.unwrap();
    let (index, npm) = ("http://registry:8000/simple", "http://registry:8000/npm/");
    let mut packages = json!({"index": index, "extraIndexes": [], "npmRegistry": npm});
    let python = json!({"command": "uvx", "args": ["mcp-guarded-server"]});
    let node = json!({"command": "npx", "args": ["-y", "mcp-guarded-server"]});
    let apply = async |packages: &Value| {
        for (name, mut spec) in [("python", python.clone()), ("node", node.clone())] {
            spec["packages"] = packages.clone();
            place.server(name, &spec).await.unwrap();
        }
    };
    apply(&packages).await;
    for name in ["python", "node"] {
        place.told(name, ("Available", "InstallFailed"), &["mcp-guarded-server"]).await.unwrap();
    }

    let auth = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "registry"}, "stringData": {
        "netrc": format!("machine registry login {USER} password {PASSWORD}\n"),
        "npmrc": format!("//registry:8000/npm/:_auth={auth}\n"),
    }});
    place.apply(&secret.to_string()).await.unwrap();
    packages["credentialsRef"] = json!({"name": "registry"});
    apply(&packages).await;
    for name in ["python", "node"] {
        place.wait_ready(name).await.unwrap();
        let client = cluster.connect(&place, name).await.unwrap();
        assert_eq!(client.server()["serverInfo"]["name"], format!("guarded-{name}"));
    }
    let all = place.list(&["mcpservers"]).await.unwrap();
    assert!(!json!(all).to_string().contains(PASSWORD), "a password is told");
}

/// Copies the authorities that the release has for all servers, where there are any.
async fn copy_authorities(cluster: &Cluster, place: &Namespace) -> Result<bool> {
    let get =
        ["--namespace", &cluster.system, "get", "configmap", "host-registries", "--ignore-not-found", "-o", "json"];
    let told = kubectl(&get).await?;
    if told.is_empty() {
        return Ok(false);
    }
    let data = serde_json::from_str::<Value>(&told)?["data"].take();
    let copy = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "own-ca"}, "data": data});
    // Not by `apply`, whose annotation would be too long.
    kubectl_with(&["--namespace", place.name(), "create", "-f", "-"], &copy.to_string()).await?;
    Ok(true)
}

/// The Python packages that a pod has, with their versions.
async fn installed(place: &Namespace, pod: &Value) -> Result<Vec<String>> {
    let name = pod["metadata"]["name"].as_str().context("a pod has a name")?;
    let find =
        "find /var/cache/mcp -name '*.dist-info' -path '*site-packages*' -exec basename {} .dist-info ';' | sort -u";
    let found = place.kubectl(&["exec", name, "-c", "server", "--", "sh", "-c", find]).await?;
    ensure!(!found.is_empty(), "{name} has no packages");
    let pinned =
        |line: &str| line.rsplit_once('-').map(|(package, version)| format!("{package}=={version}").to_lowercase());
    let mut packages: Vec<_> = found.lines().filter_map(pinned).collect();
    packages.sort();
    Ok(packages)
}

#[tokio::test]
async fn replicas_have_the_same_packages_by_an_authority_of_the_servers_own() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("same").await.unwrap();
    if !copy_authorities(&cluster, &place).await.unwrap() {
        return note("nothing is known of authorities: the servers of this cluster need none");
    }
    let spec = |authority: &str| {
        let packages = json!({"caRef": {"name": authority}});
        json!({"command": "uvx", "args": ["mcp-server-time"], "replicas": 2, "packages": packages})
    };
    // An authority that no registry has its certificate of.
    place.server("same", &spec("kube-root-ca.crt")).await.unwrap();
    place.told("same", ("Available", "InstallFailed"), &["mcp-server-time"]).await.unwrap();
    place.server("same", &spec("own-ca")).await.unwrap();
    place.wait_ready("same").await.unwrap();
    let pods = place.wait_pods("same", 2).await.unwrap();
    let (first, second) = tokio::try_join!(installed(&place, &pods[0]), installed(&place, &pods[1])).unwrap();
    assert_eq!(first, second);

    let told = async || {
        let mut packages = place.get(&["mcpserver", "same"]).await.ok()?["status"]["packages"].take();
        packages["installed"].as_array_mut().map(std::mem::take).filter(|it| !it.is_empty())
    };
    let told = eventually(PODS, "the packages in the status", told).await.unwrap();
    assert_eq!(json!(told), json!(first));
    assert!(first.iter().any(|it| it.starts_with("mcp_server_time==")), "{first:?}");
    place.settles(&cluster).await.unwrap();
}
