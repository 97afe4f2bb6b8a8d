//! `POST /deploy` in a cluster: server-side apply of resources, which the operator turns into pods.

use std::sync::Arc;
use std::time::Duration;

use api::McpServer;
use api::conditions::resolved_refs;
use api::labels::{CONTENT, GATEWAY};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, ResourceExt as _};
use mcp::names::ServerName;
use tokio::sync::{mpsc, oneshot};

use super::accounts::Accounts;
use super::controller::Written;
use super::keys::SealKeys;
use super::manifest::{Manifest, resource_name};
use super::owner::ours;
use super::secret::OwnSecret;
use super::server::{Key, Server};
use crate::access::Action;
use crate::backend::{Deployed, Place, Refusal, lacks};
use crate::routes::Routes;
use crate::spec::ServerSpec;
use crate::store::Uid;

/// How long the API server may take for one request.
pub(super) const LIMIT: Duration = Duration::from_secs(10);
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
        let object = manifest.resource(place.principal, digest.as_deref());
        let apply = async |params: PatchParams| limited(api.patch(&key.name, &params, &Patch::Apply(&object))).await;
        let secret = OwnSecret::new(self.client.clone(), &manifest);
        match (&before, &digest) {
            // What a server refers to is there before it refers to that. That nobody else has changed the server is
            // asked first, so that either both change or none.
            (Some(before), Some(digest)) if secret_is_due => {
                apply(PatchParams::apply(GATEWAY).dry_run()).await?;
                secret.put(uid(before)?, digest).await?;
            }
            // There is nothing yet that could own it: it is tried, and made right after the server.
            (None, Some(digest)) => secret.try_place(digest).await?,
            _ => {}
        }
        let after = apply(PatchParams::apply(GATEWAY)).await?;
        if let (None, Some(digest)) = (&before, &digest)
            && let Err(refusal) = secret.put(uid(&after)?, digest).await
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

pub(super) async fn limited<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Refusal> {
    settle(tokio::time::timeout(LIMIT, request).await)
}

/// What an answer of the API server is to those who deploy.
pub(super) fn settle<T>(answer: Result<Result<T, kube::Error>, tokio::time::error::Elapsed>) -> Result<T, Refusal> {
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
