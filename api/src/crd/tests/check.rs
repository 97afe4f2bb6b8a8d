//! Judges an object as the API server does: by the schema, then by its rules.

use std::sync::LazyLock;

use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use regex::Regex;
use serde_json::Value;

use super::schema;

/// A resource with this spec, in YAML; its name is `time`.
pub(super) fn server(spec: &str) -> Value {
    let spec: Value = serde_saphyr::from_str(spec).unwrap();
    named("time", &spec)
}

/// A resource with this name and spec.
pub(super) fn named(name: &str, spec: &Value) -> Value {
    serde_json::json!({
        "apiVersion": "mcpgateway.dev/v1alpha1", "kind": "McpServer", "metadata": {"name": name}, "spec": spec,
    })
}

/// All that is wrong with an object.
pub(super) fn problems(object: &Value) -> Vec<String> {
    static RULES: LazyLock<CompiledSchema> = LazyLock::new(|| compile_schema(schema()));
    let mut problems = Vec::new();
    structure("", schema(), object, &mut problems);
    if problems.is_empty()
        && let Err(errors) = Validator::new().validate_compiled(&RULES, object, None)
    {
        problems.extend(errors.iter().map(ToString::to_string));
    }
    problems
}

/// The part of a structural schema that this one uses.
fn structure(path: &str, schema: &Value, value: &Value, problems: &mut Vec<String>) {
    let mut wrong = |what: &str| problems.push(format!("{path}: {what}"));
    let kind = schema.get("type").and_then(Value::as_str);
    let fits = match kind {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        _ => value.is_string() || value.is_i64(),
    };
    if !fits {
        return wrong(&format!("is not of type {kind:?}"));
    }
    let limit = |key: &str| schema.get(key).and_then(Value::as_f64);
    let size = size(value);
    for (least, most) in
        [("minLength", "maxLength"), ("minItems", "maxItems"), ("minimum", "maximum"), ("", "maxProperties")]
    {
        if limit(least).is_some_and(|least| size < least) {
            wrong(least);
        }
        if limit(most).is_some_and(|most| size > most) {
            wrong(most);
        }
    }
    if schema.get("enum").and_then(Value::as_array).is_some_and(|values| !values.contains(value)) {
        wrong("enum");
    }
    if let (Some(pattern), Some(text)) = (schema.get("pattern").and_then(Value::as_str), value.as_str())
        && !Regex::new(pattern).unwrap().is_match(text)
    {
        wrong("pattern");
    }
    match value {
        Value::Object(members) => object(path, schema, members, problems),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                structure(&format!("{path}[{index}]"), &schema["items"], item, problems);
            }
        }
        _ => {}
    }
}

fn object(path: &str, schema: &Value, members: &serde_json::Map<String, Value>, problems: &mut Vec<String>) {
    for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        if !members.contains_key(required.as_str().unwrap()) {
            problems.push(format!("{path}: {required} is missing"));
        }
    }
    for (name, member) in members {
        let inner = schema.get("properties").and_then(|properties| properties.get(name));
        match inner.or_else(|| schema.get("additionalProperties")) {
            Some(inner) => structure(&format!("{path}.{name}"), inner, member, problems),
            None if path.is_empty() && ["apiVersion", "kind", "metadata"].contains(&name.as_str()) => {}
            None => problems.push(format!("{path}.{name}: unknown")),
        }
    }
}

/// What limits count: characters, items, or the number itself.
fn size(value: &Value) -> f64 {
    let count = match value {
        Value::String(text) => text.chars().count(),
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        number => return number.as_f64().unwrap_or_default(),
    };
    u32::try_from(count).unwrap().into()
}
