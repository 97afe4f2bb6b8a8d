use super::*;
use crate::envelope::{self, RequestId};

const LEGACY: [Version; 4] = [Version::V2024_11_05, Version::V2025_03_26, Version::V2025_06_18, Version::V2025_11_25];

fn text(message: &Message, edits: Vec<Edit>) -> String {
    let bytes = message.with(edits).into_bytes();
    String::from_utf8(bytes.to_vec()).unwrap().replacen(r#"{"jsonrpc":"2.0","id":1,"#, "{", 1)
}

fn answered(method: &str, version: Version, message: &Message) -> String {
    text(message, answer(method, version, message, |tool| !tool.contains("hidden")))
}

#[test]
fn a_result_loses_what_only_the_newer_revision_has() {
    for (method, result, expected) in [
        ("tools/call", r#"{"resultType":"complete","content":[1.0]}"#, r#"{"content":[1.0]}"#),
        ("ping", r#"{ "resultType":"complete" }"#, "{ }"),
        (
            "prompts/list",
            r#"{"ttlMs":0, "prompts":[],"cacheScope":"public","x":{"resultType":1},"resultType":"complete"}"#,
            r#"{ "prompts":[],"x":{"resultType":1}}"#,
        ),
        (
            "tools/call",
            r#"{"content":[],"structuredContent":[1],"isError":false}"#,
            r#"{"content":[],"isError":false}"#,
        ),
        ("tools/call", r#"{"structuredContent":{"a":1e2}}"#, r#"{"structuredContent":{"a":1e2}}"#),
        ("x/y", r#"{"structuredContent":1}"#, r#"{"structuredContent":1}"#),
        ("x/y", "[]", "[]"),
    ] {
        let message = Message::result(&RequestId::from(1), result);
        for version in LEGACY {
            assert_eq!(answered(method, version, &message), format!(r#"{{"result":{expected}}}"#), "{result}");
        }
    }
}

#[test]
fn output_that_is_no_object_is_not_announced_and_hidden_tools_are_not_shown() {
    for (tools, expected) in [
        (
            r#"{"name":"a","outputSchema":{"type":"object","x":1.0}}"#,
            r#"{"name":"a","outputSchema":{"type":"object","x":1.0}}"#,
        ),
        (r#"{"name":"a","outputSchema":{"type":"array"},"z":1e2}"#, r#"{"name":"a","z":1e2}"#),
        (r#"{"outputSchema":{"oneOf":[]},"name":"a"},{"name":"b"}"#, r#"{"name":"a"},{"name":"b"}"#),
        (r#"{"name":"hidden"},{"name":"b" }"#, r#"{"name":"b" }"#),
    ] {
        let message = Message::result(&RequestId::from(1), &format!(r#"{{"tools":[{tools}],"nextCursor":""}}"#));
        let expected = format!(r#"{{"result":{{"tools":[{expected}],"nextCursor":""}}}}"#);
        assert_eq!(answered("tools/list", Version::V2025_11_25, &message), expected, "{tools}");
    }
}

#[test]
fn content_that_a_revision_does_not_know_is_text_there() {
    let audio = r#"{"type":"audio","mimeType":"audio/wav","data":"AA=="}"#;
    let link = r#"{"type":"resource_link","uri":"a:1","name":"one"}"#;
    let (heard, linked) = (
        r#"{"type":"text","text":"(audio of the type audio/wav, which cannot be shown)"}"#,
        r#"{"type":"text","text":"one: a:1"}"#,
    );
    for (version, expected) in [
        (Version::V2024_11_05, [heard, linked]),
        (Version::V2025_03_26, [audio, linked]),
        (Version::V2025_06_18, [audio, link]),
        (Version::V2025_11_25, [audio, link]),
    ] {
        let other = r#"{"type":"image","data":""}"#;
        let called = |[audio, link]: [&str; 2]| format!(r#"{{"content":[{audio},{other},{link}]}}"#);
        let message = Message::result(&RequestId::from(1), &called([audio, link]));
        assert_eq!(answered("tools/call", version, &message), format!(r#"{{"result":{}}}"#, called(expected)));
        let got = |[audio, link]: [&str; 2]| {
            format!(r#"{{"messages":[{{"role":"user","content":{audio}}},{{"content":{link}}}]}}"#)
        };
        let message = Message::result(&RequestId::from(1), &got([audio, link]));
        assert_eq!(answered("prompts/get", version, &message), format!(r#"{{"result":{}}}"#, got(expected)));
    }
}

#[test]
fn codes_of_the_newer_revision_are_those_of_the_older() {
    for (method, code, data, expected) in [
        ("x", -32020, "{}", -32603),
        ("x", -32022, "{}", -32603),
        ("x", -32021, r#"{"requiredCapabilities":{}}"#, -32602),
        ("resources/read", -32602, r#"{"uri":"a:1"}"#, -32002),
        ("resources/read", -32602, "{}", -32602),
        ("tools/call", -32602, r#"{"uri":"a:1"}"#, -32602),
        ("x", -32601, "{}", -32601),
        ("x", 7, "{}", 7),
    ] {
        let message = Message::error(Some(&RequestId::from(1)), code, "m", Some(data));
        let expected = format!(r#"{{"error":{{"code":{expected},"message":"m","data":{data}}}}}"#);
        assert_eq!(answered(method, Version::V2025_11_25, &message), expected);
    }
}

#[test]
fn what_a_server_is_comes_from_what_it_discovers() {
    let discovered = r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true,"x":1.0},"logging":{},"extensions":{"io.modelcontextprotocol/tasks":{}}},"x-vendor":{"n":1.0},"instructions":"a\u0021","ttlMs":1,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"},"k":1}}"#;
    let expected = r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{"listChanged":true,"x":1.0},"logging":{}},"serverInfo":{"name":"s"},"x-vendor":{"n":1.0},"instructions":"a\u0021","_meta":{"k":1}}"#;
    assert_eq!(initialized(discovered, Version::V2025_06_18, "n").as_deref(), Some(expected));
    let least = r#"{"protocolVersion":"2024-11-05","capabilities":{"extensions":{"a/b":{}}},"serverInfo":{"name":"n","version":"unknown"}}"#;
    let bare = r#"{"capabilities":{"extensions":{"a/b":{},"io.modelcontextprotocol/tasks":{}},"tasks":{}}}"#;
    assert_eq!(initialized(bare, Version::V2024_11_05, "n").as_deref(), Some(least));
    let as_drafts_had_it = r#"{"capabilities":{},"protocolVersion":"x","serverInfo":{"name":"d"}}"#;
    let expected = r#"{"protocolVersion":"2024-11-05","capabilities":{},"serverInfo":{"name":"d"}}"#;
    assert_eq!(initialized(as_drafts_had_it, Version::V2024_11_05, "n").as_deref(), Some(expected));
    assert_eq!(initialized("[]", Version::V2024_11_05, "n"), None);
}

#[test]
fn a_notification_loses_the_mark_of_its_stream_and_nothing_else() {
    let mark = r#""io.modelcontextprotocol/subscriptionId":7"#;
    for (params, expected) in [
        (format!(r#"{{"_meta":{{{mark}}}}}"#), "{}"),
        (format!(r#"{{"uri":"a\u002f","_meta":{{{mark},"x":1e2}}}}"#), r#"{"_meta":{"x":1e2},"uri":"a\u002f"}"#),
        (format!(r#"{{"_meta":{{{mark},"x":1}}}}"#), r#"{"_meta":{"x":1}}"#),
        (r#"{"uri":"a"}"#.to_owned(), r#"{"uri":"a"}"#),
    ] {
        let notification = Message::call(None, "notifications/resources/updated", Some(&params));
        assert_eq!(unmarked(&notification).body(), Some(expected));
    }
}

#[test]
fn corpus_replays() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/modern_translate");
    for file in std::fs::read_dir(corpus).unwrap() {
        let raw = std::fs::read(file.unwrap().path()).unwrap();
        for message in
            envelope::parse(raw.into(), 1 << 20).unwrap().into_messages().iter().filter(|it| it.is_response())
        {
            for method in ["tools/list", "tools/call", "prompts/get", "resources/read"] {
                let edits = answer(method, Version::V2024_11_05, message, |_| true);
                let there = envelope::parse(message.with(edits).into_bytes(), 1 << 20).unwrap().into_messages();
                assert_eq!((there[0].kind(), there[0].id()), (message.kind(), message.id()));
                assert!(there[0].at(&["resultType"]).is_none());
            }
        }
    }
}
