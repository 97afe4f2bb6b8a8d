//! The keys that the programs of a release share, changed as people change them.

use anyhow::{Context, Result};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use super::{Cluster, kubectl};
use crate::hop::private_key;

const SECRET: &str = "secret/mcp-gateway-keys";
/// The private keys of the hop to the sidecars: `{"signing": kid, "keys": [{"kid", "private"}]}`.
const HOP: &str = "hop.json";
/// The keys that seal sessions, the newest first: `{"keys": [{"id", "key"}]}`.
const SEAL: &str = "seal.json";

impl Cluster {
    /// Adds a key to those of the hop, and gives its name. The operator has it sign when every pod knows it.
    ///
    /// # Errors
    /// When the Secret cannot be read or written.
    pub async fn add_hop_key(&self) -> Result<String> {
        let mut ring = self.ring(HOP).await?;
        let (kid, private) = private_key()?;
        ring["keys"].as_array_mut().context("a ring has keys")?.push(json!({"kid": kid, "private": private}));
        self.put_ring(HOP, &ring).await?;
        Ok(kid)
    }

    /// The name of the key of the hop that signs.
    ///
    /// # Errors
    /// When the Secret cannot be read.
    pub async fn signing_hop_key(&self) -> Result<String> {
        Ok(self.ring(HOP).await?["signing"].as_str().unwrap_or_default().to_owned())
    }

    /// Removes all keys of the hop but this one.
    ///
    /// # Errors
    /// When the Secret cannot be read or written.
    pub async fn keep_hop_key(&self, kid: &str) -> Result<()> {
        let mut ring = self.ring(HOP).await?;
        ring["keys"].as_array_mut().context("a ring has keys")?.retain(|key| key["kid"] == kid);
        self.put_ring(HOP, &ring).await
    }

    /// Puts a new key before those that seal sessions.
    ///
    /// # Errors
    /// When the Secret cannot be read or written.
    pub async fn add_seal_key(&self) -> Result<()> {
        let mut ring = self.ring(SEAL).await?;
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).ok().context("there are no random numbers")?;
        let key = json!({"id": format!("{:08x}", u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
            "key": BASE64_STANDARD.encode(bytes)});
        ring["keys"].as_array_mut().context("a ring has keys")?.insert(0, key);
        self.put_ring(SEAL, &ring).await
    }

    async fn ring(&self, name: &str) -> Result<Value> {
        let secret = kubectl(&["--namespace", &self.system, "get", SECRET, "-o", "json"]).await?;
        let secret: Value = serde_json::from_str(&secret)?;
        let text = BASE64_STANDARD.decode(secret["data"][name].as_str().context("the Secret has no keys")?)?;
        Ok(serde_json::from_slice(&text)?)
    }

    async fn put_ring(&self, name: &str, ring: &Value) -> Result<()> {
        let patch = json!({"stringData": {name: ring.to_string()}}).to_string();
        kubectl(&["--namespace", &self.system, "patch", SECRET, "--type=merge", "-p", &patch]).await.map(drop)
    }
}
