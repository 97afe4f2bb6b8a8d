//! The credential of the hop in a cluster, made by hand: a JWT signed with Ed25519.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as BASE64, Engine};
use serde_json::{Value, json};

/// The header that carries the token.
pub const TOKEN: &str = "mcp-gateway-token";
/// The header that names the principal.
pub const PRINCIPAL: &str = "mcp-gateway-principal";

/// A key of an issuer, `mcp-gateway` or `mcp-operator`.
#[derive(Debug)]
pub struct HopKey {
    kid: String,
    issuer: String,
    pair: Ed25519KeyPair,
}

impl HopKey {
    /// A new one.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub fn new(kid: &str, issuer: &str) -> Result<Self> {
        let pair = Ed25519KeyPair::generate().ok().context("no key could be made")?;
        Ok(Self { kid: kid.into(), issuer: issuer.into(), pair })
    }

    /// A token for the server with that UID, good from now on.
    pub fn token(&self, audience: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.sign(&json!({"iss": self.issuer, "aud": audience, "iat": now, "exp": now + 60}))
    }

    /// A token with whatever claims.
    pub fn sign(&self, claims: &Value) -> String {
        let head = json!({"alg": "EdDSA", "kid": self.kid, "typ": "JWT"});
        let text = format!("{}.{}", BASE64.encode(head.to_string()), BASE64.encode(claims.to_string()));
        let signature = BASE64.encode(self.pair.sign(text.as_bytes()));
        format!("{text}.{signature}")
    }

    fn public(&self) -> Value {
        let x = BASE64.encode(self.pair.public_key());
        json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.kid, "alg": "EdDSA", "use": "sig", "mcp_issuer": self.issuer})
    }
}

/// Writes the public halves where a sidecar looks for them, replacing what is there.
///
/// # Errors
/// When the folder cannot be written.
pub fn publish(folder: &Path, keys: &[&HopKey]) -> Result<()> {
    let keys: Vec<_> = keys.iter().map(|key| key.public()).collect();
    let next = folder.join("next");
    std::fs::write(&next, json!({ "keys": keys }).to_string())?;
    Ok(std::fs::rename(next, folder.join("jwks.json"))?)
}

/// A new private key as a release's Secret has it: its name, and PKCS#8 in Base64.
///
/// # Errors
/// When there are no random numbers.
pub fn private_key() -> Result<(String, String)> {
    let pair = Ed25519KeyPair::generate().ok().context("no key could be made")?;
    let private = pair.to_pkcs8v1().ok().context("the key cannot be written")?;
    let name = BASE64.encode(pair.public_key().as_ref().get(..12).context("a public key has 32 bytes")?);
    Ok((name, BASE64_STANDARD.encode(private.as_ref())))
}
