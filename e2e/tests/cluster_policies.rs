//! Who is asked before something is made: a webhook of the cluster's, and the chart's own policy about Secrets.

use anyhow::{Context, Result};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use e2e::cluster::{Account, Cluster, Global, Namespace, has_machine, kubectl_with, note, run};
use e2e::{PATIENCE, eventually};
use serde_json::{Value, json};

/// Refuses all it is asked about.
const WEBHOOK: &str = r"
const { readFileSync } = require('fs');
const options = { key: readFileSync('/tls/tls.key'), cert: readFileSync('/tls/tls.crt') };
const refused = { allowed: false, status: { message: 'this house has no room for it' } };
require('https').createServer(options, (request, answer) => {
  let body = '';
  request.on('data', (part) => { body += part; }).on('end', () => {
    const review = JSON.parse(body);
    const { apiVersion, kind } = review;
    answer.end(JSON.stringify({ apiVersion, kind, response: { uid: review.request.uid, ...refused } }));
  });
}).listen(8443);
";

/// A certificate for a Service here, and its key, in a Secret; gives the certificate.
async fn certificate(place: &Namespace, service: &str) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (key, cert, host) = (path("key"), path("cert"), format!("{service}.{}.svc", place.name()));
    let (subject, names) = (format!("/CN={service}"), format!("subjectAltName=DNS:{host}"));
    let new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"];
    let new = [&new[..], &["-keyout", &key, "-out", &cert, "-subj", &subject, "-addext", &names]].concat();
    run("openssl", &new, "").await?;
    place.kubectl(&["create", "secret", "tls", service, "--cert", &cert, "--key", &key]).await?;
    Ok(std::fs::read_to_string(&cert)?)
}

/// A pod with the webhook, ready, and its Service.
async fn webhook(cluster: &Cluster, place: &Namespace) -> Result<()> {
    let labels = json!({"app": "webhook"});
    let container = json!({
        "name": "webhook", "image": cluster.runner().await?, "imagePullPolicy": "IfNotPresent",
        "command": ["node", "-e", WEBHOOK],
        "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 1},
        "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}
    });
    let security = json!({"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "webhook", "labels": labels},
        "spec": {"containers": [container], "securityContext": security,
            "volumes": [{"name": "tls", "secret": {"secretName": "webhook"}}]}
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "webhook"},
        "spec": {"selector": labels, "ports": [{"port": 443, "targetPort": 8443}]}
    });
    place.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [pod, service]}).to_string()).await?;
    place.kubectl(&["wait", "--for=condition=Ready", "pod/webhook", "--timeout=60s"]).await.map(drop)
}

#[tokio::test]
async fn what_a_webhook_refuses_is_told_with_what_to_do() {
    let cluster = Cluster::get().unwrap();
    if !has_machine() {
        return note("openssl, which makes the webhook's certificate, is there with a cluster of our own");
    }
    let place = Namespace::new("webhook").await.unwrap();
    let certificate = certificate(&place, "webhook").await.unwrap();
    webhook(&cluster, &place).await.unwrap();
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": place.name()}});
    let rules =
        json!([{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}]);
    let webhook = json!({
        "name": "room.example.com", "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"namespace": place.name(), "name": "webhook"},
            "caBundle": BASE64_STANDARD.encode(certificate)},
        "rules": rules, "namespaceSelector": here
    });
    let configuration = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": place.name()}, "webhooks": [webhook]});
    let configuration = Global::new(&configuration).await.unwrap();
    // Whether the API server asks it already, and reaches it, nobody tells.
    let denied = async || {
        let told = place.kubectl(&["create", "deployment", "a", "--image=a", "--dry-run=server"]).await.err()?;
        told.to_string().contains("denied the request").then_some(())
    };
    eventually(PATIENCE, "the webhook to be asked", denied).await.unwrap();
    place.server("refused", &cluster.program(&json!({})).unwrap()).await.unwrap();
    let words = ["room.example.com", "this house has no room for it", "so that the webhook admits it"];
    place.told("refused", ("Accepted", "Refused"), &words).await.unwrap();
    drop(configuration);
    place.wait_ready("refused").await.unwrap();
}

/// A server with a variable from the Secret `token`.
fn curious() -> Value {
    let env = json!([{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "token", "key": "token"}}}]);
    json!({"apiVersion": "mcpgateway.dev/v1alpha1", "kind": "McpServer", "metadata": {"name": "curious"},
        "spec": {"command": "a", "env": env, "suspend": true}})
}

#[tokio::test]
async fn who_may_not_get_a_secret_may_not_have_a_server_print_it() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("curious").await.unwrap();
    let account = Account::new(&place, "editor").await.unwrap();
    account.allow(&place, &["get", "create", "patch"]).await.unwrap();
    let who = format!("system:serviceaccount:{}:editor", place.name());
    let apply = async |manifest: &Value| {
        let arguments = ["--as", &who, "--namespace", place.name(), "apply", "-f", "-"];
        kubectl_with(&arguments, &manifest.to_string()).await
    };
    let refused = apply(&curious()).await.err().context("it was let in").unwrap();
    let words = r#"it refers to the Secret "token": whoever does that must be allowed to get it"#;
    assert!(format!("{refused:#}").contains(words), "{refused:#}");
    // Where it asks for no Secret, it is let in, and may not ask for one later.
    let mut harmless = curious();
    harmless["spec"]["env"] = json!([]);
    apply(&harmless).await.unwrap();
    apply(&curious()).await.unwrap_err();

    place
        .kubectl(&["create", "role", "reader", "--verb=get", "--resource=secrets", "--resource-name=token"])
        .await
        .unwrap();
    let bound = format!("--serviceaccount={}:editor", place.name());
    place.kubectl(&["create", "rolebinding", "reader", "--role=reader", &bound]).await.unwrap();
    let allowed = async || apply(&curious()).await.ok().map(drop);
    eventually(PATIENCE, "the right to be known", allowed).await.unwrap();

    // The gateway itself makes no Secrets but those of servers.
    let gateway = format!("system:serviceaccount:{}:mcp-gateway", cluster.system);
    let secret = ["--as", &gateway, "--namespace", place.name(), "create", "secret", "generic", "any"];
    let refused = kubectl_with(&secret, "").await.err().context("it was made").unwrap();
    assert!(format!("{refused:#}").contains("The gateway writes no Secrets but those"), "{refused:#}");
}
