//! Server-sent events, decoded as the HTML standard says, less what tests do not need (a lone CR ends no line).

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::task::JoinSet;

use crate::wait::within;

/// What stood between two blank lines. Fields that were absent are `None`, so that `data:` and no data differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Type; absent means `message`.
    pub event: Option<String>,
    /// Data lines, joined by newlines.
    pub data: Option<String>,
    /// Event id.
    pub id: Option<String>,
    /// Reconnection time in milliseconds.
    pub retry: Option<u64>,
    /// Text of a comment line, which is how servers keep a stream alive.
    pub comment: Option<String>,
}

/// Bytes in, events out.
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
    event: Event,
}

impl Decoder {
    /// Takes the next bytes and adds the events they complete to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut VecDeque<Event>) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let line = String::from_utf8_lossy(&line);
                self.end_line(line.trim_end_matches('\n').trim_end_matches('\r'), out);
            }
        }
    }

    fn end_line(&mut self, line: &str, out: &mut VecDeque<Event>) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if event != Event::default() {
                out.push_back(event);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "" => self.event.comment = Some(value),
            "event" => self.event.event = Some(value),
            "id" => self.event.id = Some(value),
            "retry" => self.event.retry = value.parse().ok(),
            "data" => match &mut self.event.data {
                Some(data) => *data = format!("{data}\n{value}"),
                None => self.event.data = Some(value),
            },
            _ => {}
        }
    }
}

/// The events of one response. Dropping it cuts the connection.
#[derive(Debug)]
pub struct EventStream {
    body: Incoming,
    decoder: Decoder,
    ready: VecDeque<Event>,
    /// Carries the body; empty when a pool does.
    _connection: JoinSet<()>,
}

impl EventStream {
    pub(crate) fn new(body: Incoming, connection: JoinSet<()>) -> Self {
        Self { body, decoder: Decoder::default(), ready: VecDeque::new(), _connection: connection }
    }

    /// The next event, comments included; `None` at the end of the stream.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            if let Ok(bytes) = frame.context("the event stream broke")?.into_data() {
                self.decoder.push(&bytes, &mut self.ready);
            }
        }
    }

    /// The next event that carries data, within `limit`.
    ///
    /// # Errors
    /// Also when the stream ends or the time is up.
    pub async fn data(&mut self, limit: Duration) -> Result<Event> {
        within(limit, "an event with data", async {
            loop {
                let event = self.next().await?.context("the event stream ended")?;
                if event.data.is_some() {
                    return Ok(event);
                }
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(chunks: &[&[u8]]) -> Vec<Event> {
        let (mut decoder, mut out) = (Decoder::default(), VecDeque::new());
        for chunk in chunks {
            decoder.push(chunk, &mut out);
        }
        out.into()
    }

    fn data(text: &str) -> Event {
        Event { data: Some(text.into()), ..Event::default() }
    }

    #[test]
    fn fields_become_an_event() {
        let event = Event {
            event: Some("message".into()),
            data: Some("a\n b".into()),
            id: Some("7".into()),
            retry: Some(250),
            comment: Some("ping".into()),
        };
        assert_eq!(decode(&[b": ping\nevent: message\nid:7\nretry: 250\ndata: a\ndata:  b\nodd: x\n\n"]), [event]);
    }

    #[test]
    fn chunks_may_end_anywhere() {
        let stream = "data: h\u{e9}\r\n\r\ndata: x\n\n".as_bytes();
        for at in 0..stream.len() {
            let (head, tail) = stream.split_at(at);
            assert_eq!(decode(&[head, tail]), [data("h\u{e9}"), data("x")]);
        }
    }

    #[test]
    fn empty_data_is_not_absent_data() {
        let primer = Event { id: Some("1".into()), ..data("") };
        assert_eq!(decode(&[b"id: 1\ndata:\n\n:\n\n"])[0], primer);
        assert_eq!(decode(&[b":\n\n"])[0].data, None);
    }

    #[test]
    fn an_unfinished_event_is_none() {
        assert!(decode(&[b"data: x\n"]).is_empty());
    }
}
