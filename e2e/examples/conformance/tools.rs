//! The tools: their list, and those that ask.

use rmcp::model::ClientCapabilities;
use serde_json::{Value, json};

use crate::ask::{Dialogue, form, roots, sampling};
use crate::content::cacheable;

/// The tool whose argument is repeated in a header.
pub(crate) const MIRRORED: &str = "test_custom_header";

/// All without arguments.
const PLAIN: &str = "test_simple_text test_image_content test_audio_content test_embedded_resource \
    test_multiple_content_types test_tool_with_logging test_error_handling test_tool_with_progress \
    test_elicitation_sep1034_defaults test_elicitation_sep1330_enums test_reconnection test_trigger_tool_change \
    test_trigger_prompt_change test_missing_capability test_streaming_elicitation test_logging_tool \
    test_input_required_result_elicitation test_input_required_result_sampling \
    test_input_required_result_list_roots test_input_required_result_request_state \
    test_input_required_result_multiple_inputs test_input_required_result_multi_round \
    test_input_required_result_tampered_state test_input_required_result_capabilities";

pub(crate) fn one(name: &str, properties: &Value, required: &[&str]) -> Value {
    let schema = json!({"type": "object", "properties": properties, "required": required});
    json!({"name": name, "description": "A tool of the conformance suite", "inputSchema": schema})
}

pub(crate) fn mirrored() -> Value {
    one(MIRRORED, &json!({"value": {"type": "string", "x-mcp-header": "Value"}}), &["value"])
}

/// The list; `tasks` are those that need the extension of this name.
pub(crate) fn list(tasks: Vec<Value>) -> Value {
    let mut tools: Vec<_> = PLAIN.split_whitespace().map(|name| one(name, &json!({}), &[])).collect();
    tools.push(one("test_sampling", &json!({"prompt": {"type": "string"}}), &["prompt"]));
    tools.push(one("test_elicitation", &json!({"message": {"type": "string"}}), &["message"]));
    tools.push(mirrored());
    tools.push(json!({"name": "json_schema_2020_12_tool", "description": "2020-12", "inputSchema": schema_2020_12()}));
    tools.extend(tasks);
    cacheable(json!({"tools": tools}))
}

fn schema_2020_12() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {
            "$anchor": "address",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }},
        "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
        "allOf": [{"anyOf": [{"required": ["name"]}, {"required": ["address"]}]}],
        "if": {"required": ["address"]},
        "then": {"properties": {"address": {"required": ["street"]}}},
        "else": {"required": ["name"]},
        "additionalProperties": false,
    })
}

/// What a tool asks, of a client with these capabilities, before it answers.
pub(crate) fn dialogue(name: &str, arguments: &Value, client: &ClientCapabilities) -> Option<Dialogue> {
    let argument = |name: &str| arguments[name].as_str().unwrap_or("?");
    let string = |name: &str| json!({name: {"type": "string"}});
    let who = form("What is your name?", string("name"));
    let rounds = match name.strip_prefix("test_input_required_result_").unwrap_or(name) {
        "test_sampling" => vec![json!({"prompt": sampling(argument("prompt"))})],
        "test_elicitation" => vec![json!({"user": form(argument("message"), json!({
            "username": {"type": "string", "description": "User's response"},
            "email": {"type": "string", "description": "User's email address"},
        }))})],
        "test_elicitation_sep1034_defaults" => vec![json!({"defaults": form("All have defaults", defaults())})],
        "test_elicitation_sep1330_enums" => vec![json!({"enums": form("Choose", enums())})],
        "test_streaming_elicitation" => vec![json!({"value": form("Provide a value", string("value"))})],
        "elicitation" => vec![json!({"user_name": who})],
        "sampling" => vec![json!({"capital_question": sampling("What is the capital of France?")})],
        "list_roots" => vec![json!({"client_roots": roots()})],
        "request_state" | "tampered_state" => {
            vec![json!({"confirm": form("Please confirm", json!({"ok": {"type": "boolean"}}))})]
        }
        "multiple_inputs" => {
            vec![json!({"user_name": who, "greeting": sampling("Generate a greeting"), "client_roots": roots()})]
        }
        "multi_round" => vec![
            json!({"step1": form("Step 1: What is your name?", string("name"))}),
            json!({"step2": form("Step 2: What is your favorite color?", string("color"))}),
        ],
        "capabilities" => vec![whatever(client, who)],
        _ => return None,
    };
    let sealed = ["_state", "_inputs", "_round"].iter().any(|end| name.ends_with(end));
    Some(Dialogue { rounds, sealed })
}

/// All that this client can be asked.
fn whatever(client: &ClientCapabilities, who: Value) -> Value {
    let mut questions = json!({});
    if client.elicitation.is_some() {
        questions["user_name"] = who;
    }
    if client.sampling.is_some() {
        questions["greeting"] = sampling("Generate a greeting");
    }
    if client.roots.is_some() {
        questions["client_roots"] = roots();
    }
    questions
}

fn defaults() -> Value {
    json!({
        "name": {"type": "string", "description": "User's name", "default": "John Doe"},
        "age": {"type": "integer", "description": "User's age", "default": 30},
        "score": {"type": "number", "description": "User's score", "default": 95.5},
        "status": {"type": "string", "description": "User's status", "enum": ["active", "inactive", "pending"],
            "default": "active"},
        "verified": {"type": "boolean", "description": "Whether user is verified", "default": true},
    })
}

fn enums() -> Value {
    let titled = |kind: &str| {
        let one =
            |number: &str, nth: &str| json!({"const": format!("value{number}"), "title": format!("{nth} {kind}")});
        json!([one("1", "First"), one("2", "Second"), one("3", "Third")])
    };
    let plain = json!(["option1", "option2", "option3"]);
    json!({
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled("Option")},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled("Choice")}},
    })
}
