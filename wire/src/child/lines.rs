//! Messages out of a server's standard output.

use std::collections::VecDeque;
use std::io;

use bytes::{Bytes, BytesMut};
use mcp::envelope::{self, Incoming};
use serde_json::value::RawValue;

use crate::link::Event;

/// Cuts a stream of bytes into lines, and reads the lines as messages.
///
/// Real servers write more than messages: log lines, a byte order mark, two messages on a line. What is a message is
/// taken as one, the rest is counted as junk.
#[derive(Debug)]
pub struct Lines {
    max_line: usize,
    buffer: BytesMut,
    /// No line ends before this position.
    searched: usize,
    /// The rest of a line that is too long is thrown away.
    skipping: bool,
    last_read_was_full: bool,
    events: VecDeque<Event>,
}

impl Lines {
    /// Accepts lines up to `max_line` bytes.
    pub fn new(max_line: usize) -> Self {
        let (buffer, events) = (BytesMut::new(), VecDeque::new());
        Self { max_line, buffer, searched: 0, skipping: false, last_read_was_full: false, events }
    }

    /// Lets `read` append to the buffer, with room for about `room` bytes.
    pub fn read(&mut self, room: usize, read: impl FnOnce(&mut BytesMut) -> io::Result<usize>) -> io::Result<usize> {
        // An idle server costs little: the buffer is made large only for one that writes much.
        let room = if self.buffer.is_empty() && !self.last_read_was_full { room / 16 } else { room };
        self.buffer.reserve(room);
        let spare = self.buffer.capacity() - self.buffer.len();
        let count = read(&mut self.buffer)?;
        self.last_read_was_full = count == spare;
        self.cut();
        Ok(count)
    }

    /// Whether the last read took all it had room for, so that there may be more.
    pub fn filled(&self) -> bool {
        self.last_read_was_full
    }

    /// The stream has ended; what stands behind the last line's end is a line too. When it was broken off, how the
    /// stream ended says more to whoever waits for it.
    pub fn end(&mut self) {
        let line = self.buffer.split().freeze();
        self.searched = 0;
        if !std::mem::take(&mut self.skipping) {
            let before = self.events.len();
            self.line(&line);
            let unreadable = |event: &&mut Event| matches!(event, Event::Unreadable { .. });
            self.events.iter_mut().skip(before).filter(unreadable).for_each(|event| *event = Event::Junk);
        }
    }

    /// The next event.
    pub fn pop(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn cut(&mut self) {
        while let Some(at) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
            let mut line = self.buffer.split_to(self.searched + at + 1);
            line.truncate(line.len() - 1);
            self.searched = 0;
            if !std::mem::take(&mut self.skipping) {
                self.line(&line.freeze());
            }
        }
        self.searched = self.buffer.len();
        if self.searched > self.max_line {
            self.skip();
        }
        if self.buffer.is_empty() && self.buffer.capacity() > (1 << 20) {
            // What a large message needed is not held on to.
            self.buffer = BytesMut::new();
        }
    }

    /// Gives up the line that has begun.
    fn skip(&mut self) {
        if !std::mem::replace(&mut self.skipping, true) {
            let reason = format!("the server's answer is longer than the limit of {} bytes", self.max_line);
            self.events.push_back(match answered(&self.buffer) {
                Some(id) => Event::Unreadable { id, reason },
                None => Event::Junk,
            });
        }
        self.buffer = BytesMut::new();
        self.searched = 0;
    }

    fn line(&mut self, line: &Bytes) {
        let line = line.strip_prefix(b"\xef\xbb\xbf").map_or_else(|| line.clone(), |rest| line.slice_ref(rest));
        match line.trim_ascii_start().first() {
            None => return,
            Some(b'{' | b'[') => {}
            // A server may write much that is no message: it is not worth a closer look.
            Some(_) => return self.events.push_back(Event::Junk),
        }
        let id = answered(&line).filter(|_| line.trim_ascii_end().ends_with(b"}"));
        match envelope::parse(line.clone(), self.max_line) {
            Ok(incoming) => self.messages(incoming),
            Err(_) if self.several(&line) => {}
            Err(refused) => {
                // Its contents are the user's; only the fact is logged.
                tracing::debug!(bytes = line.len(), "a line of the server's standard output is no message");
                let reason = format!("the server's answer cannot be read: {refused}");
                self.events.push_back(id.map_or(Event::Junk, |id| Event::Unreadable { id, reason }));
            }
        }
    }

    fn messages(&mut self, incoming: Incoming) {
        self.events.extend(incoming.into_messages().into_iter().map(Event::Message));
    }

    /// Takes a line as several messages, if that is what it is.
    fn several(&mut self, line: &Bytes) -> bool {
        let values = serde_json::Deserializer::from_slice(line).into_iter::<&RawValue>();
        let parse = |value: &RawValue| envelope::parse(line.slice_ref(value.get().as_bytes()), self.max_line).ok();
        let all: Option<Vec<Incoming>> = values.map(|value| parse(value.ok()?)).collect();
        let Some(all) = all else { return false };
        for incoming in all {
            self.messages(incoming);
        }
        true
    }
}

/// The id that an answer, of which only the beginning may be there, carries: one of ours, a number, early in the line.
/// A log line that quotes an answer is none: the answer itself is still to come.
fn answered(line: &[u8]) -> Option<u64> {
    let head = &line[..line.len().min(256)];
    let holds = |part: &[u8]| memchr::memmem::find(head, part).is_some();
    if !head.trim_ascii_start().starts_with(b"{") || !holds(b"\"jsonrpc\"") || holds(b"\"method\"") {
        return None;
    }
    let at = memchr::memmem::find(head, b"\"id\"")? + 4;
    let rest = head[at..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

/// The messages of a whole output, for tests.
#[cfg(test)]
fn read_all(output: &[u8], step: usize, max_line: usize) -> Vec<Event> {
    let mut lines = Lines::new(max_line);
    for chunk in output.chunks(step) {
        lines
            .read(64, |buffer| {
                buffer.extend_from_slice(chunk);
                Ok(chunk.len())
            })
            .unwrap();
    }
    lines.end();
    std::iter::from_fn(|| lines.pop()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(output: &str, step: usize, max_line: usize) -> Vec<String> {
        let shape = |event| match event {
            Event::Message(message) => String::from_utf8(message.raw().to_vec()).unwrap(),
            Event::Junk => "junk".to_owned(),
            Event::Unreadable { id, .. } => format!("unreadable {id}"),
            Event::Lost(_) => "lost".to_owned(),
        };
        read_all(output.as_bytes(), step, max_line).into_iter().map(shape).collect()
    }

    #[test]
    fn messages_are_found_however_the_output_is_cut() {
        let a = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        let b = r#"{"jsonrpc":"2.0","method":"x"}"#;
        let output = format!("\u{feff}{a}\r\nlog line\n\n{b}{a}\n[{a},{b}]\n{b}");
        for step in [1, 7, 1000] {
            assert_eq!(shapes(&output, step, 1000), [a, "junk", b, a, a, b, b], "{step}");
        }
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_told_to_who_waits_for_it() {
        let long = format!(r#"{{"jsonrpc":"2.0","id":42,"result":"{}"}}"#, "x".repeat(500));
        let deep = format!(r#"{{"jsonrpc":"2.0","id": 43,"result":{}}}"#, "[".repeat(65));
        let next = r#"{"jsonrpc":"2.0","method":"x"}"#;
        let output = format!("{long}\n{deep}\n{next}\n");
        assert_eq!(shapes(&output, 100, 300), ["unreadable 42", "unreadable 43", next]);
    }

    #[test]
    fn what_only_looks_like_an_answer_fails_no_call() {
        let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        let (half, inner) = (&answer[..30], r#"{"jsonrpc":"2.0","id":1,"result":{}"#);
        let output = format!("{half}\nDEBUG sending {answer}\n{{\"id\":1,\"level\":\"info\"}}\n{answer}\n{inner}");
        assert_eq!(shapes(&output, 1000, 1000), ["junk", "junk", "junk", answer, "junk"]);
    }
}
