//! What servers offer to one caller in particular.
//!
//! A process of a caller's own may change its lists for that caller alone. So each server that a caller uses is listened to
//! on its behalf, for as long as it comes again, if the server changes lists at all. When it says that a list has changed,
//! that is read anew, and stands in for what the server offers to everybody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcp::envelope::{Kind, Message, RequestId};
use mcp::json;
use mcp::modern::LISTEN;
use runtime::backoff::Backoff;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use wire::session::Caller;
use wire::status::Catalogue;

use super::super::kept::Follower;
use super::super::profile::{Capabilities, Profile};
use super::super::routing::Route;
use super::super::session::own::{LISTS, List, MAX_PAGES};
use super::super::{Aggregate, IDLE};
use super::follow::is_final;
use super::member::{Destination, Underway, send};
use crate::store::Uid;

/// How long a call waits until its server is listened to.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long changes are collected before a list is read.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// How long to wait before a server is listened to again.
const BACKOFF: Backoff = Backoff { initial: Duration::from_millis(200), max: Duration::from_secs(30), factor: 2.0 };
/// So many are listened to at a time, by server and caller.
const MAX_WATCHED: usize = 4096;

/// Whom servers tell from others: somebody who can do certain things.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct Owner {
    pub(in super::super) caller: Caller,
    pub(in super::super) capabilities: Capabilities,
}

/// What servers offer to one owner, where they have said so, by their names.
pub(in super::super) type Own = HashMap<String, Arc<Catalogue>>;

/// See the [module](self).
#[derive(Debug, Default)]
pub(in super::super) struct Owners {
    own: Mutex<HashMap<Owner, watch::Sender<Arc<Own>>>>,
    watched: Mutex<HashMap<(Owner, String), Watched>>,
}

/// A server that is listened to.
#[derive(Clone, Debug)]
struct Watched {
    uid: Uid,
    /// When its owner last came.
    used: watch::Sender<Instant>,
    /// Whether it has been tried once.
    tried: watch::Receiver<bool>,
}

impl Owners {
    /// Follows what is offered to an owner.
    pub(in super::super) fn follow(&self, owner: &Owner) -> watch::Receiver<Arc<Own>> {
        let mut all = lock(&self.own);
        if let Some(own) = all.get(owner) {
            return own.subscribe();
        }
        all.retain(|_, own| own.receiver_count() > 0);
        all.entry(owner.clone()).or_default().subscribe()
    }

    fn change(&self, owner: &Owner, change: impl FnOnce(&mut Own) -> bool) {
        if let Some(own) = lock(&self.own).get(owner) {
            own.send_if_modified(|own| change(Arc::make_mut(own)));
        }
    }
}

/// Listens to one server for one owner.
struct Watcher {
    aggregate: Aggregate,
    owner: Owner,
    server: String,
    uid: Uid,
    /// The `_meta` of requests, raw JSON.
    meta: String,
    used: watch::Receiver<Instant>,
    tried: watch::Sender<bool>,
    /// What servers offer to clients like the owner.
    profile: Option<Follower<Profile>>,
    /// Keeps what is offered from being forgotten.
    _own: watch::Receiver<Arc<Own>>,
}

impl Aggregate {
    /// The owner of a request has something for a server: from before that on, the server is listened to.
    pub(super) async fn watch(&self, owner: &Owner, route: &Route, meta: impl FnOnce() -> String) {
        if !self.changes_lists(&route.server) {
            return;
        }
        if let Some(mut tried) = self.watched(owner, route, meta) {
            // What it says before it is listened to is lost; the call is not held up for that.
            drop(timeout(PATIENCE, tried.wait_for(|tried| *tried)).await);
        }
    }

    fn watched(&self, owner: &Owner, route: &Route, meta: impl FnOnce() -> String) -> Option<watch::Receiver<bool>> {
        let mut all = lock(&self.0.owners.watched);
        let key = (owner.clone(), route.server.clone());
        if let Some(watched) = all.get(&key).filter(|it| it.uid == route.uid) {
            watched.used.send_replace(Instant::now());
            return Some(watched.tried.clone());
        }
        if all.len() >= MAX_WATCHED {
            return None;
        }
        let (used, was_used) = watch::channel(Instant::now());
        let (tried, is_tried) = watch::channel(false);
        let watcher = Watcher {
            aggregate: self.clone(),
            owner: owner.clone(),
            server: route.server.clone(),
            uid: route.uid,
            meta: meta(),
            used: was_used,
            tried,
            profile: self.profile(&owner.capabilities),
            _own: self.0.owners.follow(owner),
        };
        all.insert(key, Watched { uid: route.uid, used, tried: is_tried.clone() });
        self.0.tasks.spawn(watcher.run());
        Some(is_tried)
    }

    /// Whether a server says that it tells when lists change.
    fn changes_lists(&self, server: &str) -> bool {
        let route = self.0.routes.shared(server);
        let capabilities = route.as_ref().and_then(|it| it.status.catalogue.as_ref()?.capabilities.as_deref());
        let tells = |list: &str| json::lookup(capabilities.map_or("{}", RawValue::get), &[list, "listChanged"]);
        ["tools", "prompts", "resources"].into_iter().any(|list| tells(list) == Some("true"))
    }
}

impl Watcher {
    async fn run(self) {
        let draining = self.aggregate.0.draining.clone();
        tokio::select! {
            () = draining.cancelled() => {}
            () = self.unused() => {}
            () = self.listen() => self.unused().await,
        }
        self.forget();
        if self.is_current() {
            lock(&self.aggregate.0.owners.watched).remove(&self.key());
        }
    }

    fn key(&self) -> (Owner, String) {
        (self.owner.clone(), self.server.clone())
    }

    /// Whether no server of the same name has taken the place of this one.
    fn is_current(&self) -> bool {
        lock(&self.aggregate.0.owners.watched).get(&self.key()).is_some_and(|it| it.uid == self.uid)
    }

    /// Waits until the owner has not come for long.
    async fn unused(&self) {
        loop {
            let until = *self.used.borrow() + IDLE;
            if Instant::now() >= until {
                return;
            }
            sleep_until(until).await;
        }
    }

    /// Listens until there is nothing to listen to.
    async fn listen(&self) {
        let mut failures = 0;
        while self.aggregate.0.routes.shared(&self.server).is_some_and(|route| route.uid == self.uid) {
            let over = self.stream(&mut failures).await;
            self.tried.send_replace(true);
            // Whatever process comes next, it has what all have.
            self.forget();
            if over {
                return;
            }
            tokio::time::sleep(BACKOFF.next(failures, 1.0)).await;
            failures += 1;
        }
    }

    /// One stream, to its end. Whether the server does not listen at all.
    async fn stream(&self, failures: &mut u32) -> bool {
        let wanted = r#"{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}"#;
        let Some(mut underway) = self.ask(LISTEN, &format!(r#""notifications":{wanted}"#)).await else { return false };
        loop {
            let Ok(message) = underway.next().await else { return false };
            match message.kind() {
                Kind::Notification if message.method().ends_with("/acknowledged") => {
                    *failures = 0;
                    self.tried.send_replace(true);
                }
                Kind::Notification => {
                    tokio::time::sleep(DEBOUNCE).await;
                    for list in LISTS.iter().filter(|list| list.changed == message.method()) {
                        self.read(list).await;
                    }
                }
                Kind::Error => return is_final(&message),
                Kind::Result => return false,
                Kind::Request => {}
            }
        }
    }

    /// Reads a list anew.
    async fn read(&self, list: &'static List) {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        for _ in 0..MAX_PAGES {
            let Some(page) = self.page(list.method, &cursor).await else { return };
            let found = page.at(&[list.key]).and_then(json::elements).unwrap_or_default();
            items.extend(found.into_iter().filter_map(|item| RawValue::from_string(item.to_owned()).ok()));
            match page.at(&["nextCursor"]).filter(|next| *next != "null") {
                Some(next) => cursor = format!(r#""cursor":{next}"#),
                None => break,
            }
        }
        self.aggregate.0.owners.change(&self.owner, |own| {
            let known = own.get(&self.server).map(|it| Catalogue::clone(it));
            let mut catalogue = known.or_else(|| self.general()).unwrap_or_default();
            *(list.items)(&mut catalogue) = items;
            own.insert(self.server.clone(), Arc::new(catalogue));
            true
        });
    }

    /// What the server offers to clients like the owner.
    fn general(&self) -> Option<Catalogue> {
        let better = self.profile.as_ref().and_then(|profile| profile.now().catalogues.get(&self.server).cloned());
        let everybody = || self.aggregate.0.routes.shared(&self.server)?.status.catalogue.clone();
        better.map(|catalogue| Catalogue::clone(&catalogue)).or_else(everybody)
    }

    async fn page(&self, method: &str, params: &str) -> Option<Message> {
        let mut underway = self.ask(method, params).await?;
        loop {
            let message = underway.next().await.ok()?;
            match message.kind() {
                Kind::Result => {
                    underway.rest().finish().await;
                    return Some(message);
                }
                Kind::Error => return None,
                Kind::Notification | Kind::Request => {}
            }
        }
    }

    /// Asks the server on behalf of the owner. `params` are members of an object.
    async fn ask(&self, method: &str, params: &str) -> Option<Underway> {
        let comma = if params.is_empty() { "" } else { "," };
        let params = format!(r#"{{"_meta":{}{comma}{params}}}"#, self.meta);
        let message = Message::call(Some(&RequestId::from(1)), method, Some(&params));
        let to = Destination { server: &self.server, uid: self.uid, instance: None };
        send(&self.aggregate, &self.owner.caller, &to, &message, Vec::new()).await.ok()
    }

    fn forget(&self) {
        // What a successor has said stays.
        if self.is_current() {
            self.aggregate.0.owners.change(&self.owner, |own| own.remove(&self.server).is_some());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
