//! What the operator makes of servers on a real cluster: their life from the first apply to the last object, and what
//! it says of those that cannot work.

use std::time::Duration;

use e2e::client::Client;
use e2e::cluster::{Cluster, Namespace, example};
use e2e::{PATIENCE, eventually};
use serde_json::json;

/// How long pods may take to come and to go.
const PODS: Duration = Duration::from_secs(120);

#[tokio::test]
async fn variables_come_from_secrets_and_pods_follow_them() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("env").await.unwrap();
    place.apply(&example("env-from-secret.yaml").unwrap()).await.unwrap();
    let told = place.wait_condition("settings", "ResolvedRefs", "False", "SecretNotFound").await.unwrap();
    assert!(told.contains("settings"), "{told}");
    let secret = |token: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "settings"}, "stringData": {"TOKEN": token}})
            .to_string()
    };
    place.apply(&secret("first")).await.unwrap();
    place.wait_ready("settings").await.unwrap();
    let environment = async || {
        let client = cluster.connect(&place, "settings").await.ok()?;
        client.tool_text("get-env", json!({})).await.ok()
    };
    let seen = eventually(PATIENCE, "the environment", environment).await.unwrap();
    assert!(seen.contains("first") && seen.contains("hello"), "{seen}");
    place.apply(&secret("second")).await.unwrap();
    let renewed = async || environment().await.filter(|seen| seen.contains("second")).map(drop);
    eventually(2 * PODS, "pods with the new value", renewed).await.unwrap();
}

/// Everything that is made for servers.
const CHILDREN: &str = "deployments,replicasets,pods,services,endpointslices,serviceaccounts,configmaps,networkpolicies,poddisruptionbudgets,persistentvolumeclaims";

#[tokio::test]
async fn a_server_is_suspended_scaled_and_removed_with_all_its_children() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("life").await.unwrap();
    place.serve(&cluster, "life", &json!({})).await.unwrap();
    let pods = async |count: usize| place.wait_pods("life", count).await.unwrap();
    pods(1).await;

    let suspend = |suspend: bool| json!({"spec": {"suspend": suspend}}).to_string();
    let patch = async |patch: &str| {
        place.kubectl(&["patch", "mcpserver", "life", "--type=merge", "-p", patch]).await.unwrap();
    };
    patch(&suspend(true)).await;
    place.wait_condition("life", "Ready", "False", "Suspended").await.unwrap();
    pods(0).await;
    patch(&suspend(false)).await;
    place.wait_ready("life").await.unwrap();

    place.kubectl(&["scale", "mcpserver/life", "--replicas=2"]).await.unwrap();
    pods(2).await;
    let counted = async || {
        let status = &place.get(&["mcpserver", "life"]).await.ok()?["status"];
        (status["replicas"] == 2 && status["readyReplicas"] == 2).then_some(())
    };
    eventually(PODS, "two replicas in the status", counted).await.unwrap();
    assert_eq!(place.list(&["poddisruptionbudgets"]).await.unwrap().len(), 1);

    place.kubectl(&["delete", "mcpserver", "life"]).await.unwrap();
    let gone = async || {
        let left = place.list(&[CHILDREN, "-l", "mcpgateway.dev/server=life"]).await.ok()?;
        left.is_empty().then_some(())
    };
    eventually(PODS, "all children to go", gone).await.unwrap();
}

#[tokio::test]
async fn servers_of_one_name_in_two_namespaces_do_not_meet() {
    let cluster = Cluster::get().unwrap();
    let (one, two) = tokio::try_join!(Namespace::new("one"), Namespace::new("two")).unwrap();
    for (place, name) in [(&one, "first"), (&two, "second")] {
        place.serve(&cluster, "same", &json!({"args": ["--name", name]})).await.unwrap();
    }
    for (place, name) in [(&one, "first"), (&two, "second")] {
        let client = cluster.connect(place, "same").await.unwrap();
        assert_eq!(client.server()["serverInfo"]["name"], name);
    }
    one.kubectl(&["delete", "mcpserver", "same"]).await.unwrap();
    let client = cluster.connect(&two, "same").await.unwrap();
    assert_eq!(client.server()["serverInfo"]["name"], "second");
}

#[tokio::test]
async fn a_package_or_an_image_that_is_not_there_is_named() {
    Cluster::get().unwrap();
    let place = Namespace::new("missing").await.unwrap();
    place.server("pip", &json!({"command": "uvx", "args": ["mcp-gateway-has-no-such-package"]})).await.unwrap();
    place.server("npm", &json!({"command": "npx", "args": ["-y", "@mcp-gateway/no-such-package"]})).await.unwrap();
    let image = "registry.invalid/no-such-image:1";
    place.server("image", &json!({"command": "server", "image": image})).await.unwrap();
    for (name, reason, named) in [
        ("pip", "InstallFailed", "mcp-gateway-has-no-such-package"),
        ("npm", "InstallFailed", "@mcp-gateway/no-such-package"),
        ("image", "ImagePullFailed", image),
    ] {
        let told = place.wait_condition(name, "Available", "False", reason).await.unwrap();
        assert!(told.contains(named), "{name}: {told}");
        let told = place.wait_condition(name, "Ready", "False", "NotAvailable").await.unwrap();
        assert!(told.contains(named), "{name}: {told}");
    }
}

#[tokio::test]
async fn an_image_of_ones_own_is_a_server() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("own").await.unwrap();
    let image = cluster.fixture.clone().expect("an image of the fixture");
    let manifest = example("own-image.yaml").unwrap();
    let manifest = manifest.replace("example.com/my-server:1", &image).replace("my-server", "fixture");
    place.apply(&manifest).await.unwrap();
    place.wait_ready("own").await.unwrap();
    let client = cluster.connect(&place, "own").await.unwrap();
    assert_eq!(client.tool_text("echo", json!({"text": "own"})).await.unwrap(), "own");
}

#[tokio::test]
async fn a_server_elsewhere_gets_its_credential_from_a_secret() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("remote").await.unwrap();
    let arguments =
        ["--remote", "both", "--listen", "0.0.0.0:8000", "--require-header", "Authorization=Bearer of-the-secret"];
    let labels = json!({"app": "elsewhere"});
    let container = json!({
        "name": "server", "image": cluster.fixture, "imagePullPolicy": "IfNotPresent", "args": arguments,
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}
    });
    let security = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "elsewhere", "labels": labels},
        "spec": {"containers": [container], "securityContext": security}
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "elsewhere"},
        "spec": {"selector": labels, "ports": [{"port": 8000}]}
    });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "remote"},
        "stringData": {"authorization": "Bearer of-the-secret\n"}
    });
    for manifest in [pod, service, secret] {
        place.apply(&manifest.to_string()).await.unwrap();
    }
    let manifest = example("remote.yaml").unwrap();
    let address = "http://elsewhere:8000/mcp";
    place.apply(&manifest.replace("https://mcp.example.com/mcp", address)).await.unwrap();
    place.wait_ready("remote").await.unwrap();
    let client = cluster.connect(&place, "remote").await.unwrap();
    assert_eq!(client.tool_text("echo", json!({"text": "remote"})).await.unwrap(), "remote");
    let table = place.kubectl(&["get", "mcps"]).await.unwrap();
    assert!(table.contains("streamable"), "{table}");
}
