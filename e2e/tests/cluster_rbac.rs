//! The rights of the programs: what is missing is told, and nothing that is granted is unused. It takes rights away from the
//! release of the cluster, so it runs when no other test does.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, Namespace, Request, has_machine, is_ready, kubectl, note, requests_of};
use e2e::eventually;
use e2e::http::http;
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// One test at a time.
static TURN: Mutex<()> = Mutex::const_new(());
/// How long a program may take to notice something, and to try again after it failed.
const NOTICED: Duration = Duration::from_secs(120);
/// Helm would not take over what somebody else has written.
const MANAGER: &str = "--field-manager=helm";
const OPERATORS: &str = "app.kubernetes.io/name=mcp-operator";

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A role of the operator, which gets its rules back at the end.
struct Role {
    /// As `kubectl` finds it in the namespace of the release.
    place: [String; 3],
    rules: Vec<Value>,
}

impl Role {
    /// That of the whole cluster.
    async fn of_operator(cluster: &Cluster) -> Result<Self> {
        Self::get(cluster, format!("clusterrole/{}-mcp-gateway-operator", cluster.system)).await
    }

    /// That of the release's own namespace.
    async fn of_operator_at_home(cluster: &Cluster) -> Result<Self> {
        Self::get(cluster, "role/mcp-gateway-operator".to_owned()).await
    }

    async fn get(cluster: &Cluster, name: String) -> Result<Self> {
        let role: Value = serde_json::from_str(&system(cluster, &["get", &name, "-o", "json"]).await?)?;
        let rules = role["rules"].as_array().context("a role has rules")?.clone();
        Ok(Self { place: ["--namespace".into(), cluster.system.clone(), name], rules })
    }

    fn patch(&self) -> Vec<String> {
        let [option, namespace, name] = self.place.each_ref().map(String::as_str);
        let rules = json!({"rules": self.rules}).to_string();
        [option, namespace, "patch", name, MANAGER, "--type=merge", "-p", &rules].map(ToOwned::to_owned).into()
    }

    async fn without(&self, index: usize) -> Result<()> {
        let patch = json!([{"op": "remove", "path": format!("/rules/{index}")}]).to_string();
        let [option, namespace, name] = self.place.each_ref().map(String::as_str);
        kubectl(&[option, namespace, "patch", name, MANAGER, "--type=json", "-p", &patch]).await.map(drop)
    }

    async fn restore(&self) -> Result<()> {
        let patch = self.patch();
        kubectl(&patch.iter().map(String::as_str).collect::<Vec<_>>()).await.map(drop)
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // The last resort of a test that failed.
        let _ = Command::new("kubectl").args(self.patch()).output();
    }
}

/// What a refusal says of a rule.
fn refusals(rule: &Value) -> Vec<String> {
    let refusal = |(_, resource, verb): (&str, &str, &str)| format!("cannot {verb} resource \"{resource}\"");
    each(rule).into_iter().map(refusal).collect()
}

async fn system(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    kubectl(&[&["--namespace", &cluster.system], arguments].concat()).await
}

/// The operators begin anew, since watches that are open go on without the right to open them.
async fn restart_operators(cluster: &Cluster) -> Result<()> {
    system(cluster, &["delete", "pod", "-l", OPERATORS]).await?;
    let ready = async || {
        let told = system(cluster, &["get", "pods", "-l", OPERATORS, "-o", "json"]).await.ok()?;
        let pods: Value = serde_json::from_str(&told).ok()?;
        let pods = pods["items"].as_array()?;
        (pods.len() == 2 && pods.iter().all(is_ready)).then_some(())
    };
    eventually(NOTICED, "two ready operators", ready).await
}

/// All that operators log and the server's conditions say.
async fn told(cluster: &Cluster, place: &Namespace, server: &str) -> Option<String> {
    let status = place.get(&["mcpserver", server]).await.ok()?["status"].take();
    Some(logs(cluster).await? + &plain(&status.to_string()))
}

async fn logs(cluster: &Cluster) -> Option<String> {
    system(cluster, &["logs", "-l", OPERATORS, "--tail=-1"]).await.ok().as_deref().map(plain)
}

/// Without what quotation marks get in a text in a text.
fn plain(text: &str) -> String {
    text.replace("\\\"", "\"").replace("\\\"", "\"")
}

async fn no_crash(cluster: &Cluster) -> Result<()> {
    let path = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    let restarts = system(cluster, &["get", "pods", "-l", OPERATORS, "-o", path]).await?;
    ensure!(restarts.split_whitespace().all(|count| count == "0"), "the operators have crashed: {restarts}");
    Ok(())
}

/// A server that has every object, and pods that no node takes: nothing gives them a volume.
fn whole(more: &Value) -> Value {
    let mut spec = json!({
        "command": "uvx", "args": ["mcp-server-time"], "replicas": 2,
        "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "token", "key": "token"}}}],
        "packages": {"cache": {"medium": "PersistentVolumeClaim", "storageClassName": "none"}},
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        spec[name] = value.clone();
    }
    spec
}

async fn references(place: &Namespace) -> Result<()> {
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"token": "t"}});
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "own-ca"}, "data": {"ca.crt": "none"}});
    place.apply(&secret.to_string()).await?;
    place.apply(&map.to_string()).await.map(drop)
}

#[tokio::test]
async fn a_right_that_is_missing_is_named_and_nothing_crashes() {
    let _turn = TURN.lock().await;
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("rights").await.unwrap();
    references(&place).await.unwrap();
    let role = Role::of_operator(&cluster).await.unwrap();
    for (index, rule) in role.rules.iter().enumerate() {
        let refusals = refusals(rule);
        role.without(index).await.unwrap();
        restart_operators(&cluster).await.unwrap();
        let server = format!("rule-{index}");
        place.server(&server, &whole(&json!({}))).await.unwrap();
        let named = async || {
            let told = told(&cluster, &place, &server).await?;
            refusals.iter().find(|refusal| told.contains(*refusal)).cloned()
        };
        let said = eventually(NOTICED, format!("one of {refusals:?}"), named).await;
        note(&format!("without {rule}: {}", said.unwrap()));
        no_crash(&cluster).await.unwrap();
        role.restore().await.unwrap();
    }
    // All is well as soon as the rights are back.
    for index in 0..role.rules.len() {
        let server = format!("rule-{index}");
        place.wait_condition(&server, "Accepted", "True", "Valid").await.unwrap();
        place.wait_condition(&server, "Available", "False", "Unschedulable").await.unwrap();
    }
    no_crash(&cluster).await.unwrap();
}

/// Has the operators need what a rule of their own namespace is for: they look after the lease and the keys at all times,
/// and make what is not there.
async fn need(cluster: &Cluster, rule: &Value) -> Result<()> {
    let (resource, verbs) = (strings(&rule["resources"]), strings(&rule["verbs"]));
    match (&resource[..], &verbs[..]) {
        (["leases"], ["create"]) => system(cluster, &["delete", "lease", "mcp-gateway-operator"]).await.map(drop),
        (["secrets"], ["create"]) => {
            system(cluster, &["delete", "secret", "mcp-gateway-operator-keys"]).await.map(drop)
        }
        (["secrets"], ["update"]) => cluster.add_hop_key().await.map(drop),
        _ => Ok(()),
    }
}

#[tokio::test]
async fn a_right_that_is_missing_at_home_is_named_in_the_log_and_nothing_crashes() {
    let _turn = TURN.lock().await;
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("home").await.unwrap();
    let role = Role::of_operator_at_home(&cluster).await.unwrap();
    // What it may everywhere it may at home.
    let everywhere = Role::of_operator(&cluster).await.unwrap();
    let everywhere: BTreeSet<_> = everywhere.rules.iter().flat_map(each).collect();
    for (index, rule) in role.rules.iter().enumerate() {
        if each(rule).iter().all(|right| everywhere.contains(right)) {
            continue;
        }
        let refusals = refusals(rule);
        role.without(index).await.unwrap();
        need(&cluster, rule).await.unwrap();
        // Without a lease none gets ready: they are not waited for.
        system(&cluster, &["delete", "pod", "-l", OPERATORS]).await.unwrap();
        let named = async || {
            let told = logs(&cluster).await?;
            refusals.iter().find(|refusal| told.contains(*refusal)).cloned()
        };
        let said = eventually(NOTICED, format!("one of {refusals:?}"), named).await;
        note(&format!("without {rule}: {}", said.unwrap()));
        no_crash(&cluster).await.unwrap();
        role.restore().await.unwrap();
    }
    // All is well as soon as the rights are back.
    place.serve(&cluster, "after", &json!({})).await.unwrap();
    no_crash(&cluster).await.unwrap();
    restart_operators(&cluster).await.unwrap();
    place.settles(&cluster).await.unwrap();
}

/// Has the operator use all that it may.
async fn use_operator(cluster: &Cluster, place: &Namespace) -> Result<()> {
    references(place).await?;
    place.server("whole", &whole(&json!({}))).await?;
    place.wait_condition("whole", "Available", "False", "Unschedulable").await?;
    // Nothing that may go is wanted any more.
    let packages = json!({"cache": {"medium": "EmptyDir"}, "caRef": {"name": "own-ca"}});
    let less = json!({"suspend": true, "replicas": 1, "serviceAccountName": "default", "packages": packages});
    place.server("whole", &whole(&less)).await?;
    let left = "serviceaccounts,persistentvolumeclaims,poddisruptionbudgets";
    let gone = async || {
        let left = place.list(&[left, "-l", "mcpgateway.dev/server=whole"]).await.ok()?;
        let claims_only = left.iter().all(|it| it["kind"] == "PersistentVolumeClaim");
        claims_only.then_some(())
    };
    eventually(NOTICED, "what is not wanted to go", gone).await?;
    let kid = cluster.add_hop_key().await?;
    let signs = async || (cluster.signing_hop_key().await.ok()? == kid).then_some(());
    eventually(NOTICED, "the new key to sign", signs).await
}

/// Has the gateway use all that it may.
async fn use_gateway(cluster: &Cluster, place: &Namespace) -> Result<()> {
    for secret in ["sk-first-0123456789", "sk-second-0123456789"] {
        let server = json!({"command": "uvx", "args": ["mcp-server-time"], "env": {"API_TOKEN": secret}});
        cluster.request("POST", "/deploy", &json!({"mcpServers": {"used": server}})).await?.expect(200)?;
    }
    cluster.request("DELETE", "/servers/used", &Value::Null).await?;
    let token = place.kubectl(&["create", "token", "default", "--audience", "mcp-gateway"]).await?;
    let authorization = format!("Bearer {}", token.trim());
    http("GET", &cluster.url("/servers"), &[("authorization", &authorization)], "").await?;
    Ok(())
}

/// Every right of the roles of an account, as text, and whether one of the requests needed it.
fn rights(role: &Value, requests: &[Request]) -> Vec<(String, bool)> {
    let (kind, name, namespace) = (&role["kind"], &role["metadata"]["name"], &role["metadata"]["namespace"]);
    let mut rights = Vec::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        let names = strings(&rule["resourceNames"]);
        for (group, resource, verb) in each(rule) {
            let needed = |request: &Request| {
                // An apply that made something has needed the right to create, too.
                let made = verb == "create" && request.verb == "patch" && request.code == 201;
                (request.verb == verb || made)
                    && (request.group == group && request.resource == resource)
                    && namespace.as_str().is_none_or(|namespace| namespace == request.namespace)
                    && (names.is_empty() || names.contains(&request.name.as_str()))
            };
            let used = requests.iter().any(needed);
            rights.push((format!("{kind} {name}: {verb} {resource}.{group} {names:?}"), used));
        }
    }
    rights
}

fn each(rule: &Value) -> Vec<(&str, &str, &str)> {
    let mut all = Vec::new();
    for group in strings(&rule["apiGroups"]) {
        for resource in strings(&rule["resources"]) {
            all.extend(strings(&rule["verbs"]).into_iter().map(|verb| (group, resource, verb)));
        }
    }
    all
}

#[tokio::test]
async fn no_right_is_granted_that_is_never_used() {
    let _turn = TURN.lock().await;
    let cluster = Cluster::get().unwrap();
    if !has_machine() {
        return note("what is asked of the API server is known in a cluster of our own only");
    }
    let place = Namespace::new("used").await.unwrap();
    let _deployed = Namespace::existing(&cluster.system, &["used"]);
    use_operator(&cluster, &place).await.unwrap();
    use_gateway(&cluster, &place).await.unwrap();
    let selector = "app.kubernetes.io/instance=mcp-gateway";
    let told = kubectl(&["get", "clusterroles,roles", "-A", "-l", selector, "-o", "json"]).await.unwrap();
    let roles: Value = serde_json::from_str(&told).unwrap();
    let unused = || {
        let mut unused = BTreeSet::new();
        for (component, account) in [("operator", "mcp-gateway-operator"), ("gateway", "mcp-gateway")] {
            let requests = requests_of(&cluster.system, account).unwrap();
            let own = roles["items"].as_array().unwrap().iter();
            let own = own.filter(|role| role["metadata"]["labels"]["app.kubernetes.io/component"] == component);
            let rights = own.flat_map(|role| rights(role, &requests));
            unused.extend(rights.filter(|(_, used)| !used).map(|(right, _)| right));
        }
        unused
    };
    let all_used = eventually(NOTICED, "all rights to be used", async || unused().is_empty().then_some(())).await;
    assert!(all_used.is_ok(), "never used: {:#?}", unused());
}
