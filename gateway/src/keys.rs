//! API keys: who may reach servers, and who may change them.
//!
//! A key is 256 random bits behind a prefix and an id, `mgw_<id>_<secret>`. It is shown once, when it is made; the file
//! holds its SHA-256 only, which is enough for secrets that nobody can guess. [`KeyFile`] is the file that the command
//! line and a running gateway share, [`Keys`] the snapshot that requests are checked against, [`Principal`] the answer.

mod file;
mod principal;
mod scope;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, fmt, fmt::Write as _};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

pub use file::{KeyError, KeyFile, KeyWatch, parse_keys};
pub use principal::{Account, Principal, PrincipalHash};
pub use scope::{Scope, ScopeError, Scopes};

use crate::store::{Timestamp, random};

const PREFIX: &str = "mgw_";

/// The public part of a key: 12 hexadecimal digits. Good for lists and logs, opens nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

/// What is kept of a key. No field opens anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyRecord {
    /// The key's public part.
    pub id: KeyId,
    /// What its owner calls it.
    pub name: String,
    /// What it is good for.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops being good; `None` = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    sha256: Hash,
}

/// A key in clear, at the one moment it exists. `Debug` shows nothing of it.
pub struct NewKey(String);

/// SHA-256 of a whole key, stored as 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
struct Hash([u8; 32]);

/// The keys that are good now or later: an immutable snapshot, looked up by id.
#[derive(Debug, Default)]
pub struct Keys(HashMap<KeyId, KeyRecord>);

impl Keys {
    /// The principal a presented key stands for; `None` for a key that is unknown, revoked or expired.
    ///
    /// The id, which is public, finds the record; the secret is compared in constant time.
    pub fn verify(&self, presented: &str, now: Timestamp) -> Option<Principal> {
        let (id, _) = presented.strip_prefix(PREFIX)?.split_once('_')?;
        let record = self.0.get(&KeyId(id.to_owned()))?;
        let same = record.sha256.0.ct_eq(&Hash::of(presented).0);
        (bool::from(same) && !record.expired(now))
            .then(|| Principal::Key { id: record.id.clone(), scopes: record.scopes })
    }

    /// The principals whose keys are good at `now`.
    pub fn principals(&self, now: Timestamp) -> impl Iterator<Item = PrincipalHash> {
        let of = |record: &KeyRecord| Principal::Key { id: record.id.clone(), scopes: record.scopes }.hash();
        self.0.values().filter(move |record| !record.expired(now)).map(of)
    }

    /// Whether there is no key that is good at `now`.
    pub fn none_valid(&self, now: Timestamp) -> bool {
        self.0.values().all(|record| record.expired(now))
    }
}

impl FromIterator<KeyRecord> for Keys {
    fn from_iter<I: IntoIterator<Item = KeyRecord>>(records: I) -> Self {
        Self(records.into_iter().map(|record| (record.id.clone(), record)).collect())
    }
}

impl KeyRecord {
    /// Whether the key is no longer good.
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    pub(crate) fn generate(
        name: &str,
        scopes: Scopes,
        now: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> (Self, NewKey) {
        let (id, secret) = (KeyId(hex(&random::<6>())), URL_SAFE_NO_PAD.encode(random::<32>()));
        let key = format!("{PREFIX}{id}_{secret}");
        let record = Self { name: name.to_owned(), scopes, created_at: now, expires_at, sha256: Hash::of(&key), id };
        (record, NewKey(key))
    }
}

impl NewKey {
    /// The key itself, to be shown to its owner and nobody else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewKey(***)")
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Hash {
    fn of(key: &str) -> Self {
        Self(Sha256::digest(key).into())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let byte = |at| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(byte).collect();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("`sha256` must have 64 hexadecimal digits"))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
