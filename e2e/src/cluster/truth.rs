//! What must hold whenever nothing is going on, whatever happened before: the state is the desired one, nothing is there
//! that belongs to nobody, and what is told of the servers is what clients find.

use std::time::Duration;

use anyhow::{Context as _, Error, Result, ensure};
use serde_json::Value;

use super::{Cluster, Namespace, is_ready};
use crate::client::{Client as _, HttpClient};
use crate::wait::eventually;

/// How long it may take to come to that.
const SETTLED: Duration = Duration::from_secs(180);
/// What is made for a server and bears its name as the label [`SERVER`].
const OWNED: &str = "deployments,services,serviceaccounts,networkpolicies,configmaps,secrets,poddisruptionbudgets,\
    persistentvolumeclaims";
const SERVER: &str = "mcpgateway.dev/server";
const CONDITIONS: [&str; 6] = ["Accepted", "ResolvedRefs", "Available", "Verified", "Routable", "Ready"];

impl Namespace {
    /// Waits until all that is here is as it should be; every server is expected to work.
    ///
    /// # Errors
    /// With what is not so.
    pub async fn settles(&self, cluster: &Cluster) -> Result<()> {
        let mut why = None;
        let look = async || self.is_settled(cluster).await.map_err(|error| why = Some(error)).ok();
        let settled = eventually(SETTLED, format!("{} to be as it should be", self.name()), look).await;
        settled.map_err(|limit| why.map_or_else(|| Error::msg("nothing was seen"), |why| why.context(limit)))
    }

    async fn is_settled(&self, cluster: &Cluster) -> Result<()> {
        let servers = self.list(&["mcpservers"]).await?;
        for object in self.list(&[OWNED, "-l", SERVER]).await? {
            belongs(&object, &servers)?;
        }
        let pods = self.list(&["pods", "-l", SERVER]).await?;
        for server in &servers {
            let own = |pod: &&Value| pod["metadata"]["labels"][SERVER] == server["metadata"]["name"];
            is_true(server, &pods.iter().filter(own).collect::<Vec<_>>())?;
            self.is_found(cluster, server).await.with_context(|| name(server).to_owned())?;
        }
        let orphan = pods.iter().find(|pod| servers.iter().all(|it| name(it) != pod["metadata"]["labels"][SERVER]));
        ensure!(orphan.is_none(), "a pod is left: {orphan:?}");
        Ok(())
    }

    /// Whether clients find the server that the status tells of.
    async fn is_found(&self, cluster: &Cluster, server: &Value) -> Result<()> {
        let options = cluster.client("2025-11-25").without_stream();
        let client = HttpClient::connect_with(&cluster.address(self, name(server)), options).await?;
        let (told, found) = (&server["status"], client.server());
        let (info, version) = (&found["serverInfo"]["name"], &found["protocolVersion"]);
        ensure!(told["serverInfo"]["name"] == *info, "it is {info}, and told is {}", told["serverInfo"]);
        ensure!(told["protocolVersion"] == *version, "it speaks {version}, and told is {}", told["protocolVersion"]);
        let tools = client.list("tools/list", "tools").await?.len();
        ensure!(told["tools"] == tools, "it has {tools} tools, and told are {}", told["tools"]);
        client.delete().await.map(drop)
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Whether an object goes with a server that is there.
fn belongs(object: &Value, servers: &[Value]) -> Result<()> {
    let (metadata, kind) = (&object["metadata"], &object["kind"]);
    let server = servers.iter().find(|server| server["metadata"]["name"] == metadata["labels"][SERVER]);
    let server = server.with_context(|| format!("{kind} {} is left of a server that is gone", name(object)))?;
    let mut owners = metadata["ownerReferences"].as_array().into_iter().flatten();
    let owned = owners.any(|owner| owner["uid"] == server["metadata"]["uid"]);
    ensure!(owned, "{kind} {} does not belong to {}", name(object), name(server));
    ensure!(metadata["deletionTimestamp"].is_null(), "{kind} {} is about to go", name(object));
    Ok(())
}

/// Whether what is told of a server is so, as far as its pods can tell.
fn is_true(server: &Value, pods: &[&Value]) -> Result<()> {
    let (name, status, spec) = (name(server), &server["status"], &server["spec"]);
    let generation = &server["metadata"]["generation"];
    ensure!(status["observedGeneration"] == *generation, "{name}: what is told is not of this spec: {status}");
    for kind in CONDITIONS {
        let mut all = status["conditions"].as_array().into_iter().flatten();
        let found = all.find(|it| it["type"] == kind).unwrap_or(&Value::Null);
        ensure!(found["status"] == "True", "{name}: {kind} is {found}");
    }
    let wanted = usize::try_from(spec["replicas"].as_u64().unwrap_or(1))?;
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    ensure!((pods.len(), ready) == (wanted, wanted), "{name}: {ready} of {} pods are ready, not {wanted}", pods.len());
    let told = (&status["replicas"], &status["readyReplicas"]);
    ensure!(*told.0 == wanted && *told.1 == wanted, "{name}: told are {told:?} pods of {wanted}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn server() -> Value {
        let conditions: Vec<_> = CONDITIONS.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
        json!({"metadata": {"name": "a", "uid": "1", "generation": 2}, "spec": {},
            "status": {"observedGeneration": 2, "conditions": conditions, "replicas": 1, "readyReplicas": 1}})
    }

    #[test]
    fn what_is_told_is_compared_with_the_pods() {
        let pod = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        is_true(&server(), &[&pod]).unwrap();
        assert!(is_true(&server(), &[]).is_err() && is_true(&server(), &[&pod, &json!({})]).is_err());
        let mut old = server();
        old["metadata"]["generation"] = json!(3);
        assert!(is_true(&old, &[&pod]).unwrap_err().to_string().contains("not of this spec"));
    }

    #[test]
    fn what_belongs_to_no_server_or_to_a_former_one_is_left_over() {
        let object = |server: &str, owner: &str| json!({"kind": "Service", "metadata": {"name": "s", "labels": {SERVER: server}, "ownerReferences": [{"uid": owner}]}});
        belongs(&object("a", "1"), &[server()]).unwrap();
        assert!(belongs(&object("b", "1"), &[server()]).is_err());
        assert!(belongs(&object("a", "0"), &[server()]).is_err());
    }
}
