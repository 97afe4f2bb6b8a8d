//! Clients of older revisions before a server of 2026-07-28, and whatever happens to them, in any order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::unrolled::{CAPABILITIES, asked, greet_with};
use super::*;
use crate::json;

const ALL: &str = r#"{"elicitation":{},"sampling":{},"roots":{}}"#;

/// What happens: of which kind it is, and to whom.
type Step = (u8, usize);

/// What each side has yet to answer.
struct World {
    bench: Bench,
    sessions: Vec<SessionKey>,
    up: bool,
    /// Of the clients' requests, by session: the ids that have no answer.
    open: BTreeMap<u64, BTreeSet<String>>,
    /// The server's: requests that it has yet to answer, and whether that is a stream.
    given: BTreeMap<String, bool>,
    /// The clients': questions by session.
    asked: BTreeSet<(u64, String)>,
    /// What a client has cancelled last.
    cancelled: String,
    next: usize,
}

impl World {
    fn new() -> Self {
        let mut bench = Bench::new(Sharing::Exchanges);
        bench.mux.connected(bench.now);
        let sessions: Vec<_> = (0..3).map(|_| bench.mux.attach()).collect();
        let mut given = BTreeMap::new();
        for session in &sessions {
            greet_with(&mut bench, *session, (ALL, CAPABILITIES));
            let outs = bench.outs();
            if given.is_empty() {
                given.insert(asked(&outs).to_string(), true);
            }
        }
        let open = sessions.iter().map(|session| (session.0, BTreeSet::new())).collect();
        Self { bench, sessions, up: true, open, given, asked: BTreeSet::new(), cancelled: String::new(), next: 0 }
    }

    fn step(&mut self, (kind, at): Step) {
        match kind {
            0..4 => self.request(at),
            4..8 => self.answer(at, kind),
            8..11 => self.reply(at, kind),
            11 => self.cancel(at),
            12 => self.leave(at),
            13 => self.toggle(),
            14 => self.bench.now += Duration::from_secs(at as u64),
            _ => self.acknowledge(at),
        }
        self.bench.mux.expire(self.bench.now);
        self.look();
    }

    fn request(&mut self, at: usize) {
        let Some(session) = self.sessions.get(at % 3).copied() else { return };
        self.next += 1;
        let id = format!("\"{}\"", self.next);
        let (method, params) = match at % 4 {
            0 => ("resources/subscribe", format!(r#"{{"uri":"a:{}"}}"#, at % 5)),
            1 => ("resources/unsubscribe", format!(r#"{{"uri":"a:{}"}}"#, at % 5)),
            _ => ("tools/call", r#"{"name":"t"}"#.to_owned()),
        };
        self.open.entry(session.0).or_default().insert(id.clone());
        self.bench.client(session, &format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#));
    }

    fn answer(&mut self, at: usize, kind: u8) {
        let Some(id) = self.given.keys().nth(at % 7).cloned() else { return };
        let stream = self.given.remove(&id).unwrap_or_default();
        let question = r#""e":{"method":"elicitation/create"},"r":{"method":"roots/list"}"#;
        let answer = match kind {
            4 => r#""error":{"code":-1,"message":"m"}"#.to_owned(),
            5 | 6 if !stream => format!(
                r#""result":{{"resultType":"input_required","inputRequests":{{{question}}},"requestState":"s"}}"#
            ),
            _ => r#""result":{"resultType":"complete"}"#.to_owned(),
        };
        self.bench.server(&format!(r#"{{"jsonrpc":"2.0","id":{id},{answer}}}"#));
    }

    fn acknowledge(&mut self, at: usize) {
        let Some(id) = self.given.iter().filter(|(_, stream)| **stream).map(|(id, _)| id.clone()).nth(at % 2) else {
            return;
        };
        let params = format!(r#"{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}}}"#);
        let method = "notifications/subscriptions/acknowledged";
        self.bench.server(&format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#));
    }

    fn reply(&mut self, at: usize, kind: u8) {
        let Some((session, id)) = self.asked.iter().nth(at % 5).cloned() else { return };
        self.asked.remove(&(session, id.clone()));
        let answer = if kind == 8 { r#""error":{"code":-1,"message":"m"}"# } else { r#""result":{}"# };
        self.bench.client(SessionKey(session), &format!(r#"{{"jsonrpc":"2.0","id":{id},{answer}}}"#));
    }

    fn cancel(&mut self, at: usize) {
        let all = self.open.iter().flat_map(|(session, ids)| ids.iter().map(|id| (*session, id.clone())));
        let Some((session, id)) = all.collect::<Vec<_>>().get(at % 4).cloned() else { return };
        let params = format!(r#"{{"requestId":{id}}}"#);
        let text = format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{params}}}"#);
        self.bench.client(SessionKey(session), &text);
        self.cancelled = id;
    }

    fn leave(&mut self, at: usize) {
        if at.is_multiple_of(7) && self.sessions.len() > 1 {
            let session = self.sessions.remove(0);
            self.bench.mux.detach(session);
            self.open.remove(&session.0);
            self.asked.retain(|(of, _)| *of != session.0);
        }
    }

    fn toggle(&mut self) {
        if self.up {
            self.given.clear();
            self.bench.mux.disconnected(&Loss { message: "gone".to_owned(), data: None });
        } else {
            self.bench.mux.connected(self.bench.now);
        }
        self.up = !self.up;
    }

    /// Takes what was sent, and checks it.
    fn look(&mut self) {
        for out in self.bench.outs() {
            let (head, body) = out.split_once(" {").map_or((out.as_str(), ""), |(head, body)| (head, body));
            let body = if body.is_empty() { "{}".to_owned() } else { format!("{{{body}") };
            let part = |path: &[&str]| json::lookup(&body, path).map(str::to_owned);
            match head.split_once(' ') {
                None if head == ">" => self.sent(part(&["id"]), &body),
                Some((session, "answer")) => {
                    let open = self.open.get_mut(&session.parse().unwrap()).expect("only who is there gets answers");
                    assert!(open.remove(&part(&["id"]).unwrap()), "answered once, and only what was asked: {out}");
                }
                Some((session, "during" | "none")) => self.told(session.parse().unwrap(), part(&["id"]), &body),
                Some((session, "abandoned ")) => {
                    let open = self.open.get_mut(&session.parse().unwrap());
                    assert!(open.is_some_and(|open| open.remove(&self.cancelled)), "only what was open is abandoned");
                }
                _ => panic!("{out}"),
            }
        }
        let idle = |session: &u64| self.open.get(session).is_some_and(BTreeSet::is_empty);
        assert!(!self.asked.iter().any(|(session, _)| idle(session)), "nobody is asked for nothing");
    }

    fn sent(&mut self, id: Option<String>, body: &str) {
        assert!(self.up, "nothing is sent to a server that is not there");
        if let Some(id) = id {
            let stream = body.contains("subscriptions/listen");
            assert!(self.given.insert(id, stream).is_none(), "no id is used twice: {body}");
        } else {
            let cancelled = json::lookup(body, &["params", "requestId"]).unwrap();
            assert!(self.given.remove(cancelled).is_some(), "only what the server works on is cancelled: {body}");
        }
    }

    fn told(&mut self, session: u64, id: Option<String>, body: &str) {
        assert!(self.open.contains_key(&session), "only who is there is told: {body}");
        let taken_back = || json::lookup(body, &["params", "requestId"]).map(str::to_owned);
        match id {
            Some(id) => assert!(self.asked.insert((session, id)), "no question is asked twice: {body}"),
            None if body.contains("notifications/cancelled") => {
                let id = taken_back().unwrap();
                assert!(self.asked.remove(&(session, id)), "only what was asked is taken back: {body}");
            }
            None => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_answered_asked_or_cancelled_twice_and_nothing_is_left(
        steps in prop::collection::vec((0u8..18, 0usize..64), 0..120)
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        assert_eq!(world.bench.mux.load().questions, world.asked.len());
        for session in std::mem::take(&mut world.sessions) {
            world.bench.mux.detach(session);
        }
        world.bench.outs();
        world.bench.mux.expire(world.bench.now);
        let load = world.bench.mux.load();
        assert_eq!((load.questions, load.queued, load.sessions), (0, 0, 0));
        world.bench.now += 3600 * SECOND;
        world.bench.mux.expire(world.bench.now);
        assert_eq!(world.bench.mux.load().calls, 0, "not even a stream");
    }
}
