//! What others do to a server's objects stays, and what a server needs of others: their ConfigMaps, their programs.

use std::time::Duration;

use anyhow::Result;
use e2e::client::Client;
use e2e::cluster::{Cluster, Namespace, has_machine, host_address, note};
use e2e::eventually;
use e2e::harness::{Bin, Launch};
use serde_json::{Value, json};

/// How long pods may take to come and to go.
const PODS: Duration = Duration::from_secs(180);

/// Waits until new sessions see this value of the variable MODE.
async fn sees(cluster: &Cluster, place: &Namespace, mode: &str) -> Result<()> {
    let look = async || {
        let client = cluster.session(place, "others").await.ok()?;
        (client.tool_text("env", json!({"name": "MODE"})).await.ok()? == mode).then_some(())
    };
    eventually(PODS, format!("MODE={mode} in the server"), look).await
}

/// Waits until the operator has seen the newest spec of a server, and nothing is being rolled out.
async fn is_quiet(place: &Namespace, name: &str) -> Result<Value> {
    let seen = async || {
        let server = place.get(&["mcpserver", name]).await.ok()?;
        (server["status"]["observedGeneration"] == server["metadata"]["generation"]).then_some(())
    };
    eventually(PODS, "the newest spec to be seen", seen).await?;
    place.kubectl(&["rollout", "status", &format!("deployment/{name}"), "--timeout=180s"]).await?;
    place.get(&["deployment", name]).await
}

/// Has the operator write the Deployment again, for a reason of the server's.
async fn deny(place: &Namespace, name: &str, more: Value) -> Result<()> {
    let mut patch = json!({"spec": {"tools": {"deny": ["sleep"]}}});
    for (field, value) in more.as_object().into_iter().flatten() {
        patch["spec"][field] = value.clone();
    }
    place.kubectl(&["patch", "mcpserver", name, "--type=merge", "-p", &patch.to_string()]).await.map(drop)
}

#[tokio::test]
async fn replicas_restarts_and_notes_of_others_stay_and_pods_follow_config_maps() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("others").await.unwrap();
    let map = |mode: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "modes"}, "data": {"mode": mode}})
            .to_string()
    };
    place.apply(&map("one")).await.unwrap();
    let env = json!([{"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "modes", "key": "mode"}}}]);
    place.serve(&cluster, "others", &json!({"env": env})).await.unwrap();
    sees(&cluster, &place, "one").await.unwrap();

    // As an autoscaler does, where the spec says nothing of replicas.
    place.kubectl(&["scale", "deployment/others", "--replicas=2"]).await.unwrap();
    place.kubectl(&["rollout", "restart", "deployment/others"]).await.unwrap();
    for object in ["deployment/others", "service/others", "serviceaccount/others"] {
        place.kubectl(&["annotate", object, "example.com/owner=me"]).await.unwrap();
    }
    let template = |deployment: &Value| deployment["spec"]["template"]["metadata"]["annotations"].clone();
    let restarted = template(&is_quiet(&place, "others").await.unwrap())["kubectl.kubernetes.io/restartedAt"].clone();
    assert!(restarted.is_string());

    // The operator writes the Deployment again, for reasons of its own and of others.
    let annotations = json!({"annotations": {"a": "b"}});
    let children = json!({"deployment": annotations, "service": annotations, "serviceAccount": annotations});
    deny(&place, "others", json!({"podMetadata": annotations, "childMetadata": children})).await.unwrap();
    place.apply(&map("two")).await.unwrap();
    sees(&cluster, &place, "two").await.unwrap();
    let after = is_quiet(&place, "others").await.unwrap();
    assert_eq!(after["spec"]["replicas"], 2);
    assert_eq!(template(&after)["kubectl.kubernetes.io/restartedAt"], restarted);
    assert_eq!(template(&after)["a"], "b");
    place.wait_pods("others", 2).await.unwrap();
    let noted = async |value: Value| {
        for kind in ["deployment", "service", "serviceaccount"] {
            let notes = place.get(&[kind, "others"]).await.unwrap()["metadata"]["annotations"].take();
            assert_eq!((&notes["example.com/owner"], &notes["a"]), (&json!("me"), &value), "{kind}");
        }
    };
    noted(json!("b")).await;
    deny(&place, "others", json!({"childMetadata": null})).await.unwrap();
    is_quiet(&place, "others").await.unwrap();
    noted(Value::Null).await;
}

/// Applies an autoscaler of that name that wants two or three pods. There are no metrics here: below the least it needs
/// none.
async fn autoscale(place: &Namespace, name: &str, target: &Value) -> Result<()> {
    let spec = json!({"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 3});
    let autoscaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name}, "spec": spec});
    place.apply(&autoscaler.to_string()).await.map(drop)
}

#[tokio::test]
async fn an_autoscaler_scales_a_server_that_says_a_number_and_the_deployment_of_one_that_says_none() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("autoscaled").await.unwrap();
    let server = |name: &str| json!({"apiVersion": "mcpgateway.dev/v1alpha1", "kind": "McpServer", "name": name});
    for (name, more) in [("number", json!({"replicas": 1})), ("none", json!({}))] {
        place.serve(&cluster, name, &more).await.unwrap();
        autoscale(&place, name, &server(name)).await.unwrap();
    }
    place.wait_pods("number", 2).await.unwrap();
    assert_eq!(place.get(&["mcpserver", "number"]).await.unwrap()["spec"]["replicas"], 2);

    // Where there is no number, Kubernetes has none to tell, and the autoscaler says so.
    let unable = async || {
        let autoscaler = place.get(&["hpa", "none"]).await.ok()?;
        let mut conditions = autoscaler["status"]["conditions"].as_array()?.iter();
        conditions.any(|it| it["type"] == "AbleToScale" && it["reason"] == "FailedGetScale").then_some(())
    };
    eventually(PODS, "the autoscaler to say that it cannot", unable).await.unwrap();
    place.wait_pods("none", 1).await.unwrap();
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"});
    autoscale(&place, "none", &deployment).await.unwrap();
    place.wait_pods("none", 2).await.unwrap();

    // What the operator writes for other reasons takes nothing back.
    for name in ["number", "none"] {
        deny(&place, name, json!({})).await.unwrap();
        assert_eq!(is_quiet(&place, name).await.unwrap()["spec"]["replicas"], 2, "{name}");
        place.wait_pods(name, 2).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_outside_of_the_cluster_is_reached_by_its_address() {
    let cluster = Cluster::get().unwrap();
    if !has_machine() {
        return note("this machine is reached from the pods of a cluster of our own only");
    }
    let place = Namespace::new("outside").await.unwrap();
    let host = host_address().unwrap();
    let listen = format!("{host}:0");
    let outside =
        Launch::new(Bin::Fixture).unwrap().args(["--remote", "streamable", "--name", "outside", "--listen", &listen]);
    let outside = outside.listen().await.unwrap();
    place.server("outside", &json!({"url": outside.url("/mcp")})).await.unwrap();
    place.wait_ready("outside").await.unwrap();
    place.settles(&cluster).await.unwrap();
    let client = cluster.connect(&place, "outside").await.unwrap();
    assert_eq!(client.server()["serverInfo"]["name"], "outside");
    assert_eq!(client.tool_text("pid", json!({})).await.unwrap(), outside.pid().to_string());
}
