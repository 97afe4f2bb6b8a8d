//! All servers as one.
//!
//! What the servers offer is merged ahead of time ([`catalogue`]) and lists are answered from that, so that a slow or
//! dead server delays nobody. A client's session is a task of the gateway's own ([`session`]), which opens a session of
//! a member the first time it is called ([`member`], [`members`]), as the client would: with the client's own version and
//! capabilities. Requests of 2026-07-28 stand alone, each a task ([`modern`]). [`sight`] is what a client sees, [`routing`]
//! which server a request is for, [`rewrite`] what messages go through on the way.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mcp::envelope::Message;
use mcp::names::Style;
use mcp::session::streams::Transport;
use prometheus_client::registry::Registry as Metrics;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::client::HttpClient;
use wire::front::{Door, Unavailable};
use wire::session::{Caller, Exchanges, Registry, SessionHandle, SessionId};

use crate::access::{Access, View};
use crate::keys::{Principal, PrincipalHash};
use crate::routes::Routes;
use crate::seal::{Handle, Kind, Sealer};
use crate::store::Uid;

mod catalogue;
mod kept;
mod member;
mod members;
mod metrics;
mod modern;
mod offered;
mod profile;
mod rewrite;
mod routing;
mod session;
mod shown;
mod sight;

use catalogue::Merged;
use kept::{Follower, Kept};
use modern::own::Owners;
use profile::{Capabilities, Profile};
use session::Session;
use shown::Shown;

/// How long changes of servers are collected before the lists are merged anew.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// So many sets of client capabilities are told apart; a server is asked what it offers to each of them, and starts a
/// process for the answer.
const MAX_PROFILES: usize = 16;
/// How long what is known for such clients outlives the last of them.
const PROFILE_KEPT: Duration = Duration::from_secs(60);
/// A session that does nothing for this long ends.
const IDLE: Duration = Duration::from_secs(600);

/// See the [module](self). Clones share it.
#[derive(Clone, Debug)]
pub struct Aggregate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    routes: Routes,
    client: HttpClient,
    sealer: Sealer,
    /// This gateway, as handles name it.
    instance: Uid,
    /// Knows what each caller sees.
    access: Access,
    merged: Kept<Merged>,
    profiles: Mutex<HashMap<Capabilities, Kept<Profile>>>,
    shown: Shown,
    owners: Owners,
    style: Style,
    sessions: Registry,
    tasks: TaskTracker,
    draining: CancellationToken,
    forced: CancellationToken,
}

impl Aggregate {
    /// The servers of `routes` as one, each caller's as far as `access` says.
    /// `instance` is this gateway's own identity, as session handles name it; `style` is how tools and prompts are named.
    pub fn new(
        (routes, client): (Routes, HttpClient),
        sealer: Sealer,
        instance: Uid,
        access: Access,
        style: Style,
    ) -> Self {
        Self(Arc::new(Inner {
            routes,
            client,
            sealer,
            instance,
            access,
            merged: Kept::default(),
            profiles: Mutex::default(),
            shown: Shown::new(style),
            owners: Owners::default(),
            style,
            sessions: Registry::default(),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            forced: CancellationToken::new(),
        }))
    }

    /// Keeps the merged lists in step with the servers, for ever.
    pub async fn follow(self) {
        let mut changes = self.0.routes.follow();
        loop {
            let change = *changes.borrow_and_update();
            let merged =
                Merged::build(&self.0.routes.now(), (&View::All, self.0.style), |_, _| None, &self.0.merged.now());
            self.0.merged.publish(merged, change, Merged::differs);
            if changes.changed().await.is_err() {
                return;
            }
            tokio::time::sleep(DEBOUNCE).await;
        }
    }

    /// Ends sessions as soon as they wait for nothing, and all when `forced`.
    pub async fn drain(&self, forced: impl Future<Output = ()>) {
        self.0.draining.cancel();
        self.0.tasks.close();
        tokio::select! {
            () = self.0.tasks.wait() => {}
            () = forced => {
                self.0.forced.cancel();
                self.0.tasks.wait().await;
            }
        }
    }

    /// Adds its figures to the metrics.
    pub fn register(&self, metrics: &mut Metrics) {
        metrics::register(metrics, self.0.sessions.clone());
    }

    /// What the servers offer to clients with these capabilities: followed by one task for all such clients. `None` for
    /// clients that get what everybody gets: they have none, or there are as many kinds of clients as may be.
    fn profile(&self, capabilities: &Capabilities) -> Option<Follower<Profile>> {
        if capabilities.is_empty() {
            return None;
        }
        let mut profiles = self.0.profiles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(profile) = profiles.get(capabilities) {
            return Some(profile.follow());
        }
        if profiles.len() >= MAX_PROFILES {
            tracing::debug!("a client gets the lists for all: there are {MAX_PROFILES} kinds of clients already");
            return None;
        }
        let kept = Kept::default();
        let follower = kept.follow();
        profiles.insert(capabilities.clone(), kept.clone());
        let (this, capabilities) = (self.clone(), capabilities.clone());
        self.0.tasks.spawn(async move {
            let from = (this.0.routes.clone(), this.0.client.clone());
            let follow = profile::follow(from, capabilities.clone(), kept.clone(), this.0.style);
            tokio::select! {
                () = follow => {}
                () = this.forsaken(&capabilities, &kept) => {}
                () = this.0.draining.cancelled() => {}
            }
        });
        Some(follower)
    }

    /// Waits until nobody has followed a profile for a while, and forgets it.
    async fn forsaken(&self, capabilities: &Capabilities, profile: &Kept<Profile>) {
        loop {
            profile.forsaken().await;
            // Whoever comes and goes finds it again.
            tokio::time::sleep(PROFILE_KEPT).await;
            // Under the lock, as that is where others begin to follow.
            let mut profiles = self.0.profiles.lock().unwrap_or_else(PoisonError::into_inner);
            if profile.is_forsaken() {
                profiles.remove(capabilities);
                return;
            }
        }
    }
}

impl Door for Aggregate {
    async fn open(&self, caller: Caller, transport: Transport) -> Result<SessionHandle, Unavailable> {
        let refuse = |reason: &str| Unavailable { reason: reason.to_owned(), retry_after: Duration::from_secs(2) };
        if self.0.draining.is_cancelled() {
            return Err(refuse("the gateway is stopping; connect again"));
        }
        let id = SessionId::random().map_err(|error| refuse(&format!("no session can be named: {error}")))?;
        let (session, handle) = Session::open(self.clone(), id, caller, transport);
        let handle = handle.ok_or_else(|| refuse("the gateway is stopping; connect again"))?;
        self.0.tasks.spawn(session.run());
        Ok(handle)
    }

    async fn exchanges(&self, _: &Caller, _: &Message) -> Result<Option<Exchanges>, Unavailable> {
        Ok(Some(self.take_exchange()))
    }

    fn find(&self, presented: &str, caller: &Caller) -> Option<SessionHandle> {
        let handle = self.0.sealer.open(presented)?;
        let ours = handle.server.is_empty() && handle.instance == self.0.instance;
        let mine = handle.principal == principal(caller);
        let session = self.0.sessions.find(&handle.session, caller).filter(|_| ours && mine)?;
        let streamable = session.transport == Transport::Streamable;
        (streamable == (handle.kind == Kind::Streamable)).then_some(session)
    }

    fn present(&self, session: &SessionHandle, pass: bool) -> String {
        let kind = match (session.transport, pass) {
            (Transport::Streamable, _) => Kind::Streamable,
            (Transport::Sse, false) => Kind::Sse,
            (Transport::Sse, true) => Kind::SsePass,
        };
        self.0.sealer.seal(&Handle {
            kind,
            server: String::new(),
            instance: self.0.instance,
            session: session.id.as_str().to_owned(),
            principal: principal(&session.caller),
        })
    }
}

/// The principal that a caller was admitted as.
fn principal(caller: &Caller) -> PrincipalHash {
    caller.0.parse().unwrap_or_else(|_| Principal::Anonymous.hash())
}

#[cfg(test)]
mod tests;
