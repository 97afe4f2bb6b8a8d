//! Calls of clients of 2026-07-28 in which a server of an older revision asks something. One call at a time may be asked
//! in, for a question says nothing of the call that it belongs to: it is *lent* the server.
//!
//! Its client is told by the answer of what is asked, and nobody waits for the call then: it is *parked*. It goes on when
//! the client sends it again with the name that it was given. Each name is good once. A call that is not sent again in
//! time is given up; it is never made a second time from here.

use std::time::Duration;

pub(super) use self::lent::Parked;
use self::lent::{Asked, Kept, Lent, Stage, Who};
use super::calls::{Asker, Call, REQUEST_TIMEOUT};
use super::{Mux, Relation};
use crate::envelope::{Message, RequestId, code};
use crate::json::{self, Object, Rope};
use crate::modern::may_ask;
use crate::modern::parked::{self, Key, State};
use crate::session::{Clock, SessionKey};

mod lent;

/// What a server asks within this time of its first question is told together.
const GATHER: Duration = Duration::from_millis(20);
/// How long a client may take to answer.
const LIFETIME: Duration = Duration::from_secs(600);
/// How much a server may ask at once.
const MAX_ASKED: usize = 32;
/// Answers that came while nobody waited for them: the newest ones are kept, as long as a question would be.
const MAX_KEPT: usize = 4;

const UNKNOWN: &str = "`requestState` names no call that waits here: its time was up, its server has ended, it has been \
                       answered, or it is somebody else's. Nothing was done again; a call without it is a new one";
const TO_VISIT: &str = "the server needs a URL to be visited first; it says which in answer to a new call";
const DECLINED: &str = "the server needs a URL to be visited first, which the client did not accept";

/// How clients are asked; see [`super::Config::asking`].
#[derive(Clone, Debug)]
pub struct Asking {
    /// What they have declared: the `capabilities` of the handshake, raw JSON.
    pub capabilities: Box<str>,
    /// This pod, or what stands for it.
    pub pod: Box<str>,
    /// This connection among those of the pod.
    pub place: u64,
    /// What makes names that nobody can guess.
    pub key: Key,
}

impl Asking {
    fn state(&self, number: u64) -> Box<str> {
        State { pod: &self.pod, place: self.place }.named(&self.key, number)
    }
}

impl Mux {
    /// Whether the server is lent to a call, or is about to be.
    pub fn is_lent(&self) -> bool {
        self.lends_now() || self.queue.iter().any(|queued| may_ask(queued.message.method()))
    }

    fn lends_now(&self) -> bool {
        let lent = self.parked.lent.as_ref();
        lent.is_some_and(|lent| matches!(lent.stage, Stage::Refused { .. }) || self.calls.get(lent.own).is_some())
    }

    fn who(&self, session: SessionKey, message: &Message) -> Who {
        let caller = self.sessions.get(&session).and_then(|session| session.owner.clone());
        Who { caller, digest: parked::digest(message) }
    }

    /// A call is given to the server as `own`: it is lent to that, if it is a call in which clients can be asked.
    pub(super) fn lend(&mut self, session: SessionKey, message: &Message, own: u64) {
        if self.config.asking.is_some() && may_ask(message.method()) && !self.lends_now() {
            self.unlend();
            let who = self.who(session, message);
            self.parked.lent = Some(Lent { own, who, asked: Vec::new(), stage: Stage::Running });
        }
    }

    /// The server asks something.
    pub(super) fn ask_in_call(&mut self, message: &Message, now: Clock) {
        let Some(id) = message.id() else { return };
        let capabilities = self.config.asking.as_ref().map_or("{}", |asking| &asking.capabilities);
        let entry = parked::entry(message, capabilities);
        let live = self.lends_now();
        let lent = self.parked.lent.as_mut().filter(|lent| live && !matches!(lent.stage, Stage::Refused { .. }));
        let (code, text) = match (lent, entry) {
            (_, Err(parked::Unasked)) => {
                (code::METHOD_NOT_FOUND, "the client has not declared that it can be asked this")
            }
            (None, _) => (code::METHOD_NOT_FOUND, "the client can be asked only while a call of its is worked on"),
            (Some(lent), _) if lent.asked.len() >= MAX_ASKED => {
                (code::INTERNAL_ERROR, "the client has too many questions to answer already")
            }
            (Some(lent), Ok(entry)) => {
                self.next_id += 1;
                lent.asked.push(Asked { key: self.next_id, id: Some(id), entry });
                if matches!(lent.stage, Stage::Running) {
                    lent.stage = Stage::Gathering(now.saturating_add(GATHER));
                }
                return;
            }
        };
        self.tell_server(Message::error(Some(&id), code, text, None));
    }

    /// The server takes back what it asked; whether it had asked it.
    pub(super) fn unask(&mut self, raw: &str) -> bool {
        let Some(lent) = &mut self.parked.lent else { return false };
        let before = lent.asked.len();
        lent.asked.retain(|asked| asked.id.as_ref().is_none_or(|id| id.raw() != raw.as_bytes()));
        if lent.asked.is_empty() && matches!(lent.stage, Stage::Gathering(_)) {
            lent.stage = Stage::Running;
        }
        lent.asked.len() < before
    }

    /// Answers a client's request `id` with what its call is to be sent again with. What it was asked is in the lent call.
    fn require(&mut self, id: &RequestId, again: bool, now: Clock) -> Option<Message> {
        let (lent, asking) = (self.parked.lent.as_mut()?, self.config.asking.as_ref()?);
        self.parked.named += 1;
        let state = asking.state(self.parked.named);
        let entries = lent.asked.iter().map(|asked| (asked.key, &*asked.entry));
        let message = Message::result(id, &parked::required(entries, &state));
        let until = now.saturating_add(LIFETIME);
        lent.stage = if again { Stage::Refused { state, until } } else { Stage::Parked { state, until } };
        Some(message)
    }

    /// Tells the client what is asked.
    fn park(&mut self, now: Clock) {
        let Some(own) = self.parked.lent.as_ref().map(|lent| lent.own) else { return };
        let Some(call) = self.calls.get_mut(own) else { return };
        let Asker::Client { session, id } = std::mem::replace(&mut call.asker, Asker::Parked) else { return };
        if let Some(message) = self.require(&id, false, now) {
            self.deliver(session, Relation::Answer(id), message);
        }
    }

    /// The answer to a call, as its client gets it.
    pub(super) fn adapted(&mut self, own: u64, id: &RequestId, call: &Call, answer: &Message, now: Clock) -> Rope {
        let Some(urls) = parked::urls(answer) else { return answer.with_id(id, self.adapt(call, answer)) };
        self.require_urls(own, id, urls, now).into()
    }

    fn require_urls(&mut self, own: u64, id: &RequestId, urls: Vec<Box<str>>, now: Clock) -> Message {
        let asking = self.config.asking.as_ref();
        let able = asking.is_some_and(|it| json::lookup(&it.capabilities, &["elicitation", "url"]).is_some());
        let lent = self.parked.lent.as_mut().filter(|lent| lent.own == own && able && !urls.is_empty());
        if let Some(lent) = lent {
            let keys = self.next_id + 1..;
            lent.asked = keys.zip(urls).map(|(key, entry)| Asked { key, id: None, entry }).collect();
            self.next_id = lent.asked.last().map_or(self.next_id, |asked| asked.key);
            if let Some(message) = self.require(id, true, now) {
                return message;
            }
        }
        let data = r#"{"requiredCapabilities":{"elicitation":{"url":{}}}}"#;
        let text = "the server needs the client to visit URLs, which it has not declared";
        Message::error(Some(id), crate::modern::code::MISSING_CAPABILITY, text, Some(data))
    }

    /// A parked call has ended: its client is told when it asks.
    pub(super) fn keep_answer(&mut self, call: Call, answer: Message) {
        let Some(Lent { stage: Stage::Parked { state, until }, who, asked, .. }) = self.parked.lent.take() else {
            return self.dropped += 1;
        };
        self.answer_for_client(asked, "the call has ended");
        self.parked.kept.push_back(Kept { state, until, who, call, answer });
        if self.parked.kept.len() > MAX_KEPT {
            self.parked.kept.pop_front();
        }
    }

    /// A call is sent again. Whether that is all; else it is to be made anew, because the server has asked for that.
    pub(super) fn resume(&mut self, session: SessionKey, message: &Message, now: Clock) -> bool {
        let Some(raw) = message.at(&["requestState"]) else { return false };
        let Some(id) = message.id() else { return true };
        let state = json::string(raw).unwrap_or_default();
        let who = self.who(session, message);
        if let Some(at) = self.parked.kept.iter().position(|kept| *kept.state == *state && kept.who == who) {
            let Some(Kept { call, answer, .. }) = self.parked.kept.remove(at) else { return true };
            if parked::urls(&answer).is_some() {
                self.refuse(session, message, code::INTERNAL_ERROR, TO_VISIT, None);
                return true;
            }
            let answer = answer.with_id(&id, self.adapt(&call, &answer));
            self.deliver(session, Relation::Answer(id), answer);
            return true;
        }
        let answers = Object::parse(message.at(&["inputResponses"]).unwrap_or("{}"));
        let live = self.lends_now();
        let is_it = |lent: &&mut Lent| {
            let parked = lent.parked().is_some_and(|(known, until)| known == state && until > now);
            live && parked && lent.who == who && who.digest.is_some()
        };
        let (code, text) = match (self.parked.lent.as_mut().filter(is_it), answers) {
            (None, _) => (code::INVALID_PARAMS, UNKNOWN),
            (Some(_), Err(_)) => (code::INVALID_PARAMS, "`inputResponses` must be an object, each key in it once"),
            (Some(lent), Ok(answers)) if !lent.are_results(&answers) => {
                (code::INVALID_PARAMS, "each of `inputResponses` must be an object")
            }
            (Some(_), Ok(answers)) => return self.take_answers(session, message, &answers, now),
        };
        self.refuse(session, message, code, text, None);
        true
    }

    /// Hands on what a client has answered. Whether that is all.
    fn take_answers(&mut self, session: SessionKey, message: &Message, answers: &Object<'_>, now: Clock) -> bool {
        let (Some(id), Some(lent)) = (message.id(), self.parked.lent.as_mut()) else { return true };
        let (own, again) = (lent.own, matches!(lent.stage, Stage::Refused { .. }));
        let answered = lent.answer(answers);
        let (missing, accepted) = (!lent.asked.is_empty(), answered.iter().all(|(_, raw)| is_accepted(raw)));
        for (asked, raw) in answered {
            if let Some(asked) = asked {
                self.tell_server(Message::result(&asked, raw));
            }
        }
        if again && !accepted {
            self.parked.lent = None;
            self.refuse(session, message, code::INTERNAL_ERROR, DECLINED, None);
        } else if missing {
            if let Some(required) = self.require(&id, again, now) {
                self.deliver(session, Relation::Answer(id), required);
            }
        } else if again {
            self.parked.lent = None;
            return false;
        } else {
            self.go_on(own, (session, id), message, now);
        }
        true
    }

    /// The call is worked on again, for a client that waits for it again.
    fn go_on(&mut self, own: u64, (session, id): (SessionKey, RequestId), message: &Message, now: Clock) {
        let wants_log = self.note_log_level(session, message, now);
        let token = message.at(&["_meta", "progressToken"]).map(|token| message.part(token).into_bytes());
        if let (Some(call), Some(lent)) = (self.calls.get_mut(own), &mut self.parked.lent) {
            call.asker = Asker::Client { session, id };
            (call.token, call.wants_log) = (token, wants_log);
            lent.stage = Stage::Running;
        }
        self.renew(own, now);
    }

    /// The call has ended, and the server may ask in another.
    fn unlend(&mut self) {
        if let Some(lent) = self.parked.lent.take() {
            self.answer_for_client(lent.asked, "the call in which it was asked has ended");
        }
    }

    /// Answers what the client will not.
    fn answer_for_client(&mut self, asked: Vec<Asked>, why: &str) {
        for Asked { id, entry, .. } in asked {
            let Some(id) = id else { continue };
            // What a user does that turns away (2025-06-18, "Elicitation", "Response Actions").
            let message = if entry.starts_with(r#"{"method":"elicitation/create""#) {
                Message::result(&id, r#"{"action":"cancel"}"#)
            } else {
                Message::error(Some(&id), REQUEST_TIMEOUT, why, None)
            };
            self.tell_server(message);
        }
    }

    /// Tells clients of what has been gathered, and gives up what nobody has come back for.
    pub(super) fn expire_parked(&mut self, now: Clock) {
        self.parked.kept.retain(|kept| kept.until > now);
        if !self.lends_now() {
            self.unlend();
        }
        match self.parked.lent.as_ref().and_then(Lent::deadline) {
            Some(deadline) if deadline <= now => {}
            _ => return,
        }
        if self.parked.lent.as_ref().is_some_and(|lent| lent.parked().is_none()) {
            return self.park(now);
        }
        let Some(Lent { own, asked, .. }) = self.parked.lent.take() else { return };
        self.answer_for_client(asked, "the client did not answer in time");
        if let Some(call) = self.calls.remove(own) {
            self.cancel_at_server(own, &call, "the client did not come back in time");
        }
    }
}

/// Whether a user agreed.
fn is_accepted(answer: &str) -> bool {
    json::lookup(answer, &["action"]).and_then(json::string).as_deref() == Some("accept")
}
