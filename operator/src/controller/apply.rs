//! Brings the objects of a server to the cluster: writes what differs, removes what is not wanted any more, and touches
//! nothing that belongs to somebody else.

use std::fmt::Debug;

use api::labels;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::same;
use super::validate::ValidatedServer;
use crate::build::Resources;
use crate::digest::digest;
use crate::error::{Error, call};
use crate::metrics::Metrics;

/// The annotation with a digest of what was written, so that a field that is not wanted any more is noticed.
const APPLIED: &str = "mcpgateway.dev/applied-digest";

/// Where objects are brought to.
pub(crate) struct Target<'a> {
    pub(crate) client: &'a Client,
    pub(crate) metrics: &'a Metrics,
    pub(crate) namespace: &'a str,
    /// Whose they are: its name, and its UID.
    pub(crate) server: &'a str,
    pub(crate) uid: &'a str,
}

/// Brings them all, what pods need before the pods.
pub(crate) async fn apply(
    server: &ValidatedServer,
    resources: Resources,
    target: &Target<'_>,
) -> Result<Deployment, Error> {
    // Without `..`: a new kind of object does not compile until it is brought here.
    let Resources {
        service_account,
        hop,
        certificates,
        lock,
        cache,
        network_policy,
        service,
        disruption_budget,
        deployment,
    } = resources;
    let name = |suffix: &str| format!("{}{suffix}", server.name);
    target.put_or_remove(service_account, &name("")).await?;
    target.put(hop).await?;
    target.put_or_remove(certificates, &name("-ca")).await?;
    target.put_or_remove(lock, &name("-lock")).await?;
    target.put_or_remove(cache, &name("-cache")).await?;
    // Before the pods, so that none is open for a moment.
    target.put(network_policy).await?;
    target.put(service).await?;
    target.put_or_remove(disruption_budget, &name("")).await?;
    target.put(deployment).await
}

impl Target<'_> {
    async fn put_or_remove<K>(&self, object: Option<K>, name: &str) -> Result<(), Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
    {
        match object {
            Some(object) => self.put(object).await.map(drop),
            None => self.remove::<K>(name).await,
        }
    }

    /// Writes an object unless it is there as it is wanted; gives what is there then.
    async fn put<K>(&self, mut object: K) -> Result<K, Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
    {
        let (api, name) = (self.api::<K>(), object.name_any());
        let what = || format!("{} `{name}`", K::kind(&()));
        let text = serde_json::to_string(&object).expect("an object is made of JSON");
        object.annotations_mut().insert(APPLIED.to_owned(), digest([text]));
        let existing = call("get", what(), api.get_opt(&name)).await?;
        let mut params = PatchParams::apply(labels::OPERATOR);
        // What somebody makes between the look and the write is not taken over: the write conflicts, and the next look
        // finds whose it is.
        if let Some(existing) = existing {
            params = params.force();
            self.check_owner(&existing)?;
            if existing.meta().deletion_timestamp.is_some() {
                return Err(Error::Leaving { kind: K::kind(&()).into_owned(), name });
            }
            let json = |object: &K| serde_json::to_value(object).expect("an object is made of JSON");
            if same::contains(&json(&existing), &json(&object)) {
                return Ok(existing);
            }
            object.meta_mut().uid = existing.uid();
        }
        let written = call("write", what(), api.patch(&name, &params, &Patch::Apply(&object))).await?;
        self.metrics.wrote(&K::kind(&()));
        Ok(written)
    }

    /// Removes an object that is not wanted any more, if it is this server's.
    async fn remove<K>(&self, name: &str) -> Result<(), Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + DeserializeOwned + Clone + Debug,
    {
        let api = self.api::<K>();
        let what = || format!("{} `{name}`", K::kind(&()));
        let Some(existing) = call("get", what(), api.get_opt(name)).await? else { return Ok(()) };
        if self.check_owner(&existing).is_err() || existing.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
        let preconditions = Preconditions { uid: existing.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match call("delete", what(), api.delete(name, &params)).await {
            Err(error) if error.is_gone() => Ok(()),
            Err(error) => Err(error),
            Ok(_) => {
                self.metrics.wrote(&K::kind(&()));
                Ok(())
            }
        }
    }

    fn check_owner<K: Resource<DynamicType = ()>>(&self, object: &K) -> Result<(), Error> {
        let owners = object.meta().owner_references.iter().flatten();
        let (kind, name) = (K::kind(&()).into_owned(), object.name_any());
        match owners.into_iter().find(|owner| owner.controller == Some(true)) {
            Some(owner) if owner.uid == self.uid => Ok(()),
            // Its server was replaced by another of that name: the garbage collector has yet to come to it.
            Some(owner) if owner.kind == "McpServer" && owner.name == self.server => Err(Error::Leaving { kind, name }),
            _ => Err(Error::Foreign { kind, name }),
        }
    }

    fn api<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), self.namespace)
    }
}
