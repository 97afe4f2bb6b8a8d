//! A server connection, its clients and its server, and what happens to them.

use std::collections::VecDeque;
use std::time::Duration;

use mcp::envelope::Message;
use mcp::session::Clock;
use mcp::session::filter::ToolFilter;
use mcp::session::mux::{Config, Load, Loss, Mux, Sharing};

use super::client::{Client, Connection};
use super::ledger::{Ledger, Limits};
use super::rng::Rng;
use super::server::Server;

mod clients;
mod gateway;
mod server;

/// How long a world lasts, in things that happen.
const STEPS: usize = 240;
/// Clients of one world, those that have gone among them.
const MAX_CLIENTS: usize = 5;

pub(crate) struct World {
    rng: Rng,
    now: Clock,
    /// Whether the steps are told.
    tell: bool,
    sharing: Sharing,
    /// Whether messages to and from the server can overtake each other.
    overtaking: bool,
    limits: Limits,
    mux: Mux,
    link: Link,
    /// How many servers there were.
    lives: u64,
    to_server: VecDeque<Message>,
    from_server: VecDeque<Message>,
    clients: Vec<Client>,
    /// The last number that a request was given.
    numbers: u64,
    ledger: Ledger,
    /// How much was sent to clients.
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
            connect_timeout: Duration::MAX,
            asking: None,
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
            260..350 => self.read(client),
            350..360 => self.begin(client),
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
        let client = &self.clients[at];
        if !client.alive || (client.is_sse() && client.connections[0].broken) {
            return;
        }
        loop {
            while self.clients[at].connections.iter().any(Connection::is_readable) {
                self.read(at);
            }
            if self.clients[at].resumable().is_empty() {
                break;
            }
            self.listen(at);
        }
        let client = &self.clients[at];
        assert!(client.awaited.is_empty(), "{} still waits for {:?}", client.name, client.awaited);
    }
}

fn show(raw: &bytes::Bytes) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(raw)
}
