//! Where a stream is cut makes no difference, no event is larger than the limit, and what was read can be written.
//! The first byte of the input is the size of the cuts.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use mcp::sse::{Decoder, Event, EventHead, TooLarge, encode_text};

const LIMIT: usize = 64;

fuzz_target!(|input: &[u8]| {
    let Some((&size, stream)) = input.split_first() else { return };
    let events = decode(stream, LIMIT, stream.len());
    assert_eq!(decode(stream, LIMIT, size.into()), events);
    for event in events.into_iter().flatten() {
        assert!(event.data.len() <= LIMIT);
        let head = EventHead { id: event.id.as_deref(), event: event.event.as_deref(), retry: event.retry };
        let encoded = encode_text(&head, event.data.clone()).concat();
        assert_eq!(decode(&encoded, usize::MAX, size.into()), [Ok(event)]);
    }
});

fn decode(stream: &[u8], limit: usize, size: usize) -> Vec<Result<Event, TooLarge>> {
    let mut decoder = Decoder::new(limit);
    let mut events = Vec::new();
    for chunk in stream.chunks(size.max(1)) {
        decoder.push(Bytes::copy_from_slice(chunk));
        events.extend(&mut decoder);
    }
    events
}
