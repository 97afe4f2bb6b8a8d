//! What the gateway knows of its servers.
//!
//! Whoever watches the servers (a [`local`](crate::local) controller, or Kubernetes) reports changes as [`Event`]s;
//! the reducer turns them into a new immutable [`RouteTable`]. Requests read whichever table is current, without a
//! lock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use mcp::names::ServerName;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry as Metrics;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use wire::client::Endpoint as Address;
use wire::status::{Phase, Status};

use crate::keys::PrincipalHash;
use crate::spec::ServerSpec;
use crate::store::{Timestamp, Uid};

/// How long a server that has only just been deployed is waited for until its sidecar listens.
const FIRST_LISTEN: Duration = Duration::from_secs(5);

/// One server.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name.
    pub name: ServerName,
    /// Where names are unique, and rights are given, in a cluster; `None` on one machine.
    pub namespace: Option<Arc<str>>,
    /// The name of its resource in a cluster.
    pub resource: Option<Arc<str>>,
    /// Whether its name alone means this server.
    pub short: bool,
    /// What it is called among all servers together; `None` where it may not be one of them.
    pub shared_name: Option<Arc<str>>,
    /// Whether what is asked for is still on its way, whatever the status says of what was before.
    pub pending: bool,
    /// Its identity: a name that is used again gets another one.
    pub uid: Uid,
    /// When it was first deployed.
    pub created_at: Timestamp,
    /// What it is to be.
    pub spec: Arc<ServerSpec>,
    /// Who says so.
    pub origin: Origin,
    /// Where it runs, the one for new sessions first.
    pub endpoints: Vec<Endpoint>,
    /// How it is.
    pub status: Arc<Status>,
}

/// Who desires a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file.
    File,
    /// The deploy API.
    Deployed,
    /// A resource of the cluster that others made.
    Kubernetes,
}

/// One sidecar of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its identity; session handles name it.
    pub instance: Uid,
    /// Where it listens.
    pub address: Address,
    /// It takes no new sessions.
    pub draining: bool,
    /// It is going to end, and its sessions with it: whoever can do without it goes elsewhere.
    pub leaving: bool,
}

/// A change.
#[derive(Clone, Debug)]
pub enum Event {
    /// A server is there, or is now like this.
    Apply(Box<Route>),
    /// The server of this [identity](Route::id) is gone.
    Delete(String),
    /// These are all servers there are.
    Reset(Vec<Route>),
}

/// All servers at one moment.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// By identity.
    routes: BTreeMap<String, Arc<Route>>,
    /// Those that their name alone means.
    short: BTreeMap<ServerName, Arc<Route>>,
    /// Those that are offered together, by their name there.
    shared: BTreeMap<Arc<str>, Arc<Route>>,
}

/// Which endpoint the next session begins with, where there are several.
static TURN: AtomicUsize = AtomicUsize::new(0);

impl Route {
    /// What tells it from all others, and what session handles name: `namespace/name`, or its name on one machine.
    pub fn id(&self) -> String {
        identity(self.namespace.as_deref(), self.name.as_str())
    }

    /// The shortest way to write it in an address: its name if that is enough.
    pub fn address(&self) -> String {
        if self.short { self.name.to_string() } else { self.id() }
    }

    /// The endpoint for a new session: always the same while nothing changes.
    pub fn for_new_sessions(&self) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| !endpoint.draining)
    }

    /// The endpoint for the next new session: each in its turn.
    pub fn next_for_new_sessions(&self) -> Option<&Endpoint> {
        let mut open = self.endpoints.iter().filter(|endpoint| !endpoint.draining);
        match open.clone().count() {
            0 | 1 => open.next(),
            count => open.nth(TURN.fetch_add(1, Ordering::Relaxed) % count),
        }
    }

    /// The endpoint for requests of `principal` that belong to no session: the same as long as it is there, on every
    /// replica, so that what a process of it remembers is found again (rendezvous hashing).
    pub fn home_of(&self, principal: &PrincipalHash) -> Option<&Endpoint> {
        let weight = |endpoint: &&Endpoint| {
            let digest = Sha256::new().chain_update(principal.as_bytes()).chain_update(endpoint.instance.as_bytes());
            <[u8; 32]>::from(digest.finalize())
        };
        self.endpoints.iter().filter(|endpoint| !endpoint.draining).max_by_key(weight)
    }

    /// The endpoint that holds the sessions of an instance.
    pub fn instance(&self, instance: Uid) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.instance == instance)
    }

    /// Whether it works.
    pub fn is_ready(&self) -> bool {
        self.status.phase == Phase::Ready
    }

    /// Whether it has become what is asked for, or has failed to.
    pub fn is_settled(&self) -> bool {
        !self.pending && !matches!(self.status.phase, Phase::Starting | Phase::Installing)
    }
}

/// What tells a server from all others.
pub fn identity(namespace: Option<&str>, name: &str) -> String {
    namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

impl RouteTable {
    /// The server that this name alone means.
    pub fn get(&self, name: &str) -> Option<&Arc<Route>> {
        self.short.get(name)
    }

    /// The server of this [identity](Route::id).
    pub fn by_id(&self, id: &str) -> Option<&Arc<Route>> {
        self.routes.get(id)
    }

    /// The server of that name: in a namespace, or the one that the name alone means.
    pub fn find(&self, namespace: Option<&str>, name: &str) -> Option<&Arc<Route>> {
        match namespace {
            Some(_) => self.by_id(&identity(namespace, name)),
            None => self.get(name),
        }
    }

    /// The servers that are offered together, in the order of their names there.
    pub fn shared(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Route>)> {
        self.shared.iter()
    }

    /// All servers, by identity.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.values()
    }

    /// How the servers are addressed.
    pub fn names(&self) -> Vec<String> {
        self.all().map(|route| route.address()).collect()
    }

    /// The table after a change.
    #[must_use]
    pub fn after(&self, event: Event) -> Self {
        let mut routes = self.routes.clone();
        match event {
            Event::Apply(route) => drop(routes.insert(route.id(), Arc::from(route))),
            Event::Delete(id) => drop(routes.remove(&id)),
            Event::Reset(all) => {
                routes = all.into_iter().map(|route| (route.id(), Arc::new(route))).collect();
            }
        }
        let short = routes.values().filter(|route| route.short);
        let short = short.map(|route| (route.name.clone(), Arc::clone(route))).collect();
        Self { short, shared: shared(&routes), routes }
    }
}

/// Which server has which name among all of them. Of two that would have one name it is the older's, so that no newcomer
/// gets the calls of another.
fn shared(routes: &BTreeMap<String, Arc<Route>>) -> BTreeMap<Arc<str>, Arc<Route>> {
    let mut shared = BTreeMap::<Arc<str>, Arc<Route>>::new();
    for route in routes.values() {
        let Some(name) = &route.shared_name else { continue };
        let older = |other: &Arc<Route>| other.created_at <= route.created_at;
        if !shared.get(name).is_some_and(older) {
            shared.insert(Arc::clone(name), Arc::clone(route));
        }
    }
    shared
}

/// The current table. Clones share it.
#[derive(Clone, Debug)]
pub struct Routes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    table: ArcSwap<RouteTable>,
    changes: watch::Sender<u64>,
}

impl Default for Routes {
    fn default() -> Self {
        Self(Arc::new(Shared { table: ArcSwap::default(), changes: watch::Sender::new(0) }))
    }
}

impl Routes {
    /// The table now.
    pub fn now(&self) -> Arc<RouteTable> {
        self.0.table.load_full()
    }

    /// The server that has that name among all of them now.
    pub fn shared(&self, name: &str) -> Option<Arc<Route>> {
        self.0.table.load().shared.get(name).cloned()
    }

    /// Where the next new session of a server goes, by its [identity](Route::id); while its sidecar is only just being started, that is waited for. `Err` is the
    /// server as it is when there is no such place, `None` when there is no such server.
    pub async fn for_new_sessions(&self, id: &str) -> Result<(Arc<Route>, Endpoint), Option<Arc<Route>>> {
        let mut changes = self.follow();
        let end = Instant::now() + FIRST_LISTEN;
        loop {
            changes.mark_unchanged();
            let route = self.now().by_id(id).cloned().ok_or(None)?;
            if let Some(endpoint) = route.next_for_new_sessions().cloned() {
                return Ok((route, endpoint));
            }
            let starting = matches!(route.status.phase, Phase::Starting | Phase::Installing);
            if !starting || !matches!(timeout_at(end, changes.changed()).await, Ok(Ok(()))) {
                return Err(Some(route));
            }
        }
    }

    /// Another endpoint of a server for a request that those which are `gone` did not get: a pod may be gone before its
    /// endpoint is.
    pub fn another(&self, route: &Route, gone: &[Uid]) -> Option<Endpoint> {
        let now = self.now();
        let same = now.by_id(&route.id()).filter(|it| it.uid == route.uid)?;
        same.endpoints.iter().find(|it| !it.draining && !gone.contains(&it.instance)).cloned()
    }

    /// Waits until an instance of a server is there no more. Nobody else will ever listen at its address.
    pub async fn gone(&self, id: &str, instance: Uid) {
        let mut changes = self.follow();
        // The routes go when the program ends, which ends this as well.
        while self.now().by_id(id).is_some_and(|route| route.instance(instance).is_some()) {
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Makes a change. Only the one task that watches the servers does.
    pub fn change(&self, event: Event) {
        self.change_all([event]);
    }

    /// Makes several changes, of which nobody sees some without the others.
    pub fn change_all(&self, events: impl IntoIterator<Item = Event>) {
        let mut events = events.into_iter();
        let Some(first) = events.next() else { return };
        let table = events.fold(self.now().after(first), |table, event| table.after(event));
        self.0.table.store(Arc::new(table));
        self.0.changes.send_modify(|version| *version += 1);
    }

    /// The number of the latest change: the table [now](Self::now) shows it.
    pub fn latest_change(&self) -> u64 {
        *self.0.changes.borrow()
    }

    /// Follows the changes: the number of the latest.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }
}

/// Adds the servers' figures to the metrics. Their series end with the servers.
pub fn register(metrics: &mut Metrics, routes: Routes) {
    metrics.register_collector(Box::new(routes));
}

impl Collector for Routes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let table = self.now();
        let mut family = |name, help, value: fn(&Route) -> Option<i64>| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (route, value) in table.all().filter_map(|route| Some((route, value(route)?))) {
                let id = route.id();
                let labels = [("server", id.as_str())];
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
            Ok(())
        };
        family("mcp_gateway_server_ready", "Whether the server has shown that it works.", |it| {
            // One that is to be off is not missing.
            (!it.spec.suspend).then(|| it.is_ready().into())
        })?;
        family("mcp_gateway_server_restarts", "Processes of the server that ended without being told to.", |it| {
            Some(it.status.restarts.try_into().unwrap_or(i64::MAX))
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
