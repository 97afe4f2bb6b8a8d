//! What messages of a member go through on their way to a client of all.

use bytes::Bytes;
use mcp::envelope::{Kind, Message};
use mcp::json::{self, Edit, Rope};
use mcp::names::expose_uri;

/// Under `_meta` of a result: the server that it comes from.
const SERVER: &str = "mcpgateway.dev/server";

/// An answer of `server` to a request of method `method`, as the client gets it: it names the server, and addresses of
/// resources lead back to it.
pub(super) fn answer(server: &str, method: &str, message: &Message) -> Rope {
    if message.kind() == Kind::Error {
        return message.clone().into();
    }
    let mut edits: Vec<Edit> = mark(server, message).into_iter().collect();
    if memchr::memmem::find(message.raw(), b"\"uri\"").is_some() {
        let uris = match method {
            "tools/call" => in_content(message.at(&["content"])),
            "prompts/get" => in_messages(message.at(&["messages"])),
            "resources/read" => {
                elements(message.at(&["contents"])).into_iter().filter_map(|it| json::lookup(it, &["uri"])).collect()
            }
            _ => Vec::new(),
        };
        edits.extend(uris.into_iter().filter_map(|raw| exposed(server, message, raw)));
    }
    message.with(edits)
}

/// A notification of `server` that names a resource.
pub(super) fn updated(server: &str, message: &Message) -> Rope {
    let edit = message.at(&["uri"]).and_then(|raw| exposed(server, message, raw));
    message.with(edit)
}

fn exposed(server: &str, message: &Message, raw: &str) -> Option<Edit> {
    Some(message.edit(raw, json::quote(&expose_uri(server, &json::string(raw)?))))
}

/// Puts the server's name into the result's `_meta`.
fn mark(server: &str, message: &Message) -> Option<Edit> {
    let body = message.body().filter(|body| body.starts_with('{'))?;
    let entry = format!(r#""{SERVER}":{}"#, json::quote(server));
    match json::lookup(body, &["_meta"]) {
        Some(meta) if meta.starts_with('{') => insert(message, meta, entry),
        Some(_) => None,
        None => insert(message, body, format!(r#""_meta":{{{entry}}}"#)),
    }
}

/// Puts a member at the beginning of an object.
fn insert(message: &Message, object: &str, member: String) -> Option<Edit> {
    let rest = object.get(1..)?;
    let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
    Some(message.edit(&rest[..0], Bytes::from(member + comma)))
}

fn elements(raw: Option<&str>) -> Vec<&str> {
    raw.and_then(json::elements).unwrap_or_default()
}

/// The addresses in a list of content blocks.
fn in_content(raw: Option<&str>) -> Vec<&str> {
    elements(raw).into_iter().filter_map(in_block).collect()
}

/// The address in one content block: a link to a resource, or a resource itself.
fn in_block(block: &str) -> Option<&str> {
    match json::string(json::lookup(block, &["type"])?)?.as_ref() {
        "resource_link" => json::lookup(block, &["uri"]),
        "resource" => json::lookup(block, &["resource", "uri"]),
        _ => None,
    }
}

/// The addresses in the messages of a prompt, whose content is one block or several.
fn in_messages(raw: Option<&str>) -> Vec<&str> {
    let contents = elements(raw).into_iter().filter_map(|message| json::lookup(message, &["content"]));
    contents
        .flat_map(|it| if it.starts_with('[') { in_content(Some(it)) } else { in_block(it).into_iter().collect() })
        .collect()
}

#[cfg(test)]
mod tests {
    use mcp::envelope::RequestId;

    use super::*;

    fn rewritten(method: &str, result: &str) -> String {
        let message = Message::result(&RequestId::from(1), result);
        let text = String::from_utf8(answer("time", method, &message).into_bytes().to_vec()).unwrap();
        text.strip_prefix(r#"{"jsonrpc":"2.0","id":1,"result":"#).unwrap().strip_suffix('}').unwrap().to_owned()
    }

    #[test]
    fn a_result_names_its_server_and_keeps_what_it_had() {
        let mark = r#""mcpgateway.dev/server":"time""#;
        assert_eq!(rewritten("x", "{}"), format!(r#"{{"_meta":{{{mark}}}}}"#));
        assert_eq!(rewritten("x", r#"{ "a" : 1.0}"#), format!(r#"{{"_meta":{{{mark}}}, "a" : 1.0}}"#));
        assert_eq!(rewritten("x", r#"{"_meta":{"k":[]}}"#), format!(r#"{{"_meta":{{{mark},"k":[]}}}}"#));
        assert_eq!(rewritten("x", "null"), "null");
    }

    #[test]
    fn addresses_of_resources_lead_back_to_the_server() {
        let call = rewritten(
            "tools/call",
            r#"{"_meta":0,"content":[{"type":"text","text":"\"uri\""},{"type":"resource_link","uri":"a://b"},{"type":"resource","resource":{"uri":"c://d"}}]}"#,
        );
        assert!(call.contains(r#""uri":"time+a://b""#) && call.contains(r#""uri":"time+c://d""#), "{call}");
        let read = rewritten("resources/read", r#"{"contents":[{"uri":"a://b","text":"x"}]}"#);
        assert!(read.contains(r#""uri":"time+a://b""#), "{read}");
        let prompt = rewritten("prompts/get", r#"{"messages":[{"content":{"type":"resource_link","uri":"a://b"}}]}"#);
        assert!(prompt.contains(r#""uri":"time+a://b""#), "{prompt}");
    }
}
