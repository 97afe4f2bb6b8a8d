//! Messages out of a server's standard output.

use std::collections::VecDeque;
use std::io;

use bytes::{Bytes, BytesMut};
use mcp::envelope::{self, Ends, Incoming};
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
    /// A line that is too long, the rest of which is thrown away.
    skipped: Option<Skipped>,
    last_read_was_full: bool,
    events: VecDeque<Event>,
}

/// A line that is given up.
#[derive(Debug)]
struct Skipped {
    ends: Ends,
    /// Whether what it answers was known from its beginning, and has been told.
    told: bool,
}

impl Lines {
    /// Accepts lines up to `max_line` bytes.
    pub fn new(max_line: usize) -> Self {
        let (buffer, events) = (BytesMut::new(), VecDeque::new());
        Self { max_line, buffer, searched: 0, skipped: None, last_read_was_full: false, events }
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
        if self.skipped.take().is_none() {
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
            match self.skipped.take() {
                None if line.len() > self.max_line => {
                    let skipped = self.give_up(&line);
                    self.end_skipped(skipped, b"");
                }
                None => self.line(&line.freeze()),
                Some(skipped) => self.end_skipped(skipped, &line),
            }
        }
        self.searched = self.buffer.len();
        if self.searched > self.max_line || (self.skipped.is_some() && self.searched > 0) {
            self.skip();
        }
        if self.buffer.is_empty() && self.buffer.capacity() > (1 << 20) {
            // What a large message needed is not held on to.
            self.buffer = BytesMut::new();
        }
    }

    /// Gives up the line that has begun: of what has come of it, only the ends are kept.
    fn skip(&mut self) {
        let begun = std::mem::take(&mut self.buffer);
        self.searched = 0;
        match &mut self.skipped {
            Some(skipped) => skipped.ends.push(&begun),
            None => self.skipped = Some(self.give_up(&begun)),
        }
    }

    fn give_up(&mut self, begun: &[u8]) -> Skipped {
        let ends = Ends::of(begun);
        let id = ends.answers_at_head();
        let told = id.map(|id| self.too_long(id));
        self.events.extend(told);
        Skipped { ends, told: id.is_some() }
    }

    /// A line that was given up ends with `rest`.
    fn end_skipped(&mut self, Skipped { mut ends, told }: Skipped, rest: &[u8]) {
        if !told {
            ends.push(rest);
            let event = ends.answers_at_tail().map_or(Event::Junk, |id| self.too_long(id));
            self.events.push_back(event);
        }
    }

    fn too_long(&self, id: u64) -> Event {
        let reason = format!("the server's answer is longer than the limit of {} bytes", self.max_line);
        Event::Unreadable { id, reason }
    }

    fn line(&mut self, line: &Bytes) {
        let line = line.strip_prefix(b"\xef\xbb\xbf").map_or_else(|| line.clone(), |rest| line.slice_ref(rest));
        match line.trim_ascii_start().first() {
            None => return,
            Some(b'{' | b'[') => {}
            // A server may write much that is no message: it is not worth a closer look.
            Some(_) => return self.events.push_back(Event::Junk),
        }
        let ends = Ends::of(&line);
        let id = ends.answers_at_head().or_else(|| ends.answers_at_tail());
        let id = id.filter(|_| line.trim_ascii_end().ends_with(b"}"));
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

    fn shape(event: Event) -> String {
        match event {
            Event::Message(message) => String::from_utf8(message.raw().to_vec()).unwrap(),
            Event::Junk => "junk".to_owned(),
            Event::Unreadable { id, .. } => format!("unreadable {id}"),
            Event::Lost(_) => "lost".to_owned(),
        }
    }

    fn shapes(output: &str, step: usize, max_line: usize) -> Vec<String> {
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
    fn its_id_may_stand_last() {
        let long = format!(r#"{{"result":"{}","jsonrpc":"2.0","id":42}}"#, "x".repeat(5000));
        let deep = format!(r#"{{"result":{}{},"jsonrpc":"2.0","id":43}}"#, "[".repeat(65), "]".repeat(65));
        let junk = format!(r#"{{"result":"{}"}}"#, "x".repeat(5000));
        let next = r#"{"jsonrpc":"2.0","method":"x"}"#;
        let output = format!("{long}\n{deep}\n{junk}\n{next}\n{long}");
        for step in [1, 100, 10_000] {
            assert_eq!(shapes(&output, step, 300), ["unreadable 42", "unreadable 43", "junk", next], "{step}");
        }
    }

    proptest::proptest! {
        #[test]
        fn how_the_output_is_cut_makes_no_difference_and_little_is_held(
            lines in proptest::collection::vec((0..7usize, 0..600usize), 0..12),
            cuts in proptest::collection::vec(1..400usize, 1..20),
            ends in proptest::bool::ANY,
        ) {
            // More than is looked at of a line's ends.
            let max_line = 300;
            let line = |(kind, size): &(usize, usize)| {
                let long = "x".repeat(*size);
                match kind {
                    0 => format!(r#"{{"jsonrpc":"2.0","id":{size},"result":"{long}"}}"#),
                    1 => format!(r#"{{"result":"{long}","jsonrpc":"2.0","id":{size}}}"#),
                    2 => format!(r#"{{"jsonrpc":"2.0","method":"{long}"}}"#),
                    3 => format!("{long}\r"),
                    4 => format!(r#"[{{"jsonrpc":"2.0","method":"{long}"}}]"#),
                    5 => format!(r#"{{"jsonrpc":"2.0","method":"a"}}{{"jsonrpc":"2.0","method":"{long}"}}"#),
                    _ => String::new(),
                }
            };
            let mut output = lines.iter().map(line).collect::<Vec<_>>().join("\n");
            output.extend(ends.then_some('\n'));
            let mut read = Lines::new(max_line);
            let (mut rest, mut found, mut cut) = (output.as_bytes(), Vec::new(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(rest.len().min(*cut.next().unwrap()));
                rest = after;
                read.read(64, |buffer| {
                    buffer.extend_from_slice(chunk);
                    Ok(chunk.len())
                }).unwrap();
                proptest::prop_assert!(read.buffer.len() <= max_line);
                found.extend(std::iter::from_fn(|| read.pop()));
            }
            read.end();
            found.extend(std::iter::from_fn(|| read.pop()));
            let shapes = |events: Vec<Event>| events.into_iter().map(shape).collect::<Vec<_>>();
            proptest::prop_assert_eq!(shapes(found), shapes(read_all(output.as_bytes(), usize::MAX, max_line)));
        }
    }

    #[test]
    fn what_only_looks_like_an_answer_fails_no_call() {
        let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        let (half, inner) = (&answer[..30], r#"{"jsonrpc":"2.0","id":1,"result":{}"#);
        let output = format!("{half}\nDEBUG sending {answer}\n{{\"id\":1,\"level\":\"info\"}}\n{answer}\n{inner}");
        assert_eq!(shapes(&output, 1000, 1000), ["junk", "junk", "junk", answer, "junk"]);
    }
}
