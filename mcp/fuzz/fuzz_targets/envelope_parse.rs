//! Whatever arrives is refused or holds messages that lie on one line and read the same when they are sent on.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use mcp::envelope::{self, Incoming};

const MAX_BYTES: usize = 1 << 20;

fuzz_target!(|raw: &[u8]| {
    let Ok(incoming) = envelope::parse(Bytes::copy_from_slice(raw), MAX_BYTES) else { return };
    for message in incoming.into_messages() {
        assert!(!message.raw().iter().any(|byte| matches!(byte, b'\n' | b'\r')));
        let Ok(Incoming::Single(again)) = envelope::parse(message.raw().clone(), MAX_BYTES) else {
            panic!("a message must parse by itself")
        };
        assert_eq!((again.kind(), again.id()), (message.kind(), message.id()));
        assert_eq!((again.method(), again.body()), (message.method(), message.body()));
        assert_eq!(again.raw(), message.raw());
    }
});
