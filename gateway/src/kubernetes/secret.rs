//! The Secret with what is secret in a deployment. It is written and never read: what is there in its place is found out by
//! requests that fail.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::Value;

use super::deploy::{LIMIT, settle};
use super::manifest::{Manifest, secret_name};
use crate::backend::Refusal;
use crate::store::Uid;

/// How long the Secret of a server that was removed may take to go.
const LEFTOVER: Duration = Duration::from_secs(5);
/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// See the [module](self).
pub(super) struct OwnSecret<'m> {
    api: Api<Secret>,
    name: String,
    manifest: &'m Manifest,
}

impl<'m> OwnSecret<'m> {
    pub(super) fn new(client: Client, manifest: &'m Manifest) -> Self {
        let api = Api::namespaced(client, &manifest.key.namespace);
        Self { api, name: secret_name(&manifest.key), manifest }
    }

    /// Makes the Secret, or makes the one that is there this one.
    pub(super) async fn put(&self, owner: Uid, digest: &str) -> Result<(), Refusal> {
        if self.create(owner, digest, &PostParams::default()).await? {
            return Ok(());
        }
        self.patch(self.manifest.secret_patch(owner, digest), &PatchParams::default()).await
    }

    /// Finds out whether the Secret can be made, and makes nothing. That of a server that was there before goes a moment
    /// after it.
    pub(super) async fn try_place(&self, digest: &str) -> Result<(), Refusal> {
        let (nobody, end) = (Uid::from_bytes([0; 16]), Instant::now() + LEFTOVER);
        let (create, patch) = (PostParams { dry_run: true, ..PostParams::default() }, PatchParams::default().dry_run());
        while !self.create(nobody, digest, &create).await? {
            match self.patch(self.manifest.secret_test(), &patch).await {
                Ok(()) if Instant::now() >= end => {
                    return Err(Refusal::Unreachable(format!(
                        "the Secret `{}` is of a server that was removed, and still there: try again, or remove it",
                        self.name
                    )));
                }
                Ok(()) | Err(Refusal::Missing) => tokio::time::sleep(LOOK).await,
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(())
    }

    /// Whether nothing was in its place.
    async fn create(&self, owner: Uid, digest: &str, params: &PostParams) -> Result<bool, Refusal> {
        let secret = serde_json::from_value(self.manifest.secret(owner, digest));
        let secret = secret.map_err(|error| Refusal::Rejected(error.to_string()))?;
        match tokio::time::timeout(LIMIT, self.api.create(params, &secret)).await {
            Ok(Err(kube::Error::Api(status))) if status.is_already_exists() => Ok(false),
            other => settle(other).map(|_| true),
        }
    }

    async fn patch(&self, patch: Value, params: &PatchParams) -> Result<(), Refusal> {
        let patch = serde_json::from_value(patch).map_err(|error| Refusal::Rejected(error.to_string()))?;
        match tokio::time::timeout(LIMIT, self.api.patch(&self.name, params, &Patch::Json::<()>(patch))).await {
            // A test in the patch says that it is another's.
            Ok(Err(kube::Error::Api(status))) if status.is_invalid() || status.code == 422 => {
                Err(Refusal::Foreign(format!(
                    "the Secret `{}` in the namespace `{}` was not made for this server by the gateway: rename or remove it",
                    self.name, self.manifest.key.namespace
                )))
            }
            other => settle(other).map(drop),
        }
    }
}
