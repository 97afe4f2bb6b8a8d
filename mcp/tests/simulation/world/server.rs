//! What the server does, and whether there is one.

use std::time::Duration;

use mcp::envelope::Message;

use super::super::client::parse;
use super::super::server::Server;
use super::{Link, Sharing, World, loss};

impl World {
    pub(super) fn connect(&mut self) {
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

    pub(super) fn give_up(&mut self) {
        self.unlink();
        self.note(|| "no server comes".to_owned());
        self.mux.unavailable(&loss());
        self.pump();
    }

    pub(super) fn unlink(&mut self) {
        self.link = Link::Down;
        self.to_server.clear();
        self.from_server.clear();
    }

    /// The server ends; some of what it said last still arrives.
    pub(super) fn die(&mut self) {
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

    pub(super) fn server_reads(&mut self) {
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

    pub(super) fn server_says(&mut self) {
        let Link::Up(server) = &mut self.link else { return };
        if let Some(text) = server.say(&mut self.rng) {
            self.note(|| format!("server > {text}"));
            self.from_server.push_back(parse(text));
        }
    }

    /// The gateway takes what the server said.
    pub(super) fn take(&mut self) {
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
