//! The keys that programs of a release share: made once, never written over.

use std::collections::BTreeMap;

use api::secrets::{API_KEYS, HOP, SEAL};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, Client};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use wire::hop::{Issuer, KeyRing, jwks};

use crate::args::SecretArgs;
use crate::digest::hex;
use crate::error::call;

/// The Secrets of a release.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    secrets: Api<Secret>,
    names: SecretArgs,
}

/// The keys of the hop as they are now.
#[derive(Debug)]
pub(crate) struct Hop {
    gateway: KeyRing,
    gateway_secret: Secret,
    operator: KeyRing,
}

impl Keys {
    pub(crate) fn new(client: Client, namespace: &str, names: SecretArgs) -> Self {
        Self { secrets: Api::namespaced(client, namespace), names }
    }

    /// Makes what is missing, and reads what is there.
    pub(crate) async fn load(&self) -> anyhow::Result<Hop> {
        let gateway_secret = self.get_or_make(&self.names.keys_secret, || {
            Ok([(SEAL, seal()?), (HOP, KeyRing::generate()?.to_json())].into())
        });
        let gateway_secret = gateway_secret.await?;
        let operator =
            self.get_or_make(&self.names.operator_keys_secret, || Ok([(HOP, KeyRing::generate()?.to_json())].into()));
        let operator = ring(&operator.await?)?;
        self.first_key().await?;
        Ok(Hop { gateway: ring(&gateway_secret)?, gateway_secret, operator })
    }

    /// A key for clients, made when there is none and never was.
    async fn first_key(&self) -> anyhow::Result<()> {
        let there = async |name: &str| {
            let found = call("get", format!("Secret `{name}`"), self.secrets.get_opt(name)).await?;
            Ok::<_, anyhow::Error>(found.is_some())
        };
        if there(&self.names.api_keys_secret).await? || there(&self.names.first_key_secret).await? {
            return Ok(());
        }
        let (record, key) = client_key()?;
        // The plain one first: a hash whose key nobody ever saw would open nothing.
        self.get_or_make(&self.names.first_key_secret, || Ok([("key", key)].into())).await?;
        self.get_or_make(&self.names.api_keys_secret, || Ok([(API_KEYS, record)].into())).await?;
        tracing::info!(secret = self.names.first_key_secret, "a first key for clients was made");
        Ok(())
    }

    async fn get_or_make(
        &self,
        name: &str,
        make: impl FnOnce() -> anyhow::Result<BTreeMap<&'static str, String>>,
    ) -> anyhow::Result<Secret> {
        let what = || format!("Secret `{name}`");
        if let Some(secret) = call("get", what(), self.secrets.get_opt(name)).await? {
            return Ok(secret);
        }
        let data = make()?.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())));
        let labels = [
            (api::labels::MANAGED_BY, api::labels::OPERATOR),
            (api::labels::PART_OF, api::labels::PART_OF_GATEWAY),
            (api::labels::PURPOSE, "keys"),
        ];
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
                ..ObjectMeta::default()
            },
            data: Some(data.collect()),
            ..Secret::default()
        };
        match self.secrets.create(&PostParams::default(), &secret).await {
            Ok(made) => Ok(made),
            // Somebody else made it meanwhile: that one counts.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                Ok(call("get", what(), self.secrets.get(name)).await?)
            }
            Err(error) => Err(anyhow::Error::new(error).context(format!("failed to create {}", what()))),
        }
    }

    /// Has the newest key of the gateway sign.
    pub(crate) async fn rotate(&self, hop: &mut Hop) -> anyhow::Result<()> {
        let Some(newest) = hop.new_key() else { return Ok(()) };
        hop.gateway.sign_with(&newest);
        let data = hop.gateway_secret.data.get_or_insert_default();
        data.insert(HOP.to_owned(), ByteString(hop.gateway.to_json().into_bytes()));
        let name = &self.names.keys_secret;
        // With the version that was read: who changed it meanwhile is not written over.
        let params = PostParams::default();
        let replaced = self.secrets.replace(name, &params, &hop.gateway_secret);
        call("write", format!("Secret `{name}`"), replaced).await?;
        tracing::info!(kid = newest, "the gateway's new key signs: every pod knows it");
        Ok(())
    }
}

impl Hop {
    /// The newest key of the gateway, unless that signs already.
    pub(crate) fn new_key(&self) -> Option<String> {
        let newest = (*self.gateway.kids().last()?).to_owned();
        Some(newest).filter(|newest| newest != self.gateway.signing())
    }

    /// What pods mount.
    pub(crate) fn jwks(&self) -> String {
        jwks(&[self.gateway.public(Issuer::Gateway), self.operator.public(Issuer::Operator)].concat())
    }

    /// What the operator itself signs with.
    pub(crate) fn into_own(self) -> KeyRing {
        self.operator
    }
}

fn ring(secret: &Secret) -> anyhow::Result<KeyRing> {
    let text = secret.data.as_ref().and_then(|data| data.get(HOP));
    let name = secret.metadata.name.clone().unwrap_or_default();
    let text = text.ok_or_else(|| anyhow::anyhow!("Secret `{name}` has no {HOP}: remove it to have keys made anew"))?;
    Ok(KeyRing::from_json(&text.0)?)
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("there are no random numbers: {error}"))?;
    Ok(bytes)
}

fn seal() -> anyhow::Result<String> {
    let key = json!({"id": hex(&random::<4>()?), "key": BASE64_STANDARD.encode(random::<32>()?)});
    Ok(json!({"keys": [key]}).to_string())
}

/// The record of a new key as the gateway keeps it, and the key.
fn client_key() -> anyhow::Result<(String, String)> {
    let id = hex(&random::<6>()?);
    let key = format!("mgw_{id}_{}", BASE64_URL_SAFE_NO_PAD.encode(random::<32>()?));
    let created = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let record = json!({
        "id": id,
        "name": "first",
        "scopes": ["call", "deploy"],
        "createdAt": created.to_string(),
        "sha256": hex(&Sha256::digest(&key)),
    });
    Ok((json!({"keys": [record]}).to_string(), key))
}
