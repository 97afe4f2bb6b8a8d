//! The streams of one client session: on which of them a message goes, and what can be asked for again.
//!
//! With HTTP+SSE there is one stream, and everything goes there. With Streamable HTTP an answer goes on the stream of
//! the POST that asked, what comes up during a request beside it, and everything else on the stream that the client
//! opened with GET. A message goes on exactly one stream (2025-11-25, "Multiple Connections"). Events are numbered
//! per stream, so that a client that lost a connection resumes that stream and no other ("Resumability and
//! Redelivery").

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;

use super::mux::Relation;
use crate::envelope::RequestId;
use crate::json::Rope;

mod event;

pub use event::{Carrier, Delivery, EventId, UnknownEvent};

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

/// A request reuses the id of one that is still worked on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request with this id is still worked on in this session")]
pub struct IdInUse(pub RequestId);

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
    /// Whether its client reads nothing there but the answer.
    plain: bool,
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

    /// The client reads nothing on this stream but the answer, as one that takes no event streams: what comes up
    /// meanwhile goes elsewhere.
    pub fn set_plain(&mut self, stream: StreamId) {
        if let Some(open) = self.open.get_mut(&stream) {
            open.plain = true;
        }
    }

    /// Whether somebody may read what belongs to `relation`: not when the client is there, but only for answers.
    pub fn is_heard(&self, relation: &Relation) -> bool {
        let (Relation::During(_) | Relation::None) = relation else { return true };
        let live = self.open.get(&self.aside(relation)).is_some_and(|open| open.live);
        live || !self.open.values().any(|open| open.live && open.plain)
    }

    /// Requests that have not been answered.
    pub fn unanswered(&self) -> usize {
        self.asked.len()
    }

    /// Decides where a message goes. `None` when it answers a request that is not open.
    pub fn route(&mut self, relation: Relation, message: Rope) -> Option<Delivery> {
        let (stream, answers) = match &relation {
            Relation::Answer(id) | Relation::Abandoned(id) => (self.asked.remove(id)?, true),
            Relation::During(_) | Relation::None => (self.aside(&relation), false),
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

    /// The stream for what is no answer: that of its request, if it has one and more is read there.
    fn aside(&self, relation: &Relation) -> StreamId {
        let Relation::During(id) = relation else { return self.unrelated() };
        let more = |stream: &StreamId| self.open.get(stream).is_some_and(|open| !open.plain);
        self.asked.get(id).copied().filter(more).unwrap_or_else(|| self.unrelated())
    }

    /// The stream for what belongs to no request: the common one, unless only others are connected.
    fn unrelated(&self) -> StreamId {
        let common_is_live = self.open.get(&StreamId::COMMON).is_some_and(|open| open.live);
        let other = || self.open.iter().find(|(_, open)| open.live && !open.plain).map(|(id, _)| *id);
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
            self.evict();
        }
    }

    /// Gives up the oldest event that some connection took already, for it may have arrived; else the oldest.
    fn evict(&mut self) {
        let oldest = self.kept.iter().position(|kept| kept.sent).unwrap_or_default();
        if let Some(oldest) = self.kept.remove(oldest) {
            self.kept_bytes -= oldest.delivery.message.len();
        }
    }

    /// The client opens a stream by GET: the common one, or after a broken connection the one of `after`. That is
    /// resumed only where all that was sent on it since is still known, and a stream that has ended only if its end is,
    /// so that nobody waits in vain for it.
    pub fn listen(&mut self, after: Option<EventId>) -> Result<Resumed, UnknownEvent> {
        let stream = after.map_or(StreamId::COMMON, |event| event.stream);
        let kept = || self.kept.iter().filter(|kept| kept.delivery.event.stream == stream);
        let open = self.open.get(&stream).map(|open| open.sent);
        let ended = || kept().find(|kept| kept.delivery.last).map(|kept| kept.delivery.event.number);
        let newest = open.or_else(ended).ok_or(UnknownEvent)?;
        if let Some(after) = after {
            let known = kept().filter(|kept| kept.delivery.event.number > after.number).count() as u64;
            if newest.checked_sub(after.number) != Some(known) {
                return Err(UnknownEvent);
            }
        }
        let mut missed = Vec::new();
        for kept in self.kept.iter_mut().filter(|kept| kept.delivery.event.stream == stream) {
            if after.map_or(!kept.sent, |after| kept.delivery.event.number > after.number) {
                kept.sent = true;
                missed.push(kept.delivery.clone());
            }
        }
        let finished = open.is_none();
        self.set_live(stream, true);
        Ok(Resumed { stream, missed, finished })
    }
}

#[cfg(test)]
mod tests;
