//! Who may reach the pods of a server, by the policies that are in the cluster. Whether they are enforced is the network
//! plugin's matter: that of our own clusters does not.

use anyhow::Result;
use e2e::cluster::{Cluster, Namespace, kubectl};
use e2e::policy::{End, may_reach};
use serde_json::{Value, json};

const HTTP: (&str, u16) = ("http", 8080);
const ADMIN: (&str, u16) = ("admin", 8081);

async fn list(what: &str) -> Result<Vec<Value>> {
    let list: Value = serde_json::from_str(&kubectl(&["get", what, "-A", "-o", "json"]).await?)?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

#[tokio::test]
async fn pods_of_a_server_are_reached_by_gateway_operator_and_who_is_named() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("network").await.unwrap();
    let named = json!({"ingress": [{"podSelector": {"matchLabels": {"app": "friend"}}}]});
    for (name, network) in [("closed", json!({})), ("open", named)] {
        let spec = json!({"command": "/server", "image": "none", "suspend": true, "network": network});
        place.server(name, &spec).await.unwrap();
        place.wait_condition(name, "Ready", "False", "Suspended").await.unwrap();
    }
    let (policies, deployments) = (list("networkpolicies").await.unwrap(), list("deployments").await.unwrap());
    let pod = |namespace: &str, name: &str| {
        let own = |it: &&Value| it["metadata"]["namespace"] == namespace && it["metadata"]["name"] == name;
        let deployment = deployments.iter().find(own).unwrap();
        End::new(namespace, &deployment["spec"]["template"]["metadata"]["labels"])
    };
    let (gateway, operator) = (pod(&cluster.system, "mcp-gateway"), pod(&cluster.system, "mcp-gateway-operator"));
    let (closed, open) = (pod(place.name(), "closed"), pod(place.name(), "open"));
    let friend = End::new(place.name(), &json!({"app": "friend"}));
    let elsewhere = End::new("default", &json!({"app": "friend"}));
    let table = [
        ("gateway", &gateway, "closed", &closed, HTTP, true),
        ("operator", &operator, "closed", &closed, HTTP, true),
        ("gateway", &gateway, "closed", &closed, ADMIN, false),
        ("friend", &friend, "closed", &closed, HTTP, false),
        ("another server", &open, "closed", &closed, HTTP, false),
        ("friend", &friend, "open", &open, HTTP, true),
        ("friend", &friend, "open", &open, ADMIN, false),
        ("somebody elsewhere", &elsewhere, "open", &open, HTTP, false),
        ("closed", &closed, "gateway", &gateway, HTTP, true),
    ];
    for (from, one, to, other, port, may) in table {
        assert_eq!(may_reach(&policies, one, other, port), may, "{from} -> {to} {port:?}");
    }
}
