//! What a request of an older revision is in 2026-07-28, where a client of the older uses a server of the newer. Every
//! request says of itself there what the client of an older revision said once, when it shook hands.

use super::translate::NEWER;
use super::{TASKS_EXTENSION, meta};
use crate::envelope::{Message, RequestId};
use crate::json::{self, Object, Rope, places, without};
use crate::version::Version;

/// What requests of older revisions do not have, and must not smuggle in.
const OWN: [&str; 3] = ["_meta", "inputResponses", "requestState"];

/// A client that shook hands.
#[derive(Debug)]
pub struct Client {
    /// The revision that is spoken with it.
    pub version: Version,
    /// What its requests say of it, in the newer revision: the members of `_meta`, raw JSON.
    stamp: String,
}

impl Client {
    /// From the `params` of its `initialize`.
    pub fn new(params: &str) -> Self {
        let part = |key| json::lookup(params, &[key]);
        let version = Version::negotiate(&part("protocolVersion").and_then(json::string).unwrap_or_default());
        let info = part("clientInfo").filter(|info| info.starts_with('{'));
        let info = info.map(|info| format!(r#","{}":{info}"#, meta::CLIENT_INFO)).unwrap_or_default();
        let stamp = format!(
            r#""{}":"{}","{}":{}{info}"#,
            meta::PROTOCOL_VERSION,
            Version::V2026_07_28,
            meta::CLIENT_CAPABILITIES,
            capabilities(part("capabilities").unwrap_or("{}"), version),
        );
        Self { version, stamp }
    }

    /// The `params` that say who asks, and no more: raw JSON.
    pub fn params(&self) -> String {
        format!(r#"{{"_meta":{{{}}}}}"#, self.stamp)
    }

    /// Whether it has declared what stands at `path`, in the words of the newer revision.
    pub fn declares(&self, path: &[&str]) -> bool {
        let stamp = format!("{{{}}}", self.stamp);
        json::lookup(&stamp, &[&[meta::CLIENT_CAPABILITIES], path].concat()).is_some()
    }

    /// The request as it goes to a server, under `id`, which takes the place of a progress token, too. It wants log lines
    /// from `level` on. `more` is what it says of earlier rounds: members of `params`, each behind a comma.
    ///
    /// # Errors
    /// When its `params` or their `_meta` cannot be taken apart.
    pub fn request(
        &self,
        request: &Message,
        id: &RequestId,
        level: Option<&str>,
        more: &str,
    ) -> Result<Rope, serde_json::Error> {
        let level = level.map(|level| format!(r#","{}":"{level}""#, meta::LOG_LEVEL)).unwrap_or_default();
        let Some(params) = request.body() else {
            let params = format!(r#"{{"_meta":{{{}{level}}}{more}}}"#, self.stamp);
            return Ok(Message::call(Some(id), request.method(), Some(&params)).into());
        };
        let object = Object::parse(params)?;
        let kept = object.get("_meta").map(|old| kept(old, id)).transpose()?.unwrap_or_default();
        let comma = if object.iter().any(|(key, _)| !OWN.contains(&key)) { "," } else { "" };
        let head = format!(r#"{{"_meta":{{{}{level}{kept}}}{more}{comma}"#, self.stamp);
        let left_out = places(params, &object, &OWN).into_iter().map(|place| request.edit(&params[place], ""));
        let edits: Vec<_> = left_out.chain([request.edit(&params[..1], head)]).collect();
        Ok(request.with_id(id, edits))
    }
}

/// What stays of a `_meta`, each member behind a comma.
fn kept(old: &str, id: &RequestId) -> Result<String, serde_json::Error> {
    let object = Object::parse(old)?;
    let kept = object.iter().filter(|(key, _)| !NEWER.contains(key)).map(|(key, value)| {
        let value = if key == "progressToken" { id.text() } else { value };
        format!(",{}:{value}", json::quote(key))
    });
    Ok(kept.collect())
}

/// What a client declares, in the words of the newer revision. Tasks are not the same thing there.
fn capabilities(declared: &str, version: Version) -> String {
    let Ok(object) = Object::parse(declared) else { return "{}".to_owned() };
    let members = object.iter().filter_map(|(key, value)| {
        let value = match key {
            "tasks" => None,
            "roots" => Some("{}".to_owned()),
            "elicitation" => Some(elicitation(value, version).to_owned()),
            "extensions" => without(value, &[TASKS_EXTENSION]),
            _ => Some(value.to_owned()),
        };
        Some(format!("{}:{}", json::quote(key), value?))
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// Before there were two modes, and where none is named, forms are meant.
fn elicitation(declared: &str, version: Version) -> &str {
    let names = |mode| json::lookup(declared, &[mode]).is_some();
    let has_modes = version >= Version::V2025_11_25 && (names("form") || names("url"));
    if has_modes { declared } else { r#"{"form":{}}"# }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(version: &str, capabilities: &str) -> Client {
        let info = r#"{"name":"c","version":"1.0"}"#;
        Client::new(&format!(r#"{{"protocolVersion":"{version}","capabilities":{capabilities},"clientInfo":{info}}}"#))
    }

    #[test]
    fn what_a_client_can_do_is_said_in_the_words_of_the_newer_revision() {
        for (version, declared, expected) in [
            ("2024-11-05", "{}", "{}"),
            ("2024-11-05", r#"{"roots":{"listChanged":true},"sampling":{}}"#, r#"{"roots":{},"sampling":{}}"#),
            ("2025-06-18", r#"{"elicitation":{}}"#, r#"{"elicitation":{"form":{}}}"#),
            ("2025-06-18", r#"{"elicitation":{"url":{}}}"#, r#"{"elicitation":{"form":{}}}"#),
            ("2025-11-25", r#"{"elicitation":{}}"#, r#"{"elicitation":{"form":{}}}"#),
            ("2025-11-25", r#"{"elicitation":{"url":{}}}"#, r#"{"elicitation":{"url":{}}}"#),
            ("2025-11-25", r#"{"tasks":{"list":{}},"x":[1.0]}"#, r#"{"x":[1.0]}"#),
            (
                "2025-11-25",
                r#"{"extensions":{"io.modelcontextprotocol/tasks":{},"a/b":{}}}"#,
                r#"{"extensions":{"a/b":{}}}"#,
            ),
            ("2099-01-01", "[]", "{}"),
        ] {
            let version = Version::negotiate(version);
            assert_eq!(capabilities(declared, version), expected, "{declared}");
        }
    }

    #[test]
    fn a_client_declares_what_it_said_and_nothing_else() {
        let client = client("2025-11-25", r#"{"elicitation":{},"sampling":{"tools":{}}}"#);
        assert_eq!(client.version, Version::V2025_11_25);
        assert!(client.declares(&["elicitation", "form"]) && client.declares(&["sampling", "tools"]));
        assert!(!client.declares(&["elicitation", "url"]) && !client.declares(&["roots"]));
    }

    #[test]
    fn a_request_says_of_itself_who_asks_and_keeps_what_else_it_says() {
        let client = client("2025-11-25", r#"{"sampling":{}}"#);
        let stamp = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"sampling":{}},"io.modelcontextprotocol/clientInfo":{"name":"c","version":"1.0"}"#;
        let level = r#""io.modelcontextprotocol/logLevel":"info""#;
        for (params, level_wanted, more, expected) in [
            (None, None, "", format!(r#"{{"_meta":{{{stamp}}}}}"#)),
            (
                None,
                Some("info"),
                r#","requestState":"s""#,
                format!(r#"{{"_meta":{{{stamp},{level}}},"requestState":"s"}}"#),
            ),
            (Some("{}"), None, "", format!(r#"{{"_meta":{{{stamp}}}}}"#)),
            (
                Some(r#"{"name":"t", "arguments":{"_meta":1.0} }"#),
                None,
                r#","requestState":"s\u0021""#,
                format!(r#"{{"_meta":{{{stamp}}},"requestState":"s\u0021","name":"t", "arguments":{{"_meta":1.0}} }}"#),
            ),
            (
                Some(
                    r#"{"_meta":{"progressToken":"p","x/y":1e2,"io.modelcontextprotocol/clientCapabilities":{"roots":{}}},"requestState":"forged","inputResponses":{}}"#,
                ),
                Some("info"),
                "",
                format!(r#"{{"_meta":{{{stamp},{level},"progressToken":7,"x/y":1e2}}}}"#),
            ),
        ] {
            let request = Message::call(Some(&RequestId::from(1)), "tools/call", params);
            let sent = client.request(&request, &RequestId::from(7), level_wanted, more).unwrap().into_bytes();
            let expected = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{expected}}}"#);
            assert_eq!(sent, expected);
        }
    }

    #[test]
    fn what_cannot_be_taken_apart_is_not_sent() {
        let client = client("2025-11-25", "{}");
        for params in ["[]", r#"{"a":1,"a":2}"#, r#"{"_meta":1}"#, r#"{"_meta":{"a":1,"a":2}}"#] {
            let request = Message::call(Some(&RequestId::from(1)), "x/y", Some(params));
            assert!(client.request(&request, &RequestId::from(7), None, "").is_err(), "{params}");
        }
    }
}
