//! What a message of an older revision is in 2026-07-28, and the other way round, where a client of the newer one uses a
//! server of the older. Every other byte stays as it is.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::meta;
use crate::envelope::{Kind, Message, code};
use crate::json::{self, Edit, Object};
use crate::version::Version;

/// Results that must say how long they may be kept ("Caching").
const CACHED: [&str; 5] =
    ["tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"];

/// What older servers do not say: such a result is stale at once, and nobody else's.
const HINTS: &str = r#""ttlMs":0,"cacheScope":"private","#;

/// What only the newer envelope has. A server that speaks both eras would take a request with these for one of the newer.
pub(super) const NEWER: [&str; 4] =
    [meta::PROTOCOL_VERSION, meta::CLIENT_CAPABILITIES, meta::CLIENT_INFO, meta::LOG_LEVEL];

/// What a request has that is sent again with answers ([`super::parked`]); and by what older revisions ask for a task,
/// which this client could not follow.
const NOT_FORWARDED: [&str; 3] = ["inputResponses", "requestState", "task"];

static RESULT_TYPE: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(r#""resultType""#));
static EXECUTION: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(r#""execution""#));

/// The result of `server/discover`, from that of `initialize`.
pub fn discovered(hello: &str) -> String {
    let part = |path: &[&str]| json::lookup(hello, path);
    let capabilities = json::without(part(&["capabilities"]).unwrap_or("{}"), &["tasks"]);
    let instructions = part(&["instructions"]).map(|text| format!(r#","instructions":{text}"#)).unwrap_or_default();
    let info = part(&["serverInfo"]).map(|info| format!(r#","_meta":{{"{}":{info}}}"#, meta::SERVER_INFO));
    format!(
        r#"{{"resultType":"complete",{HINTS}"supportedVersions":["{}"],"capabilities":{}{instructions}{}}}"#,
        Version::V2026_07_28,
        capabilities.as_deref().unwrap_or("{}"),
        info.unwrap_or_default(),
    )
}

/// What makes of a request one of an older revision. `token` takes the place of its progress token.
///
/// # Errors
/// When the envelope cannot be taken apart.
pub fn request(request: &Message, token: &str) -> Result<Option<Edit>, serde_json::Error> {
    let has_more = NOT_FORWARDED.iter().any(|key| request.at(&[key]).is_some());
    let Some(old) = request.at(&["_meta"]) else { return Ok(None) };
    let object = Object::parse(old)?;
    let kept = object.iter().filter(|(key, _)| !NEWER.contains(key)).map(|(key, value)| {
        let value = if key == "progressToken" { token } else { value };
        format!("{}:{value}", json::quote(key))
    });
    let kept: Vec<_> = kept.collect();
    let new = format!("{{{}}}", kept.join(","));
    let Some(params) = request.body().filter(|_| has_more) else { return Ok(Some(request.edit(old, new))) };
    let others = Object::parse(params)?;
    let others = others.iter().filter(|(key, _)| !NOT_FORWARDED.contains(key)).map(|(key, value)| {
        let value = if key == "_meta" { &new } else { value };
        format!("{}:{value}", json::quote(key))
    });
    let others: Vec<_> = others.collect();
    Ok(Some(request.edit(params, format!("{{{}}}", others.join(",")))))
}

/// What makes of the answer to a request of `method`, and of the resource `uri` (raw JSON), one of 2026-07-28. `keep` says
/// which tools of a list its client may see.
pub fn answer((method, uri): (&str, Option<&str>), answer: &Message, keep: impl Fn(&str) -> bool) -> Vec<Edit> {
    match answer.kind() {
        Kind::Error => error(answer, method, uri).into_iter().collect(),
        _ if method == "tools/list" => head(method, answer).into_iter().chain(tools(answer, keep)).collect(),
        _ => head(method, answer).into_iter().collect(),
    }
}

/// What a result begins with.
fn head(method: &str, answer: &Message) -> Option<Edit> {
    let result = answer.body()?;
    let named = RESULT_TYPE.find(answer.raw()).is_some() && answer.at(&["resultType"]).is_some();
    if named || !result.starts_with('{') {
        return None;
    }
    let hints = CACHED.contains(&method) && answer.at(&["ttlMs"]).is_none() && answer.at(&["cacheScope"]).is_none();
    let mut text = format!(r#"{{"resultType":"complete",{}"#, if hints { HINTS } else { "" });
    if result[1..].trim_start().starts_with('}') {
        text.pop();
    }
    Some(answer.edit(&result[..1], text))
}

/// The tools that may be seen, without what is said of tasks, which this client cannot have.
fn tools(answer: &Message, keep: impl Fn(&str) -> bool) -> Option<Edit> {
    let list = answer.at(&["tools"])?;
    let all = json::elements(list)?;
    let kept: Vec<_> = all.iter().copied().filter(|tool| keep(tool)).collect();
    let may_run_as_task = EXECUTION.find(list.as_bytes()).is_some();
    if kept.len() == all.len() && !may_run_as_task {
        return None;
    }
    let plain = |tool: &str| json::without(tool, &["execution"]).unwrap_or_else(|| tool.to_owned());
    let kept: Vec<_> = kept.into_iter().map(plain).collect();
    Some(answer.edit(list, format!("[{}]", kept.join(","))))
}

/// A resource that is not there has the code of any other wrong parameter, and the error says which it is ("Error
/// Handling"). So has a tool that older revisions call as a task only ("Tool-Level Negotiation"): the method is there.
fn error(answer: &Message, method: &str, uri: Option<&str>) -> Option<Edit> {
    let found = answer.at(&["code"])?;
    match found.parse() {
        Ok(code::METHOD_NOT_FOUND) if method == "tools/call" => {
            return Some(answer.edit(found, code::INVALID_PARAMS.to_string()));
        }
        Ok(code::RESOURCE_NOT_FOUND) => {}
        _ => return None,
    }
    let named = uri.filter(|_| answer.at(&["data"]).is_none());
    let data = named.map(|uri| format!(r#","data":{{"uri":{uri}}}"#)).unwrap_or_default();
    Some(answer.edit(found, format!("{}{data}", code::INVALID_PARAMS)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{self, RequestId};

    fn answered(method: &str, message: &Message) -> String {
        let edits = answer((method, Some(r#""a:\u0031""#)), message, |tool| !tool.contains("hidden"));
        let bytes = message.with(edits).into_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.replacen(r#"{"jsonrpc":"2.0","id":1,"#, "{", 1)
    }

    #[test]
    fn a_result_says_of_which_kind_it_is_and_a_list_how_long_it_holds() {
        for (method, result, expected) in [
            ("tools/call", r#"{"content":[1.0]}"#, r#"{"resultType":"complete","content":[1.0]}"#),
            ("completion/complete", "{}", r#"{"resultType":"complete"}"#),
            ("resources/read", "{ }", r#"{"resultType":"complete","ttlMs":0,"cacheScope":"private" }"#),
            (
                "prompts/list",
                r#"{ "prompts":[],"x":{"resultType":1}}"#,
                r#"{"resultType":"complete","ttlMs":0,"cacheScope":"private", "prompts":[],"x":{"resultType":1}}"#,
            ),
            ("x/y", r#"{"resultType":"other"}"#, r#"{"resultType":"other"}"#),
            (
                "tools/list",
                r#"{"tools":[{"name":"a","execution":{"taskSupport":"required"},"z":1e2},{"name":"hidden"}],"n":2.0}"#,
                r#"{"resultType":"complete","ttlMs":0,"cacheScope":"private","tools":[{"name":"a","z":1e2}],"n":2.0}"#,
            ),
        ] {
            let message = Message::result(&RequestId::from(1), result);
            assert_eq!(answered(method, &message), format!(r#"{{"result":{expected}}}"#), "{method}");
        }
    }

    #[test]
    fn a_resource_that_is_not_there_is_a_wrong_parameter_and_other_errors_stay() {
        for (code, expected) in [(-32002, -32602), (-32601, -32601), (7, 7)] {
            let message = Message::error(Some(&RequestId::from(1)), code, "x", Some(r#"{"uri":"a"}"#));
            let expected = format!(r#"{{"error":{{"code":{expected},"message":"x","data":{{"uri":"a"}}}}}}"#);
            assert_eq!(answered("resources/read", &message), expected);
        }
        let message = Message::error(Some(&RequestId::from(1)), -32002, "x", None);
        let expected = r#"{"error":{"code":-32602,"data":{"uri":"a:\u0031"},"message":"x"}}"#;
        assert_eq!(answered("resources/read", &message), expected);
    }

    #[test]
    fn a_request_loses_what_only_the_newer_envelope_has() {
        let meta = format!(r#"{{"{}":"2026-07-28","x":1.0,"progressToken":"p","{}":{{}}}}"#, NEWER[0], NEWER[1]);
        let params = format!(r#"{{"name":"t","_meta":{meta},"arguments":{{"_meta":1}}}}"#);
        let message = Message::call(Some(&RequestId::from(1)), "tools/call", Some(&params));
        let older = message.with(request(&message, "5").unwrap()).into_bytes();
        let expected = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{"x":1.0,"progressToken":5},"arguments":{"_meta":1}}}"#;
        assert_eq!(older, expected);
    }

    #[test]
    fn what_only_a_call_of_another_revision_can_have_is_not_forwarded() {
        let params = r#"{"task":{"ttl":1},"name":"t","inputResponses":{},"_meta":{"x":1},"requestState":"s"}"#;
        let message = Message::call(Some(&RequestId::from(1)), "tools/call", Some(params));
        let older = message.with(request(&message, "5").unwrap()).into_bytes();
        let expected = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{"x":1}}}"#;
        assert_eq!(older, expected);
        // A tool that is called as a task only is no method that is missing.
        let message = Message::error(Some(&RequestId::from(1)), -32601, "x", None);
        assert_eq!(answered("tools/call", &message), r#"{"error":{"code":-32602,"message":"x"}}"#);
        assert_eq!(answered("x/y", &message), r#"{"error":{"code":-32601,"message":"x"}}"#);
    }

    #[test]
    fn corpus_replays() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/modern_translate");
        for file in std::fs::read_dir(corpus).unwrap() {
            let raw = std::fs::read(file.unwrap().path()).unwrap();
            for message in envelope::parse(raw.into(), 1 << 20).unwrap().into_messages() {
                let edits = match message.kind() {
                    Kind::Request => request(&message, "7").unwrap().into_iter().collect(),
                    _ => answer(("tools/list", None), &message, |_| true),
                };
                let there = envelope::parse(message.with(edits).into_bytes(), 1 << 20).unwrap().into_messages();
                assert_eq!((there[0].kind(), there[0].id()), (message.kind(), message.id()));
                assert!(message.kind() != Kind::Result || there[0].at(&["resultType"]).is_some());
            }
        }
    }

    #[test]
    fn what_a_server_is_comes_from_its_handshake() {
        let hello = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{"x":1.0},"tasks":{}},"serverInfo":{"name":"s"},"instructions":"a\u0021"}"#;
        assert_eq!(
            discovered(hello),
            r#"{"resultType":"complete","ttlMs":0,"cacheScope":"private","supportedVersions":["2026-07-28"],"capabilities":{"tools":{"x":1.0}},"instructions":"a\u0021","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}}}"#
        );
        assert!(discovered("{}").contains(r#""capabilities":{}"#));
    }
}
