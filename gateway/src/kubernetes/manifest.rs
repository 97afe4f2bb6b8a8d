//! What is deployed through the API, as a resource and a Secret. Pure.

use std::collections::BTreeMap;

use api::labels::{
    CONTENT, DEPLOYED_BY, GATEWAY, GROUP, MANAGED_BY, PART_OF, PART_OF_GATEWAY, PURPOSE, SERVER, VERSION,
};
use api::names::MAX_RESOURCE_NAME;
use aws_lc_rs::hmac;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use mcp::names::ServerName;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::server::Key;
use crate::keys::{PrincipalHash, hex};
use crate::spec::{Process, ProcessMode, ServerSpec, Target, Transport, format_duration, looks_secret};
use crate::store::Uid;

/// Value of [`PURPOSE`] on the Secret.
const PURPOSE_ENV: &str = "env";

/// See the [module](self).
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) key: Key,
    object: Value,
    /// What is secret, by the keys of the Secret.
    secrets: BTreeMap<String, String>,
}

/// The name of the resource that a server of this name gets, where none has it yet. `taken` tells of a name that another
/// server has.
pub(super) fn resource_name(name: &ServerName, taken: impl Fn(&str) -> bool) -> String {
    let max = usize::try_from(MAX_RESOURCE_NAME).unwrap_or(usize::MAX);
    let plain: String = name.as_str().to_ascii_lowercase().replace(['.', '_'], "-");
    if plain.len() <= max && !taken(&plain) {
        return plain;
    }
    let hash = hex(&Sha256::digest(name.as_str())[..4]);
    let cut = plain.len().min(max - hash.len() - 1);
    format!("{}-{hash}", plain[..cut].trim_end_matches('-'))
}

impl Manifest {
    /// What `spec` is in a cluster, under the name that its user gave it.
    pub(super) fn new(key: Key, name: &ServerName, spec: &ServerSpec) -> Self {
        let mut secrets = BTreeMap::new();
        let secret_name = secret_name(&key);
        let mut value = |name: &str, value: &str, escape: bool| {
            if looks_secret(name, value) {
                let key = secret_key(name);
                secrets.insert(key.clone(), value.to_owned());
                return json!({"name": name, "valueFrom": {"secretKeyRef": {"name": secret_name, "key": key}}});
            }
            // `$(NAME)` would stand for a variable.
            let value = if escape { value.replace('$', "$$") } else { value.to_owned() };
            json!({"name": name, "value": value})
        };
        let mut fields = Map::new();
        match &spec.target {
            Target::Command(command) => {
                fields.insert("command".into(), json!(command.command));
                put(&mut fields, "args", json!(command.args));
                put(&mut fields, "env", command.env.iter().map(|(name, it)| value(name, it, true)).collect());
            }
            Target::Remote(remote) => {
                fields.insert("url".into(), json!(remote.url));
                if remote.transport != Transport::Auto {
                    fields.insert("transport".into(), json!(remote.transport));
                }
                put(&mut fields, "headers", remote.headers.iter().map(|(name, it)| value(name, it, false)).collect());
            }
        }
        put(&mut fields, "process", process(&spec.process));
        put(&mut fields, "tools", json!(spec.tools));
        let mut route = Map::new();
        if *key.name != *name.as_str() {
            route.insert("name".into(), json!(name));
        }
        if !spec.route.aggregate {
            route.insert("aggregate".into(), json!(false));
        }
        put(&mut fields, "route", Value::Object(route));
        if spec.suspend {
            fields.insert("suspend".into(), json!(true));
        }
        let object = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "McpServer",
            "metadata": {
                "name": &*key.name,
                "namespace": &*key.namespace,
                "labels": {MANAGED_BY: GATEWAY, PART_OF: PART_OF_GATEWAY},
                "annotations": {},
            },
            "spec": fields,
        });
        Self { key, object, secrets }
    }

    pub(super) fn has_secrets(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// Whether `digest`, made with one of these keys, is of the same secrets.
    pub(super) fn is_same(&self, digest: Option<&str>, keys: &[[u8; 32]]) -> bool {
        match digest {
            Some(digest) => keys.iter().any(|key| self.digest(key) == digest),
            None => self.secrets.is_empty(),
        }
    }

    /// A digest of what is secret. It tells nobody without the key anything, not even whether a guess is right.
    pub(super) fn digest(&self, key: &[u8; 32]) -> String {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
        context.update(b"mcp-gateway deployed secrets\0");
        context.update(self.key.namespace.as_bytes());
        context.update(b"/");
        context.update(self.key.name.as_bytes());
        context.update(&serde_json::to_vec(&self.secrets).expect("strings serialize"));
        hex(&context.sign().as_ref()[..16])
    }

    /// The resource, to be applied.
    pub(super) fn resource(&self, by: PrincipalHash, digest: Option<&str>) -> Value {
        let mut object = self.object.clone();
        let annotations = &mut object["metadata"]["annotations"];
        annotations[DEPLOYED_BY] = json!(by.to_string());
        if let Some(digest) = digest {
            annotations[CONTENT] = json!(digest);
        }
        object
    }

    /// The Secret, to be made. It goes with the resource of this identity.
    pub(super) fn secret(&self, owner: Uid, digest: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": secret_name(&self.key),
                "namespace": &*self.key.namespace,
                "labels": {MANAGED_BY: GATEWAY, PART_OF: PART_OF_GATEWAY, PURPOSE: PURPOSE_ENV, SERVER: &*self.key.name},
                "annotations": {CONTENT: digest},
                "ownerReferences": [{
                    "apiVersion": format!("{GROUP}/{VERSION}"),
                    "kind": "McpServer",
                    "name": &*self.key.name,
                    "uid": owner,
                }],
            },
            "type": "Opaque",
            "data": self.data(),
        })
    }

    /// The change that makes a Secret that is there this one, and fails when it is not this server's: nothing of it has
    /// to be read for that.
    pub(super) fn secret_patch(&self, owner: Uid, digest: &str) -> Value {
        let content = format!("/metadata/annotations/{}", CONTENT.replace('/', "~1"));
        let mut steps = self.tests();
        steps.extend([
            json!({"op": "test", "path": "/metadata/ownerReferences/0/uid", "value": owner}),
            json!({"op": "add", "path": content, "value": digest}),
            json!({"op": "add", "path": "/data", "value": self.data()}),
        ]);
        Value::Array(steps)
    }

    /// The change that is none, and fails when a Secret that is there was not made for a server of this name.
    pub(super) fn secret_test(&self) -> Value {
        Value::Array(self.tests())
    }

    fn tests(&self) -> Vec<Value> {
        let label = |name: &str| format!("/metadata/labels/{}", name.replace('~', "~0").replace('/', "~1"));
        let labels = [(MANAGED_BY, GATEWAY), (PURPOSE, PURPOSE_ENV), (SERVER, &*self.key.name)];
        labels.map(|(name, value)| json!({"op": "test", "path": label(name), "value": value})).into()
    }

    fn data(&self) -> Value {
        self.secrets.iter().map(|(key, value)| (key.clone(), json!(BASE64_STANDARD.encode(value)))).collect()
    }
}

/// The name of a server's Secret.
pub(super) fn secret_name(key: &Key) -> String {
    format!("{}-deploy-env", key.name)
}

/// What a value is called in the Secret: its name, if that is allowed there.
fn secret_key(name: &str) -> String {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.len() <= 200 && name.chars().all(is_legal) && !name.starts_with('.') {
        name.to_owned()
    } else {
        format!("value-{}", hex(&Sha256::digest(name)[..8]))
    }
}

/// Only what says something: what is left out can be somebody else's to decide.
fn put(fields: &mut Map<String, Value>, name: &str, value: Value) {
    let is_empty = match &value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    if !is_empty {
        fields.insert(name.to_owned(), value);
    }
}

fn process(process: &Process) -> Value {
    let default = Process::default();
    let mut fields = Map::new();
    if process.mode != ProcessMode::Auto {
        fields.insert("mode".into(), json!(process.mode));
    }
    if process.max_processes != default.max_processes {
        fields.insert("maxProcesses".into(), json!(process.max_processes));
    }
    if process.warm_spares != default.warm_spares {
        fields.insert("warmSpares".into(), json!(process.warm_spares));
    }
    for (name, time, usual) in [
        ("idleTimeout", Some(process.idle_timeout), Some(default.idle_timeout)),
        ("installTimeout", Some(process.install_timeout), Some(default.install_timeout)),
        ("startupTimeout", Some(process.startup_timeout), Some(default.startup_timeout)),
        ("requestTimeout", process.request_timeout, default.request_timeout),
    ] {
        if let Some(time) = time.filter(|_| time != usual) {
            fields.insert(name.into(), json!(format_duration(time)));
        }
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests;
