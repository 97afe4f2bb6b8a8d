//! What makes of a server's question a request for input is JSON on one line that holds the question, and what names a
//! parked call is read as it was written.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use mcp::envelope::{self, Message, RequestId};
use mcp::modern::parked::{Key, State, declared, digest, entry, required, urls};

const MAX_BYTES: usize = 1 << 20;
const EVERYTHING: &str = r#"{"elicitation":{"form":{},"url":{}},"roots":{},"sampling":{"tools":{}}}"#;

fuzz_target!(|raw: &[u8]| {
    if let Some(state) = std::str::from_utf8(raw).ok().and_then(State::parse) {
        assert_eq!(State::parse(&state.named(&Key([7; 32]), 1)), Some(state));
    }
    let Ok(incoming) = envelope::parse(Bytes::copy_from_slice(raw), MAX_BYTES) else { return };
    for message in incoming.into_messages() {
        let digested = digest(&message);
        assert_eq!(digest(&message), digested);
        assert!(declared(&message).is_none_or(|text| text.starts_with('{') && !text.contains('\n')));
        let asked = entry(&message, EVERYTHING).into_iter().chain(urls(&message).into_iter().flatten());
        for (number, asked) in (0..).zip(asked) {
            let result = Message::result(&RequestId::from(1), &required([(number, &*asked)].into_iter(), "s"));
            assert!(!result.raw().contains(&b'\n'));
            assert_eq!(result.at(&["inputRequests", &number.to_string()]), Some(&*asked));
        }
    }
});
