//! What messages of a member go through on their way to a client of all.

use bytes::Bytes;
use mcp::envelope::{Kind, Message, RequestId};
use mcp::json::{self, Edit, Rope};
use mcp::names::{expose_uri, resolve_uri};

/// Under `_meta` of a result: the server that it comes from.
const SERVER: &str = "mcpgateway.dev/server";

/// What a message of 2025-11-25 belongs to ("Tasks", "Associating Task-Related Messages").
const RELATED: [&str; 3] = ["_meta", "io.modelcontextprotocol/related-task", "taskId"];

/// An answer of `server` to a request of method `method`, as the client gets it: it names the server, and addresses of
/// resources and ids of tasks lead back to it.
pub(super) fn answer(server: &str, method: &str, message: &Message) -> Rope {
    if message.kind() == Kind::Error {
        let missing = message.at(&["data", "uri"]).filter(|_| method == "resources/read");
        return message.with(missing.and_then(|raw| exposed(server, message, raw)));
    }
    let mut edits: Vec<Edit> = mark(server, message).into_iter().collect();
    let has = |key: &str| memchr::memmem::find(message.raw(), key.as_bytes()).is_some();
    if has("\"taskId\"") {
        let own = method.starts_with("tasks/") || message.str_at(&["resultType"]).as_deref() == Some("task");
        edits.extend(task(server, message).filter(|_| own));
        edits.extend(related(server, message));
        // Of 2025-11-25.
        let made = message.at(&["task", "taskId"]).filter(|_| method == "tools/call");
        edits.extend(made.and_then(|raw| exposed(server, message, raw)));
    }
    if has("\"uri\"") {
        let uris = match method {
            "tools/call" | "tasks/result" => in_content(message.at(&["content"])),
            "tasks/get" => in_content(message.at(&["result", "content"])),
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

/// A notification of `server` about a task, which may hold its result.
pub(super) fn task_changed(server: &str, message: &Message) -> Rope {
    let uris = in_content(message.at(&["result", "content"]));
    let uris = uris.into_iter().filter_map(|raw| exposed(server, message, raw));
    message.with(task(server, message).into_iter().chain(related(server, message)).chain(uris))
}

/// The task of `server` that a message belongs to.
pub(super) fn related(server: &str, message: &Message) -> Option<Edit> {
    exposed(server, message, message.at(&RELATED)?)
}

/// The same for what is sent to the server.
pub(super) fn related_to(server: &str, message: &Message) -> Option<Edit> {
    let raw = message.at(&RELATED)?;
    let (_, own) = resolve_uri(&json::string(raw)?, |known| known == server)?;
    Some(message.edit(raw, json::quote(&own)))
}

/// The answer to the request `id` with a result that lies there in pieces.
pub(super) fn result(id: &RequestId, pieces: impl IntoIterator<Item = Bytes>) -> Rope {
    let mut rope = Rope::default();
    let id = String::from_utf8_lossy(id.raw());
    rope.push(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"#).into());
    pieces.into_iter().for_each(|piece| rope.push(piece));
    rope.push(Bytes::from_static(b"}"));
    rope
}

/// The id of a task. It is told apart as addresses are, and as reversibly.
fn task(server: &str, message: &Message) -> Option<Edit> {
    exposed(server, message, message.at(&["taskId"])?)
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

    #[test]
    fn tasks_of_2025_11_25_lead_back_to_the_server_and_there_again() {
        let created = rewritten("tools/call", r#"{"task":{"taskId":"7","status":"working"},"x":{"taskId":"7"}}"#);
        assert!(created.contains(r#""task":{"taskId":"time+7""#) && created.contains(r#""x":{"taskId":"7"}"#));
        let related = |id: &str| format!(r#""_meta":{{"io.modelcontextprotocol/related-task":{{"taskId":"{id}"}}}}"#);
        let content = |uri: &str| format!(r#""content":[{{"type":"resource_link","uri":"{uri}"}}]"#);
        let result = rewritten("tasks/result", &format!("{{{},{}}}", content("a://b"), related("7")));
        assert!(result.contains(&content("time+a://b")) && result.contains(r#""taskId":"time+7""#), "{result}");
        for (said, expected) in [("time+7", Some("7")), ("7", None), ("other+7", None)] {
            let answer = Message::result(&RequestId::from(1), &format!("{{{}}}", related(said)));
            let sent = related_to("time", &answer).map(|edit| answer.with([edit]).into_bytes());
            let expected = expected.map(|id| format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{{}}}}}"#, related(id)));
            assert_eq!(sent, expected.map(Bytes::from), "{said}");
        }
    }

    #[test]
    fn tasks_lead_back_to_the_server_and_so_does_what_came_of_them() {
        let created = rewritten("tools/call", r#"{"resultType":"task","taskId":"7","status":"working"}"#);
        assert!(created.contains(r#""taskId":"time+7""#), "{created}");
        let other = rewritten("tools/call", r#"{"resultType":"complete","taskId":"7"}"#);
        assert!(other.contains(r#""taskId":"7""#), "{other}");
        let inner = r#"{"content":[{"type":"resource_link","uri":"a://b"}]}"#;
        let got = rewritten("tasks/get", &format!(r#"{{"resultType":"complete","taskId":"7","result":{inner}}}"#));
        assert!(got.contains(r#""taskId":"time+7""#) && got.contains(r#""uri":"time+a://b""#), "{got}");
        let told = Message::call(None, "notifications/tasks", Some(&format!(r#"{{"taskId":"7","result":{inner}}}"#)));
        let told = String::from_utf8(task_changed("time", &told).into_bytes().to_vec()).unwrap();
        assert!(told.contains(r#""taskId":"time+7""#) && told.contains(r#""uri":"time+a://b""#), "{told}");
    }

    #[test]
    fn what_is_asked_of_the_client_and_the_state_for_it_stay_as_they_are() {
        let asks = r#""inputRequests":{"q":{"method":"x","params":{"uri":"a://b"}}},"requestState":"\u00e9""#;
        let asked = rewritten("tools/call", &format!(r#"{{"resultType":"input_required",{asks}}}"#));
        assert!(asked.contains(asks), "{asked}");
    }

    #[test]
    fn an_error_names_the_resource_by_its_address_for_the_client() {
        for (method, expected) in [("resources/read", "time+a://b"), ("tools/call", "a://b")] {
            let error = Message::error(Some(&RequestId::from(1)), -32602, "x", Some(r#"{"uri":"a://b"}"#));
            let text = String::from_utf8(answer("time", method, &error).into_bytes().to_vec()).unwrap();
            assert!(text.contains(&format!(r#""uri":"{expected}""#)), "{text}");
        }
    }
}
