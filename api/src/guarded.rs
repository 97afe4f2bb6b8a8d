//! Resources of which one may not fit the type, as after a change of version: the others can be read all the same.
//!
//! Like `DeserializeGuard` of kube, but what is said of such a resource quotes nothing of it. It goes into a status and
//! into logs, and what does not fit may be a password at the wrong place.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::McpServer;

/// A server, if it can be read.
#[derive(Clone, Debug)]
pub struct Guarded(pub Result<McpServer, Unreadable>);

/// A server that cannot be read.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Whose it is.
    pub metadata: ObjectMeta,
    /// Which field does not fit, and what would.
    pub problem: String,
}

impl<'de> Deserialize<'de> for Guarded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(deserializer)?;
        let read = serde_path_to_error::deserialize::<_, McpServer>(&object).map_err(|error| problem(&error));
        let unreadable = |problem: String| {
            let metadata = object.get("metadata").unwrap_or(&Value::Null);
            let metadata = ObjectMeta::deserialize(metadata).map_err(|_| D::Error::custom(&problem))?;
            Ok(Err(Unreadable { metadata, problem }))
        };
        read.map_or_else(unreadable, |server| Ok(Ok(server))).map(Self)
    }
}

/// Where it does not fit, and what would. Of serde's text that is what follows the value.
fn problem(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let text = error.inner().to_string();
    let of_serde = ["invalid type: ", "invalid value: ", "invalid length ", "unknown variant "];
    let expected = text.rsplit_once(", expected ").filter(|_| of_serde.iter().any(|kind| text.starts_with(kind)));
    let what = match expected {
        Some((_, expected)) => format!("expected {expected}"),
        None if text.starts_with("missing field ") => text,
        None => "not of the form that is expected there".to_owned(),
    };
    format!("{}: {what}", error.path())
}

impl Resource for Guarded {
    type DynamicType = ();
    type Scope = <McpServer as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        McpServer::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        McpServer::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        McpServer::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        McpServer::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|unreadable| &unreadable.metadata, McpServer::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|unreadable| &mut unreadable.metadata, McpServer::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(spec: &str) -> Guarded {
        let spec: Value = serde_saphyr::from_str(spec).unwrap();
        let object = json!({"apiVersion": "mcpgateway.dev/v1alpha1", "kind": "McpServer",
            "metadata": {"name": "a", "uid": "b"}, "spec": spec});
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_place_and_without_what_stands_there() {
        for (spec, expected) in [
            ("{replicas: hunter2}", "spec.replicas: expected i32"),
            ("{replicas: 'a, expected hunter2'}", "spec.replicas: expected i32"),
            ("{env: hunter2}", "spec.env: expected a sequence"),
            ("{env: [{name: A, value: a}, {name: B, value: [hunter2]}]}", "spec.env[1].value: expected a string"),
            ("{env: [{value: hunter2}]}", "spec.env[0]: missing field `name`"),
            ("{transport: hunter2}", "spec.transport: expected one of `auto`, `streamable-http`, `sse`"),
            ("{process: {idleTimeout: hunter2}}", "spec.process.idleTimeout: not of the form that is expected there"),
            ("hunter2", "spec: expected struct McpServerSpec"),
        ] {
            let unreadable = read(spec).0.unwrap_err();
            assert_eq!(unreadable.problem, expected, "{spec}");
            assert_eq!(unreadable.metadata.name.as_deref(), Some("a"));
            assert!(!format!("{unreadable:?}").contains("hunter2"), "{unreadable:?}");
        }
    }

    #[test]
    fn a_server_that_can_be_read_is_read() {
        let guarded = read("{command: uvx}");
        assert_eq!(guarded.meta().uid.as_deref(), Some("b"));
        assert_eq!(guarded.0.unwrap().spec.command.as_deref(), Some("uvx"));
    }

    #[test]
    fn an_object_that_nobody_could_name_is_no_server_and_is_not_quoted_either() {
        let object = json!({"apiVersion": "mcpgateway.dev/v1alpha1", "kind": "McpServer", "metadata": "hunter2"});
        let error = serde_json::from_value::<Guarded>(object).unwrap_err().to_string();
        assert!(error.starts_with("metadata: expected"), "{error}");
    }
}
