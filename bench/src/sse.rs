//! Server-sent events as the targets write them: lines end in LF or CRLF.

use bytes::{Buf as _, Bytes, BytesMut};

/// What an event is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Where to POST (HTTP+SSE).
    Endpoint,
    #[default]
    Message,
    Other,
}

/// One event with data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    pub(crate) data: Bytes,
}

/// Decodes a stream that arrives in pieces; time and memory are linear in its size.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buffer: BytesMut,
    /// So much of the buffer holds no line end.
    scanned: usize,
    kind: Kind,
    data: Option<BytesMut>,
}

impl Decoder {
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole event that has data.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        while let Some(mut line) = self.line() {
            if line.is_empty() {
                let kind = std::mem::take(&mut self.kind);
                if let Some(data) = self.data.take().filter(|data| !data.is_empty()) {
                    return Some(Event { kind, data: data.freeze() });
                }
            } else if line.starts_with(b"data:") {
                line.advance(if line.starts_with(b"data: ") { 6 } else { 5 });
                self.append(line);
            } else if let Some(name) = line.strip_prefix(b"event:") {
                self.kind = match name.trim_ascii() {
                    b"endpoint" => Kind::Endpoint,
                    b"message" => Kind::Message,
                    _ => Kind::Other,
                };
            }
        }
        None
    }

    fn append(&mut self, line: BytesMut) {
        match &mut self.data {
            None => self.data = Some(line),
            Some(data) => {
                data.extend_from_slice(b"\n");
                data.extend_from_slice(&line);
            }
        }
    }

    fn line(&mut self) -> Option<BytesMut> {
        let Some(end) = memchr::memchr(b'\n', &self.buffer[self.scanned..]) else {
            self.scanned = self.buffer.len();
            return None;
        };
        let mut line = self.buffer.split_to(self.scanned + end);
        self.buffer.advance(1);
        self.scanned = 0;
        if line.ends_with(b"\r") {
            line.truncate(line.len() - 1);
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(stream: &[u8], step: usize) -> Vec<(Kind, String)> {
        let mut decoder = Decoder::default();
        let mut events = Vec::new();
        for piece in stream.chunks(step) {
            decoder.push(piece);
            while let Some(event) = decoder.next_event() {
                events.push((event.kind, String::from_utf8(event.data.to_vec()).unwrap()));
            }
        }
        events
    }

    #[test]
    fn events_are_whole_however_they_arrive() {
        let stream = b": keep-alive\r\n\r\nevent: endpoint\r\ndata: /message?sessionId=1\r\n\r\nid: 4\ndata:a\ndata: b\n\nevent: x\ndata: c\n\ndata: d";
        let expected = [
            (Kind::Endpoint, "/message?sessionId=1".to_owned()),
            (Kind::Message, "a\nb".to_owned()),
            (Kind::Other, "c".to_owned()),
        ];
        for step in 1..=stream.len() {
            assert_eq!(decode(stream, step), expected, "in steps of {step}");
        }
    }

    #[test]
    fn an_event_without_data_says_nothing() {
        assert_eq!(decode(b"id: 1\ndata:\n\nevent: endpoint\n\ndata: a\n\n", 99), [(Kind::Message, "a".to_owned())]);
    }
}
