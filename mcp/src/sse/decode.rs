//! Reading events.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};

use crate::envelope::Ends;

/// What a line of data begins with.
const DATA: &[u8] = b"data:";

/// One event of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The id that stood in this very event; see [`Decoder::last_event_id`] for the one in force.
    pub id: Option<Arc<str>>,
    /// The type that stood in this event; see [`Event::kind`].
    pub event: Option<Box<str>>,
    /// The reconnection time that stood in this event.
    pub retry: Option<Duration>,
    /// The data lines, joined by LF. Empty in the event that primes a client to resume (MCP 2025-11-25).
    pub data: Bytes,
}

impl Event {
    /// The event's type: `message` when none is given.
    pub fn kind(&self) -> &str {
        self.event.as_deref().unwrap_or("message")
    }
}

/// An event was skipped because its data, or one of its lines, is larger than the decoder admits. The stream can be
/// read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("skipped a server-sent event of more than {limit} bytes; a higher limit would let it through")]
pub struct TooLarge {
    /// The limit on an event's data, in bytes.
    pub limit: usize,
    /// The request that is answered by the event, as far as that is known. Where only the end of the event says so, that
    /// it is too large is told a second time then.
    pub answers: Option<u64>,
}

/// An incremental decoder: [`push`](Decoder::push) what arrived, then iterate until `None`, which means that the next
/// event is not complete yet. An event that the stream's end cuts off is dropped, as the standard wants.
///
/// Time and memory are linear in what arrives, in whatever pieces. Data that one chunk holds in one line is a slice of
/// that chunk; other data is copied once.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    /// What was pushed and not read yet; no chunk is empty.
    input: VecDeque<Bytes>,
    /// The beginning of a line whose end has not arrived; bounded by [`Decoder::overflows`].
    line: BytesMut,
    /// The last line ended with CR: an LF that follows at once belongs to it.
    after_cr: bool,
    /// No line has been read: a byte order mark may stand before the first.
    at_start: bool,
    /// An event that was too large: what follows up to the next blank line belongs to it.
    skipped: Option<Skipped>,
    event: Pending,
    last_event_id: Option<Arc<str>>,
    reconnection_time: Option<Duration>,
}

/// What is kept of an event that is too large.
#[derive(Debug)]
struct Skipped {
    ends: Ends,
    told: bool,
}

/// The event whose lines are being read.
#[derive(Debug, Default)]
struct Pending {
    id: Option<Arc<str>>,
    event: Option<Box<str>>,
    retry: Option<Duration>,
    data: Data,
}

#[derive(Debug, Default)]
enum Data {
    #[default]
    None,
    Line(Bytes),
    Lines(BytesMut),
}

impl Decoder {
    /// A decoder for one stream whose events have up to `max_event_bytes` bytes of data.
    pub fn new(max_event_bytes: usize) -> Self {
        Self {
            limit: max_event_bytes,
            input: VecDeque::new(),
            line: BytesMut::new(),
            after_cr: false,
            at_start: true,
            skipped: None,
            event: Pending::default(),
            last_event_id: None,
            reconnection_time: None,
        }
    }

    /// Adds what arrived. Iterate to the end before the next push: what is not read is kept.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.input.push_back(chunk);
        }
    }

    /// The id to resume after: the last one given, be it by an event without data. Empty when it was withdrawn.
    pub fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    /// How long the server wants the client to wait before it reconnects.
    pub fn reconnection_time(&self) -> Option<Duration> {
        self.reconnection_time
    }

    /// The next complete line without its ending.
    fn next_line(&mut self) -> Option<Result<Bytes, TooLarge>> {
        while let Some(mut chunk) = self.input.pop_front() {
            if mem::take(&mut self.after_cr) && chunk[0] == b'\n' {
                chunk.advance(1);
            }
            let end = memchr::memchr2(b'\n', b'\r', &chunk);
            let part = chunk.split_to(end.unwrap_or(chunk.len()));
            let refused = self.overflows(part.len()).then(|| self.skip(&part));
            if end.is_some() {
                self.after_cr = chunk.get_u8() == b'\r';
                if !chunk.is_empty() {
                    self.input.push_front(chunk);
                }
                return Some(refused.map_or_else(|| Ok(self.complete(part)), Err));
            }
            if let Some(refused) = refused {
                // The line is not empty, whatever follows.
                self.line.extend_from_slice(&part[..1]);
                return Some(Err(refused));
            }
            self.keep(&part);
        }
        None
    }

    /// Whether `more` bytes would make the line longer than a line of data may be.
    fn overflows(&self, more: usize) -> bool {
        self.skipped.is_none() && self.line.len() + more > self.limit.saturating_add(DATA.len() + 1)
    }

    /// Keeps the part of a line whose rest has not arrived. Of a line that is skipped, only that it is not empty.
    fn keep(&mut self, part: &Bytes) {
        let Some(skipped) = &mut self.skipped else { return self.line.extend_from_slice(part) };
        skipped.ends.push(part);
        if self.line.is_empty() {
            self.line.extend_from_slice(part.get(..1).unwrap_or_default());
        }
    }

    /// The line that `part` is the end of.
    fn complete(&mut self, part: Bytes) -> Bytes {
        if let Some(skipped) = &mut self.skipped {
            skipped.ends.push(&part);
        }
        if self.line.is_empty() {
            return part;
        }
        // Not `split`: what remained would keep the whole allocation alive.
        let mut line = mem::take(&mut self.line);
        line.extend_from_slice(&part);
        line.freeze()
    }

    /// Gives the current event up, the line of which has come as far as `part`. Its id stays in force, lest a client that
    /// resumes get the same event again.
    fn skip(&mut self, part: &[u8]) -> TooLarge {
        let mut ends = Ends::default();
        if let Some(data) = mem::take(&mut self.event.data).joined() {
            ends.push(&data);
        }
        let (line, (begin, rest)) = (mem::take(&mut self.line), part.split_at(part.len().min(DATA.len())));
        let begin = [&line, begin].concat();
        ends.push(begin.strip_prefix(DATA).unwrap_or(&begin));
        ends.push(rest);
        let answers = ends.answers_at_head();
        self.skipped = Some(Skipped { ends, told: answers.is_some() });
        TooLarge { limit: self.limit, answers }
    }

    /// Ends an event that was given up.
    fn end_skipped(&mut self) -> Option<TooLarge> {
        let skipped = self.skipped.take().filter(|skipped| !skipped.told)?;
        let answers = Some(skipped.ends.answers_at_tail()?);
        Some(TooLarge { limit: self.limit, answers })
    }

    /// Takes one line that is not empty.
    fn field(&mut self, mut line: Bytes) -> Result<(), TooLarge> {
        let name = line.split_to(memchr::memchr(b':', &line).unwrap_or(line.len()));
        line.advance(if line.starts_with(b": ") { 2 } else { line.len().min(1) });
        match &name[..] {
            b"data" if self.event.data.len_with(&line) > self.limit => return Err(self.skip(&line)),
            b"data" => self.event.data.push(line),
            b"id" if !line.contains(&0) => self.event.id = Some(String::from_utf8_lossy(&line).into()),
            b"event" => self.event.event = (!line.is_empty()).then(|| String::from_utf8_lossy(&line).into()),
            b"retry" => self.retry(&line),
            // A comment is a field without a name.
            _ => {}
        }
        Ok(())
    }

    fn retry(&mut self, value: &[u8]) {
        let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        if let Some(millis) = digits.and_then(|digits| digits.parse().ok()) {
            self.event.retry = Some(Duration::from_millis(millis));
            self.reconnection_time = self.event.retry;
        }
    }

    /// Ends the event that a blank line closes; `None` when it had no data.
    fn dispatch(&mut self) -> Option<Event> {
        let Pending { id, event, retry, data } = mem::take(&mut self.event);
        if id.is_some() {
            self.last_event_id.clone_from(&id);
        }
        Some(Event { id, event, retry, data: data.joined()? })
    }
}

impl Iterator for Decoder {
    type Item = Result<Event, TooLarge>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut line = match self.next_line()? {
                Ok(line) => line,
                Err(too_large) => return Some(Err(too_large)),
            };
            if mem::take(&mut self.at_start) && line.starts_with("\u{feff}".as_bytes()) {
                line.advance("\u{feff}".len());
            }
            if line.is_empty() {
                let event = self.dispatch();
                if let Some(too_large) = self.end_skipped() {
                    return Some(Err(too_large));
                }
                if let Some(event) = event {
                    return Some(Ok(event));
                }
            } else if self.skipped.is_none()
                && let Err(too_large) = self.field(line)
            {
                return Some(Err(too_large));
            }
        }
    }
}

impl Data {
    /// The length after a push of `line`.
    fn len_with(&self, line: &Bytes) -> usize {
        match self {
            Self::None => line.len(),
            Self::Line(first) => first.len() + 1 + line.len(),
            Self::Lines(lines) => lines.len() + 1 + line.len(),
        }
    }

    fn push(&mut self, line: Bytes) {
        let mut lines = match mem::take(self) {
            Self::None => return *self = Self::Line(line),
            Self::Line(first) => BytesMut::from(first),
            Self::Lines(lines) => lines,
        };
        lines.extend_from_slice(b"\n");
        lines.extend_from_slice(&line);
        *self = Self::Lines(lines);
    }

    fn joined(self) -> Option<Bytes> {
        match self {
            Self::None => None,
            Self::Line(line) => Some(line),
            Self::Lines(lines) => Some(lines.freeze()),
        }
    }
}
