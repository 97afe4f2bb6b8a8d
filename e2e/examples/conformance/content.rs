//! Resources and prompts, and what tools answer that only answer.

use rmcp::model::ErrorData;
use serde_json::{Value, json};

use crate::ask::{Dialogue, form, refusal};

/// How long a list or a resource may be kept, in milliseconds.
const TTL: u64 = 60_000;
/// A red dot.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8/5+hHgAHggJ/PchI7wAAAABJRU5ErkJggg==";
/// Silence.
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=";

/// A result that may be kept.
pub(crate) fn cacheable(mut result: Value) -> Value {
    result["resultType"] = json!("complete");
    result["ttlMs"] = json!(TTL);
    result["cacheScope"] = json!("public");
    result
}

pub(crate) fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn image() -> Value {
    json!({"type": "image", "data": PNG, "mimeType": "image/png"})
}

fn resource(uri: &str, kind: &str, text: &str) -> Value {
    json!({"type": "resource", "resource": {"uri": uri, "mimeType": kind, "text": text}})
}

/// The content of tools that do nothing else.
pub(crate) fn of_tool(name: &str) -> Option<Value> {
    Some(match name {
        "test_simple_text" => json!([text("This is a simple text response for testing.")]),
        "test_image_content" => json!([image()]),
        "test_audio_content" => json!([{"type": "audio", "data": WAV, "mimeType": "audio/wav"}]),
        "test_embedded_resource" => {
            json!([resource("test://embedded-resource", "text/plain", "This is an embedded resource content.")])
        }
        "test_multiple_content_types" => json!([
            text("Multiple content types test:"),
            image(),
            resource("test://mixed-content-resource", "application/json", r#"{"test":"data","value":123}"#),
        ]),
        "json_schema_2020_12_tool" => json!([text("Hello, world!")]),
        _ => return None,
    })
}

pub(crate) fn resources() -> Value {
    let one = |uri: &str, name: &str, kind: &str| json!({"uri": uri, "name": name, "mimeType": kind});
    cacheable(json!({"resources": [
        one("test://static-text", "Static Text Resource", "text/plain"),
        one("test://static-binary", "Static Binary Resource", "image/png"),
        one("test://watched-resource", "Watched Resource", "text/plain"),
    ]}))
}

pub(crate) fn templates() -> Value {
    cacheable(json!({"resourceTemplates": [
        {"uriTemplate": "test://template/{id}/data", "name": "Dynamic Resource", "mimeType": "application/json"},
    ]}))
}

pub(crate) fn read(uri: &str) -> Result<Value, ErrorData> {
    let of_template = |uri: &str| Some(uri.strip_prefix("test://template/")?.strip_suffix("/data")?.to_owned());
    let contents = match uri {
        "test://static-text" => {
            json!({"uri": uri, "mimeType": "text/plain", "text": "This is the content of the static text resource."})
        }
        "test://watched-resource" => json!({"uri": uri, "mimeType": "text/plain", "text": "It may change."}),
        "test://static-binary" => json!({"uri": uri, "mimeType": "image/png", "blob": PNG}),
        _ => {
            let Some(id) = of_template(uri) else {
                return Err(ErrorData::resource_not_found("no such resource", Some(json!({"uri": uri}))));
            };
            let data = json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
            json!({"uri": uri, "mimeType": "application/json", "text": data.to_string()})
        }
    };
    Ok(cacheable(json!({"contents": [contents]})))
}

/// The prompt that asks before it answers.
pub(crate) const ASKING_PROMPT: &str = "test_input_required_result_prompt";

pub(crate) fn prompts() -> Value {
    let one = |name: &str, arguments: Value| json!({"name": name, "description": "A prompt", "arguments": arguments});
    cacheable(json!({"prompts": [
        one("test_simple_prompt", json!([])),
        one("test_prompt_with_arguments", json!([
            {"name": "arg1", "description": "First test argument", "required": true},
            {"name": "arg2", "description": "Second test argument", "required": true},
        ])),
        one("test_prompt_with_embedded_resource", json!([
            {"name": "resourceUri", "description": "URI of the resource to embed", "required": true},
        ])),
        one("test_prompt_with_image", json!([])),
        one(ASKING_PROMPT, json!([])),
    ]}))
}

pub(crate) fn prompt(name: &str, arguments: &Value) -> Result<Value, ErrorData> {
    let argument = |name: &str| arguments[name].as_str().unwrap_or_default();
    let contents = match name {
        "test_simple_prompt" => vec![text("This is a simple prompt for testing.")],
        "test_prompt_with_arguments" => {
            vec![text(&format!("Prompt with arguments: arg1='{}', arg2='{}'", argument("arg1"), argument("arg2")))]
        }
        "test_prompt_with_embedded_resource" => vec![
            resource(argument("resourceUri"), "text/plain", "Embedded resource content for testing."),
            text("Please process the embedded resource above."),
        ],
        "test_prompt_with_image" => vec![image(), text("Please analyze the image above.")],
        _ => return Err(refusal(format!("no prompt is named {name}"))),
    };
    Ok(messages(contents))
}

pub(crate) fn messages(contents: Vec<Value>) -> Value {
    let messages: Vec<_> = contents.into_iter().map(|content| json!({"role": "user", "content": content})).collect();
    json!({"resultType": "complete", "messages": messages})
}

/// What the asking prompt wants to know.
pub(crate) fn of_asking_prompt() -> Dialogue {
    let context = json!({"context": {"type": "string"}});
    Dialogue {
        rounds: vec![json!({"user_context": form("What context should the prompt use?", context)})],
        sealed: false,
    }
}
