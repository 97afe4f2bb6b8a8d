//! The streams of one client session: on which of them a message goes, and what can be asked for again.
//!
//! With HTTP+SSE there is one stream, and everything goes there. With Streamable HTTP an answer goes on the stream of
//! the POST that asked, what comes up during a request beside it, and everything else on the stream that the client
//! opened with GET. A message goes on exactly one stream (2025-11-25, "Multiple Connections"). Events are numbered
//! per stream, so that a client that lost a connection resumes that stream and no other ("Resumability and
//! Redelivery").

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use super::mux::Relation;
use crate::envelope::RequestId;
use crate::json::Rope;

/// What one session keeps for redelivery: the newest events, up to this many bytes together.
const KEPT_BYTES: usize = 1 << 20;
/// The same as a number of events.
const KEPT_EVENTS: usize = 256;
/// Messages up to this many bytes are copied to be kept: they may be slices of buffers that are much larger.
const COPIED: usize = 16 << 10;

/// The transport a session was opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP+SSE (2024-11-05): the session is its stream.
    Sse,
    /// Streamable HTTP (from 2025-03-26 on).
    Streamable,
}

/// One stream of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u64);

impl StreamId {
    /// The stream opened by GET.
    pub const COMMON: Self = Self(0);
}

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

/// The text is no event id of ours, or what came after that event is not kept any more.
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

/// A request reuses the id of one that is still worked on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request with this id is still worked on in this session")]
pub struct IdInUse(pub RequestId);

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

/// What a resumed stream starts with.
#[derive(Debug)]
pub struct Resumed {
    /// The stream that goes on.
    pub stream: StreamId,
    /// What was sent on it since.
    pub missed: Vec<Delivery>,
    /// Whether nothing more will come on it.
    pub finished: bool,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Streams {
    transport: Transport,
    next: u64,
    /// The stream each unanswered request is answered on.
    asked: HashMap<RequestId, StreamId>,
    /// Streams that have not ended; the common one always is among them.
    open: BTreeMap<StreamId, Open>,
    kept: VecDeque<Kept>,
    kept_bytes: usize,
}

#[derive(Debug, Default)]
struct Open {
    /// Answers it still has to carry.
    unanswered: usize,
    /// The number of its last event.
    sent: u64,
    /// Whether a connection carries it at the moment.
    live: bool,
}

#[derive(Debug)]
struct Kept {
    delivery: Delivery,
    /// Whether it was given to a connection, be it one that broke.
    sent: bool,
}

impl Streams {
    /// A session without requests.
    pub fn new(transport: Transport) -> Self {
        let open = BTreeMap::from([(StreamId::COMMON, Open::default())]);
        Self { transport, next: 0, asked: HashMap::new(), open, kept: VecDeque::new(), kept_bytes: 0 }
    }

    /// The transport the session was opened with.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Requests, one at least, arrived in one POST: names the stream they will be answered on. Nothing is changed on
    /// error.
    pub fn posted(&mut self, requests: &[RequestId]) -> Result<StreamId, IdInUse> {
        let repeated = |(at, id): (usize, &RequestId)| self.asked.contains_key(id) || requests[..at].contains(id);
        if let Some(at) = requests.iter().enumerate().position(repeated) {
            return Err(IdInUse(requests[at].clone()));
        }
        let stream = match self.transport {
            Transport::Streamable if !requests.is_empty() => {
                self.next += 1;
                StreamId(self.next)
            }
            Transport::Sse | Transport::Streamable => StreamId::COMMON,
        };
        let open = self.open.entry(stream).or_default();
        open.unanswered += requests.len();
        self.asked.extend(requests.iter().map(|id| (id.clone(), stream)));
        Ok(stream)
    }

    /// Whether a connection carries the stream from now on.
    pub fn set_live(&mut self, stream: StreamId, live: bool) {
        if let Some(open) = self.open.get_mut(&stream) {
            open.live = live;
        }
    }

    /// Requests that have not been answered.
    pub fn unanswered(&self) -> usize {
        self.asked.len()
    }

    /// Whether any stream is carried by a connection.
    pub fn any_live(&self) -> bool {
        self.open.values().any(|open| open.live)
    }

    /// Decides where a message goes. `None` when it answers a request that is not open.
    pub fn route(&mut self, relation: Relation, message: Rope) -> Option<Delivery> {
        let (stream, answers) = match &relation {
            Relation::Answer(id) | Relation::Abandoned(id) => (self.asked.remove(id)?, true),
            Relation::During(id) => (self.asked.get(id).copied().unwrap_or_else(|| self.unrelated()), false),
            Relation::None => (self.unrelated(), false),
        };
        let open = self.open.get_mut(&stream)?;
        open.unanswered -= usize::from(answers);
        let last = stream != StreamId::COMMON && open.unanswered == 0;
        if message.is_empty() && !last {
            return None;
        }
        open.sent += 1;
        let event = EventId { stream, number: open.sent };
        if last {
            self.open.remove(&stream);
        }
        Some(Delivery { event, relation, message, last })
    }

    /// The stream for what belongs to no request: the common one, unless only others are connected.
    fn unrelated(&self) -> StreamId {
        let common_is_live = self.open.get(&StreamId::COMMON).is_some_and(|open| open.live);
        let other = || self.open.iter().find(|(_, open)| open.live).map(|(id, _)| *id);
        if common_is_live { StreamId::COMMON } else { other().unwrap_or(StreamId::COMMON) }
    }

    /// Keeps a delivery, so that it can be sent (again) when the stream is resumed. `sent` tells whether a connection
    /// took it.
    pub fn keep(&mut self, mut delivery: Delivery, sent: bool) {
        let bytes = delivery.message.len();
        if self.transport == Transport::Sse || bytes > KEPT_BYTES {
            return;
        }
        if bytes <= COPIED {
            delivery.message = Bytes::from(delivery.message.chunks().concat()).into();
        }
        self.kept_bytes += bytes;
        self.kept.push_back(Kept { delivery, sent });
        while self.kept_bytes > KEPT_BYTES || self.kept.len() > KEPT_EVENTS {
            let Some(oldest) = self.kept.pop_front() else { return };
            self.kept_bytes -= oldest.delivery.message.len();
        }
    }

    /// The client opens a stream by GET: the common one, or after a broken connection the one of `after`. A stream
    /// that has ended is resumed only if its end is among what is still known, so that nobody waits in vain for it.
    pub fn listen(&mut self, after: Option<EventId>) -> Result<Resumed, UnknownEvent> {
        let stream = after.map_or(StreamId::COMMON, |event| event.stream);
        let finished = !self.open.contains_key(&stream);
        let mut end_known = !finished;
        let mut missed = Vec::new();
        for kept in self.kept.iter_mut().filter(|kept| kept.delivery.event.stream == stream) {
            end_known |= kept.delivery.last;
            if after.map_or(!kept.sent, |after| kept.delivery.event.number > after.number) {
                kept.sent = true;
                missed.push(kept.delivery.clone());
            }
        }
        if !end_known {
            return Err(UnknownEvent);
        }
        self.set_live(stream, true);
        Ok(Resumed { stream, missed, finished })
    }
}

#[cfg(test)]
mod tests;
