//! One stream of changes for all clients of older revisions before a server of 2026-07-28 ("Subscriptions"): it is told of
//! changed lists when one of them has shaken hands, and of every resource that any is subscribed to. What is wanted of it
//! changes by another stream, which takes its place when the server has acknowledged it, so that nothing is missed between.

use std::collections::BTreeSet;
use std::time::Duration;

use super::calls::{Asker, Call};
use super::link::Link;
use super::{Mux, Relation, Sharing};
use crate::envelope::Message;
use crate::json;
use crate::modern::listen::LISTS;
use crate::modern::{LISTEN, downgrade, probe};
use crate::session::Clock;

mod watched;

use self::watched::Waiting;

/// How long it is waited before a stream that the server ended is opened again; each further time twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause, and how long a stream must go on for the next to be the first again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Fold {
    /// What the server last said that it can do: raw JSON.
    pub(super) capabilities: Box<str>,
    /// When something is to be done.
    pub(super) due: Option<Clock>,
    /// The stream that is acknowledged.
    open: Option<Stream>,
    /// The one that is to take its place.
    next: Option<Stream>,
    waiting: Vec<Waiting>,
    pause: Duration,
    /// Until then no stream is opened; for ever, when the server does not know what that is.
    rests: Clock,
    /// Changes may have been missed.
    gap: bool,
}

#[derive(Debug)]
struct Stream {
    /// The call that opened it.
    id: u64,
    wanted: Wanted,
    since: Clock,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    lists: bool,
    updates: BTreeSet<Box<str>>,
}

impl Fold {
    fn is(&self, id: u64) -> bool {
        self.open.iter().chain(&self.next).any(|stream| stream.id == id)
    }

    /// Whether nothing is open, and nothing wanted.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_none() && self.next.is_none() && self.waiting.is_empty()
    }
}

impl super::Unrolled {
    pub(super) fn is_folded(&self, id: u64) -> bool {
        self.fold.is(id)
    }

    /// The server has gone, and whatever was open with it.
    pub(super) fn lose(&mut self) {
        let Fold { open, next, waiting, gap, .. } = &mut self.fold;
        *gap |= open.take().is_some();
        *next = None;
        waiting.clear();
        (self.fold.due, self.fold.rests) = (None, Clock::ZERO);
    }
}

impl Mux {
    fn wanted(&self) -> Wanted {
        let lists = LISTS.iter().any(|(.., capability)| self.tells(capability)) && self.has_greeted();
        let waiting = self.unrolled.fold.waiting.iter().filter(|it| self.calls.get(it.call).is_some());
        let subscribed = self.sessions.values().filter(|state| state.owner.is_none());
        let subscribed = subscribed.flat_map(|state| &state.subscriptions);
        Wanted { lists, updates: waiting.map(|waiting| &waiting.uri).chain(subscribed).cloned().collect() }
    }

    /// Whether the server tells when that list has changed.
    fn tells(&self, capability: &str) -> bool {
        self.server_declares(&[capability, "listChanged"])
    }

    /// Sees to it that the stream tells what is wanted.
    pub(super) fn refold(&mut self, now: Clock) {
        self.unrolled.fold.due = None;
        if self.config.sharing != Sharing::Exchanges || self.link != Link::Up {
            return;
        }
        if let Some((id, since)) = self.unrolled.fold.next.as_ref().map(|next| (next.id, next.since)) {
            let limit = since.saturating_add(self.config.request_timeout);
            if now < limit {
                self.unrolled.fold.due = Some(limit);
                return;
            }
            self.close(id, "it was not acknowledged");
            return self.end_folded(id, None, now);
        }
        let (wanted, nothing) = (self.wanted(), Wanted::default());
        if self.unrolled.fold.open.as_ref().map_or(&nothing, |open| &open.wanted) == &wanted {
            return;
        }
        if wanted == nothing {
            if let Some(open) = self.unrolled.fold.open.take() {
                self.close(open.id, "nobody wants it any more");
            }
        } else if now < self.unrolled.fold.rests {
            self.unrolled.fold.due = Some(self.unrolled.fold.rests);
        } else {
            self.open_stream(wanted, now);
        }
    }

    fn open_stream(&mut self, wanted: Wanted, now: Clock) {
        let lists = LISTS.iter().filter(|(.., capability)| wanted.lists && self.tells(capability));
        let lists = lists.map(|(_, key, _)| format!(r#""{key}":true"#));
        let uris: Vec<_> = wanted.updates.iter().map(|uri| json::quote(uri)).collect();
        let updates = (!uris.is_empty()).then(|| format!(r#""resourceSubscriptions":[{}]"#, uris.join(",")));
        let members: Vec<_> = lists.chain(updates).collect();
        let params = format!(r#"{{"_meta":{},"notifications":{{{}}}}}"#, probe::own_meta("{}"), members.join(","));
        let id = self.call(Call::new(Asker::Upkeep, LISTEN), now);
        self.tell_server(Message::call(Some(&id.into()), LISTEN, Some(&params)));
        self.unrolled.fold.next = Some(Stream { id, wanted, since: now });
        self.unrolled.fold.due = Some(now.saturating_add(self.config.request_timeout));
    }

    /// Ends a stream at the server.
    fn close(&mut self, id: u64, why: &str) {
        if let Some(call) = self.calls.remove(id) {
            self.cancel_at_server(id, &call, why);
        }
    }

    /// Something on a stream.
    pub(super) fn take_folded(&mut self, own: u64, message: &Message, now: Clock) {
        let fold = &self.unrolled.fold;
        let is = |stream: &Option<Stream>| stream.as_ref().is_some_and(|stream| stream.id == own);
        match message.method() {
            "notifications/subscriptions/acknowledged" if is(&fold.next) => self.acknowledged(message, now),
            "notifications/resources/updated" if is(&fold.open) => {
                let subscribers = message.str_at(&["uri"]).map(|uri| self.subscribers(&uri));
                self.notify(subscribers.unwrap_or_default(), &downgrade::unmarked(message));
            }
            method if is(&fold.open) && LISTS.iter().any(|(known, ..)| *known == method) => {
                self.notify(self.greeted().collect(), &downgrade::unmarked(message));
            }
            _ => self.dropped += 1,
        }
    }

    /// The next stream takes the place of the one before.
    fn acknowledged(&mut self, message: &Message, now: Clock) {
        let Some(next) = self.unrolled.fold.next.take() else { return };
        let agreed = message.at(&["notifications"]).map(|agreed| {
            let uris = json::lookup(agreed, &["resourceSubscriptions"]).and_then(json::elements).unwrap_or_default();
            uris.into_iter().filter_map(json::string).map(Box::from).collect::<BTreeSet<Box<str>>>()
        });
        for waiting in std::mem::take(&mut self.unrolled.fold.waiting) {
            if !next.wanted.updates.contains(&waiting.uri) {
                // Who has left, or has cancelled, waits no more.
                self.unrolled.fold.waiting.extend(self.calls.get(waiting.call).is_some().then_some(waiting));
            } else if let Some(call) = self.calls.remove(waiting.call) {
                self.settle(waiting, call, agreed.as_ref());
            }
        }
        if let Some(before) = self.unrolled.fold.open.replace(next) {
            self.close(before.id, "another stream has taken its place");
        }
        if std::mem::take(&mut self.unrolled.fold.gap) {
            self.tell_missed();
        }
        self.refold(now);
    }

    /// Whatever may have changed while no stream was open is said to have.
    fn tell_missed(&mut self) {
        for (method, _, capability) in LISTS {
            if self.tells(capability) {
                self.notify(self.greeted().collect(), &Message::call(None, method, Some("{}")));
            }
        }
        for session in self.greeted().collect::<Vec<_>>() {
            let uris = self.sessions.get(&session).map(|state| state.subscriptions.clone()).unwrap_or_default();
            for uri in uris {
                let params = format!(r#"{{"uri":{}}}"#, json::quote(&uri));
                let message = Message::call(None, "notifications/resources/updated", Some(&params));
                self.deliver(session, Relation::None, message);
            }
        }
    }

    /// The server has ended the stream `own`, by an answer or otherwise. It is opened again after a pause.
    pub(super) fn end_folded(&mut self, own: u64, answer: Option<&Message>, now: Clock) {
        let fold = &mut self.unrolled.fold;
        let lived = |stream: &Stream| now.saturating_sub(stream.since);
        if fold.next.as_ref().is_some_and(|next| next.id == own) {
            fold.next = None;
            self.refuse_waiting(answer);
        } else if let Some(ended) = fold.open.take_if(|open| open.id == own) {
            fold.gap = true;
            if lived(&ended) >= LONGEST_PAUSE {
                fold.pause = Duration::ZERO;
            }
        } else {
            return self.dropped += 1;
        }
        let fold = &mut self.unrolled.fold;
        fold.pause = (fold.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        if fold.rests < Clock::MAX {
            fold.rests = now.saturating_add(fold.pause);
        }
        self.refold(now);
    }
}
