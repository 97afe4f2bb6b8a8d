//! The client side of a session's task: streams, deliveries, and who is still there.

use std::collections::HashMap;
use std::sync::Arc;

use mcp::envelope::{Kind, Message};
use mcp::json::Rope;
use mcp::session::mux::Relation;
use mcp::session::streams::{Carrier, Delivery, EventId, StreamId, Streams, Transport};
use mcp::session::{Clock, SessionKey};
use mcp::version::Version;
use tokio::sync::mpsc;

use crate::session::{
    Attach, Caller, Command, Cut, Departures, Frame, RefusedRequest, Registry, SessionHandle, SessionId, StreamTx,
};

/// The sessions of one task.
#[derive(Debug)]
pub struct Clients {
    sessions: HashMap<SessionKey, Client>,
    exchanges: HashMap<SessionKey, Exchange>,
    departures: Arc<Departures>,
    registry: Registry,
    commands: mpsc::WeakSender<Command>,
}

#[derive(Debug)]
struct Client {
    handle: SessionHandle,
    streams: Streams,
    live: Vec<(StreamId, StreamTx)>,
    /// When it last did something.
    seen: Clock,
}

/// The answer to a request that stands alone, and what comes before it.
#[derive(Debug)]
pub struct Exchange {
    stream: StreamTx,
    /// The messages that were sent on it.
    sent: u64,
}

impl Clients {
    /// No sessions yet. Those that come are entered into `registry`, and their handles send to `commands`.
    pub fn new(registry: Registry, commands: &mpsc::Sender<Command>) -> Self {
        let (sessions, exchanges, departures) = (HashMap::new(), HashMap::new(), Arc::default());
        Self { sessions, exchanges, departures, registry, commands: commands.downgrade() }
    }

    /// Where connections that end are reported.
    pub fn departures(&self) -> Arc<Departures> {
        Arc::clone(&self.departures)
    }

    /// Adds the session `key`. Whether somebody has it now: when whoever wanted it is gone, nobody else can use it.
    pub fn attach(&mut self, key: SessionKey, attach: Attach, now: Clock) -> bool {
        let Attach { id, caller, transport, reply } = attach;
        let handle = self.add(key, (id, caller, transport), now);
        let taken = handle.is_some_and(|handle| reply.send(handle).is_ok());
        if !taken {
            self.remove(key);
        }
        taken
    }

    /// Adds the session `key`; `None` when this task is about to end.
    pub fn add(&mut self, key: SessionKey, who: (SessionId, Caller, Transport), now: Clock) -> Option<SessionHandle> {
        let streams = Streams::new(who.2);
        let handle = SessionHandle::new(who, key, self.commands.upgrade()?, self.departures());
        // The registry holds the task's queue open; the client side must not.
        self.registry.insert(handle.clone());
        self.sessions.insert(key, Client { handle: handle.clone(), streams, live: Vec::new(), seen: now });
        Some(handle)
    }

    /// Adds a request that stands alone.
    pub fn exchange(&mut self, key: SessionKey, stream: StreamTx) {
        self.departures.report_if_gone(key, &stream);
        self.exchanges.insert(key, Exchange::new(stream));
    }

    /// Forgets a session and ends its streams.
    pub fn remove(&mut self, key: SessionKey) {
        self.exchanges.remove(&key);
        if let Some(client) = self.sessions.remove(&key) {
            self.registry.remove(&client.handle.id);
        }
    }

    /// Forgets all sessions and ends their streams.
    pub fn clear(&mut self) {
        self.exchanges.clear();
        for (_, client) in self.sessions.drain() {
            self.registry.remove(&client.handle.id);
        }
    }

    /// Whether there are no sessions.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.exchanges.is_empty()
    }

    /// The sessions there are.
    pub fn keys(&self) -> Vec<SessionKey> {
        self.sessions.keys().chain(self.exchanges.keys()).copied().collect()
    }

    /// Takes note of posted messages. Returns them when they may be processed; else the poster has been told.
    pub fn post(
        &mut self,
        key: SessionKey,
        messages: Vec<Message>,
        stream: Option<StreamTx>,
        now: Clock,
    ) -> Option<Vec<Message>> {
        let Some(client) = self.sessions.get_mut(&key) else {
            refuse(stream.as_ref(), RefusedRequest::Gone);
            return None;
        };
        client.seen = now;
        let requests: Vec<_> = messages.iter().filter(|m| m.kind() == Kind::Request).filter_map(Message::id).collect();
        if requests.is_empty() {
            return Some(messages);
        }
        match client.streams.posted(&requests) {
            Ok(id) => {
                if let Some(stream) = stream {
                    stream.set_id(id);
                    client.streams.set_live(id, true);
                    if stream.carrier() == Carrier::Plain {
                        client.streams.set_plain(id);
                    }
                    self.departures.report_if_gone(key, &stream);
                    client.live.push((id, stream));
                }
                Some(messages)
            }
            Err(in_use) => {
                client.refuse_id(stream.as_ref(), in_use.0);
                None
            }
        }
    }

    /// Connects a stream to listen on.
    pub fn listen(&mut self, key: SessionKey, after: Option<EventId>, stream: StreamTx, now: Clock) {
        let Some(client) = self.sessions.get_mut(&key) else {
            return refuse(Some(&stream), RefusedRequest::Gone);
        };
        client.seen = now;
        let Ok(resumed) = client.streams.listen(after) else {
            return refuse(Some(&stream), RefusedRequest::UnknownEvent);
        };
        stream.set_id(resumed.stream);
        // One connection carries a stream: a client that comes again has lost the first.
        client.live.retain(|(id, _)| *id != resumed.stream);
        for missed in resumed.missed {
            if stream.offer(Frame::Message(Box::new(missed))).is_err() {
                client.streams.set_live(resumed.stream, false);
                return;
            }
        }
        if !resumed.finished {
            self.departures.report_if_gone(key, &stream);
            client.live.push((resumed.stream, stream));
        }
    }

    /// Whether somebody may read what belongs to `relation`.
    pub fn is_heard(&self, key: SessionKey, relation: &Relation) -> bool {
        self.sessions.get(&key).is_none_or(|client| client.streams.is_heard(relation))
    }

    /// Tells the streams of a session, which is about to end for reasons of this program's, to connect again.
    pub fn send_away(&self, key: SessionKey) {
        for (_, stream) in self.sessions.get(&key).into_iter().flat_map(|client| &client.live) {
            stream.send_away();
        }
    }

    /// Sends a message to a session. Whether that goes on: a session of HTTP+SSE ends with its stream, a request that
    /// stands alone with its answer.
    pub fn deliver(&mut self, key: SessionKey, relation: Relation, message: Rope, now: Clock) -> bool {
        if let Some(exchange) = self.exchanges.get_mut(&key) {
            return exchange.send(relation, message);
        }
        let Some(client) = self.sessions.get_mut(&key) else { return true };
        if matches!(relation, Relation::Answer(_) | Relation::Abandoned(_)) {
            // It was not idle while it waited.
            client.seen = now;
        }
        client.streams.route(relation, message).is_none_or(|delivery| client.send(delivery))
    }

    /// Tells a session's requests which revision it speaks.
    pub fn set_version(&mut self, key: SessionKey, version: Version) {
        if let Some(client) = self.sessions.get(&key) {
            client.handle.set_version(version);
        }
    }

    /// Takes note of connections that ended; names the sessions that ended with them.
    pub fn take_departures(&mut self, now: Clock) -> Vec<SessionKey> {
        let mut ended = Vec::new();
        for departure in self.departures.take() {
            if self.exchanges.get(&departure.session).is_some_and(|exchange| departure.is(&exchange.stream)) {
                ended.push(departure.session);
            }
            let Some(client) = self.sessions.get_mut(&departure.session) else { continue };
            client.seen = now;
            let Some(at) = client.live.iter().position(|(_, stream)| departure.is(stream)) else { continue };
            let (id, _) = client.live.swap_remove(at);
            client.streams.set_live(id, false);
            if client.streams.transport() == Transport::Sse {
                ended.push(departure.session);
            }
        }
        ended
    }

    /// The sessions without a connection that did nothing since `before` and are not `busy`.
    pub fn idle(&self, before: Clock, busy: impl Fn(SessionKey) -> bool) -> Vec<SessionKey> {
        let idle =
            |(key, client): &(&SessionKey, &Client)| client.live.is_empty() && client.seen <= before && !busy(**key);
        self.sessions.iter().filter(idle).map(|(key, _)| *key).collect()
    }
}

impl Client {
    /// Whether the session goes on.
    fn send(&mut self, delivery: Delivery) -> bool {
        let Delivery { event, last, .. } = delivery;
        let Some(at) = self.live.iter().position(|(id, _)| *id == event.stream) else {
            self.streams.keep(delivery, false);
            return true;
        };
        let kept = self.live[at].1.carry(&delivery).is_resumable().then(|| delivery.clone());
        let taken = offer(&self.live[at].1, delivery);
        if let Some(kept) = kept {
            self.streams.keep(kept, taken);
        }
        if last || !taken {
            self.live.swap_remove(at);
            self.streams.set_live(event.stream, false);
        }
        taken || self.streams.transport() != Transport::Sse
    }

    /// Says that an id is in use: to the POST, or where all answers go on one stream, there.
    fn refuse_id(&mut self, stream: Option<&StreamTx>, id: mcp::envelope::RequestId) {
        if stream.is_some() {
            return refuse(stream, RefusedRequest::IdInUse(id));
        }
        let text = "a request with this id is still worked on";
        let error = Message::error(Some(&id), mcp::envelope::code::INVALID_REQUEST, text, None);
        if let Some(delivery) = self.streams.route(Relation::None, error.into()) {
            self.send(delivery);
        }
    }
}

impl Exchange {
    /// Nothing has been said yet on `stream`.
    pub fn new(stream: StreamTx) -> Self {
        Self { stream, sent: 0 }
    }

    /// Sends a message, without waiting. Whether the exchange goes on: it ends with the answer, and when the client is gone
    /// or too slow.
    pub fn send(&mut self, relation: Relation, message: Rope) -> bool {
        self.sent += 1;
        let last = matches!(relation, Relation::Answer(_) | Relation::Abandoned(_));
        let event = EventId { stream: StreamId::COMMON, number: self.sent };
        let delivery = Delivery { event, relation, message, last };
        self.stream.carry(&delivery);
        offer(&self.stream, delivery) && !last
    }
}

/// Whether the stream's reader gets it.
fn offer(stream: &StreamTx, delivery: Delivery) -> bool {
    match stream.offer(Frame::Message(Box::new(delivery))) {
        Ok(()) => true,
        Err(Cut::Gone) => false,
        Err(Cut::Slow) => {
            tracing::warn!("a client reads too slowly; its stream is cut");
            false
        }
    }
}

fn refuse(stream: Option<&StreamTx>, why: RefusedRequest) {
    if let Some(stream) = stream {
        // Nobody is left to be told when it is not taken.
        let _ = stream.offer(Frame::Refused(Box::new(why)));
    }
}
