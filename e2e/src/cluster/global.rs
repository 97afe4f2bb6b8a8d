//! Something of the whole cluster, gone with the test.

use std::process::Command;

use anyhow::Result;
use serde_json::Value;

use super::kubectl_with;

/// See the [module](self).
#[derive(Debug)]
pub struct Global(String);

impl Global {
    /// Applies it.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn new(manifest: &Value) -> Result<Self> {
        let made = kubectl_with(&["apply", "-o", "name", "-f", "-"], &manifest.to_string()).await?;
        Ok(Self(made.trim().to_owned()))
    }
}

impl Drop for Global {
    fn drop(&mut self) {
        // The cluster ends soon.
        let _ = Command::new("kubectl").args(["delete", "--wait=false", &self.0]).output();
    }
}
