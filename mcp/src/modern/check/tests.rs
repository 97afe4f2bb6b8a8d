use bytes::Bytes;

use super::*;
use crate::envelope::Incoming;

const NOW: &str = "2026-07-28";
const META: &str =
    r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}"#;

fn message(text: &str) -> Message {
    let text = format!(r#"{{"jsonrpc":"2.0",{text}}}"#);
    match envelope::parse(Bytes::from(text), 1 << 20).unwrap() {
        Incoming::Single(message) => message,
        Incoming::Batch(_) => panic!("a batch"),
    }
}

fn request(method: &str, params: &str) -> Message {
    message(&format!(r#""id":1,"method":"{method}","params":{{{params}"_meta":{{{META}}}}}"#))
}

/// What comes of a request with these headers: the status and the code.
fn outcome(request: &Message, headers: &[(&str, &'static str)]) -> Result<(), (u16, i32)> {
    let field = |name: &str| {
        let mut values = headers.iter().filter(|(known, _)| *known == name);
        match (values.next(), values.next()) {
            (None, _) => Field::Absent,
            (Some((_, value)), None) => Field::One(value),
            _ => Field::Unclear,
        }
    };
    check(request, field).map_err(|refusal| (refusal.status, refusal.code))
}

#[test]
fn the_envelope_and_the_header_tell_the_era_and_the_method_never_does() {
    let meta = format!(r#""id":1,"method":"initialize","params":{{"_meta":{{{META}}}}}"#);
    for (text, version, expected) in [
        (r#""id":1,"method":"initialize","params":{"protocolVersion":"2026-07-28"}"#, Field::Absent, Era::Legacy),
        (r#""id":1,"method":"server/discover""#, Field::Absent, Era::Legacy),
        (r#""id":1,"method":"server/discover""#, Field::One("2025-11-25"), Era::Legacy),
        (r#""id":1,"method":"initialize""#, Field::One(NOW), Era::Modern),
        (&meta, Field::Absent, Era::Modern),
        (&meta, Field::One("2025-11-25"), Era::Modern),
        (
            r#""id":1,"method":"x","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"1"}}"#,
            Field::Absent,
            Era::Modern,
        ),
        (r#""id":1,"method":"x","params":{"_meta":{"progressToken":1}}"#, Field::Absent, Era::Legacy),
        // A revision that is not known is refused by the older rules, unless the envelope is of the newer kind.
        (r#""id":1,"method":"x""#, Field::One("2099-01-01"), Era::Legacy),
        // What a server gave as a result says nothing of the client's message.
        (
            r#""id":1,"result":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#,
            Field::Absent,
            Era::Legacy,
        ),
        (r#""id":1,"result":{}"#, Field::One(NOW), Era::Modern),
    ] {
        assert_eq!(era(&message(text), version), expected, "{text} {version:?}");
    }
}

#[test]
fn a_request_must_say_of_itself_what_the_revision_demands() {
    const VERSION: (&str, &str) = (MCP_PROTOCOL_VERSION, NOW);
    let list = request("tools/list", "");
    let call = request("tools/call", r#""name":"caf\u00e9","#);
    let read = request("resources/read", r#""uri":"file:///a b","#);
    let task = request("tasks/get", r#""taskId":"7","#);
    let method = |name| (MCP_METHOD, name);
    let name = |value| (MCP_NAME, value);
    for (request, headers, expected) in [
        (&list, vec![VERSION, method("tools/list")], Ok(())),
        (&list, vec![VERSION, method(" tools/list\t")], Ok(())),
        (&list, vec![method("tools/list")], Err((400, -32020))),
        (&list, vec![(MCP_PROTOCOL_VERSION, "2025-11-25"), method("tools/list")], Err((400, -32020))),
        (&list, vec![VERSION], Err((400, -32020))),
        (&list, vec![VERSION, method("tools/call")], Err((400, -32020))),
        (&list, vec![VERSION, method("TOOLS/LIST")], Err((400, -32020))),
        (&list, vec![VERSION, method("tools/list"), method("tools/list")], Err((400, -32020))),
        (&list, vec![VERSION, VERSION, method("tools/list")], Err((400, -32020))),
        (&call, vec![VERSION, method("tools/call"), name("=?base64?Y2Fmw6k=?=")], Ok(())),
        (&call, vec![VERSION, method("tools/call"), name("=?base64?Y2Fm?=")], Err((400, -32020))),
        (&call, vec![VERSION, method("tools/call"), name("=?base64?!?=")], Err((400, -32020))),
        (&call, vec![VERSION, method("tools/call")], Err((400, -32020))),
        (&read, vec![VERSION, method("resources/read"), name("file:///a b")], Ok(())),
        (&task, vec![VERSION, method("tasks/get"), name("8")], Err((400, -32020))),
        (&task, vec![VERSION, method("tasks/get"), name("7")], Ok(())),
    ] {
        assert_eq!(outcome(request, &headers), expected, "{} {headers:?}", request.method());
    }
    // What the body lacks is the server's to say, unless the header pretends that it is there.
    let nameless = request("prompts/get", "");
    assert_eq!(outcome(&nameless, &[VERSION, method("prompts/get")]), Ok(()));
    assert_eq!(outcome(&nameless, &[VERSION, method("prompts/get"), name("x")]), Err((400, -32020)));
}

#[test]
fn an_envelope_that_is_not_complete_is_refused_before_anything_else() {
    let with = |meta: &str| message(&format!(r#""id":1,"method":"initialize","params":{{"_meta":{{{meta}}}}}"#));
    let version = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#;
    let capabilities = r#""io.modelcontextprotocol/clientCapabilities""#;
    for request in [
        message(r#""id":1,"method":"tools/list""#),
        message(r#""id":1,"method":"tools/list","params":{}"#),
        with(version),
        with(&format!("{capabilities}:{{}}")),
        with(&format!("{version},{capabilities}:[]")),
        with(&format!(r#""io.modelcontextprotocol/protocolVersion":1,{capabilities}:{{}}"#)),
    ] {
        assert_eq!(outcome(&request, &[]), Err((400, -32602)));
    }
}

#[test]
fn a_revision_that_is_not_spoken_is_refused_with_those_that_are() {
    let meta = META.replace(NOW, "1999-01-01");
    let request = message(&format!(r#""id":1,"method":"x","params":{{"_meta":{{{meta}}}}}"#));
    let refusal = check(&request, |_| Field::One("1999-01-01")).unwrap_err();
    assert_eq!((refusal.status, refusal.code), (400, -32022));
    assert_eq!(refusal.data.unwrap(), r#"{"supported":["2026-07-28"],"requested":"1999-01-01"}"#);
    let older =
        message(&format!(r#""id":1,"method":"x","params":{{"_meta":{{{}}}}}"#, META.replace(NOW, "2025-11-25")));
    assert_eq!(check(&older, |_| Field::One("2025-11-25")).unwrap_err().code, -32022);
}

#[test]
fn methods_that_the_revision_has_done_away_with_are_not_found_whatever_the_server_would_say() {
    for method in REMOVED {
        let headers = [(MCP_PROTOCOL_VERSION, NOW)];
        assert_eq!(outcome(&request(method, ""), &headers), Err((404, -32601)), "{method}");
    }
}

#[test]
fn the_status_of_an_answer_is_that_of_its_code() {
    for (code, expected) in [
        (-32601, 404),
        (-32700, 400),
        (-32600, 400),
        (-32020, 400),
        (-32021, 400),
        (-32022, 400),
        (-32602, 200),
        (-32603, 200),
        (4_294_934_695, 200),
    ] {
        assert_eq!(status(code), expected, "{code}");
    }
}
