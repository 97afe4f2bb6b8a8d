//! What is done to the schema that kube derives.
//!
//! - `nullable` goes away. With it the API server keeps a `null`, and `has(…)` is true for it: rules about what must be
//!   set would misjudge.
//! - Whatever has no limit gets one. The types of Kubernetes have none, and rules about texts and lists without a limit
//!   cost more than an API server allows, by its estimate. The limits are far above what can be meant.
//! - What is of no use is taken out: `null` among the values of an enum, metadata that a template cannot have, formats
//!   that an API server warns of, line ends inside of sentences.
//! - A quantity gets a pattern, so that what is none is refused at once, and a short description in place of an essay.

use serde_json::{Map, Value, json};

const MAX_ITEMS: u32 = 64;
const MAX_PROPERTIES: u32 = 64;
const MAX_LENGTH: u32 = 4096;

/// The names of fields whose limit is another, as Kubernetes itself limits them.
const LENGTHS: [(&str, u32); 5] =
    [("labels", 63), ("matchLabels", 63), ("message", 32_768), ("nodeSelector", 63), ("reason", 1024)];

/// Fields that are quantities, in addition to the members of `limits` and `requests`.
const QUANTITIES: [&str; 3] = ["divisor", "size", "sizeLimit"];

/// How the description of a quantity begins where the field has none of its own.
const ESSAY: &str = "Quantity is a fixed-point representation of a number.";

const QUANTITY: &str = "An amount, such as 500m, 2 or 256Mi.";

/// As the API server reads them.
const QUANTITY_PATTERN: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTP]i)|Ei|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// Does it, to the schema of a whole object.
pub(super) fn finish(schema: &mut Value) {
    finish_one("", schema);
}

/// Does it to the schema of the field `name`, and to all inside.
fn finish_one(name: &str, schema: &mut Value) {
    let Value::Object(schema) = schema else { return };
    tidy(schema);
    limit(name, schema);
    quantity(name, schema);
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        if name == "metadata" {
            properties.retain(|name, _| name == "labels" || name == "annotations");
        }
        for (name, property) in properties {
            finish_one(name, property);
        }
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(inner) {
            finish_one(name, inner);
        }
    }
}

fn tidy(schema: &mut Map<String, Value>) {
    schema.remove("nullable");
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(format) = schema.get_mut("format").filter(|format| *format == "uint32") {
        *format = json!("int32");
    }
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = flowing(text);
    }
}

/// The text with a line for each paragraph and each item of a list; others than these depend on who wraps them.
fn flowing(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        match lines.last_mut() {
            Some(last) if !last.is_empty() && line.starts_with(|c: char| !c.is_whitespace() && !"-*".contains(c)) => {
                last.push(' ');
                last.push_str(line);
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines.join("\n")
}

fn limit(name: &str, schema: &mut Map<String, Value>) {
    let bounded = ["enum", "format"].iter().any(|key| schema.contains_key(*key));
    let (key, limit) = match schema.get("type").and_then(Value::as_str) {
        Some("string") if !bounded => {
            let special = LENGTHS.iter().find(|(field, _)| *field == name);
            ("maxLength", special.map_or(MAX_LENGTH, |(_, limit)| *limit))
        }
        Some("array") => ("maxItems", MAX_ITEMS),
        Some("object") if schema.contains_key("additionalProperties") => ("maxProperties", MAX_PROPERTIES),
        _ => return,
    };
    schema.entry(key).or_insert(json!(limit));
}

fn quantity(name: &str, schema: &mut Map<String, Value>) {
    let essay = schema.get("description").and_then(Value::as_str).is_some_and(|text| text.starts_with(ESSAY));
    if essay {
        schema.insert("description".to_owned(), json!(QUANTITY));
    }
    let number = schema.contains_key("x-kubernetes-int-or-string");
    if number && (essay || QUANTITIES.contains(&name)) {
        schema.insert("pattern".to_owned(), json!(QUANTITY_PATTERN));
    }
}
