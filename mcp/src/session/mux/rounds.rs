//! Questions that a server of 2026-07-28 asks by the result of a request: they are put to the client while its request
//! goes on, and the request is made again with the answers. The server keeps nothing meanwhile, so that even its
//! successor can go on.

use bytestring::ByteString;

use super::calls::{Asker, Call};
use super::link::Link;
use super::server::UNHEARD;
use super::{MAX_QUESTIONS, Mux, Relation};
use crate::envelope::{Kind, Message, code};
use crate::json;
use crate::modern::rounds::{NOT_ELICITED, Question, answered, asked};
use crate::session::{Clock, SessionKey};

/// A server that asks this often for one request does not mean to answer.
const MAX_ROUNDS: u32 = 32;
/// What is kept of a request to be made again, in bytes, unless there is room for more.
const SMALL: usize = 16 << 10;
/// The room for larger ones.
const MAX_KEPT: usize = 32 << 20;

/// What it takes to make a request again.
#[derive(Debug)]
pub(super) struct Again {
    request: Message,
    rounds: u32,
    /// What the server waits for; `None` while it works.
    round: Option<Round>,
}

#[derive(Debug)]
struct Round {
    state: Option<ByteString>,
    /// By what the server calls them, in its order.
    answers: Vec<(Box<str>, Option<ByteString>)>,
}

/// A question that a client has yet to answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) session: SessionKey,
    /// What the client was asked beside.
    relation: Relation,
    /// The call, and the place of its answer.
    call: u64,
    at: usize,
    /// Whether no answer is one, too.
    elicits: bool,
}

impl Again {
    pub(super) fn new(request: Message) -> Self {
        Self { request, rounds: 0, round: None }
    }

    /// Whether the client has yet to answer something.
    pub(super) fn is_asking(&self) -> bool {
        self.round.as_ref().is_some_and(|round| !round.is_complete())
    }

    fn is_answered(&self) -> bool {
        self.round.as_ref().is_some_and(Round::is_complete)
    }

    fn large(&self) -> usize {
        Some(self.request.raw().len()).filter(|len| *len > SMALL).unwrap_or_default()
    }
}

impl Round {
    fn is_complete(&self) -> bool {
        self.answers.iter().all(|(_, answer)| answer.is_some())
    }
}

impl Mux {
    /// Whether there is room for keeping the request while it is worked on.
    pub(super) fn may_keep(&self, request: &Message) -> bool {
        let kept = || self.calls.iter().filter_map(|(_, call)| Some(call.again.as_ref()?.large())).sum::<usize>();
        request.raw().len() <= SMALL || kept() + request.raw().len() <= MAX_KEPT
    }

    /// The result of a request asks something. The call has been taken out.
    pub(super) fn take_round(&mut self, own: u64, mut call: Call, message: &Message, now: Clock) {
        let questions = match self.open_round(&mut call, message) {
            Ok(questions) => questions,
            Err(why) => {
                let text = format!("server `{}` cannot go on with {}: {why}", self.config.server, call.method);
                return self.fail(call, code::INTERNAL_ERROR, &text, None);
            }
        };
        let Asker::Client { session, id } = &call.asker else { return };
        let (session, relation) = (*session, Relation::During(id.clone()));
        self.reenter(own, call, now);
        for (at, question) in questions.into_iter().enumerate() {
            self.next_id += 1;
            let (asked, elicits) = (self.next_id, question.elicits());
            let deadline = now.saturating_add(self.hard_limit());
            let reply = Reply { session, relation: relation.clone(), call: own, at, elicits };
            self.unrolled.asked.insert(asked, deadline, reply);
            let params = question.params(asked);
            let request = Message::call(Some(&asked.into()), &question.method, Some(&params));
            self.deliver(session, relation.clone(), request);
        }
        self.repeat_if_answered(own, now);
    }

    /// Takes note of what is asked.
    fn open_round(&self, call: &mut Call, message: &Message) -> Result<Vec<Question>, String> {
        let Asker::Client { session, .. } = call.asker else { return Ok(Vec::new()) };
        let client = self.sessions.get(&session).and_then(|state| state.client.as_deref());
        let client = client.ok_or("the client has not shaken hands")?;
        let again = call.again.as_mut().ok_or("it asks something of a request that cannot be made again")?;
        again.rounds += 1;
        if again.rounds > MAX_ROUNDS {
            return Err(format!("it has asked {MAX_ROUNDS} times and still wants more"));
        }
        let asked = asked(message, client)?;
        if self.unrolled.asked() + asked.questions.len() > MAX_QUESTIONS {
            return Err("clients have too many questions to answer already".to_owned());
        }
        let answers = asked.questions.iter().map(|question| (question.key.clone(), None)).collect();
        again.round = Some(Round { state: asked.state, answers });
        Ok(asked.questions)
    }

    /// A client answers.
    pub(super) fn take_reply(&mut self, session: SessionKey, message: &Message, now: Clock) {
        let id = message.id().and_then(|id| id.as_u64());
        let known = id.filter(|id| self.unrolled.asked.get(*id).is_some_and(|reply| reply.session == session));
        let Some(reply) = known.and_then(|id| self.unrolled.asked.remove(id)) else { return self.dropped += 1 };
        match (message.kind(), message.body()) {
            (Kind::Result, Some(result)) => self.fill(&reply, message.part(result)),
            _ if reply.elicits => self.fill(&reply, NOT_ELICITED.into()),
            // The server has no place for an error: the call fails with it.
            _ => return self.fail_with(reply.call, message),
        }
        self.repeat_if_answered(reply.call, now);
    }

    fn fail_with(&mut self, own: u64, error: &Message) {
        let Some(Call { asker: Asker::Client { session, id }, .. }) = self.calls.remove(own) else { return };
        self.forget_asked(own, "another question was not answered");
        let message = error.with_id(&id, None);
        self.deliver(session, Relation::Answer(id), message);
    }

    fn fill(&mut self, reply: &Reply, answer: ByteString) {
        let Some(round) = self.calls.get_mut(reply.call).and_then(|call| call.again.as_mut()?.round.as_mut()) else {
            return;
        };
        if let Some((_, place)) = round.answers.get_mut(reply.at) {
            *place = Some(answer);
        }
    }

    /// There will be no answer to what a client was asked as `id`.
    pub(super) fn give_up(&mut self, id: u64, code: i32, why: &str) {
        let Some(reply) = self.unrolled.asked.remove(id) else { return };
        self.retract(reply.session, reply.relation.clone(), id, why);
        if reply.elicits {
            self.fill(&reply, NOT_ELICITED.into());
            // It is made again when there is time.
            self.unrolled.fold.due = Some(Clock::ZERO);
        } else if let Some(call) = self.calls.remove(reply.call) {
            self.forget_asked(reply.call, why);
            self.fail(call, code, why, None);
        }
    }

    /// The same, when the client has no ears for the question `message`; whether it was one.
    pub(super) fn give_up_unheard(&mut self, message: &Message) -> bool {
        let asked = message.id().filter(|_| message.kind() == Kind::Request).and_then(|id| id.as_u64());
        let Some(asked) = asked.filter(|id| self.unrolled.asked.get(*id).is_some()) else { return false };
        self.give_up(asked, code::INTERNAL_ERROR, UNHEARD);
        true
    }

    /// The call `own` has ended: what its client was asked is of no interest any more.
    pub(super) fn forget_asked(&mut self, own: u64, why: &str) {
        let of = |(id, reply): (u64, &Reply)| (reply.call == own).then_some(id);
        for id in self.unrolled.asked.iter().filter_map(of).collect::<Vec<_>>() {
            let Some(Reply { session, relation, .. }) = self.unrolled.asked.remove(id) else { continue };
            self.retract(session, relation, id, why);
        }
    }

    fn retract(&mut self, session: SessionKey, relation: Relation, id: u64, why: &str) {
        let params = format!(r#"{{"requestId":{id},"reason":{}}}"#, json::quote(why));
        self.deliver(session, relation, Message::call(None, "notifications/cancelled", Some(&params)));
    }

    /// Makes again all requests whose questions are answered.
    pub(super) fn repeat_answered(&mut self, now: Clock) {
        for own in self.calls.iter().map(|(own, _)| own).collect::<Vec<_>>() {
            self.repeat_if_answered(own, now);
        }
    }

    fn repeat_if_answered(&mut self, own: u64, now: Clock) {
        let is_answered = |call: &Call| call.again.as_ref().is_some_and(|again| again.is_answered());
        if self.link == Link::Up && self.calls.get(own).is_some_and(is_answered) {
            self.repeat(own, now);
        }
    }

    fn repeat(&mut self, own: u64, now: Clock) {
        let Some(mut call) = self.calls.remove(own) else { return };
        let Some((again, Asker::Client { session, .. })) = call.again.as_mut().map(|again| (again, &call.asker)) else {
            return;
        };
        let (session, request) = (*session, again.request.clone());
        let Some(round) = again.round.take() else { return };
        let answers = round.answers.iter().filter_map(|(key, answer)| Some((&**key, &**answer.as_ref()?)));
        let more = answered(answers, round.state.as_deref());
        self.next_id += 1;
        let own = self.next_id;
        self.reenter(own, call, now);
        self.send_stamped(session, own, &request, &more);
    }
}
