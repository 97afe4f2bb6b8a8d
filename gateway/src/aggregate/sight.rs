//! What one client sees of all servers: what they offer to clients of its kind, as far as it may call them.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wire::status::Catalogue;

use super::Aggregate;
use super::catalogue::{Member, Merged};
use super::kept::Follower;
use super::modern::own::Own;
use super::profile::{Capabilities, Profile};
use crate::access::View;
use crate::keys::PrincipalHash;

/// How long a request may wait for the lists to show a change of servers; they take milliseconds.
const CATCH_UP: Duration = Duration::from_secs(1);

/// See the [module](self).
#[derive(Clone, Debug)]
pub(super) struct Sight {
    merged: Follower<Merged>,
    profile: Option<Follower<Profile>>,
    views: watch::Receiver<Arc<View>>,
    own: Option<watch::Receiver<Arc<Own>>>,
}

impl Sight {
    /// What `principal` sees, without capabilities.
    pub(super) fn new(aggregate: &Aggregate, principal: PrincipalHash) -> Self {
        let (merged, views) = (aggregate.0.merged.follow(), aggregate.0.access.view(principal));
        Self { merged, profile: None, views, own: None }
    }

    /// From now on as a client with these capabilities.
    pub(super) fn adopt(&mut self, aggregate: &Aggregate, capabilities: &Capabilities) {
        self.profile = aggregate.profile(capabilities);
    }

    /// From now on with what servers offer to this client alone.
    pub(super) fn adopt_own(&mut self, own: watch::Receiver<Arc<Own>>) {
        self.own = Some(own);
    }

    /// What servers offer to this client alone; `None` when that is nothing.
    pub(super) fn own(&self) -> Option<Arc<Own>> {
        self.own.as_ref().map(|own| Arc::clone(&own.borrow())).filter(|own| !own.is_empty())
    }

    /// The lists for clients like this one that see every server.
    pub(super) fn common(&self) -> Arc<Merged> {
        match &self.profile {
            Some(profile) if profile.now().merged.versions() != [0; 3] => Arc::clone(&profile.now().merged),
            _ => self.merged.now(),
        }
    }

    /// What is merged for clients without capabilities.
    pub(super) fn everybody(&self) -> Arc<Merged> {
        self.merged.now()
    }

    /// What a server offers to clients like this one, where that differs from what it offers to all.
    pub(super) fn better(&self, server: &str) -> Option<Arc<Catalogue>> {
        self.profile.as_ref()?.now().catalogues.get(server).cloned()
    }

    /// Whether it is not yet known what some server offers to this client in particular.
    pub(super) fn is_provisional(&self) -> bool {
        self.profile.as_ref().is_some_and(|profile| !profile.now().complete)
    }

    /// What the client may see.
    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&self.views.borrow())
    }

    /// Whether the client may see something else than when it was last [seen](Self::see).
    pub(super) fn view_has_changed(&self) -> bool {
        self.views.has_changed().unwrap_or_default()
    }

    /// Whether [`Self::changed`] would return for what is merged.
    pub(super) fn lists_have_changed(&self) -> bool {
        self.merged.has_changed() || self.profile.as_ref().is_some_and(Follower::has_changed)
    }

    /// Takes all as it is now for seen.
    pub(super) fn see(&mut self) {
        self.merged.see();
        self.profile.iter_mut().for_each(Follower::see);
        self.views.mark_unchanged();
        self.own.iter_mut().for_each(watch::Receiver::mark_unchanged);
    }

    /// Waits for something that differs from what was last waited for or seen.
    pub(super) async fn changed(&mut self) {
        let Self { merged, profile, views, own } = self;
        let profile = async {
            match profile {
                Some(profile) => profile.changed().await,
                None => pending().await,
            }
        };
        let viewed = async {
            if views.changed().await.is_err() {
                pending::<()>().await;
            }
        };
        let owned = async {
            let changed = match own {
                Some(own) => own.changed().await.is_ok(),
                None => false,
            };
            if !changed {
                pending::<()>().await;
            }
        };
        tokio::select! {
            () = merged.changed() => {}
            () = profile => {}
            () = viewed => {}
            () = owned => {}
        }
    }

    /// Waits until the lists show what the gateway knows by now: who was just told that a server is ready may use it.
    pub(super) async fn catch_up(&mut self, change: u64) {
        let Self { merged, profile, .. } = self;
        let reached = async {
            merged.reached(change).await;
            if let Some(profile) = profile {
                profile.reached(change).await;
            }
        };
        // Lists that are late are better than none.
        drop(tokio::time::timeout(CATCH_UP, reached).await);
    }

    /// The same, and until servers have had the time to say what they offer to clients like this one.
    pub(super) async fn settle(&mut self, change: u64) {
        self.catch_up(change).await;
        if let Some(profile) = &mut self.profile {
            drop(tokio::time::timeout(CATCH_UP, profile.becomes(|profile| profile.settled)).await);
        }
    }

    /// The server of that name, if the client may see it.
    pub(super) fn member(&self, server: &str) -> Option<Member> {
        let view = self.view();
        self.everybody().members.get(server).filter(|it| view.shows(it.namespace.as_deref())).cloned()
    }
}
