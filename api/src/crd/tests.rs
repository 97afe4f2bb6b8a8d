//! What the definition promises, to those who read it and to the API server.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::Value;

use super::{chart_template, crd, yaml};

mod check;
mod examples;
mod rules;
mod values;

/// A definition that is applied by kubectl is kept a second time in an annotation, and that may have this size.
const MAX_BYTES: usize = 256 * 1024;

#[test]
fn the_generated_files_are_up_to_date() {
    let files =
        [("crds/mcpservers.yaml", yaml()), ("charts/mcp-gateway-crds/templates/mcpservers.yaml", chart_template())];
    for (path, expected) in files {
        let found = fs::read_to_string(repository().join(path)).unwrap_or_default();
        assert!(found == expected, "{path} is not what the code says: run `make generate`");
    }
}

#[test]
fn it_is_small_enough_to_be_applied_by_kubectl() {
    let size = serde_json::to_vec(&crd()).unwrap().len();
    assert!(size < MAX_BYTES * 3 / 4, "{size} bytes");
}

#[test]
fn it_is_read_back_as_it_was_written() {
    let read: Value = serde_saphyr::from_str(&yaml()).unwrap();
    assert_eq!(read, serde_json::to_value(crd()).unwrap());
}

#[test]
fn the_chart_differs_in_an_annotation_only() {
    let template = chart_template();
    let lines = template.lines().filter(|line| !line.contains("{{") && !line.contains("resource-policy"));
    let without: Vec<_> = lines.filter(|line| *line != "  annotations:").collect();
    assert_eq!(without, yaml().lines().collect::<Vec<_>>());
    assert!(!yaml().contains("{{"), "Helm would take it for an action");
}

#[test]
fn kubectl_shows_what_matters() {
    let crd = crd();
    let [version] = &crd.spec.versions[..] else { panic!("one version") };
    let columns: Vec<_> = version.additional_printer_columns.iter().flatten().collect();
    let names: Vec<_> = columns.iter().map(|column| column.name.to_uppercase()).collect();
    assert_eq!(names, ["READY", "TRANSPORT", "TOOLS", "RESTARTS", "URL", "AGE"]);
    assert!(columns.iter().all(|column| column.priority.is_none()), "all are shown without -o wide");
    let names = crd.spec.names;
    assert_eq!((names.kind.as_str(), names.plural.as_str()), ("McpServer", "mcpservers"));
    assert_eq!(names.short_names.unwrap(), ["mcps"]);
    assert_eq!(names.categories.unwrap(), ["mcp"]);
    let subresources = version.subresources.clone().unwrap();
    let scale = subresources.scale.unwrap();
    assert!(subresources.status.is_some());
    assert_eq!(scale.spec_replicas_path, ".spec.replicas");
    assert_eq!(scale.status_replicas_path, ".status.replicas");
    assert_eq!(scale.label_selector_path.as_deref(), Some(".status.selector"));
}

#[test]
fn nothing_is_nullable() {
    each(|path, schema| {
        assert!(schema.get("nullable").is_none(), "{path}");
        let values = schema.get("enum").and_then(Value::as_array);
        assert!(values.is_none_or(|values| !values.contains(&Value::Null)), "{path}");
    });
}

#[test]
fn nothing_is_defaulted_so_that_what_is_stored_is_what_was_written() {
    each(|path, schema| assert!(schema.get("default").is_none(), "{path}"));
}

#[test]
fn every_field_is_documented() {
    let mut fields = 0;
    each(|path, schema| {
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let text = property.get("description").and_then(Value::as_str).unwrap_or_default();
            assert!(!text.is_empty(), "{path}.{name}");
            fields += 1;
        }
    });
    assert!(fields > 300, "{fields}");
}

#[test]
fn every_text_list_and_map_has_a_limit() {
    each(|path, schema| {
        let has = |key: &str| schema.get(key).is_some();
        let limited = match schema.get("type").and_then(Value::as_str) {
            Some("string") => has("maxLength") || has("enum") || has("format"),
            Some("array") => has("maxItems"),
            Some("object") => has("properties") || has("maxProperties"),
            Some("integer" | "number" | "boolean") => true,
            other => other.is_none() && has("x-kubernetes-int-or-string"),
        };
        assert!(limited, "{path}: {schema}");
    });
}

#[test]
fn nothing_escapes_the_schema() {
    each(|path, schema| assert!(schema.get("x-kubernetes-preserve-unknown-fields").is_none(), "{path}"));
}

#[test]
fn lists_of_named_things_are_merged_by_name() {
    let keys = [
        ("spec.env", "name"),
        ("spec.headers", "name"),
        ("spec.volumes", "name"),
        ("spec.volumeMounts", "mountPath"),
        ("spec.imagePullSecrets", "name"),
        ("spec.topologySpreadConstraints", "topologyKey"),
        ("status.conditions", "type"),
    ];
    for (path, key) in keys {
        let list = field(path);
        assert_eq!(list["x-kubernetes-list-type"], "map", "{path}");
        assert_eq!(list["x-kubernetes-list-map-keys"][0], key, "{path}");
        let required = list["items"]["required"].as_array().unwrap();
        assert!(required.contains(&Value::from(key)), "{path}: a key must be there");
    }
}

/// The schema of the whole object.
fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let crd = serde_json::to_value(crd()).unwrap();
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
    });
    &SCHEMA
}

/// The schema of a field, such as `spec.env`.
fn field(path: &str) -> &'static Value {
    path.split('.').fold(schema(), |schema, name| &schema["properties"][name])
}

/// Does something for the schema of each field, list item and map value.
fn each(mut act: impl FnMut(&str, &Value)) {
    fn walk(path: &str, schema: &Value, act: &mut impl FnMut(&str, &Value)) {
        act(path, schema);
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            walk(&format!("{path}.{name}"), property, act);
        }
        for inner in ["items", "additionalProperties"] {
            if let Some(inner) = schema.get(inner) {
                walk(&format!("{path}[]"), inner, act);
            }
        }
    }
    walk("", schema(), &mut act);
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
