//! What is known of the call in which a client is asked, and of answers that came while nobody waited.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::calls::Call;
use crate::envelope::{Message, RequestId};
use crate::json::Object;
use crate::session::Clock;

/// Calls in which clients are asked, of one connection.
#[derive(Debug, Default)]
pub(in crate::session::mux) struct Parked {
    pub(super) lent: Option<Lent>,
    pub(super) kept: VecDeque<Kept>,
    /// How many names were given.
    pub(super) named: u64,
}

/// The call that may be asked in.
#[derive(Debug)]
pub(super) struct Lent {
    /// The id the server knows it by.
    pub(super) own: u64,
    pub(super) who: Who,
    /// What is to be answered yet, oldest first.
    pub(super) asked: Vec<Asked>,
    pub(super) stage: Stage,
}

/// Whose a call is, and which.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) caller: Option<Arc<str>>,
    pub(super) digest: Option<[u8; 32]>,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// The server works on it.
    Running,
    /// The server has asked; until then more that it asks is waited for.
    Gathering(Clock),
    /// The client has been told of what was asked.
    Parked { state: Box<str>, until: Clock },
    /// The same, where the server has ended the call and wants it made again afterwards.
    Refused { state: Box<str>, until: Clock },
}

#[derive(Debug)]
pub(super) struct Asked {
    pub(super) key: u64,
    /// The server's id; a URL that is to be visited before the call is made again has none.
    pub(super) id: Option<RequestId>,
    pub(super) entry: Box<str>,
}

/// An answer that nobody has waited for.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) state: Box<str>,
    pub(super) until: Clock,
    pub(super) who: Who,
    pub(super) call: Call,
    pub(super) answer: Message,
}

impl Lent {
    pub(super) fn parked(&self) -> Option<(&str, Clock)> {
        match &self.stage {
            Stage::Parked { state, until } | Stage::Refused { state, until } => Some((state, *until)),
            Stage::Running | Stage::Gathering(_) => None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Clock> {
        match self.stage {
            Stage::Gathering(at) => Some(at),
            _ => self.parked().map(|(_, until)| until),
        }
    }

    /// Whether what is answered of what was asked may be a result.
    pub(super) fn are_results(&self, answers: &Object<'_>) -> bool {
        let answers = self.asked.iter().filter_map(|asked| answers.get(&asked.key.to_string()));
        answers.into_iter().all(|raw| raw.starts_with('{'))
    }

    /// Takes what is answered out of what is asked.
    pub(super) fn answer<'a>(&mut self, answers: &Object<'a>) -> Vec<(Option<RequestId>, &'a str)> {
        let (mut answered, mut left) = (Vec::new(), Vec::new());
        for asked in self.asked.drain(..) {
            match answers.get(&asked.key.to_string()) {
                Some(raw) => answered.push((asked.id, raw)),
                None => left.push(asked),
            }
        }
        self.asked = left;
        answered
    }
}

impl Parked {
    /// The server is gone, and with it what it has asked.
    pub(in crate::session::mux) fn forget(&mut self) {
        self.lent = None;
    }

    pub(in crate::session::mux) fn deadline(&self) -> Option<Clock> {
        let kept = self.kept.front().map(|kept| kept.until);
        self.lent.as_ref().and_then(Lent::deadline).into_iter().chain(kept).min()
    }

    pub(in crate::session::mux) fn questions(&self) -> usize {
        self.lent.as_ref().map_or(0, |lent| lent.asked.len())
    }
}
