//! A client and its connections. It does what clients do: it cancels, disconnects, resumes, reuses ids, answers what it
//! is asked twice, late, or without having been asked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mcp::envelope::{self, Incoming, Kind, Message};
use mcp::session::SessionKey;
use mcp::session::streams::{Carrier, Delivery, StreamId, Streams, Transport};

use super::ledger::text;
use super::rng::Rng;

/// Ids of every form; few, so that they are reused, and that sessions share them.
const IDS: [&str; 9] = ["1", "1.0", "\"1\"", "2", "-0", "1e3", "\"\\u0061\"", "\"\"", "123456789012345678901234567890"];
const TOKENS: [&str; 5] = ["1", "\"1\"", "2.50", "\"t\\/\"", "0"];
const URIS: [&str; 3] = ["file:///a", "file:///a/b", "file:///ab"];

#[derive(Debug)]
pub(crate) struct Client {
    /// Stands in all it sends, and must stand in all it gets.
    pub(crate) name: String,
    pub(crate) key: SessionKey,
    /// What the gateway keeps for it.
    pub(crate) streams: Streams,
    pub(crate) alive: bool,
    /// Whether a stream begins with an event that it can be resumed after.
    pub(crate) primed: bool,
    pub(crate) connections: Vec<Connection>,
    /// POSTs on their way.
    pub(crate) posts: Vec<Vec<String>>,
    greeted: Greeted,
    /// The last event it has of each stream that has not ended.
    pub(crate) positions: BTreeMap<StreamId, u64>,
    /// Answers it waits for, and on which streams.
    pub(crate) awaited: BTreeMap<(StreamId, String), u32>,
    /// What it subscribed to, ever.
    pub(crate) subscribed: BTreeSet<String>,
    questions: Vec<String>,
    tasks: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Greeted {
    No,
    Asked,
    Yes,
}

/// A response that carries a stream.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: StreamId,
    /// Sent, and not read yet.
    pub(crate) queue: VecDeque<Delivery>,
    /// The client is gone; the gateway has yet to notice.
    pub(crate) broken: bool,
    /// The gateway has ended it.
    pub(crate) ended: bool,
    pub(crate) carrier: Carrier,
}

impl Connection {
    pub(crate) fn new(stream: StreamId, carrier: Carrier) -> Self {
        Self { stream, queue: VecDeque::new(), broken: false, ended: false, carrier }
    }

    pub(crate) fn is_readable(&self) -> bool {
        !self.broken && !self.queue.is_empty()
    }
}

impl Client {
    pub(crate) fn new(name: String, key: SessionKey, rng: &mut Rng) -> Self {
        let transport = rng.pick(&[Transport::Sse, Transport::Streamable]);
        let mut streams = Streams::new(transport);
        let mut connections = Vec::new();
        if transport == Transport::Sse {
            streams.set_live(StreamId::COMMON, true);
            connections.push(Connection::new(StreamId::COMMON, Carrier::Events));
        }
        Self {
            name,
            key,
            streams,
            alive: true,
            primed: rng.percent(70),
            connections,
            posts: Vec::new(),
            greeted: Greeted::No,
            positions: BTreeMap::new(),
            awaited: BTreeMap::new(),
            subscribed: BTreeSet::new(),
            questions: Vec::new(),
            tasks: Vec::new(),
        }
    }

    pub(crate) fn is_sse(&self) -> bool {
        self.streams.transport() == Transport::Sse
    }

    /// Posts something.
    pub(crate) fn speak(&mut self, number: u64, rng: &mut Rng) {
        let post = match (self.greeted, rng.below(20)) {
            (Greeted::No, _) => {
                self.greeted = Greeted::Asked;
                let params = r#","protocolVersion":"2025-06-18","capabilities":{}"#;
                vec![self.request("\"i\"", "initialize", params, number)]
            }
            (Greeted::Asked, 0) => vec![cancel("\"i\"")],
            (Greeted::Asked, _) => return,
            (Greeted::Yes, _) if !self.questions.is_empty() && rng.percent(40) => self.reply(rng).into_iter().collect(),
            (Greeted::Yes, 0..10) => vec![self.any_request(number, rng)],
            (Greeted::Yes, 10) => (0..3).map(|more| self.any_request(number + more, rng)).collect(),
            (Greeted::Yes, 11..14) => vec![cancel(rng.pick(&IDS))],
            (Greeted::Yes, 14..18) => self.reply(rng).into_iter().collect(),
            (Greeted::Yes, 18) => vec![ROOTS_CHANGED.to_owned()],
            (Greeted::Yes, _) => vec![INITIALIZED.to_owned()],
        };
        if !post.is_empty() {
            self.posts.push(post);
        }
    }

    fn any_request(&mut self, number: u64, rng: &mut Rng) -> String {
        let (id, uri, token) = (rng.pick(&IDS), rng.pick(&URIS), rng.pick(&TOKENS));
        let token = if rng.percent(50) { format!(r#","_meta":{{"progressToken":{token}}}"#) } else { String::new() };
        let uri = format!(r#","uri":"{uri}"{token}"#);
        match rng.below(16) {
            0 => self.request(id, "resources/subscribe", &uri, number),
            1 => self.request(id, "resources/unsubscribe", &uri, number),
            2 => self.request(id, "logging/setLevel", r#","level":"debug""#, number),
            3 => self.request(id, "ping", "", number),
            4 => self.request(id, "tasks/list", "", number),
            5 => {
                let known = rng.find(&self.tasks, |_| true).map_or("t2", |at| &self.tasks[at]);
                self.request(id, "tasks/get", &format!(r#","taskId":"{known}""#), number)
            }
            6 => self.request(id, "tools/call", &format!(r#","task":{{"ttl":1}}{token}"#), number),
            7 => self.request(id, "of/our/own", &token, number),
            _ => self.request(id, "tools/call", &format!(r#","name":"t"{token}"#), number),
        }
    }

    fn request(&self, id: &str, method: &str, more: &str, number: u64) -> String {
        let params = format!(r#"{{"owner":"{}","number":{number}{more}}}"#, self.name);
        format!(r#"{{"method":"{method}","params":{params},"id":{id},"jsonrpc":"2.0"}}"#)
    }

    /// Answers a question: the first time, again, or one that nobody asked.
    fn reply(&mut self, rng: &mut Rng) -> Option<String> {
        let at = rng.find(&self.questions, |_| true)?;
        let forged = rng.below(30).to_string();
        let id = if rng.percent(10) { forged } else { self.questions[at].clone() };
        if rng.percent(70) {
            self.questions.swap_remove(at);
        }
        Some(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"owner":"{}"}}}}"#, self.name))
    }

    /// Reads what came on a connection.
    pub(crate) fn read(&mut self, delivery: &Delivery) {
        let (stream, number) = (delivery.event.stream, delivery.event.number);
        let last = self.positions.insert(stream, number).unwrap_or_default();
        assert!(number > last, "an event comes once, and in order");
        assert!(stream == StreamId::COMMON || number == last + 1, "no event of a POST's stream is missing");
        if delivery.last {
            self.positions.remove(&stream);
        }
        if !delivery.message.is_empty() {
            self.understand(stream, &parse(delivery.message.clone().into_bytes()));
        }
    }

    fn understand(&mut self, stream: StreamId, message: &Message) {
        match (message.kind(), message.id().map(|id| text(&id))) {
            (Kind::Request, Some(id)) => self.questions.push(id),
            (Kind::Result | Kind::Error, Some(id)) => {
                assert!(self.forget(stream, &id), "an answer comes on its request's stream, and once");
                if id == "\"i\"" {
                    self.greeted = Greeted::No;
                    if message.kind() == Kind::Result {
                        self.greeted = Greeted::Yes;
                        self.posts.push(vec![INITIALIZED.to_owned()]);
                    }
                }
                let task = message.str_at(&["task", "taskId"]);
                self.tasks.extend(task.map(std::borrow::Cow::into_owned));
            }
            _ => {}
        }
    }

    /// An answer is not waited for any more; whether it was.
    pub(crate) fn forget(&mut self, stream: StreamId, id: &str) -> bool {
        let key = (stream, id.to_owned());
        let left = self.awaited.remove(&key);
        self.awaited.extend(left.filter(|left| *left > 1).map(|left| (key, left - 1)));
        left.is_some()
    }

    /// A response begins: nothing came in time for it to be plain JSON.
    pub(crate) fn begin(&mut self, at: usize) {
        let Connection { stream, broken, carrier, .. } = &mut self.connections[at];
        *carrier = Carrier::Events;
        if self.primed && !*broken {
            self.positions.insert(*stream, 0);
        }
    }

    /// Loses a connection.
    pub(crate) fn lose(&mut self, at: usize) {
        let Connection { stream, ended, broken, .. } = &mut self.connections[at];
        *broken = true;
        let (stream, ended) = (*stream, *ended);
        if !self.positions.contains_key(&stream) {
            // Without the id of any event there is nothing to resume.
            self.awaited.retain(|(on, _), _| *on != stream);
            self.greet_again();
        }
        if ended {
            self.connections.swap_remove(at);
        }
    }

    /// Whatever became of its `initialize`, it will get no answer.
    pub(crate) fn greet_again(&mut self) {
        if self.greeted == Greeted::Asked && !self.awaited.keys().any(|(_, id)| id == "\"i\"") {
            self.greeted = Greeted::No;
        }
    }

    /// The streams it has lost and can resume.
    pub(crate) fn resumable(&self) -> Vec<StreamId> {
        let carried: BTreeSet<_> = self.connections.iter().filter(|c| !c.broken).map(|c| c.stream).collect();
        self.positions.keys().copied().filter(|stream| !self.is_sse() && !carried.contains(stream)).collect()
    }
}

const ROOTS_CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

fn cancel(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#)
}

pub(crate) fn parse(raw: impl Into<bytes::Bytes>) -> Message {
    match envelope::parse(raw.into(), 1 << 20).expect("it is a message") {
        Incoming::Single(message) => message,
        Incoming::Batch(_) => panic!("it is a batch"),
    }
}
