//! Reads what a server depends on. Writes nothing.

use std::collections::HashMap;
use std::sync::Arc;

use api::{McpServer, labels};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{Api, ResourceExt as _};
use wire::status::Phase;

use super::Context;
use super::references::{References, resolve};
use crate::build::LOCK_FILE;
use crate::error::{Error, call};
use crate::probe::SidecarStatus;

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) deployment: Option<Deployment>,
    pub(crate) references: References,
    /// The lock that is kept: what it is for, and the file.
    pub(crate) lock: Option<(String, String)>,
    /// The pods, the oldest first.
    pub(crate) pods: Vec<Arc<Pod>>,
    /// What their sidecars said last, by the UID of the pod.
    pub(crate) sidecars: HashMap<String, SidecarStatus>,
}

impl Found {
    /// Whether values from elsewhere are in use, whose change no event tells.
    pub(crate) fn refers(&self) -> bool {
        self.references.own || self.references.digest.is_none()
    }

    /// The lock for what is requested now: the one that is kept, or what a pod of the same request has resolved.
    pub(crate) fn lock_for(&self, requested: &str) -> Option<String> {
        let kept = self.lock.as_ref().filter(|(locked_for, _)| locked_for == requested);
        kept.map(|(_, content)| content.clone()).or_else(|| {
            let lock = self.same(requested).find_map(|it| it.lock.as_ref())?;
            serde_json::to_string(lock).ok()
        })
    }

    /// Whether a pod of the same request works without having resolved anything.
    pub(crate) fn resolves_nothing(&self, requested: &str) -> bool {
        self.same(requested).any(|it| it.phase == Phase::Ready && it.lock.is_none() && it.packages.is_empty())
    }

    /// What the sidecars of pods say that were made of the same request; in an update there are others.
    pub(crate) fn same(&self, requested: &str) -> impl Iterator<Item = &SidecarStatus> {
        let same = move |pod: &&Arc<Pod>| pod.annotations().get(labels::LOCKED_FOR).is_some_and(|it| it == requested);
        self.pods.iter().filter(same).filter_map(|pod| self.sidecars.get(&pod.uid()?))
    }
}

pub(super) async fn dereference(server: &McpServer, context: &Context) -> Result<Found, Error> {
    let (client, name) = (&context.client.0, server.name_any());
    let namespace = server.namespace().unwrap_or_default();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let deployment = call("get", format!("Deployment `{name}`"), deployments.get_opt(&name)).await?;
    // One of somebody else says nothing about this server.
    let own =
        |it: &Deployment| it.owner_references().iter().any(|owner| Some(&owner.uid) == server.metadata.uid.as_ref());
    let deployment = deployment.filter(own);
    let mut references = resolve(client, &namespace, &server.spec, &context.settings).await?;
    if references.digest.is_none() {
        // What cannot be read now may be what it was: nothing is restarted for it.
        let annotations =
            deployment.as_ref().and_then(|it| it.spec.as_ref()?.template.metadata.as_ref()?.annotations.as_ref());
        references.digest = annotations.and_then(|it| it.get(labels::REFERENCES)).cloned();
    }
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let lock_name = format!("{name}-lock");
    let lock = call("get", format!("ConfigMap `{lock_name}`"), maps.get_opt(&lock_name)).await?;
    let lock = lock.and_then(|map| {
        let locked_for = map.annotations().get(labels::LOCKED_FOR)?.clone();
        Some((locked_for, map.data?.remove(LOCK_FILE)?))
    });
    let mut pods = context.pods.state_filter(|pod: &Pod| {
        pod.namespace().as_deref() == Some(&*namespace) && pod.labels().get(labels::SERVER) == Some(&name)
    });
    pods.sort_by_key(|pod| (pod.creation_timestamp().map(|time| time.0), pod.name_any()));
    if let Some(uid) = server.uid() {
        // One that was seen before its server was not followed yet.
        for pod in &pods {
            context.sidecars.follow(pod, &uid);
        }
    }
    let status = |pod: &Arc<Pod>| Some((pod.uid()?, context.sidecars.status(&pod.uid()?)?));
    let sidecars = pods.iter().filter_map(status).collect();
    Ok(Found { deployment, references, lock, pods, sidecars })
}
