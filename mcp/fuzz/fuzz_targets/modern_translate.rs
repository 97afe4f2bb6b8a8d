//! Whatever crosses between the eras is still the message it was, on one line, and says of itself what it must.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use mcp::envelope::{self, Incoming, Kind, Message, RequestId};
use mcp::json::Edit;
use mcp::modern::check::{Field, check, era};
use mcp::modern::mirrored::Mirrored;
use mcp::modern::stamp::Client;
use mcp::modern::{downgrade, rounds, translate};
use mcp::version::Version;

const MAX_BYTES: usize = 1 << 20;

fuzz_target!(|raw: &[u8]| {
    let Ok(incoming) = envelope::parse(Bytes::copy_from_slice(raw), MAX_BYTES) else { return };
    for message in incoming.into_messages() {
        let field = |_: &str| Field::One("2026-07-28");
        let _ = (era(&message, Field::Absent), check(&message, field), Mirrored::of_tools(message.body()));
        match message.kind() {
            Kind::Request => drop(translate::request(&message, "7").map(|edit| crossed(&message, edit))),
            Kind::Result | Kind::Error => {
                let there = crossed(&message, translate::answer(("tools/list", Some("\"a\"")), &message, |_| true));
                let is_object = there.body().is_some_and(|body| body.starts_with('{'));
                assert!(there.kind() == Kind::Error || !is_object || there.raw().windows(12).any(|it| it == b"\"resultType\""));
            }
            Kind::Notification => {}
        }
        back(&message);
    }
});

/// The other way round.
fn back(message: &Message) {
    let params = r#"{"capabilities":{"elicitation":{"url":{},"form":{}},"sampling":{},"roots":{}}}"#;
    let client = Client::new(message.body().filter(|_| message.method() == "initialize").unwrap_or(params));
    match message.kind() {
        Kind::Request => {
            let id = message.id().expect("a request has one");
            if let Ok(sent) = client.request(message, &id, Some("info"), "") {
                let Ok(Incoming::Single(there)) = envelope::parse(sent.into_bytes(), 2 * MAX_BYTES) else { return };
                assert!(there.at(&["_meta", "io.modelcontextprotocol/protocolVersion"]).is_some());
            }
        }
        Kind::Result | Kind::Error => {
            for method in ["tools/list", "tools/call", "prompts/get", "resources/read"] {
                crossed(message, downgrade::answer(method, Version::V2024_11_05, message, |_| true));
            }
            let asked = rounds::asked(message, &client).unwrap_or_default();
            for question in asked.questions {
                Message::call(Some(&RequestId::from(1)), &question.method, Some(&question.params(1)));
            }
            let hello = message.body().and_then(|body| downgrade::initialized(body, Version::V2024_11_05, "s"));
            hello.map(|hello| Message::result(&RequestId::from(1), &hello));
        }
        Kind::Notification => drop(downgrade::unmarked(message)),
    }
}

fn crossed(message: &Message, edits: impl IntoIterator<Item = Edit>) -> Message {
    let bytes = message.with(edits).into_bytes();
    assert!(!bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r')));
    let Ok(Incoming::Single(there)) = envelope::parse(bytes, 2 * MAX_BYTES) else { panic!("it must parse") };
    assert_eq!((there.kind(), there.id(), there.method()), (message.kind(), message.id(), message.method()));
    there
}
