//! A server that refuses to shake hands because it is of 2026-07-28.

use super::calls::{Asker, Call};
use super::link::Link;
use super::{Mux, Out, Sharing};
use crate::envelope::{Kind, Message, code};
use crate::modern::probe;
use crate::session::Clock;
use crate::version::Version;

impl Mux {
    /// A server that refuses to shake hands, and names a revision of the newer era or does not know what that is, is used
    /// as one of that era from then on, by another connection; and so is one that would shake hands over such a revision,
    /// where hands are not shaken. What the client sent waits for it.
    pub fn may_turn(&mut self) {
        self.handshake.may_turn = true;
    }

    /// Whether the answer says so.
    pub(super) fn is_of_newer(&self, call: &Call, answer: &Message) -> bool {
        let is_newer = match answer.kind() {
            Kind::Result => answer.str_at(&["protocolVersion"]).is_some_and(|version| Version::is_modern(&version)),
            _ if probe::is_yes(answer) => true,
            _ => answer.at(&["code"]).is_some_and(|found| found.parse() == Ok(code::METHOD_NOT_FOUND)),
        };
        // One that shook hands before is of the older era.
        let first = self.handshake.may_turn && self.handshake.accepted.is_none() && self.handshake.result.is_none();
        first && is_newer && &*call.method == "initialize" && self.config.sharing != Sharing::Exchanges
    }

    /// Goes on with another connection; `call` was refused.
    pub(super) fn turn(&mut self, call: Call, now: Clock) {
        (self.config.sharing, self.link) = (Sharing::Exchanges, Link::Down);
        let text = "the server does not shake hands, and this came before that was known; send it again";
        for (_, lost) in self.calls.drain() {
            self.fail(lost, code::INTERNAL_ERROR, text, None);
        }
        let params = self.handshake.proposed.take();
        if let Asker::Client { session, id } = call.asker {
            self.wait(session, Message::call(Some(&id), "initialize", params.as_deref()), now);
        }
        self.out.push_back(Out::Turned);
    }
}
