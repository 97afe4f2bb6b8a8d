//! A server connection, its clients and its server, and what happens to them.

use std::collections::VecDeque;
use std::time::Duration;

use mcp::envelope::{Kind, Message};
use mcp::json::Rope;
use mcp::session::filter::ToolFilter;
use mcp::session::mux::{Config, Load, Loss, Mux, Out, Relation, Sharing};
use mcp::session::streams::{Delivery, EventId, StreamId};
use mcp::session::{Clock, SessionKey};

use super::client::{Client, Connection, parse};
use super::ledger::{Ledger, Limits, text};
use super::rng::Rng;
use super::server::Server;

const STEPS: usize = 240;
const MAX_CLIENTS: usize = 5;

pub(crate) struct World {
    rng: Rng,
    now: Clock,
    tell: bool,
    sharing: Sharing,
    /// Whether messages to and from the server can overtake each other.
    overtaking: bool,
    limits: Limits,
    mux: Mux,
    link: Link,
    lives: u64,
    to_server: VecDeque<Message>,
    from_server: VecDeque<Message>,
    clients: Vec<Client>,
    numbers: u64,
    ledger: Ledger,
    delivered: usize,
}

#[derive(Debug)]
enum Link {
    Down,
    Starting { at: Clock, works: bool },
    Up(Server),
}

fn loss() -> Loss {
    Loss { message: "the server has ended".to_owned(), data: None }
}

/// The steps.
impl World {
    /// Runs a world to its end. Panics when something is not as it must be.
    pub(crate) fn run(seed: u64, tell: bool) {
        let mut world = Self::new(Rng::new(seed), tell);
        for _ in 0..STEPS {
            world.step();
            if world.sharing == Sharing::Exclusive && !world.clients[0].alive {
                break;
            }
        }
        world.finish();
    }

    fn new(mut rng: Rng, tell: bool) -> Self {
        let sharing = rng.pick(&[Sharing::Exclusive, Sharing::Common]);
        let config = Config {
            sharing,
            request_timeout: Duration::from_secs(1),
            startup_timeout: Duration::from_secs(2),
            tools: ToolFilter::default(),
            server: "s".to_owned(),
        };
        let mut world = Self {
            overtaking: rng.percent(30),
            rng,
            now: Clock::ZERO,
            tell,
            sharing,
            limits: Limits::of(&config),
            mux: Mux::new(config),
            link: Link::Down,
            lives: 0,
            to_server: VecDeque::new(),
            from_server: VecDeque::new(),
            clients: Vec::new(),
            numbers: 0,
            ledger: Ledger::default(),
            delivered: 0,
        };
        world.join();
        world
    }

    fn note(&self, what: impl FnOnce() -> String) {
        if self.tell {
            eprintln!("{:>8.3} {}", self.now.as_secs_f64(), what());
        }
    }

    fn step(&mut self) {
        let longest = match self.rng.below(400) {
            0 => 70_000,
            1..6 => 2000,
            _ => 10,
        };
        let pause = self.rng.below(longest);
        self.pass(Duration::from_millis(pause));
        self.connect();
        let client = self.rng.at(self.clients.len());
        match self.rng.below(400) {
            0..120 => self.speak(client),
            120..260 => self.arrive(client, true),
            260..360 => self.read(client),
            360..370 => self.lose(client),
            370..376 => self.notice(client),
            376..388 => self.listen(client),
            388..395 => self.join(),
            395..398 => self.die(),
            _ => self.end(client),
        }
        for _ in 0..2 {
            match self.rng.below(4) {
                0 => self.server_reads(),
                1 => self.server_says(),
                2 => self.take(),
                _ => {}
            }
        }
        self.check();
    }

    /// Lets time pass; whatever is due is done when it is.
    fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(at) = self.mux.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.check_waiting();
            self.mux.expire(self.now);
            self.pump();
            assert!(self.mux.deadline().is_none_or(|next| next > self.now), "what is due is done");
            self.ledger.check_times(self.now, self.limits);
        }
        self.now = until;
        self.check_waiting();
    }

    fn check_waiting(&mut self) {
        if self.mux.load().questions > 0 {
            assert_eq!(self.sharing, Sharing::Exclusive, "nobody is asked through a shared connection");
            self.ledger.waits_for(self.clients[0].key, self.now);
        }
    }

    fn check(&self) {
        self.ledger.check_times(self.now, self.limits);
        let (open, given) = self.ledger.count();
        let load = self.mux.load();
        assert!(given <= load.calls && open - given <= load.queued, "{open} are open, {given} given, but {load:?}");
        for client in self.clients.iter().filter(|client| client.alive) {
            assert_eq!(client.streams.unanswered(), self.ledger.open_of(client.key), "{}", client.name);
        }
    }
}

/// The clients.
impl World {
    fn join(&mut self) {
        let alone = self.sharing == Sharing::Exclusive;
        if self.clients.len() >= MAX_CLIENTS || (alone && !self.clients.is_empty()) {
            return;
        }
        let key = self.mux.attach();
        let client = Client::new(format!("s{}", key.0), key, &mut self.rng);
        self.note(|| format!("{} joins by {:?}", client.name, client.streams.transport()));
        self.clients.push(client);
    }

    fn speak(&mut self, at: usize) {
        self.numbers += 3;
        if self.clients[at].alive {
            self.clients[at].speak(self.numbers, &mut self.rng);
        }
    }

    /// A POST arrives: any that is on its way, for each has a connection of its own.
    fn arrive(&mut self, at: usize, lossy: bool) {
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
                self.from_client(at, message);
            }
        }
    }

    fn accept(&mut self, at: usize, messages: &[Message]) -> bool {
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
            client.connections.push(Connection::new(stream));
            if self.rng.percent(5) {
                client.lose(client.connections.len() - 1);
            } else if client.primed {
                client.positions.insert(stream, 0);
            }
        }
        true
    }

    fn from_client(&mut self, at: usize, message: Message) {
        let key = self.clients[at].key;
        self.note(|| format!("{} > {}", self.clients[at].name, show(message.raw())));
        let cancelled = (message.method() == "notifications/cancelled").then(|| message.at(&["requestId"])).flatten();
        let cancelled = cancelled.map(str::to_owned).filter(|id| self.ledger.must_be_abandoned(key, id));
        self.mux.from_client(key, message, self.now);
        self.pump();
        assert!(cancelled.is_none_or(|id| !self.ledger.is_open(key, &id)), "what is cancelled ends at once");
    }

    fn read(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let readable = |connection: &Connection| !connection.broken && !connection.queue.is_empty();
        let Some(connection) = self.rng.find(&client.connections, readable) else { return };
        let Some(delivery) = client.connections[connection].queue.pop_front() else { return };
        assert_eq!(delivery.event.stream, client.connections[connection].stream, "an event of another stream");
        client.read(&delivery);
        if delivery.last {
            client.connections.swap_remove(connection);
        }
    }

    /// A connection breaks. The gateway notices later.
    fn lose(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if let Some(connection) = self.rng.find(&client.connections, |connection| !connection.broken) {
            client.lose(connection);
            self.note(|| format!("{} loses a connection", self.clients[at].name));
        }
    }

    /// The gateway notices that a connection is broken.
    fn notice(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some(connection) = self.rng.find(&client.connections, |connection| connection.broken) else { return };
        let stream = client.connections.swap_remove(connection).stream;
        client.streams.set_live(stream, false);
        if client.is_sse() {
            self.end(at);
        }
    }

    /// A client opens a stream by GET: a new one, or one that it has lost.
    fn listen(&mut self, at: usize) {
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
        let mut connection = Connection::new(resumed.stream);
        (connection.queue, connection.ended) = (resumed.missed.into(), resumed.finished);
        client.connections.push(connection);
    }

    /// A session ends, by DELETE or with its stream.
    fn end(&mut self, at: usize) {
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

/// The gateway.
impl World {
    /// Does what the state machines say.
    fn pump(&mut self) {
        while let Some(out) = self.mux.poll() {
            match out {
                Out::ToServer(message) => {
                    let message = parse(message.into_bytes());
                    self.note(|| format!("  to server {}", show(message.raw())));
                    if message.kind() == Kind::Request {
                        self.ledger.give(&message, self.now);
                    }
                    assert!(matches!(self.link, Link::Up(_)), "nothing is sent to a server that is not there");
                    self.to_server.push_back(message);
                }
                Out::ToClient { session, relation, message } => self.deliver(session, relation, message),
                Out::Hopeless(loss) => {
                    self.note(|| loss.message.clone());
                    self.unlink();
                    self.mux.unavailable(&loss);
                }
            }
        }
    }

    fn deliver(&mut self, session: SessionKey, relation: Relation, message: Rope) {
        self.delivered += 1;
        let at = self.clients.iter().position(|client| client.key == session).expect("it is somebody's");
        let client = &mut self.clients[at];
        assert!(client.alive, "a session that has ended gets nothing");
        let parsed = (!message.is_empty()).then(|| parse(message.clone().into_bytes()));
        if let Some(parsed) = &parsed {
            let owned = format!("{}\"", client.name);
            let text = String::from_utf8_lossy(parsed.raw());
            let mut owners = text.split("\"owner\":\"").skip(1);
            assert!(owners.all(|rest| rest.starts_with(&owned)), "{} gets what is another's: {text}", client.name);
        }
        if let Some(uri) = parsed.as_ref().filter(|_| self.sharing == Sharing::Common).and_then(updated) {
            let covers = |known: &String| uri == *known || uri.starts_with(&format!("{known}/"));
            assert!(client.subscribed.iter().any(covers), "{} never subscribed to {uri}", client.name);
        }
        let ended = self.ledger.send(session, &relation, parsed.as_ref(), self.now);
        if let (Relation::Abandoned(id), Some(request)) = (&relation, &ended) {
            client.forget(request.stream, &text(id));
        }
        let delivery = client.streams.route(relation, message);
        let stream = delivery.as_ref().map(|delivery| delivery.event.stream);
        let expected = ended.filter(|_| parsed.is_some()).map(|request| request.stream);
        assert!(expected.is_none() || stream == expected, "an answer goes on its request's stream");
        if let Some(delivery) = delivery {
            let to = format!("  {} gets {}", self.clients[at].name, delivery.event);
            self.note(|| format!("{to} {}", show(&delivery.message.clone().into_bytes())));
            self.carry(at, delivery);
        }
    }

    /// Puts an event on the connection that carries its stream, if there is one, and keeps it.
    fn carry(&mut self, at: usize, delivery: Delivery) {
        let client = &mut self.clients[at];
        let (stream, last) = (delivery.event.stream, delivery.last);
        let carries = |connection: &Connection| connection.stream == stream && !connection.ended;
        let Some(connection) = client.connections.iter().position(carries) else {
            return client.streams.keep(delivery, false);
        };
        let broken = client.connections[connection].broken;
        let taken = !broken || client.is_sse() || self.rng.percent(50);
        client.connections[connection].queue.push_back(delivery.clone());
        client.streams.keep(delivery, taken);
        if last || !taken {
            client.streams.set_live(stream, false);
            client.connections[connection].ended = true;
        }
        client.connections.retain(|connection| !(connection.broken && connection.ended));
    }
}

/// The server.
impl World {
    fn connect(&mut self) {
        match self.link {
            Link::Down if self.mux.wants_server() => {
                let at = self.now + Duration::from_millis(self.rng.below(100));
                self.link = Link::Starting { at, works: self.rng.percent(85) };
            }
            Link::Starting { at, works: true } if at <= self.now => {
                self.lives += 1;
                self.note(|| "the server is up".to_owned());
                self.link = Link::Up(Server::new(self.sharing, self.overtaking, self.lives));
                self.mux.connected(self.now);
                self.pump();
            }
            Link::Starting { at, works: false } if at <= self.now => self.give_up(),
            _ => {}
        }
    }

    fn give_up(&mut self) {
        self.unlink();
        self.note(|| "no server comes".to_owned());
        self.mux.unavailable(&loss());
        self.pump();
    }

    fn unlink(&mut self) {
        self.link = Link::Down;
        self.to_server.clear();
        self.from_server.clear();
    }

    /// The server ends; some of what it said last still arrives.
    fn die(&mut self) {
        if !matches!(self.link, Link::Up(_)) {
            return;
        }
        for _ in 0..self.rng.below(3) {
            self.take();
        }
        self.unlink();
        self.note(|| "the server dies".to_owned());
        self.mux.disconnected(&loss());
        self.pump();
    }

    fn server_reads(&mut self) {
        let Link::Up(server) = &mut self.link else { return };
        let in_order = |message: &Message| message.method().contains("initialize");
        let at = match self.to_server.front() {
            None => return,
            Some(first) if in_order(first) || !self.overtaking => 0,
            Some(_) => self.rng.at(self.to_server.len()),
        };
        if let Some(message) = self.to_server.remove(at) {
            server.read(&message);
        }
    }

    fn server_says(&mut self) {
        let Link::Up(server) = &mut self.link else { return };
        if let Some(text) = server.say(&mut self.rng) {
            self.note(|| format!("server > {text}"));
            self.from_server.push_back(parse(text));
        }
    }

    /// The gateway takes what the server said.
    fn take(&mut self) {
        let at = if self.overtaking && !self.from_server.is_empty() { self.rng.at(self.from_server.len()) } else { 0 };
        let Some(message) = self.from_server.remove(at) else { return };
        if message.is_response() && self.rng.percent(2) {
            let id = message.id().and_then(|id| id.as_u64()).unwrap_or_default();
            self.mux.unreadable_answer(id, "it cannot be read");
            return self.pump();
        }
        let is_for_all = self.sharing == Sharing::Common && message.method().ends_with("list_changed");
        let before = self.delivered;
        self.mux.from_server(message, self.now);
        self.pump();
        if is_for_all {
            let greeted = self.clients.iter().filter(|client| self.mux.version(client.key).is_some());
            assert_eq!(self.delivered - before, greeted.count(), "what all are told, all who have shaken hands hear");
        }
    }
}

/// The end.
impl World {
    fn finish(&mut self) {
        for at in 0..self.clients.len() {
            while !self.clients[at].posts.is_empty() {
                self.arrive(at, false);
            }
        }
        for _ in 0..self.rng.below(60) {
            self.connect();
            self.server_reads();
            self.server_says();
            self.take();
            self.pass(Duration::from_millis(5));
        }
        self.come_to_rest();
        for at in 0..self.clients.len() {
            self.collect(at);
        }
        let waited_for = match &self.link {
            Link::Up(server) if self.to_server.is_empty() => server.waits_for(),
            _ => 0,
        };
        assert_eq!(waited_for, 0, "every question was answered");
        (0..self.clients.len()).for_each(|at| self.end(at));
        assert_eq!((self.mux.load(), self.mux.deadline()), (Load::default(), None), "nothing is left");
    }

    /// Lets time pass until nobody waits for anything.
    fn come_to_rest(&mut self) {
        for _ in 0..1000 {
            if !matches!(self.link, Link::Up(_)) {
                self.give_up();
            }
            while !self.from_server.is_empty() {
                self.take();
            }
            while matches!(self.link, Link::Up(_)) && !self.to_server.is_empty() {
                self.server_reads();
            }
            self.check();
            match self.mux.deadline() {
                Some(at) => self.pass(at.saturating_sub(self.now)),
                None if self.ledger.count() == (0, 0) && self.to_server.is_empty() => return,
                None => {}
            }
        }
        panic!("it does not come to rest: {:?} {:?}", self.mux.load(), self.ledger);
    }

    /// The client gets all that it missed. Whatever it can still wait for must be there.
    fn collect(&mut self, at: usize) {
        if !self.clients[at].alive || (self.clients[at].is_sse() && self.clients[at].connections[0].broken) {
            return;
        }
        while !self.clients[at].resumable().is_empty() {
            self.listen(at);
            while self.clients[at].connections.iter().any(|c| !c.broken && !c.queue.is_empty()) {
                self.read(at);
            }
        }
        let client = &mut self.clients[at];
        while client.connections.iter().any(|c| !c.broken && !c.queue.is_empty()) {
            let readable = |connection: &Connection| !connection.broken && !connection.queue.is_empty();
            let Some(connection) = self.rng.find(&client.connections, readable) else { break };
            let Some(delivery) = client.connections[connection].queue.pop_front() else { break };
            client.read(&delivery);
        }
        assert!(client.awaited.is_empty(), "{} still waits for {:?}", client.name, client.awaited);
    }
}

/// The resource that a message tells of.
fn updated(message: &Message) -> Option<String> {
    let uri = message.str_at(&["uri"])?;
    (message.method() == "notifications/resources/updated").then(|| uri.into_owned())
}

fn show(raw: &bytes::Bytes) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(raw)
}
