use proptest::prelude::*;

use super::*;

fn one(text: &str) -> Result<Message, Refused> {
    match parse(Bytes::copy_from_slice(text.as_bytes()), 1 << 20)? {
        Incoming::Single(message) => Ok(message),
        Incoming::Batch(_) => panic!("a batch"),
    }
}

#[test]
fn ids_of_every_form_survive_byte_for_byte() {
    for id in [r#""a""#, r#""\u00fc/\/""#, "0", "-7", "1.0", "1e2", "123456789012345678901234567890", r#""""#] {
        let text =
            format!(r#"{{"params":{{"x":1.50}},"jsonrpc":"2.0", "id" : {id},"method":"tools/call","vendor":[]}}"#);
        let message = one(&text).unwrap();
        assert_eq!(message.id().unwrap().raw(), id.as_bytes());
        let there = message.with_id(&RequestId::from(7), None).into_bytes();
        let back = one(std::str::from_utf8(&there).unwrap()).unwrap().with_id(&message.id().unwrap(), None);
        assert_eq!(back.into_bytes(), text.as_bytes());
    }
}

#[test]
fn each_kind_is_told_by_its_members() {
    let kind = |rest: &str| one(&format!(r#"{{"jsonrpc":"2.0",{rest}}}"#)).map(|m| m.kind()).map_err(|e| e.code);
    assert_eq!(kind(r#""id":1,"method":"ping""#), Ok(Kind::Request));
    assert_eq!(kind(r#""method":"x""#), Ok(Kind::Notification));
    assert_eq!(kind(r#""id":1,"result":null"#), Ok(Kind::Result));
    assert_eq!(kind(r#""id":1,"result":{},"error":null"#), Ok(Kind::Result));
    assert_eq!(kind(r#""id":1,"error":{"code":1,"message":""}"#), Ok(Kind::Error));
    assert_eq!(kind(r#""id":null,"error":{"code":1,"message":""}"#), Ok(Kind::Error));
    for wrong in [
        r#""id":null,"method":"x""#,
        r#""id":{},"method":"x""#,
        r#""id":true,"method":"x""#,
        r#""id":1,"method":2"#,
        r#""id":1,"method":"x","result":1"#,
        r#""id":1,"result":1,"error":{}"#,
        r#""result":1"#,
        r#""id":1"#,
        r#""method":"x","params":1"#,
    ] {
        assert_eq!(kind(wrong), Err(code::INVALID_REQUEST), "{wrong}");
    }
}

#[test]
fn refusals_have_the_right_code_and_the_id_when_it_is_known() {
    let refused = |text: &str| one(text).unwrap_err();
    assert_eq!(refused("{").code, code::PARSE_ERROR);
    assert_eq!(refused("hello").code, code::PARSE_ERROR);
    assert_eq!(refused("7").code, code::INVALID_REQUEST);
    assert_eq!(refused(r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}"#).code, code::INVALID_REQUEST);
    let old = refused(r#"{"id":"q","method":"x"}"#);
    assert_eq!((old.code, old.id.unwrap().raw().as_ref()), (code::INVALID_REQUEST, br#""q""#.as_ref()));
    let deep = format!(r#"{{"jsonrpc":"2.0","method":"x","params":{}1{}}}"#, "[".repeat(64), "]".repeat(64));
    assert!(refused(&deep).reason.contains("64 levels"));
    let large = parse(Bytes::from(vec![b' '; 11]), 10).unwrap_err();
    assert!(large.reason.contains("the limit is 10"), "{large}");
}

#[test]
fn line_breaks_between_tokens_become_spaces() {
    let message = one("{\r\n \"jsonrpc\":\"2.0\",\n\"method\":\"x\\n\"}\n").unwrap();
    assert_eq!(message.raw(), &b"{   \"jsonrpc\":\"2.0\", \"method\":\"x\\n\"}"[..]);
}

#[test]
fn escaped_slashes_in_methods_are_read() {
    assert_eq!(one(r#"{"jsonrpc":"2.0","id":1,"method":"tools\/list"}"#).unwrap().method(), "tools/list");
}

#[test]
fn batches_keep_their_order_and_refuse_to_be_empty() {
    let batch = br#" [{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","method":"b"}]"#;
    let methods: Vec<_> = parse(Bytes::from_static(batch), 1000).unwrap().into_messages();
    assert_eq!(methods.iter().map(Message::method).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(parse(Bytes::from_static(b"[]"), 10).unwrap_err().code, code::INVALID_REQUEST);
    assert_eq!(parse(Bytes::from_static(b"[1]"), 10).unwrap_err().code, code::INVALID_REQUEST);
}

#[test]
fn built_messages_are_envelopes() {
    let id = RequestId::from_raw(Bytes::from_static(b"\"x\"")).unwrap();
    assert_eq!(
        Message::call(Some(&id), "ping", Some("{}")).raw(),
        &br#"{"jsonrpc":"2.0","id":"x","method":"ping","params":{}}"#[..]
    );
    let error = Message::error(None, -1, "a \"b\"", Some("[1]"));
    assert_eq!(error.raw(), &br#"{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"a \"b\"","data":[1]}}"#[..]);
    assert_eq!(Message::result(&id, "{}").kind(), Kind::Result);
}

#[test]
fn a_line_break_inside_a_string_is_not_json() {
    assert_eq!(
        one("{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"params\":{\"a\":\"\n\"}}").unwrap_err().code,
        code::PARSE_ERROR
    );
}

#[test]
fn corpus_replays() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/envelope_parse");
    for file in std::fs::read_dir(corpus).unwrap() {
        check(std::fs::read(file.unwrap().path()).unwrap());
    }
}

/// What must hold for any bytes: they are refused, or hold messages that lie on one line and read the same when they
/// are sent on.
fn check(raw: Vec<u8>) {
    let messages = parse(raw.into(), 1000).map(Incoming::into_messages);
    for message in messages.into_iter().flatten() {
        assert!(!message.raw().iter().any(|byte| matches!(byte, b'\n' | b'\r')));
        let again = one(std::str::from_utf8(message.raw()).unwrap()).unwrap();
        assert_eq!((again.kind(), again.id()), (message.kind(), message.id()));
        assert_eq!((again.method(), again.body()), (message.method(), message.body()));
        assert_eq!(again.raw(), message.raw());
    }
}

proptest! {
    #[test]
    fn parsing_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in r#"[\[\]{}:,"\\a-z0-9.\n ]{0,80}"#) {
        check(bytes);
        check(text.into_bytes());
    }

    #[test]
    fn what_is_nearly_a_message_is_read_the_same_when_it_is_sent_on(
        members in proptest::collection::vec(proptest::sample::select(MEMBERS), 0..5),
    ) {
        check(format!("{{\"jsonrpc\":\"2.0\",\r\n{}}}", members.join(" ,\n")).into_bytes());
    }
}

const MEMBERS: &[&str] = &[
    r#""id":1"#,
    r#""id":"\u0061""#,
    r#""id":null"#,
    r#""method":"a\/b""#,
    r#""params":{"x":[1.50]}"#,
    r#""params":{"#,
    r#""result":1e2"#,
    r#""error":{}"#,
    r#""\u0069d":7"#,
    r#""vendor":"}""#,
];
