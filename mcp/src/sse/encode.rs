//! Writing events.

use std::io::Write as _;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use smallvec::SmallVec;

/// An encoded event, in order: one chunk when it is small, else its large data between what stands around it.
pub type Chunks = SmallVec<[Bytes; 3]>;

/// Pieces up to this many bytes are copied together: cheaper than handing each on by itself down to the socket.
const COPIED: usize = 4096;

/// The fields of an event beside its data. None of them may hold a line break; an id with a NUL is none to clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventHead<'a> {
    /// What a client sends as `Last-Event-ID` to resume after this event.
    pub id: Option<&'a str>,
    /// The event's type; without one it is `message`.
    pub event: Option<&'a str>,
    /// How long the client should wait before it reconnects; sent in whole milliseconds.
    pub retry: Option<Duration>,
}

/// Encodes an event whose data is the concatenation of `data` and holds no line break, as JSON on one line does not.
///
/// Without any data this is the event that primes a client to resume (MCP 2025-11-25, "Sending Messages to the
/// Server"): an id and an empty `data` line.
pub fn encode(head: &EventHead<'_>, data: impl IntoIterator<Item = Bytes>) -> Chunks {
    let mut writer = Writer::new(head);
    writer.put(b"data: ");
    for piece in data {
        debug_assert!(memchr::memchr2(b'\n', b'\r', &piece).is_none(), "only `encode_text` takes line breaks");
        writer.push(piece);
    }
    writer.put(b"\n\n");
    writer.finish()
}

/// Encodes an event of any text. What ends a line in it (LF, CR, CR LF) reaches the client as LF.
pub fn encode_text(head: &EventHead<'_>, mut text: Bytes) -> Chunks {
    let mut writer = Writer::new(head);
    loop {
        let end = memchr::memchr2(b'\n', b'\r', &text);
        writer.put(b"data: ");
        writer.push(text.split_to(end.unwrap_or(text.len())));
        writer.put(b"\n");
        if end.is_none() {
            break;
        }
        let ending = if text.starts_with(b"\r\n") { 2 } else { 1 };
        let _ = text.split_to(ending);
    }
    writer.put(b"\n");
    writer.finish()
}

/// Collects small pieces in `tail` and large ones as they are.
struct Writer {
    chunks: Chunks,
    tail: BytesMut,
}

impl Writer {
    fn new(head: &EventHead<'_>) -> Self {
        let mut writer = Self { chunks: Chunks::new(), tail: BytesMut::with_capacity(1024) };
        for (name, value) in [("id: ", head.id), ("event: ", head.event)] {
            let Some(value) = value else { continue };
            debug_assert!(!value.contains(['\n', '\r']), "a field of an event is one line");
            writer.put(name.as_bytes());
            writer.put(value.as_bytes());
            writer.put(b"\n");
        }
        if let Some(retry) = head.retry {
            writeln!((&mut writer.tail).writer(), "retry: {}", retry.as_millis()).expect("memory takes all");
        }
        writer
    }

    fn put(&mut self, small: &[u8]) {
        self.tail.extend_from_slice(small);
    }

    fn push(&mut self, piece: Bytes) {
        if self.tail.len() + piece.len() <= COPIED {
            self.put(&piece);
            return;
        }
        self.flush();
        if piece.len() <= COPIED { self.put(&piece) } else { self.chunks.push(piece) }
    }

    fn flush(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push(self.tail.split().freeze());
        }
    }

    fn finish(mut self) -> Chunks {
        self.flush();
        self.chunks
    }
}
