//! What was promised to whom, and whether it is kept.

use std::collections::BTreeMap;
use std::time::Duration;

use mcp::envelope::{Message, RequestId};
use mcp::session::mux::{Config, Relation};
use mcp::session::streams::StreamId;
use mcp::session::{Clock, SessionKey};

/// Requests that were accepted and have not ended, by who asked and under which id.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    open: BTreeMap<(SessionKey, String), Request>,
}

#[derive(Debug)]
pub(crate) struct Request {
    /// Where it is to be answered.
    pub(crate) stream: StreamId,
    /// What it is told from all others by.
    number: Option<u64>,
    token: Option<String>,
    cancellable: bool,
    given: Option<Clock>,
    /// When the server was given it, or was heard of last.
    heard: Clock,
}

/// How long a request may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    quiet: Duration,
    whole: Duration,
}

impl Limits {
    pub(crate) fn of(config: &Config) -> Self {
        let quiet = config.request_timeout.max(config.startup_timeout);
        Self { quiet, whole: config.request_timeout * 60 }
    }
}

impl Ledger {
    /// Whether the session has a request of this id under way.
    pub(crate) fn is_open(&self, session: SessionKey, id: &str) -> bool {
        self.open.contains_key(&(session, id.to_owned()))
    }

    pub(crate) fn open_of(&self, session: SessionKey) -> usize {
        self.open.keys().filter(|(owner, _)| *owner == session).count()
    }

    /// Requests under way, and those among them that the server was given.
    pub(crate) fn count(&self) -> (usize, usize) {
        (self.open.len(), self.open.values().filter(|request| request.given.is_some()).count())
    }

    /// A request was accepted.
    pub(crate) fn accept(&mut self, session: SessionKey, message: &Message, stream: StreamId, now: Clock) {
        let number = number(message);
        let token = message.at(&["_meta", "progressToken"]).map(str::to_owned);
        let cancellable = message.method() != "initialize";
        let request = Request { stream, number, token, cancellable, given: None, heard: now };
        let key = (session, text(&message.id().expect("a request has an id")));
        assert!(self.open.insert(key, request).is_none(), "an id in use was accepted");
    }

    /// The server is given a request: one that is under way, and only once.
    pub(crate) fn give(&mut self, message: &Message, now: Clock) {
        let Some(number) = number(message) else { return };
        let open = self.open.values_mut().find(|request| request.number == Some(number) && request.given.is_none());
        match open {
            Some(request) => (request.given, request.heard) = (Some(now), now),
            None => assert_eq!(message.method(), "initialize", "only a handshake is repeated"),
        }
    }

    /// The client takes back a request.
    pub(crate) fn must_be_abandoned(&self, session: SessionKey, id: &str) -> bool {
        self.open.get(&(session, id.to_owned())).is_some_and(|request| request.cancellable)
    }

    /// Something is sent to a client. Returns the request that has ended with it.
    pub(crate) fn send(
        &mut self,
        session: SessionKey,
        relation: &Relation,
        message: Option<&Message>,
        now: Clock,
    ) -> Option<Request> {
        let key = |id: &RequestId| (session, text(id));
        match (relation, message) {
            (Relation::Answer(id), Some(message)) => {
                let request = self.open.remove(&key(id)).expect("an answer belongs to a request under way");
                assert!(message.is_response() && message.id().as_ref() == Some(id), "an answer has its request's id");
                let answered = number(message);
                assert!(answered.is_none() || answered == request.number, "the answer is another request's");
                Some(request)
            }
            (Relation::Abandoned(id), None) => {
                let request = self.open.remove(&key(id)).expect("only what is under way is abandoned");
                assert!(request.cancellable, "`initialize` is never cancelled");
                Some(request)
            }
            (Relation::During(id), Some(message)) => {
                self.aside(&key(id), message, now);
                None
            }
            (Relation::None, Some(message)) => {
                assert!(!message.is_response(), "an answer to nothing");
                None
            }
            (_, None) => panic!("nothing is sent"),
            (Relation::Abandoned(_), Some(_)) => panic!("an answer to what was cancelled"),
        }
    }

    fn aside(&mut self, key: &(SessionKey, String), progress: &Message, now: Clock) {
        if progress.method() != "notifications/progress" {
            return;
        }
        let request = self.open.get_mut(key).expect("progress belongs to a request under way");
        assert_eq!(progress.at(&["progressToken"]), request.token.as_deref(), "the token is the client's own");
        assert_eq!(number(progress), request.number, "the progress is another request's");
        request.heard = now;
    }

    /// The session waits for nothing any more.
    pub(crate) fn end(&mut self, session: SessionKey) {
        self.open.retain(|(owner, _), _| *owner != session);
    }

    /// The server waits for the session, not the other way round.
    pub(crate) fn waits_for(&mut self, session: SessionKey, now: Clock) {
        self.open.iter_mut().filter(|((owner, _), _)| *owner == session).for_each(|(_, request)| request.heard = now);
    }

    /// Nothing that the server was given takes longer than it may.
    pub(crate) fn check_times(&self, now: Clock, limits: Limits) {
        for (key, request) in &self.open {
            let Some(given) = request.given else { continue };
            assert!(now < request.heard + limits.quiet, "{key:?} waits for too long: {request:?}");
            assert!(now < given + limits.whole, "{key:?} waits for ever: {request:?}");
        }
    }
}

/// The number by which a request, and whatever a server says of it, is told from all others.
pub(crate) fn number(message: &Message) -> Option<u64> {
    message.at(&["number"])?.parse().ok()
}

pub(crate) fn text(id: &RequestId) -> String {
    String::from_utf8(id.raw().to_vec()).expect("JSON is UTF-8")
}
