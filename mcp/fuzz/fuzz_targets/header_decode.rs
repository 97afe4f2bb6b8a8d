//! Any value is refused or stands for a text that survives the way back; any text survives the round trip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp::header::{decode, encode};

fuzz_target!(|value: &str| {
    assert_eq!(decode(&encode(value)).as_deref(), Ok(value));
    if let Ok(text) = decode(value) {
        assert_eq!(decode(&encode(&text)).as_ref(), Ok(&text));
    }
});
