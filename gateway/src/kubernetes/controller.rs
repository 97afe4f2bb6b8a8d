//! Keeps the routes in step with the cluster: the one task that changes them there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::Guarded;
use futures::stream::{SelectAll, select_all};
use futures::{StreamExt as _, stream::BoxStream};
use http::Request;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource as _};
use runtime::backoff::{Backoff, Restarts};
use runtime::readiness::Token;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wire::client::HttpClient;

use super::Settings;
use super::endpoints::{SERVICE, Slice};
use super::server::{Key, Server};
use super::state::{Change, State};
use super::writer::Writer;
use crate::routes::{Endpoint, Routes};
use crate::sidecar::Statuses;
use crate::store::Uid;

/// Statuses that may wait; a sidecar's waits when there are more.
const REPORTS: usize = 256;
/// Pauses before a sidecar is asked again.
const BACKOFF: Backoff = Backoff { initial: Duration::from_millis(200), max: Duration::from_secs(10), factor: 2.0 };
/// A stream that lasted this long did not fail.
const STABLE: Duration = Duration::from_secs(10);

/// What one watch tells, and in which namespace, if it is about one.
type Told = (Scope, Seen);

/// The namespace that a watch is about; `None` = all.
type Scope = Option<Arc<str>>;

/// Whether a watch is about resources, and its scope.
type Watch = (bool, Scope);

/// What has been seen in a watch.
#[derive(Debug)]
enum Seen {
    Servers(Box<watcher::Event<Guarded>>),
    Slices(Box<watcher::Event<EndpointSlice>>),
}

/// A resource that this gateway has written itself, and who waits for it to be known.
pub(super) type Written = (Box<Server>, oneshot::Sender<()>);

/// See the [module](self).
pub(super) struct Controller {
    client: Client,
    http: HttpClient,
    settings: Arc<Settings>,
    routes: Routes,
    state: State,
    writer: Writer,
    /// What was told since a watch began anew, by scope.
    fresh: BTreeMap<Watch, BTreeSet<Key>>,
    /// Watches that have not told everything yet.
    missing: BTreeSet<Watch>,
    ready: Option<Token>,
    followers: BTreeMap<(Key, Uid), CancellationToken>,
    tasks: JoinSet<()>,
    reports: (mpsc::Sender<Change>, mpsc::Receiver<Change>),
}

impl Controller {
    /// Lets go of `ready` as soon as everything has been told once.
    pub(super) fn new(client: Client, http: HttpClient, settings: Arc<Settings>, routes: Routes, ready: Token) -> Self {
        Self {
            state: State::new(settings.short_names.clone(), settings.base.clone()),
            writer: Writer::new(client.clone()),
            client,
            http,
            settings,
            routes,
            fresh: BTreeMap::new(),
            missing: BTreeSet::new(),
            ready: Some(ready),
            followers: BTreeMap::new(),
            tasks: JoinSet::new(),
            reports: mpsc::channel(REPORTS),
        }
    }

    /// Works until `stop`.
    pub(super) async fn run(mut self, mut written: mpsc::Receiver<Written>, stop: CancellationToken) {
        let mut watches = self.watches();
        let scopes = self.scopes().into_iter();
        self.missing = scopes.flat_map(|scope| [(true, scope.clone()), (false, scope)]).collect();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some((scope, seen)) = watches.next() => self.seen(scope, seen),
                Some((server, known)) = written.recv() => {
                    self.change(Change::Server(server));
                    // Whoever waited may have gone.
                    let _ = known.send(());
                }
                Some(change) = self.reports.1.recv() => self.change(change),
                () = self.writer.due() => self.writer.write(&self.state),
                Some(_) = self.tasks.join_next() => {}
            }
        }
        self.tasks.shutdown().await;
        self.writer.stop().await;
    }

    /// Every watch goes on for ever: it pauses and begins anew after an error, and what was known before stays.
    fn watches(&self) -> SelectAll<BoxStream<'static, Told>> {
        let slices = watcher::Config::default().labels(&format!("{SERVICE},{}", api::labels::SERVER));
        select_all(self.scopes().into_iter().flat_map(|scope| {
            let of_servers = match &scope {
                None => Api::<Guarded>::all(self.client.clone()),
                Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            };
            let of_slices = match &scope {
                None => Api::<EndpointSlice>::all(self.client.clone()),
                Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            };
            let servers = events(watcher(of_servers, watcher::Config::default()), scope.clone(), |event| {
                Seen::Servers(Box::new(event))
            });
            [servers, events(watcher(of_slices, slices.clone()), scope, |event| Seen::Slices(Box::new(event)))]
        }))
    }

    fn scopes(&self) -> Vec<Scope> {
        match &self.settings.namespaces {
            None => vec![None],
            Some(namespaces) => namespaces.iter().map(|it| Some(it.as_str().into())).collect(),
        }
    }

    fn seen(&mut self, scope: Scope, seen: Seen) {
        match seen {
            Seen::Servers(event) => {
                self.event((true, scope), *event, |guarded| (Key::of(guarded.meta()), server(guarded)));
            }
            Seen::Slices(event) => {
                let read = |slice: EndpointSlice| (Key::of(&slice.metadata), Slice::of(&slice).map(Change::Slice));
                self.event((false, scope), *event, read);
            }
        }
    }

    fn event<K>(&mut self, watch: Watch, event: watcher::Event<K>, read: impl Fn(K) -> (Option<Key>, Option<Change>)) {
        let servers = watch.0;
        let gone = |key| if servers { Change::NoServer(key) } else { Change::NoSlice(key) };
        match event {
            watcher::Event::Init => drop(self.fresh.insert(watch, BTreeSet::new())),
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
                let (Some(key), change) = read(object) else { return };
                if let Some(fresh) = self.fresh.get_mut(&watch) {
                    fresh.insert(key.clone());
                }
                self.change(change.unwrap_or_else(|| gone(key)));
            }
            watcher::Event::Delete(object) => self.change_all(read(object).0.map(gone)),
            watcher::Event::InitDone => {
                let scope = watch.1.as_deref();
                let known = if servers { self.state.servers(scope) } else { self.state.slices(scope) };
                let fresh = self.fresh.remove(&watch).unwrap_or_default();
                self.change_all(known.into_iter().filter(|key| !fresh.contains(key)).map(gone));
                self.missing.remove(&watch);
                if self.missing.is_empty() {
                    self.ready = None;
                }
            }
        }
    }

    fn change_all(&mut self, changes: impl IntoIterator<Item = Change>) {
        changes.into_iter().for_each(|change| self.change(change));
    }

    fn change(&mut self, change: Change) {
        let (events, touched) = self.state.apply(change);
        self.routes.change_all(events);
        for key in touched {
            self.follow(&key);
            self.writer.look_at(key);
        }
    }

    /// Follows the sidecars whose word counts, and no others.
    fn follow(&mut self, key: &Key) {
        let uid = self.state.server(key).map(|server| server.uid);
        let wanted = self.state.watched(key);
        let is_wanted = |instance: Uid| wanted.iter().any(|endpoint| endpoint.instance == instance);
        let of_this = (key.clone(), Uid::from_bytes([0; 16]))..=(key.clone(), Uid::from_bytes([0xff; 16]));
        let followed: Vec<_> = self.followers.range(of_this).map(|(id, _)| id.clone()).collect();
        for id in followed.iter().filter(|(_, instance)| !is_wanted(*instance)) {
            self.followers.remove(id).inspect(CancellationToken::cancel);
        }
        let Some(uid) = uid else { return };
        for endpoint in wanted {
            let id = (key.clone(), endpoint.instance);
            if self.followers.contains_key(&id) {
                continue;
            }
            let stop = CancellationToken::new();
            self.followers.insert(id, stop.clone());
            let (client, reports, key) = (self.http.for_server(uid), self.reports.0.clone(), key.clone());
            self.tasks.spawn(async move {
                stop.run_until_cancelled(follow(client, key, endpoint, reports)).await;
            });
        }
    }
}

fn events<K: Send + 'static>(
    stream: impl futures::Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
    scope: Scope,
    seen: fn(watcher::Event<K>) -> Seen,
) -> BoxStream<'static, Told> {
    let told = stream.backoff(super::pauses()).filter_map(move |event| {
        let told = match event {
            Ok(event) => Some((scope.clone(), seen(event))),
            Err(error) => {
                tracing::warn!(%error, "the cluster does not tell what there is; what is known stays in force");
                None
            }
        };
        std::future::ready(told)
    });
    told.boxed()
}

fn server(guarded: Guarded) -> Option<Change> {
    match guarded.0 {
        Ok(server) => Server::of(&server).map(|server| Change::Server(Box::new(server))),
        Err(unreadable) => {
            let (namespace, name) = (unreadable.metadata.namespace.as_deref(), unreadable.metadata.name.as_deref());
            tracing::warn!(namespace, name, error = unreadable.problem, "an McpServer cannot be read and has no route");
            None
        }
    }
}

/// Reports what a sidecar says for as long as its pod is there.
async fn follow(client: HttpClient, key: Key, endpoint: Endpoint, reports: mpsc::Sender<Change>) {
    let client = client.long_streams();
    let mut attempts = Restarts::new(BACKOFF, STABLE);
    loop {
        let started = Instant::now();
        let request = Request::get("/status?watch").body(wire::client::empty());
        let Ok(request) = request else { return };
        match client.request(&endpoint.address, request).await {
            Ok(response) if response.status().is_success() => {
                let mut statuses = Statuses::new(response.into_body());
                while let Some(status) = statuses.next().await {
                    let change = Change::Status(key.clone(), endpoint.instance, Arc::new(status));
                    if reports.send(change).await.is_err() {
                        return;
                    }
                }
            }
            Ok(response) => {
                let status = response.status().as_u16();
                tracing::warn!(
                    server = &*key.name,
                    namespace = &*key.namespace,
                    status,
                    "a sidecar does not tell its status"
                );
            }
            Err(error) => {
                tracing::debug!(server = &*key.name, namespace = &*key.namespace, %error, "a sidecar is not reached");
            }
        }
        tokio::time::sleep(attempts.failed(started, Instant::now(), 0.5)).await;
    }
}
