//! What an answer or a notification of 2026-07-28 is in an older revision, where a client of the older uses a server of the
//! newer. Every other byte stays as it is.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::{TASKS_EXTENSION, code as newer, meta};
use crate::envelope::{Kind, Message, code};
use crate::json::{self, Edit, Object, places, without};
use crate::version::Version;

mod content;

pub(super) use content::block;

/// What results have only in the newer revision.
const NEWER: [&str; 3] = ["resultType", "ttlMs", "cacheScope"];
/// The same for that of `server/discover`, and what stands elsewhere in that of `initialize`.
const OF_DISCOVER: [&str; 8] = [
    "resultType",
    "ttlMs",
    "cacheScope",
    "supportedVersions",
    "capabilities",
    "_meta",
    "protocolVersion",
    // Where drafts had it, and some servers have it still.
    "serverInfo",
];

static OUTPUT_SCHEMA: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(r#""outputSchema""#));

/// The result of `initialize`, from that of `server/discover`, in the revision `version`. `name` is what the server is
/// called where it does not say. `None` when the result is none.
pub fn initialized(discovered: &str, version: Version, name: &str) -> Option<String> {
    let object = Object::parse(discovered).ok()?;
    let about = object.get("_meta").unwrap_or("{}");
    let info = json::lookup(about, &[meta::SERVER_INFO]).or_else(|| object.get("serverInfo")).map(str::to_owned);
    let info = info.unwrap_or_else(|| format!(r#"{{"name":{},"version":"unknown"}}"#, json::quote(name)));
    let mut result = format!(
        r#"{{"protocolVersion":"{version}","capabilities":{},"serverInfo":{info}"#,
        capabilities(object.get("capabilities").unwrap_or("{}"))
    );
    for (key, value) in object.iter().filter(|(key, _)| !OF_DISCOVER.contains(key)) {
        result.extend([",", &json::quote(key), ":", value]);
    }
    if let Some(about) = without(about, &[meta::SERVER_INFO]).filter(|about| about != "{}") {
        result.extend([r#","_meta":"#, &about]);
    }
    result.push('}');
    Some(result)
}

/// What a server declares, without what its clients could not use.
fn capabilities(declared: &str) -> String {
    let Ok(object) = Object::parse(declared) else { return "{}".to_owned() };
    let members = object.iter().filter_map(|(key, value)| {
        let value = match key {
            "tasks" => None,
            "extensions" => without(value, &[TASKS_EXTENSION]).filter(|left| left != "{}"),
            _ => Some(value.to_owned()),
        };
        Some(format!("{}:{}", json::quote(key), value?))
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// What makes of the answer to a request of `method` one of the revision `version`. `keep` says which tools of a list its
/// client may see.
pub fn answer(method: &str, version: Version, answer: &Message, keep: impl Fn(&str) -> bool) -> Vec<Edit> {
    let Some(result) = answer.body() else { return Vec::new() };
    if answer.kind() == Kind::Error {
        return error(method, answer).into_iter().collect();
    }
    // Large results are looked into once.
    let Ok(object) = Object::parse(result) else { return Vec::new() };
    let mut left_out = NEWER.to_vec();
    let mut edits: Vec<_> = match method {
        "tools/list" => {
            object.get("tools").and_then(|list| Some(answer.edit(list, tools(list, keep)?))).into_iter().collect()
        }
        "tools/call" | "prompts/get" => {
            let older =
                blocks(&object, version).into_iter().filter_map(|one| Some(answer.edit(one, block(one, version)?)));
            older.collect()
        }
        _ => Vec::new(),
    };
    if method == "tools/call" && object.get("structuredContent").is_some_and(|value| !value.starts_with('{')) {
        left_out.push("structuredContent");
    }
    edits.extend(places(result, &object, &left_out).into_iter().map(|place| answer.edit(&result[place], "")));
    edits
}

/// The blocks of content in a result of `tools/call` or `prompts/get` that `version` may not know.
fn blocks<'a>(result: &Object<'a>, version: Version) -> Vec<&'a str> {
    // Nearly every client knows all of them.
    if version >= Version::V2025_06_18 {
        return Vec::new();
    }
    let list = |key| result.get(key).and_then(json::elements).unwrap_or_default();
    let of_messages = list("messages").into_iter().filter_map(|message| json::lookup(message, &["content"]));
    list("content").into_iter().chain(of_messages).collect()
}

/// The tools that may be seen. Older revisions know output that is an object, and no other. `None` when the list is right
/// as it is.
fn tools(list: &str, keep: impl Fn(&str) -> bool) -> Option<String> {
    let all = json::elements(list)?;
    let has_schemas = OUTPUT_SCHEMA.find(list.as_bytes()).is_some();
    let plain = |tool: &str| {
        let schema = json::lookup(tool, &["outputSchema"]).filter(|_| has_schemas)?;
        let is_object = json::lookup(schema, &["type"]).and_then(json::string).as_deref() == Some("object");
        without(tool, &["outputSchema"]).filter(|_| !is_object)
    };
    let kept: Vec<_> = all.iter().filter(|tool| keep(tool)).map(|tool| (*tool, plain(tool))).collect();
    if kept.len() == all.len() && kept.iter().all(|(_, plain)| plain.is_none()) {
        return None;
    }
    let kept: Vec<_> = kept.into_iter().map(|(tool, plain)| plain.unwrap_or_else(|| tool.to_owned())).collect();
    Some(format!("[{}]", kept.join(",")))
}

/// Codes of the newer revision alone, which are about what this side says for the client, and that of a resource that is
/// not there.
fn error(method: &str, answer: &Message) -> Option<Edit> {
    let found = answer.at(&["code"])?;
    let older = match found.parse() {
        Ok(newer::HEADER_MISMATCH | newer::UNSUPPORTED_VERSION) => code::INTERNAL_ERROR,
        Ok(newer::MISSING_CAPABILITY) => code::INVALID_PARAMS,
        Ok(code::INVALID_PARAMS) if method == "resources/read" && answer.at(&["data", "uri"]).is_some() => {
            code::RESOURCE_NOT_FOUND
        }
        _ => return None,
    };
    Some(answer.edit(found, older.to_string()))
}

/// A notification of a stream, without the mark of that stream.
pub fn unmarked(notification: &Message) -> Message {
    let about = notification.at(&["_meta"]).and_then(|about| without(about, &[meta::SUBSCRIPTION_ID]));
    let params = without(notification.body().unwrap_or("{}"), &["_meta"]).unwrap_or_else(|| "{}".to_owned());
    let params = match about.filter(|about| about != "{}") {
        Some(about) if params == "{}" => format!(r#"{{"_meta":{about}}}"#),
        Some(about) => format!(r#"{{"_meta":{about},{}"#, &params[1..]),
        None => params,
    };
    Message::call(None, notification.method(), Some(&params))
}

#[cfg(test)]
mod tests;
