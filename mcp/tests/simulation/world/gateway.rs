//! What the gateway does as the state machines say.

use mcp::envelope::{Kind, Message};
use mcp::json::Rope;
use mcp::session::SessionKey;
use mcp::session::mux::{Out, Relation};
use mcp::session::streams::Delivery;

use super::super::client::{Connection, parse};
use super::super::ledger::text;
use super::{Link, Sharing, World, show};

impl World {
    /// Does what the state machines say.
    pub(super) fn pump(&mut self) {
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
                Out::Turned => panic!("no server of this world is of another era than its connection"),
            }
        }
    }

    pub(super) fn deliver(&mut self, session: SessionKey, relation: Relation, message: Rope) {
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
    pub(super) fn carry(&mut self, at: usize, delivery: Delivery) {
        let client = &mut self.clients[at];
        let (stream, last) = (delivery.event.stream, delivery.last);
        let carries = |connection: &Connection| connection.stream == stream && !connection.ended;
        let Some(connection) = client.connections.iter().position(carries) else {
            return client.streams.keep(delivery, false);
        };
        let broken = client.connections[connection].broken;
        let taken = !broken || client.is_sse() || self.rng.percent(50);
        let carrier = client.connections[connection].carrier.with(&delivery);
        client.connections[connection].carrier = carrier;
        client.connections[connection].queue.push_back(delivery.clone());
        if carrier.is_resumable() {
            client.streams.keep(delivery, taken);
        }
        if last || !taken {
            client.streams.set_live(stream, false);
            client.connections[connection].ended = true;
        }
        client.connections.retain(|connection| !(connection.broken && connection.ended));
    }
}

/// The resource that a message tells of.
fn updated(message: &Message) -> Option<String> {
    let uri = message.str_at(&["uri"])?;
    (message.method() == "notifications/resources/updated").then(|| uri.into_owned())
}
