//! The definition of the resource, as it is installed into a cluster.
//!
//! What kube derives is changed in two ways: see [`schema`]. `make generate` writes the results of [`yaml`] and
//! [`chart_template`] into the repository; a test compares.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::McpServer;

mod schema;
#[cfg(test)]
mod tests;

/// What stands before everything generated.
const HEADER: &str = "# Generated from api/src by `make generate`.\n";

/// What the chart puts between `metadata:` and the name: whether Helm removes the definition, and all servers with it.
const CHART_METADATA: &str = r"
  {{- if or .Values.keep .Values.annotations }}
  annotations:
    {{- if .Values.keep }}
    helm.sh/resource-policy: keep
    {{- end }}
    {{- with .Values.annotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}";

/// The definition.
pub fn crd() -> CustomResourceDefinition {
    let mut crd = McpServer::crd();
    for version in &mut crd.spec.versions {
        if let Some(validation) = &mut version.schema
            && let Some(properties) = validation.open_api_v3_schema.take()
        {
            let mut value = serde_json::to_value(properties).expect("a schema is made of JSON");
            schema::finish(&mut value);
            validation.open_api_v3_schema = Some(serde_json::from_value(value).expect("it is still a schema"));
        }
    }
    crd
}

/// The definition as a manifest.
pub fn yaml() -> String {
    let value = sorted(serde_json::to_value(crd()).expect("a definition is made of JSON"));
    let yaml = serde_saphyr::to_string(&value).expect("JSON can be written as YAML");
    format!("{HEADER}{yaml}")
}

/// The manifest as a template of the chart.
pub fn chart_template() -> String {
    let yaml = yaml();
    let (head, tail) = yaml.split_once("\nmetadata:\n").expect("a manifest has metadata");
    format!("{head}\nmetadata:{CHART_METADATA}\n{tail}")
}

/// The same value with the keys of all maps in order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(members.into_iter().collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(sorted).collect()),
        other => other,
    }
}
