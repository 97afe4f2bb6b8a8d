//! What users get wrong, and what clusters refuse: said by the API server in words that a person understands, or by a
//! condition that says what to do.

use std::time::Duration;

use anyhow::Result;
use e2e::cluster::{Cluster, Global, Namespace, kubectl, kubectl_with};
use e2e::{PATIENCE, eventually};
use serde_json::{Value, json};

/// How long an admission policy may take to be known to the API server, and a namespace to go.
const SLOW: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_can_never_work_is_refused_by_the_api_server() {
    Cluster::get().unwrap();
    let place = Namespace::new("refused").await.unwrap();
    let (command, long) = (json!({"command": "a"}), "a".repeat(53));
    for (name, spec, words) in [
        ("none", json!({}), "set exactly one of command (a program to start) and url"),
        (
            "both",
            json!({"command": "a", "url": "https://b"}),
            "set exactly one of command (a program to start) and url",
        ),
        ("Upper", command.clone(), "metadata.name"),
        ("a.b", command.clone(), "must be a DNS label of at most 52 characters"),
        (&long, command.clone(), "must be a DNS label of at most 52 characters"),
        ("deploy", command.clone(), "set spec.route.name"),
        (
            "quantity",
            json!({"command": "a", "resources": {"limits": {"memory": "lots"}}}),
            "spec.resources.limits.memory",
        ),
        ("shell", json!({"command": "uvx mcp-server-time"}), "split it, as in command: uvx"),
        ("ca", json!({"command": "a", "caRef": {"name": "a"}}), "packages.caRef"),
        ("unknown", json!({"command": "a", "comand": "b"}), r#"unknown field "spec.comand""#),
    ] {
        let error = format!("{:#}", place.server(name, &spec).await.unwrap_err());
        assert!(error.contains(words), "{name}: {error}");
    }
    // By server-side apply as well, and where the field is one of Kubernetes' own types.
    let wrong = json!({"apiVersion": "mcpgateway.dev/v1alpha1", "kind": "McpServer", "metadata": {"name": "deep"},
        "spec": {"command": "a", "env": [{"name": "A", "valueFrom": {"secretRef": {"name": "a"}}}]}});
    let arguments = ["--namespace", place.name(), "apply", "--server-side", "--validate=strict", "-f", "-"];
    let error = format!("{:#}", kubectl_with(&arguments, &wrong.to_string()).await.unwrap_err());
    assert!(error.contains("secretRef"), "{error}");
    // 10 MB.
    let large = json!({"apiVersion": "mcpgateway.dev/v1alpha1", "kind": "McpServer", "metadata": {"name": "large"},
        "spec": {"command": "a", "env": [{"name": "A", "value": "x".repeat(10 << 20)}]}});
    let arguments = ["--namespace", place.name(), "create", "-f", "-"];
    let error = format!("{:#}", kubectl_with(&arguments, &large.to_string()).await.unwrap_err());
    assert!(error.to_lowercase().contains("too large") || error.contains("Too long"), "{error}");
    assert!(place.list(&["mcpservers"]).await.unwrap().is_empty());
}

/// Limits of a namespace.
fn limits() -> [Value; 2] {
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "cpu"},
        "spec": {"hard": {"requests.cpu": "4"}}});
    let range = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "memory"},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "4Gi"}}]}});
    [quota, range]
}

/// A policy of this namespace that admits no Deployment called `denied`.
async fn policy(place: &Namespace) -> Result<[Global; 2]> {
    let (name, api) = (format!("{}-policy", place.name()), "admissionregistration.k8s.io/v1");
    let rules =
        json!([{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}]);
    let validation =
        json!({"expression": "object.metadata.name != 'denied'", "message": "this house has no room for it"});
    let policy = json!({"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
        "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": rules}, "validations": [validation]}});
    let here = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": place.name()}}});
    let binding = json!({"apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": here}});
    let made = [Global::new(&policy).await?, Global::new(&binding).await?];
    let attempt = ["create", "deployment", "denied", "--image=a", "--dry-run=server"];
    let denied = async || place.kubectl(&attempt).await.err().map(drop);
    eventually(SLOW, "the policy to be known", denied).await?;
    Ok(made)
}

/// A webhook that is asked about pods of the server `unheard`, and is not there.
async fn webhook(place: &Namespace) -> Result<Global> {
    let name = format!("{}-webhook", place.name());
    let here = |label: &str, value: &str| json!({"matchLabels": {label: value}});
    let webhook = json!({
        "name": "absent.example.com", "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 2, "clientConfig": {"service": {"namespace": place.name(), "name": "absent"}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        "namespaceSelector": here("kubernetes.io/metadata.name", place.name()),
        "objectSelector": here("mcpgateway.dev/server", "unheard")
    });
    let manifest = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name}, "webhooks": [webhook]});
    Global::new(&manifest).await
}

#[tokio::test]
async fn what_the_cluster_refuses_is_told_with_what_to_do() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("limits").await.unwrap();
    for manifest in limits() {
        place.apply(&manifest.to_string()).await.unwrap();
    }
    let _webhook = webhook(&place).await.unwrap();
    let _policy = policy(&place).await.unwrap();
    for (name, more) in [
        ("quota", json!({"resources": {"requests": {"cpu": "8"}}})),
        ("range", json!({"resources": {"requests": {"cpu": "50m"}, "limits": {"memory": "8Gi"}}})),
        ("root", json!({"securityContext": {"allowPrivilegeEscalation": true}})),
        ("nowhere", json!({"nodeSelector": {"no.such": "node"}})),
        ("unheard", json!({})),
        ("denied", json!({})),
    ] {
        place.server(name, &cluster.program(&more).unwrap()).await.unwrap();
    }
    let refused = ("Available", "PodsRefused");
    place.told("quota", refused, &["exceeded quota: cpu", "ResourceQuota raised"]).await.unwrap();
    place
        .told("range", refused, &["maximum memory usage per Container is 4Gi", "within the namespace's LimitRange"])
        .await
        .unwrap();
    place
        .told("root", refused, &["violates PodSecurity", "allowPrivilegeEscalation", "spec.securityContext"])
        .await
        .unwrap();
    place.told("unheard", refused, &["absent.example.com", "see that the webhook's service runs"]).await.unwrap();
    place.told("nowhere", ("Available", "Unschedulable"), &["no node takes pod", "node"]).await.unwrap();
    place
        .told("denied", ("Accepted", "Refused"), &["this house has no room for it", "ask whoever made the policy"])
        .await
        .unwrap();
    place.told("denied", ("Ready", "NotAccepted"), &["this house has no room for it"]).await.unwrap();
    // What fits works in the same namespace.
    place.server("fits", &cluster.program(&json!({})).unwrap()).await.unwrap();
    place.wait_ready("fits").await.unwrap();
}

#[tokio::test]
async fn what_is_missing_or_in_the_way_is_named_and_all_is_well_when_it_changes() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("missing").await.unwrap();
    let foreign = ["create", "deployment", "taken", "--image=somebody/elses", "--replicas=0"];
    place.kubectl(&foreign).await.unwrap();
    let before = place.get(&["deployment", "taken"]).await.unwrap();
    place.server("taken", &cluster.program(&json!({})).unwrap()).await.unwrap();
    let variable = json!([{"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "modes", "key": "mode"}}}]);
    place.server("needs", &cluster.program(&json!({"env": variable})).unwrap()).await.unwrap();

    let words = ["Deployment `taken`", "belongs to somebody else", "rename the server, or remove the Deployment"];
    place.told("taken", ("Accepted", "ForeignObject"), &words).await.unwrap();
    let after = place.get(&["deployment", "taken"]).await.unwrap();
    assert_eq!((&before["spec"], &before["metadata"]["labels"]), (&after["spec"], &after["metadata"]["labels"]));
    place.told("needs", ("ResolvedRefs", "ConfigMapNotFound"), &["ConfigMap `modes` is missing"]).await.unwrap();
    place.kubectl(&["create", "configmap", "modes", "--from-literal=other=1"]).await.unwrap();
    place.told("needs", ("ResolvedRefs", "KeyNotFound"), &["ConfigMap `modes` has no key `mode`"]).await.unwrap();

    place.kubectl(&["delete", "deployment", "taken"]).await.unwrap();
    place.kubectl(&["patch", "configmap", "modes", "-p", r#"{"data":{"mode":"a"}}"#]).await.unwrap();
    for name in ["taken", "needs"] {
        place.wait_ready(name).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_elsewhere_needs_an_authority_that_is_trusted_and_access() {
    Cluster::get().unwrap();
    let place = Namespace::new("authority").await.unwrap();
    // The API server has a certificate of the cluster's own authority, is no MCP server, and does not know who asks.
    let url = "https://kubernetes.default.svc/mcp";
    place.server("trusted", &json!({"url": url, "caRef": {"name": "kube-root-ca.crt"}})).await.unwrap();
    place.server("unknown", &json!({"url": url})).await.unwrap();
    let words = ["403 Forbidden", "check the credentials in `headers`"];
    place.told("trusted", ("Verified", "AuthenticationRequired"), &words).await.unwrap();
    place.told("unknown", ("Verified", "Unreachable"), &["invalid peer certificate", "caRef"]).await.unwrap();
    place
        .kubectl(&["patch", "mcpserver", "unknown", "--type=merge", "-p", r#"{"spec":{"caRef":{"name":"mine"}}}"#])
        .await
        .unwrap();
    place.told("unknown", ("ResolvedRefs", "ConfigMapNotFound"), &["ConfigMap `mine` is missing"]).await.unwrap();
}

#[tokio::test]
async fn a_name_that_begins_with_a_digit_works_as_it_does_without_a_cluster() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("digit").await.unwrap();
    place.server("2fa", &cluster.program(&json!({})).unwrap()).await.unwrap();
    place.wait_ready("2fa").await.unwrap();
    let service = place.get(&["service", "mcp-2fa"]).await.unwrap();
    assert_eq!(service["metadata"]["labels"]["mcpgateway.dev/server"], "2fa");
}

#[tokio::test]
async fn a_namespace_that_ends_is_left_alone() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("ending").await.unwrap();
    place.server("last", &cluster.program(&json!({})).unwrap()).await.unwrap();
    place.wait_ready("last").await.unwrap();
    // Keeps the namespace from going, for a while.
    let kept = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept", "finalizers": ["example.com/kept"]}});
    place.apply(&kept.to_string()).await.unwrap();
    kubectl(&["delete", "namespace", place.name(), "--wait=false"]).await.unwrap();
    let gone = async || place.list(&["mcpservers,deployments,services"]).await.ok()?.is_empty().then_some(());
    eventually(SLOW, "all that is not kept to go", gone).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let told = complaints(&cluster, place.name()).await.unwrap();
    assert!(told.is_empty(), "{told:#?}");

    place
        .kubectl(&["patch", "configmap", "kept", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#])
        .await
        .unwrap();
    let gone = async || kubectl(&["get", "namespace", place.name()]).await.err().map(drop);
    eventually(SLOW.max(PATIENCE), "the namespace to go", gone).await.unwrap();
    let told = complaints(&cluster, place.name()).await.unwrap();
    assert!(told.is_empty(), "{told:#?}");
}

/// What operators complain of that has to do with a namespace.
async fn complaints(cluster: &Cluster, namespace: &str) -> Result<Vec<String>> {
    let selector = ["-l", "app.kubernetes.io/name=mcp-operator", "--tail=-1", "--since=5m"];
    let log = kubectl(&[&["--namespace", &cluster.system, "logs"], &selector[..]].concat()).await?;
    let complains = |line: &&str| line.contains(namespace) && (line.contains("WARN") || line.contains("ERROR"));
    Ok(log.lines().filter(complains).map(ToOwned::to_owned).collect())
}
