//! The keys that replicas share, from Secrets that the operator makes: they are watched, and put in force as they change.

use std::sync::Arc;

use api::secrets::{API_KEYS, HOP, SEAL};
use arc_swap::ArcSwap;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use runtime::readiness::Token;
use serde::Deserialize;
use wire::hop::{KeyRing, Signer};

use crate::access::Access;
use crate::keys::{Keys, parse_keys};
use crate::seal::Sealer;

/// The keys of the seal, the newest first. Clones share them.
#[derive(Clone, Default)]
pub(super) struct SealKeys(Arc<ArcSwap<Vec<[u8; 32]>>>);

impl SealKeys {
    pub(super) fn all(&self) -> Arc<Vec<[u8; 32]>> {
        self.0.load_full()
    }
}

/// What a Secret cannot be used for.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretError {
    #[error("it has no `{0}`")]
    Missing(&'static str),
    #[error("`{0}` holds no key")]
    NoKey(&'static str),
    #[error("`{0}`: {1}")]
    Json(&'static str, serde_json::Error),
    #[error("`{HOP}`: {0}")]
    Hop(#[from] wire::hop::KeyError),
}

#[derive(Deserialize)]
struct Ring {
    keys: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    key: String,
}

/// Puts the sealing keys and the key of the hop in force.
pub(super) struct OwnKeys {
    pub(super) sealer: Sealer,
    pub(super) signer: Arc<Signer>,
    pub(super) known: SealKeys,
}

impl OwnKeys {
    fn take(&self, secret: &Secret) -> Result<(), SecretError> {
        // All or nothing: half of a new version may not fit the other half of an old one.
        let (seal, hop) = (seal_keys(part(secret, SEAL)?)?, KeyRing::from_json(part(secret, HOP)?)?);
        let (newest, others) = seal.split_first().ok_or(SecretError::NoKey(SEAL))?;
        self.sealer.replace(newest, others);
        self.known.0.store(Arc::new(seal));
        self.signer.replace(hop);
        Ok(())
    }

    /// Follows the Secret of this name for ever. Lets go of `ready` when there are keys.
    pub(super) async fn follow(self, api: Api<Secret>, name: String, ready: Token) {
        let mut ready = Some(ready);
        follow(api, &name, |secret| match secret {
            Some(secret) => {
                self.take(secret)?;
                ready = None;
                Ok(())
            }
            // Sessions go on with the keys that were read.
            None => Err(SecretError::Missing(SEAL)),
        })
        .await;
    }
}

/// Follows the Secret with the keys of clients for ever. Without it there are none.
pub(super) async fn follow_api_keys(api: Api<Secret>, name: String, access: Access, ready: Token) {
    let mut ready = Some(ready);
    follow(api, &name, |secret| {
        let keys: Keys = match secret {
            Some(secret) => api_keys(part(secret, API_KEYS)?)?,
            None => Keys::default(),
        };
        access.set_keys(Arc::new(keys));
        ready = None;
        Ok(())
    })
    .await;
}

/// Tells of each version of one Secret, and when there is none.
async fn follow(api: Api<Secret>, name: &str, mut take: impl FnMut(Option<&Secret>) -> Result<(), SecretError>) {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = watcher(api, config).backoff(super::pauses()).boxed();
    let mut seen = false;
    while let Some(event) = events.next().await {
        let taken = match event {
            Ok(watcher::Event::Init) => {
                seen = false;
                Ok(())
            }
            Ok(watcher::Event::InitApply(secret) | watcher::Event::Apply(secret)) => {
                seen = true;
                tracing::info!(name, "keys are read");
                take(Some(&secret))
            }
            Ok(watcher::Event::InitDone) if seen => Ok(()),
            Ok(watcher::Event::InitDone | watcher::Event::Delete(_)) => take(None),
            Err(error) => {
                tracing::warn!(%error, name, "the Secret with keys cannot be read; those read before stay in force");
                Ok(())
            }
        };
        if let Err(error) = taken {
            tracing::error!(%error, name, "the Secret has no keys that can be used; those read before stay in force");
        }
    }
}

/// The API of Secrets in the gateway's own namespace.
pub(super) fn secrets(client: &Client, namespace: &str) -> Api<Secret> {
    Api::namespaced(client.clone(), namespace)
}

fn part<'a>(secret: &'a Secret, name: &'static str) -> Result<&'a [u8], SecretError> {
    secret.data.as_ref().and_then(|data| Some(data.get(name)?.0.as_slice())).ok_or(SecretError::Missing(name))
}

fn seal_keys(json: &[u8]) -> Result<Vec<[u8; 32]>, SecretError> {
    let ring: Ring = serde_json::from_slice(json).map_err(|error| SecretError::Json(SEAL, error))?;
    let key = |entry: &Entry| <[u8; 32]>::try_from(BASE64_STANDARD.decode(&entry.key).ok()?).ok();
    let keys: Option<Vec<_>> = ring.keys.iter().map(key).collect();
    keys.filter(|keys| !keys.is_empty()).ok_or(SecretError::NoKey(SEAL))
}

fn api_keys(json: &[u8]) -> Result<Keys, SecretError> {
    Ok(parse_keys(json).map_err(|error| SecretError::Json(API_KEYS, error))?.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use wire::hop::Issuer;

    use super::*;
    use crate::keys::PrincipalHash;
    use crate::seal::{Handle, Kind};
    use crate::store::Uid;

    fn own() -> OwnKeys {
        let signer = Signer::new(Issuer::Gateway, KeyRing::generate().unwrap());
        OwnKeys { sealer: Sealer::unset(), signer: Arc::new(signer), known: SealKeys::default() }
    }

    fn secret(seal: &[[u8; 32]], hop: &KeyRing) -> Secret {
        let entry = |key: &[u8; 32]| format!(r#"{{"id":"x","key":"{}"}}"#, BASE64_STANDARD.encode(key));
        let seal = format!(r#"{{"keys":[{}]}}"#, seal.iter().map(entry).collect::<Vec<_>>().join(","));
        let data = [(SEAL, seal), (HOP, hop.to_json())];
        let data = data.into_iter().map(|(name, text)| (name.to_owned(), ByteString(text.into_bytes()))).collect();
        Secret { data: Some(data), ..Secret::default() }
    }

    #[test]
    fn a_rotation_of_keys_ends_no_session() {
        let (own, ring) = (own(), KeyRing::generate().unwrap());
        own.take(&secret(&[[1; 32]], &ring)).unwrap();
        let handle = Handle {
            kind: Kind::Streamable,
            server: "team/time".into(),
            instance: Uid::from_bytes([1; 16]),
            session: "s".into(),
            principal: PrincipalHash::from_bytes([2; 16]),
        };
        let before = own.sealer.seal(&handle);
        own.take(&secret(&[[2; 32], [1; 32]], &ring)).unwrap();
        assert_eq!(own.sealer.open(&before), Some(handle.clone()));
        assert_eq!(Sealer::new(&[2; 32], None).open(&own.sealer.seal(&handle)), Some(handle));
        assert_eq!(*own.known.all(), [[2; 32], [1; 32]]);
    }

    #[test]
    fn a_secret_that_is_damaged_changes_nothing() {
        let (own, ring) = (own(), KeyRing::generate().unwrap());
        own.take(&secret(&[[1; 32]], &ring)).unwrap();
        let token = own.signer.token("a", 1000).unwrap();
        for (part, text) in
            [(SEAL, "{}"), (SEAL, r#"{"keys":[]}"#), (SEAL, r#"{"keys":[{"id":"x","key":"AA=="}]}"#), (HOP, "{}")]
        {
            let mut damaged = secret(&[[3; 32]], &KeyRing::generate().unwrap());
            damaged.data.as_mut().unwrap().insert(part.to_owned(), ByteString(text.as_bytes().to_vec()));
            own.take(&damaged).unwrap_err();
        }
        own.take(&Secret::default()).unwrap_err();
        assert_eq!((&*own.known.all(), own.signer.token("a", 1000).unwrap()), (&vec![[1; 32]], token));
    }
}
