//! Public keys, and the document that lists them (RFC 7517).

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde::{Deserialize, Serialize};

use super::Issuer;

/// The length of an Ed25519 public key, in bytes.
const LENGTH: usize = 32;

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is not the JSON that it should be.
    #[error("the keys are not understood: {0}")]
    Json(#[from] serde_json::Error),
    /// One of them is none.
    #[error("key `{0}` is no Ed25519 key that could be read")]
    Key(String),
    /// Whose key it is, is unknown.
    #[error("key `{kid}` has the issuer `{issuer}`, which is neither mcp-gateway nor mcp-operator")]
    Issuer {
        /// Its name.
        kid: String,
        /// What stands there.
        issuer: String,
    },
    /// Two keys have one name.
    #[error("two keys are called `{0}`")]
    Twice(String),
    /// The key that is to sign is missing.
    #[error("the key `{0}` is to sign, but is not there")]
    NoSigning(String),
    /// No key could be made.
    #[error("no key could be made: the system has no random numbers")]
    Random,
}

/// The public half of a key, and whose key it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Names it.
    pub kid: String,
    /// Who signs with it.
    pub issuer: Issuer,
    point: [u8; LENGTH],
}

#[derive(Serialize, Deserialize)]
struct Document {
    keys: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    kty: String,
    crv: String,
    x: String,
    kid: String,
    alg: String,
    #[serde(rename = "use")]
    purpose: String,
    mcp_issuer: String,
}

impl PublicKey {
    /// From the bytes of the key; `None` when they are too many or too few.
    pub(super) fn new(kid: String, issuer: Issuer, point: &[u8]) -> Option<Self> {
        Some(Self { kid, issuer, point: point.try_into().ok()? })
    }

    /// Whether it made this signature of that text.
    pub(super) fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.point).verify(text, signature).is_ok()
    }

    fn entry(&self) -> Entry {
        let [kty, crv, alg, purpose] = ["OKP", "Ed25519", "EdDSA", "sig"].map(ToOwned::to_owned);
        let x = BASE64_URL_SAFE_NO_PAD.encode(self.point);
        Entry { kty, crv, x, kid: self.kid.clone(), alg, purpose, mcp_issuer: self.issuer.as_str().to_owned() }
    }
}

/// The document with these keys: what stands in the file `jwks.json` of a server's ConfigMap. The same keys in the same
/// order are the same text.
pub fn jwks(keys: &[PublicKey]) -> String {
    let document = Document { keys: keys.iter().map(PublicKey::entry).collect() };
    serde_json::to_string(&document).expect("there are only strings in it")
}

/// The keys of a document. All are good, or it is refused.
///
/// # Errors
/// See [`KeyError`].
pub fn parse_jwks(text: &[u8]) -> Result<Vec<PublicKey>, KeyError> {
    let document: Document = serde_json::from_slice(text)?;
    let mut keys: Vec<PublicKey> = Vec::with_capacity(document.keys.len());
    for entry in document.keys {
        let key = public(entry)?;
        if keys.iter().any(|other| other.kid == key.kid) {
            return Err(KeyError::Twice(key.kid));
        }
        keys.push(key);
    }
    Ok(keys)
}

fn public(entry: Entry) -> Result<PublicKey, KeyError> {
    let Some(issuer) = Issuer::parse(&entry.mcp_issuer) else {
        return Err(KeyError::Issuer { kid: entry.kid, issuer: entry.mcp_issuer });
    };
    let kind = [entry.kty.as_str(), &entry.crv, &entry.alg, &entry.purpose];
    let point = BASE64_URL_SAFE_NO_PAD.decode(&entry.x).ok();
    let point = point.filter(|_| kind == ["OKP", "Ed25519", "EdDSA", "sig"]);
    let key = point.and_then(|point| PublicKey::new(entry.kid.clone(), issuer, &point));
    key.ok_or(KeyError::Key(entry.kid))
}
