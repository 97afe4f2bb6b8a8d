//! What goes on a stream.

use std::fmt;
use std::str::FromStr;

use super::StreamId;
use crate::json::Rope;
use crate::session::mux::Relation;

/// The `id` of an event: the stream it was sent on, and its number there, from 1 on. 0 is the priming event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId {
    /// The stream.
    pub stream: StreamId,
    /// The number.
    pub number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.stream.0, self.number)
    }
}

/// The text is no event id of ours, or something that came after that event is not kept any more.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream cannot be resumed after that event; open one without Last-Event-ID")]
pub struct UnknownEvent;

impl FromStr for EventId {
    type Err = UnknownEvent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (stream, number) = text.split_once('-').ok_or(UnknownEvent)?;
        let parse = |part: &str| part.parse().map_err(|_| UnknownEvent);
        Ok(Self { stream: StreamId(parse(stream)?), number: parse(number)? })
    }
}

/// A message and where it goes.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The event it is sent as.
    pub event: EventId,
    /// What it belongs to.
    pub relation: Relation,
    /// The message; empty when the stream only ends.
    pub message: Rope,
    /// Whether the stream ends with it.
    pub last: bool,
}

/// What the response that carries a stream is to its client. Only events have ids that a client can resume after; a
/// response that never had one leaves nothing to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Nothing of it was sent: what comes next decides.
    Undecided,
    /// JSON: the one answer, and nothing else.
    Plain,
    /// A stream of events.
    Events,
}

impl Carrier {
    /// What it is once `delivery` goes on it: an answer that comes alone and first makes it plain JSON.
    #[must_use]
    pub fn with(self, delivery: &Delivery) -> Self {
        match self {
            Self::Undecided if delivery.last && delivery.event.number == 1 => Self::Plain,
            Self::Undecided => Self::Events,
            decided => decided,
        }
    }

    /// Whether what goes on it has to be kept, lest it be lost with the connection.
    pub fn is_resumable(self) -> bool {
        self == Self::Events
    }
}
