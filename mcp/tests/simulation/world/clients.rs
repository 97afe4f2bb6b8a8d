//! What clients do, and what becomes of their connections.

use mcp::envelope::{Kind, Message};
use mcp::session::streams::{Carrier, EventId, StreamId};

use super::super::client::{Client, Connection, parse};
use super::super::ledger::text;
use super::{MAX_CLIENTS, Sharing, World, show};

impl World {
    pub(super) fn join(&mut self) {
        let alone = self.sharing == Sharing::Exclusive;
        if self.clients.len() >= MAX_CLIENTS || (alone && !self.clients.is_empty()) {
            return;
        }
        let key = self.mux.attach();
        let client = Client::new(format!("s{}", key.0), key, &mut self.rng);
        self.note(|| format!("{} joins by {:?}", client.name, client.streams.transport()));
        self.clients.push(client);
    }

    pub(super) fn speak(&mut self, at: usize) {
        self.numbers += 3;
        if self.clients[at].alive {
            self.clients[at].speak(self.numbers, &mut self.rng);
        }
    }

    /// A POST arrives: any that is on its way, for each has a connection of its own.
    pub(super) fn arrive(&mut self, at: usize, lossy: bool) {
        let client = &mut self.clients[at];
        let Some(post) = self.rng.find(&client.posts, |_| true) else { return };
        let doubled = lossy && self.rng.percent(4);
        let post = if doubled { client.posts[post].clone() } else { client.posts.remove(post) };
        if !client.alive {
            return;
        }
        if lossy && self.rng.percent(4) {
            return client.greet_again();
        }
        let messages: Vec<_> = post.into_iter().map(parse).collect();
        if self.accept(at, &messages) {
            for message in messages {
                self.give(at, message);
            }
        }
    }

    pub(super) fn accept(&mut self, at: usize, messages: &[Message]) -> bool {
        let client = &mut self.clients[at];
        let requests: Vec<_> = messages.iter().filter(|message| message.kind() == Kind::Request).collect();
        let ids: Vec<_> = requests.iter().filter_map(|request| request.id()).collect();
        let taken = |at: usize| ids[..at].contains(&ids[at]) || self.ledger.is_open(client.key, &text(&ids[at]));
        let taken = (0..ids.len()).any(taken);
        if ids.is_empty() {
            return true;
        }
        let Ok(stream) = client.streams.posted(&ids) else {
            assert!(taken, "only an id in use is refused");
            client.greet_again();
            return false;
        };
        assert!(!taken, "an id in use is refused");
        for request in requests {
            self.ledger.accept(client.key, request, stream, self.now);
            if request.method() == "resources/subscribe" {
                client.subscribed.extend(request.str_at(&["uri"]).map(std::borrow::Cow::into_owned));
            }
            let id = text(&request.id().expect("a request has an id"));
            *client.awaited.entry((stream, id)).or_default() += 1;
        }
        if !client.is_sse() {
            client.streams.set_live(stream, true);
            client.connections.push(Connection::new(stream, Carrier::Undecided));
            if self.rng.percent(5) {
                client.lose(client.connections.len() - 1);
            }
        }
        true
    }

    /// A response that brought nothing for a while begins as a stream.
    pub(super) fn begin(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let undecided = |connection: &Connection| connection.carrier == Carrier::Undecided;
        if let Some(connection) = self.rng.find(&client.connections, undecided) {
            client.begin(connection);
        }
    }

    pub(super) fn give(&mut self, at: usize, message: Message) {
        let key = self.clients[at].key;
        self.note(|| format!("{} > {}", self.clients[at].name, show(message.raw())));
        let cancelled = (message.method() == "notifications/cancelled").then(|| message.at(&["requestId"])).flatten();
        let cancelled = cancelled.map(str::to_owned).filter(|id| self.ledger.must_be_abandoned(key, id));
        self.mux.from_client(key, message, self.now);
        self.pump();
        assert!(cancelled.is_none_or(|id| !self.ledger.is_open(key, &id)), "what is cancelled ends at once");
    }

    pub(super) fn read(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some(connection) = self.rng.find(&client.connections, Connection::is_readable) else { return };
        let Some(delivery) = client.connections[connection].queue.pop_front() else { return };
        assert_eq!(delivery.event.stream, client.connections[connection].stream, "an event of another stream");
        client.read(&delivery);
        if delivery.last {
            client.connections.swap_remove(connection);
        }
    }

    /// A connection breaks. The gateway notices later.
    pub(super) fn lose(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if let Some(connection) = self.rng.find(&client.connections, |connection| !connection.broken) {
            client.lose(connection);
            self.note(|| format!("{} loses a connection", self.clients[at].name));
        }
    }

    /// The gateway notices that a connection is broken.
    pub(super) fn notice(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some(connection) = self.rng.find(&client.connections, |connection| connection.broken) else { return };
        let stream = client.connections.swap_remove(connection).stream;
        client.streams.set_live(stream, false);
        if client.is_sse() {
            self.end(at);
        }
    }

    /// A client opens a stream by GET: a new one, or one that it has lost.
    pub(super) fn listen(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if client.is_sse() || !client.alive {
            return;
        }
        let lost = client.resumable();
        let afresh = self.rng.percent(10);
        // Some do not care what they missed.
        let after = self.rng.find(&lost, |_| !afresh).map(|at| lost[at]);
        let after = after.map(|stream| EventId { stream, number: client.positions[&stream] });
        let listens = |c: &Connection| c.stream == StreamId::COMMON && !c.broken;
        if after.is_none() && client.connections.iter().any(listens) {
            return;
        }
        let resumed = client.streams.listen(after).expect("everything is kept");
        client.connections.retain(|connection| connection.stream != resumed.stream);
        let mut connection = Connection::new(resumed.stream, Carrier::Events);
        (connection.queue, connection.ended) = (resumed.missed.into(), resumed.finished);
        client.connections.push(connection);
    }

    /// A session ends, by DELETE or with its stream.
    pub(super) fn end(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if !client.alive {
            return;
        }
        client.alive = false;
        client.connections.clear();
        let (key, name) = (client.key, client.name.clone());
        self.note(|| format!("{name} ends"));
        self.ledger.end(key);
        self.mux.detach(key);
        self.pump();
    }
}
