//! Whether an object is already as it is wanted: then it is not written.

use serde_json::Value;

use crate::quantity;

/// Whether all of `wanted` is in `there`, which may have more: defaults, and what others set. Pure.
pub(super) fn contains(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => wanted.iter().all(|(key, value)| match there.get(key) {
            Some(existing) => contains(existing, value),
            None => is_nothing(value),
        }),
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() == wanted.len() && there.iter().zip(wanted).all(|(there, wanted)| contains(there, wanted))
        }
        // The API server writes amounts in its own way: `0.5` becomes `500m`.
        (Value::String(there), Value::String(wanted)) if there != wanted => {
            quantity::parse(there).is_some_and(|amount| quantity::parse(wanted) == Some(amount))
        }
        _ => there == wanted,
    }
}

/// What the API server leaves out.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(is_nothing),
        Value::Bool(value) => !value,
        Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::contains;

    #[test]
    fn defaults_of_the_server_make_no_difference_and_changes_do() {
        let there = json!({"a": 1, "default": true, "list": [{"x": 1, "y": 2}], "cpu": "500m"});
        for (wanted, same) in [
            (json!({"a": 1, "list": [{"x": 1}], "cpu": "0.5"}), true),
            (json!({"a": 1, "empty": "", "none": {}}), true),
            (json!({"a": 2}), false),
            (json!({"list": []}), false),
            (json!({"b": 1}), false),
            (json!({"cpu": "1"}), false),
        ] {
            assert_eq!(contains(&there, &wanted), same, "{wanted}");
        }
    }
}
