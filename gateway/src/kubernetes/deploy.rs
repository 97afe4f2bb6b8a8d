//! `POST /deploy` in a cluster: server-side apply of resources, which the operator turns into pods.

use std::sync::Arc;
use std::time::Duration;

use api::McpServer;
use api::conditions::resolved_refs;
use api::labels::{CONTENT, GATEWAY, MANAGED_BY};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt as _};
use mcp::names::ServerName;
use tokio::sync::{mpsc, oneshot};

use super::accounts::Accounts;
use super::controller::Written;
use super::keys::SealKeys;
use super::manifest::{Manifest, resource_name, secret_name};
use super::server::{Key, Server};
use crate::access::Action;
use crate::backend::{Deployed, Place, Refusal, lacks};
use crate::routes::Routes;
use crate::spec::ServerSpec;
use crate::store::Uid;

/// How long the API server may take for one request.
const LIMIT: Duration = Duration::from_secs(10);
/// How long the controller may take to know what was written.
const KNOWN: Duration = Duration::from_secs(2);

/// Changes the resources of a cluster. Clones share everything.
#[derive(Clone)]
pub struct Cluster {
    pub(super) client: Client,
    pub(super) accounts: Accounts,
    pub(super) routes: Routes,
    pub(super) keys: SealKeys,
    pub(super) written: mpsc::Sender<Written>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    /// Makes a server what `spec` says. Returns when the cluster has it.
    pub async fn deploy(&self, place: &Place, name: &ServerName, spec: &ServerSpec) -> Result<Deployed, Refusal> {
        let namespace = namespace(place)?;
        let key = Key { name: self.resource(&namespace, name).await?.into(), namespace };
        let manifest = Manifest::new(key.clone(), name, spec);
        let api = Api::<McpServer>::namespaced(self.client.clone(), &key.namespace);
        let before = limited(api.get_opt(&key.name)).await?;
        if let Some(before) = &before {
            ours(before, name)?;
            self.may_change(place, &key.namespace).await?;
        }
        let keys = self.keys.all();
        let newest = keys.first().ok_or_else(|| Refusal::Unreachable("the gateway has no keys yet".to_owned()))?;
        let told = before.as_ref().and_then(|before| before.annotations().get(CONTENT));
        let same = manifest.is_same(told.map(String::as_str), &keys);
        let digest = match told {
            Some(told) if same => Some(told.clone()),
            _ => manifest.has_secrets().then(|| manifest.digest(newest)),
        };
        let secret_is_due = digest.is_some() && (!same || before.as_ref().is_some_and(lacks_references));
        // What a server refers to is there before it refers to that, once there is something to own it.
        if let (Some(before), Some(digest), true) = (&before, &digest, secret_is_due) {
            self.put_secret(&manifest, uid(before)?, digest).await?;
        }
        let object = manifest.resource(place.principal, digest.as_deref());
        let after = limited(api.patch(&key.name, &PatchParams::apply(GATEWAY), &Patch::Apply(&object))).await?;
        if let (None, Some(digest)) = (&before, &digest)
            && let Err(refusal) = self.put_secret(&manifest, uid(&after)?, digest).await
        {
            // A server without its secrets would be worse than none. If this fails too, the next deployment mends it.
            drop(limited(api.delete(&key.name, &DeleteParams::default())).await);
            return Err(refusal);
        }
        let generation = |object: &McpServer| object.metadata.generation;
        let outcome = match &before {
            None => Deployed::New,
            Some(before) if same && generation(before) == generation(&after) => Deployed::Existed,
            Some(_) => Deployed::Replaced,
        };
        self.tell(&after).await;
        Ok(outcome)
    }

    /// Removes a server; whether there was one.
    pub async fn delete(&self, place: &Place, name: &ServerName) -> Result<bool, Refusal> {
        let namespace = namespace(place)?;
        let api = Api::<McpServer>::namespaced(self.client.clone(), &namespace);
        let resource = self.resource(&namespace, name).await?;
        let Some(object) = limited(api.get_opt(&resource)).await? else { return Ok(false) };
        if object.route_name() != name.as_str() || object.metadata.deletion_timestamp.is_some() {
            return Ok(false);
        }
        ours(&object, name)?;
        let this_one = Preconditions { uid: object.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(this_one), ..DeleteParams::default() };
        match limited(api.delete(&resource, &params)).await {
            Ok(_) => {}
            Err(Refusal::Missing) => return Ok(false),
            Err(refusal) => return Err(refusal),
        }
        let gone = async {
            let mut changes = self.routes.follow();
            let id = crate::routes::identity(Some(&namespace), name.as_str());
            while self.routes.now().by_id(&id).is_some_and(|route| Some(route.uid.to_string()) == object.uid()) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // The watch tells when the route is gone; mostly at once.
        drop(tokio::time::timeout(KNOWN, gone).await);
        Ok(true)
    }

    /// That somebody who may create servers may change this one, too.
    async fn may_change(&self, place: &Place, namespace: &str) -> Result<(), Refusal> {
        match &place.account {
            Some(account) if !self.accounts.may(account, Action::Patch.right(), namespace).await => {
                Err(Refusal::Forbidden(lacks(account, Action::Patch, namespace)))
            }
            _ => Ok(()),
        }
    }

    /// Resolves when no changes are taken any more.
    pub async fn stopped(&self) {
        self.written.closed().await;
    }

    /// The resource that has the name of a server, or that is to get it.
    async fn resource(&self, namespace: &Arc<str>, name: &ServerName) -> Result<String, Refusal> {
        let id = crate::routes::identity(Some(namespace), name.as_str());
        if let Some(resource) = self.routes.now().by_id(&id).and_then(|route| route.resource.as_deref()) {
            return Ok(resource.to_owned());
        }
        let api = Api::<McpServer>::namespaced(self.client.clone(), namespace);
        let named = |object: &McpServer| object.route_name() == name.as_str();
        let plain = resource_name(name, |_| false);
        let object = limited(api.get_opt(&plain)).await?;
        Ok(match object {
            Some(object) if !named(&object) => resource_name(name, |it| it == plain),
            _ => plain,
        })
    }

    async fn put_secret(&self, manifest: &Manifest, owner: Uid, digest: &str) -> Result<(), Refusal> {
        let api = Api::<Secret>::namespaced(self.client.clone(), &manifest.key.namespace);
        let name = secret_name(&manifest.key);
        let secret = serde_json::from_value(manifest.secret(owner, digest));
        let secret = secret.map_err(|error| Refusal::Rejected(error.to_string()))?;
        match tokio::time::timeout(LIMIT, api.create(&PostParams::default(), &secret)).await {
            Ok(Err(kube::Error::Api(status))) if status.is_already_exists() => {}
            other => return settle(other).map(drop),
        }
        let patch = serde_json::from_value(manifest.secret_patch(owner, digest));
        let patch = Patch::Json::<()>(patch.map_err(|error| Refusal::Rejected(error.to_string()))?);
        match tokio::time::timeout(LIMIT, api.patch(&name, &PatchParams::default(), &patch)).await {
            // A test in the patch says that it is another's.
            Ok(Err(kube::Error::Api(status))) if status.is_invalid() || status.code == 422 => {
                Err(Refusal::Foreign(format!(
                    "the Secret `{name}` in the namespace `{}` was not made for this server by the gateway: rename or remove it",
                    manifest.key.namespace
                )))
            }
            other => settle(other).map(drop),
        }
    }

    /// Has the controller know of what was written before the watch tells of it.
    async fn tell(&self, object: &McpServer) {
        let Some(server) = Server::of(object) else { return };
        let (known, wait) = oneshot::channel();
        if self.written.send((Box::new(server), known)).await.is_ok() {
            drop(tokio::time::timeout(KNOWN, wait).await);
        }
    }
}

fn namespace(place: &Place) -> Result<Arc<str>, Refusal> {
    place.namespace.clone().ok_or_else(|| Refusal::Forbidden("there is no namespace to deploy into".to_owned()))
}

fn uid(object: &McpServer) -> Result<Uid, Refusal> {
    let uid = object.metadata.uid.as_deref().and_then(|uid| uid.parse().ok());
    uid.ok_or_else(|| Refusal::Rejected("its resource has no UID".to_owned()))
}

/// Whether the operator misses something that the resource refers to.
fn lacks_references(object: &McpServer) -> bool {
    let conditions = object.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|it| it.type_ == resolved_refs::TYPE && it.status == "False")
}

/// Whether the deploy API made a resource, and nobody else has taken it over.
pub(super) fn ours(object: &McpServer, name: &ServerName) -> Result<(), Refusal> {
    let foreign = |who: &str| {
        let (namespace, resource) = (object.namespace().unwrap_or_default(), object.name_any());
        Err(Refusal::Foreign(format!(
            "server `{name}` is the McpServer `{resource}` in the namespace `{namespace}`, which is managed by {who}: \
             change it there"
        )))
    };
    if object.metadata.deletion_timestamp.is_some() {
        return Err(Refusal::Unreachable(format!("server `{name}` is being removed; try again")));
    }
    match object.labels().get(MANAGED_BY).map(String::as_str) {
        Some(GATEWAY) => {}
        Some(other) => return foreign(other),
        None => return foreign(manager(object).as_deref().unwrap_or("somebody else")),
    }
    let applied = |manager: &str, operation: Option<&str>| manager == GATEWAY && operation == Some("Apply");
    let mut entries = object.managed_fields().iter();
    if entries.any(|it| applied(it.manager.as_deref().unwrap_or_default(), it.operation.as_deref())) {
        Ok(())
    } else {
        foreign(manager(object).as_deref().unwrap_or("somebody else"))
    }
}

/// Who wrote the spec of a resource.
fn manager(object: &McpServer) -> Option<String> {
    let entries = object.managed_fields().iter();
    let spec = |fields: &serde_json::Value| fields.get("f:spec").is_some();
    let mut of_spec = entries.filter(|it| it.fields_v1.as_ref().is_some_and(|fields| spec(&fields.0)));
    of_spec.find_map(|it| it.manager.clone())
}

async fn limited<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Refusal> {
    settle(tokio::time::timeout(LIMIT, request).await)
}

/// What an answer of the API server is to those who deploy.
fn settle<T>(answer: Result<Result<T, kube::Error>, tokio::time::error::Elapsed>) -> Result<T, Refusal> {
    match answer {
        Ok(Ok(done)) => Ok(done),
        Err(_) => Err(Refusal::Unreachable(format!("the API server does not answer within {} s", LIMIT.as_secs()))),
        Ok(Err(kube::Error::Api(status))) => Err(refusal(&status)),
        Ok(Err(error)) => Err(Refusal::Unreachable(error.to_string())),
    }
}

fn refusal(status: &kube::core::Status) -> Refusal {
    let message = status.message.clone();
    match status.code {
        404 if status.is_not_found() => Refusal::Missing,
        409 => Refusal::Foreign(format!("somebody else has changed it: {message}")),
        400 | 403 | 422 => Refusal::Rejected(message),
        _ => Refusal::Unreachable(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(labels: &str, fields: &str) -> McpServer {
        serde_json::from_str(&format!(
            r#"{{"apiVersion":"mcpgateway.dev/v1alpha1","kind":"McpServer","metadata":{{"name":"time","namespace":"team",
                "labels":{labels},"managedFields":{fields}}},"spec":{{"command":"uvx"}}}}"#
        ))
        .unwrap()
    }

    #[test]
    fn what_others_manage_is_left_to_them() {
        let name = ServerName::parse("time").unwrap();
        let (ours_label, flux) =
            (r#"{"app.kubernetes.io/managed-by":"mcp-gateway"}"#, r#"{"app.kubernetes.io/managed-by":"flux"}"#);
        let field = |manager, operation| {
            format!(r#"[{{"manager":"{manager}","operation":"{operation}","fieldsV1":{{"f:spec":{{}}}}}}]"#)
        };
        let judge = |labels, fields: String| ours(&object(labels, &fields), &name).map_err(|it| it.to_string());
        assert_eq!(judge(ours_label, field("mcp-gateway", "Apply")), Ok(()));
        let said = [
            judge("{}", field("kubectl-client-side-apply", "Update")),
            judge(flux, field("mcp-gateway", "Apply")),
            judge(ours_label, field("argocd-controller", "Apply")),
            judge("{}", "[]".to_owned()),
        ];
        insta::assert_snapshot!(said.map(Result::unwrap_err).join("\n"), @r"
        server `time` is the McpServer `time` in the namespace `team`, which is managed by kubectl-client-side-apply: change it there
        server `time` is the McpServer `time` in the namespace `team`, which is managed by flux: change it there
        server `time` is the McpServer `time` in the namespace `team`, which is managed by argocd-controller: change it there
        server `time` is the McpServer `time` in the namespace `team`, which is managed by somebody else: change it there
        ");
    }
}
