//! Volumes for claims: the clusters that the tests make themselves have nobody who provides any.

use std::fs;
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

use super::{Namespace, has_machine, kubectl_with, state_folder};

/// A folder of node 1, in a storage class of its own; on clusters of others nothing, since their default class serves.
/// Gone with the test.
#[derive(Debug)]
pub struct Volume {
    class: Option<String>,
}

impl Volume {
    /// A volume that one claim in this namespace may take.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn new(place: &Namespace, name: &str) -> Result<Self> {
        if !has_machine() {
            return Ok(Self { class: None });
        }
        let name = format!("{}-{name}", place.name());
        fs::create_dir_all(state_folder()?.join("volumes").join(&name))?;
        let on_node = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]});
        // A folder that is called `local` is handed over to the group of the pod, and others are not.
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": name,
                "persistentVolumeReclaimPolicy": "Retain", "local": {"path": format!("/run/cluster/volumes/{name}")},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_node]}]}},
            },
        });
        kubectl_with(&["apply", "-f", "-"], &volume.to_string()).await?;
        Ok(Self { class: Some(name) })
    }

    /// The cache of a server that claims it, as its spec says so.
    pub fn cache(&self) -> Value {
        let mut cache = json!({"medium": "PersistentVolumeClaim", "size": "1Gi"});
        if let Some(class) = &self.class {
            cache["storageClassName"] = json!(class);
        }
        cache
    }

    /// Claims it for servers that name the claim, and gives their cache.
    ///
    /// # Errors
    /// When the claim cannot be made.
    pub async fn claim(&self, place: &Namespace, name: &str) -> Result<Value> {
        let mut claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        });
        if let Some(class) = &self.class {
            claim["spec"]["storageClassName"] = json!(class);
        }
        place.apply(&claim.to_string()).await?;
        Ok(json!({"medium": "PersistentVolumeClaim", "claimName": name}))
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if let Some(class) = &self.class {
            let _ = Command::new("kubectl").args(["delete", "--wait=false", "persistentvolume", class]).output();
        }
    }
}
