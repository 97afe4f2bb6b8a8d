//! Private keys: those that are known, and the one that signs.

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde::{Deserialize, Serialize};

use super::key::{KeyError, PublicKey};
use super::{Issuer, token};

/// How many bytes of the public key make a key's name.
const NAME_BYTES: usize = 12;

/// The private keys of one issuer. `Debug` shows names only.
pub struct KeyRing {
    signing: String,
    keys: Vec<Key>,
}

struct Key {
    kid: String,
    pair: Ed25519KeyPair,
    /// PKCS#8, as it is stored.
    private: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    signing: String,
    keys: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    kid: String,
    /// PKCS#8 in Base64.
    private: String,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("signing", &self.signing).field("kids", &self.kids()).finish_non_exhaustive()
    }
}

impl KeyRing {
    /// One new key, which signs.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub fn generate() -> Result<Self, KeyError> {
        let key = Key::generate()?;
        Ok(Self { signing: key.kid.clone(), keys: vec![key] })
    }

    /// From the JSON of [`Self::to_json`]: `{"signing": kid, "keys": [{"kid", "private"}]}`.
    ///
    /// # Errors
    /// When a key is none, two have one name, or the one that is to sign is missing.
    pub fn from_json(text: &[u8]) -> Result<Self, KeyError> {
        let Document { signing, keys: entries } = serde_json::from_slice(text)?;
        let mut keys: Vec<Key> = Vec::with_capacity(entries.len());
        for Entry { kid, private } in entries {
            if keys.iter().any(|key| key.kid == kid) {
                return Err(KeyError::Twice(kid));
            }
            keys.push(Key::parse(kid, &private)?);
        }
        if !keys.iter().any(|key| key.kid == signing) {
            return Err(KeyError::NoSigning(signing));
        }
        Ok(Self { signing, keys })
    }

    /// What is kept in a Secret.
    pub fn to_json(&self) -> String {
        let entry = |key: &Key| Entry { kid: key.kid.clone(), private: BASE64_STANDARD.encode(&key.private) };
        let document = Document { signing: self.signing.clone(), keys: self.keys.iter().map(entry).collect() };
        serde_json::to_string(&document).expect("there are only strings in it")
    }

    /// Makes a further key, and gives its name. It does not sign until [`Self::sign_with`] says so.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub fn add(&mut self) -> Result<String, KeyError> {
        let key = Key::generate()?;
        let kid = key.kid.clone();
        self.keys.push(key);
        Ok(kid)
    }

    /// Has the key of this name sign from now on; whether there is one.
    pub fn sign_with(&mut self, kid: &str) -> bool {
        let known = self.keys.iter().any(|key| key.kid == kid);
        if known {
            kid.clone_into(&mut self.signing);
        }
        known
    }

    /// Forgets the keys that are not wanted any more; never the one that signs.
    pub fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        let signing = &self.signing;
        self.keys.retain(|key| key.kid == *signing || wanted(&key.kid));
    }

    /// The name of the key that signs.
    pub fn signing(&self) -> &str {
        &self.signing
    }

    /// The names of all, oldest first.
    pub fn kids(&self) -> Vec<&str> {
        self.keys.iter().map(|key| key.kid.as_str()).collect()
    }

    /// The public halves of all, as keys of `issuer`.
    pub fn public(&self, issuer: Issuer) -> Vec<PublicKey> {
        let public = |key: &Key| PublicKey::new(key.kid.clone(), issuer, key.pair.public_key().as_ref());
        self.keys.iter().filter_map(public).collect()
    }

    /// A token of `issuer` for `audience`, made at `now`.
    pub(super) fn sign(&self, issuer: Issuer, audience: &str, now: u64) -> Option<String> {
        let key = self.keys.iter().find(|key| key.kid == self.signing)?;
        let text = token::unsigned(&key.kid, issuer, audience, now);
        let signature = key.pair.try_sign(text.as_bytes()).ok()?;
        Some(format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl Key {
    fn generate() -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::Random)?;
        let private = pair.to_pkcs8v1().map_err(|_| KeyError::Random)?.as_ref().to_vec();
        let public = pair.public_key().as_ref();
        let kid = BASE64_URL_SAFE_NO_PAD.encode(&public[..NAME_BYTES.min(public.len())]);
        Ok(Self { kid, pair, private })
    }

    fn parse(kid: String, private: &str) -> Result<Self, KeyError> {
        let private = BASE64_STANDARD.decode(private).ok();
        let pair = private.as_ref().and_then(|private| Ed25519KeyPair::from_pkcs8_maybe_unchecked(private).ok());
        match (private, pair) {
            (Some(private), Some(pair)) => Ok(Self { kid, pair, private }),
            _ => Err(KeyError::Key(kid)),
        }
    }
}
