//! The members of one session of the aggregate.
//!
//! The hubs behind them run inside the session's own task: a call then wakes one task on its way, not two.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::task::{Context, Poll};

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use mcp::envelope::Message;
use mcp::session::streams::Delivery;

use super::member::{Member, Opener};
use crate::store::Uid;

type Hubs = FuturesUnordered<BoxFuture<'static, ()>>;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Members {
    opener: Opener,
    open: BTreeMap<String, Member>,
    /// Those of members that were let go as well, until they have ended in order.
    hubs: Hubs,
    /// The member whose message was taken last.
    served: String,
}

impl Members {
    /// None yet.
    pub(super) fn new(opener: Opener) -> Self {
        Self { opener, open: BTreeMap::new(), hubs: Hubs::new(), served: String::new() }
    }

    /// Opens a member's session, unless it is open; see [`Opener::open`].
    pub(super) async fn open(&mut self, name: &str, uid: Uid, params: &str, log_level: Option<&str>) {
        if self.open.contains_key(name) {
            return;
        }
        if let Some((member, hub)) = self.opener.open(name, uid, params, log_level).await {
            self.open.insert(name.to_owned(), member);
            self.hubs.push(hub);
        }
    }

    /// Names of the open members that `which` picks by name and identity.
    pub(super) fn names(&self, which: impl Fn(&str, Uid) -> bool) -> Vec<String> {
        self.open.iter().filter(|(name, member)| which(name, member.uid)).map(|(name, _)| name.clone()).collect()
    }

    /// Lets go of a member; its session ends.
    pub(super) fn remove(&mut self, name: &str) {
        self.open.remove(name);
    }

    /// Sends a message; whether the member is open and has not ended.
    pub(super) async fn send(&mut self, name: &str, message: Message) -> bool {
        let Some(member) = self.open.get(name) else { return false };
        tokio::select! {
            biased;
            sent = member.send(message) => sent.is_ok(),
            // Only they make room, where there is none.
            never = drive(&mut self.hubs) => match never {},
        }
    }

    /// The next message of any member; `None` of it when that member's session has ended. Nothing is lost when the future
    /// is dropped.
    pub(super) async fn next(&mut self) -> (String, Option<Box<Delivery>>) {
        let (name, delivery) = poll_fn(|cx| {
            while let Poll::Ready(Some(())) = self.hubs.poll_next_unpin(cx) {}
            self.poll_messages(cx)
        })
        .await;
        self.served.clone_from(&name);
        (name, delivery)
    }

    fn poll_messages(&mut self, cx: &mut Context<'_>) -> Poll<(String, Option<Box<Delivery>>)> {
        let served = self.served.as_str();
        // Those behind the one that was served last come first: one that never stops keeps nobody waiting.
        for turn in [(Excluded(served), Unbounded), (Unbounded, Included(served))] {
            for (name, member) in self.open.range_mut::<str, _>(turn) {
                if let Poll::Ready(delivery) = member.poll_next(cx) {
                    return Poll::Ready((name.clone(), delivery));
                }
            }
        }
        Poll::Pending
    }

    /// Ends all sessions, in order.
    pub(super) async fn end(mut self) {
        self.open.clear();
        while self.hubs.next().await.is_some() {}
    }
}

async fn drive(hubs: &mut Hubs) -> Infallible {
    while hubs.next().await.is_some() {}
    pending().await
}
