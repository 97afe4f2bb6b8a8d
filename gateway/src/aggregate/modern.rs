//! All servers as one for clients of 2026-07-28.
//!
//! Each request is a task, which ends with the answer, or with its client: who closes the response has cancelled. What is
//! about all servers is answered here ([`answers`]), what is about one is passed on ([`call`]) to its sidecar ([`member`]),
//! and for as long as somebody listens to changes ([`listen`]), so does a request to each server whose resources are
//! watched ([`follow`]). No request knows of another; what servers offer to their caller alone outlives them ([`own`]).

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use mcp::envelope::{Message, RequestId, code};
use mcp::json::{self, Rope};
use mcp::modern::{DISCOVER, LISTEN, meta};
use mcp::session::mux::Relation;
use tokio::sync::mpsc;
use wire::clients::Exchange;
use wire::session::{Caller, Command, Departures, Exchanges, StreamTx};
use wire::upstream::Reply;

use super::catalogue::{Kind, Merged};
use super::profile::Capabilities;
use super::routing::Refusal;
use super::sight::Sight;
use super::{Aggregate, principal, rewrite};
use own::Owner;

mod answers;
mod call;
mod follow;
mod listen;
mod member;
pub(super) mod own;

/// One request.
#[derive(Debug)]
struct Asked {
    aggregate: Aggregate,
    caller: Caller,
    id: RequestId,
    message: Message,
    /// The headers that repeat arguments of a tool.
    repeated: Vec<(HeaderName, HeaderValue)>,
    owner: Owner,
    sight: Sight,
    out: Exchange,
}

impl Aggregate {
    /// Takes one request.
    pub(super) fn take_exchange(&self) -> Exchanges {
        // There is only the one.
        let (commands, taken) = mpsc::channel(1);
        let departures = Arc::<Departures>::default();
        self.0.tasks.spawn(serve(self.clone(), taken, Arc::clone(&departures)));
        Exchanges::new(commands, departures)
    }

    /// The lists for a client with this sight.
    fn lists(&self, sight: &Sight) -> Arc<Merged> {
        self.0.shown.lists(sight, &self.0.routes)
    }
}

async fn serve(aggregate: Aggregate, mut commands: mpsc::Receiver<Command>, departures: Arc<Departures>) {
    // None comes when what was posted is refused.
    let Some(Command::Exchange { caller, message, repeated, stream, .. }) = commands.recv().await else { return };
    let forced = aggregate.0.forced.clone();
    // Notifications mean nothing here: a client that cancels closes the response.
    let Some(asked) = Asked::new(aggregate, caller, message, repeated, stream) else { return };
    let rest = tokio::select! {
        biased;
        () = departures.arrived() => None,
        () = forced.cancelled() => None,
        rest = asked.answer() => rest,
    };
    if let Some(reply) = rest {
        reply.finish().await;
    }
}

impl Asked {
    fn new(
        aggregate: Aggregate,
        caller: Caller,
        message: Message,
        repeated: Vec<(HeaderName, HeaderValue)>,
        stream: StreamTx,
    ) -> Option<Self> {
        let id = message.id()?;
        let capabilities = Capabilities::of(message.at(&["_meta", meta::CLIENT_CAPABILITIES]).unwrap_or("{}"));
        let mut sight = Sight::new(&aggregate, principal(&caller));
        sight.adopt(&aggregate, &capabilities);
        let owner = Owner { caller: caller.clone(), capabilities };
        sight.adopt_own(aggregate.0.owners.follow(&owner));
        Some(Self { aggregate, caller, id, message, repeated, owner, sight, out: Exchange::new(stream) })
    }

    /// Answers, and leaves what a server still says behind its answer.
    async fn answer(mut self) -> Option<Reply> {
        match (self.message.method(), Kind::of(self.message.method())) {
            (DISCOVER, _) => {
                let lists = self.settled().await;
                self.result([answers::discover(&lists).into()]);
            }
            (_, Some(kind)) => self.list(kind).await,
            (LISTEN, _) => Box::pin(self.listen()).await,
            _ => return self.pass_on().await,
        }
        None
    }

    async fn list(mut self, kind: Kind) {
        let lists = self.settled().await;
        let cursor = self.message.str_at(&["cursor"]).map(std::borrow::Cow::into_owned);
        match answers::page(&lists, kind, cursor.as_deref()) {
            Ok(page) => self.result(page),
            Err(error) => self.refuse(&Refusal::Params(error.to_string())),
        }
    }

    /// The lists for the client, as up to date as is worth waiting for.
    async fn settled(&mut self) -> Arc<Merged> {
        let change = self.aggregate.0.routes.latest_change();
        self.sight.settle(change).await;
        self.lists()
    }

    fn lists(&self) -> Arc<Merged> {
        self.aggregate.lists(&self.sight)
    }

    fn result(&mut self, pieces: impl IntoIterator<Item = Bytes>) {
        self.end(rewrite::result(&self.id, pieces));
    }

    fn refuse(&mut self, refusal: &Refusal) {
        let data = match refusal {
            Refusal::NoResource(uri) => Some(format!(r#"{{"uri":{}}}"#, json::quote(uri))),
            Refusal::Params(_) | Refusal::NoMethod(_) => None,
        };
        self.error(refusal.modern_code(), &refusal.text(), data.as_deref());
    }

    /// A server did not answer.
    fn fail(&mut self, why: &str) {
        self.error(code::INTERNAL_ERROR, why, None);
    }

    fn error(&mut self, code: i32, text: &str, data: Option<&str>) {
        self.end(Message::error(Some(&self.id), code, text, data).into());
    }

    fn end(&mut self, answer: Rope) {
        self.out.send(Relation::Answer(self.id.clone()), answer);
    }

    /// Sends what comes before the answer. Whether somebody takes it.
    fn tell(&mut self, message: Rope) -> bool {
        self.out.send(Relation::During(self.id.clone()), message)
    }
}

#[cfg(test)]
mod tests;
