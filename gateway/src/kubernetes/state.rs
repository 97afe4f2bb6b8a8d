//! From what the cluster tells to routes: pure, so that it can be tested without a cluster.
//!
//! A name alone means the oldest resource that claims it, of the namespaces that may; with its namespace, the oldest of
//! that one. Among all servers together are those of the namespaces that may claim names: one whose name alone is
//! another's goes by `NAMESPACE_NAME` there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::conditions::routable;
use mcp::names::ServerName;
use wire::status::{Phase, Status};

use super::endpoints::{Slice, Slices};
use super::server::{Key, Server};
use super::verdict::{Routable, stand_in, verdict};
use crate::routes::{Endpoint, Event, Origin, Route};
use crate::store::{Timestamp, Uid};

/// Something that has happened.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// A resource is there, or is now like this.
    Server(Box<Server>),
    /// A resource is gone, or on its way out.
    NoServer(Key),
    /// A slice is there, or is now like this.
    Slice(Slice),
    /// A slice is gone.
    NoSlice(Key),
    /// A sidecar says how its server is.
    Status(Key, Uid, Arc<Status>),
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct State {
    /// The namespaces that may claim names alone; `None` = all.
    short_names: Option<BTreeSet<String>>,
    /// What addresses begin with.
    base: String,
    servers: BTreeMap<Key, Known>,
    slices: Slices,
    /// Who wants which name, the oldest first.
    claims: BTreeMap<ServerName, BTreeSet<Claim>>,
}

type Claim = (Timestamp, Key);

#[derive(Debug)]
struct Known {
    server: Server,
    /// What its sidecars said, by pod.
    statuses: BTreeMap<Uid, Arc<Status>>,
    /// What routes show.
    shown: Arc<Status>,
    route: Option<Route>,
}

impl State {
    pub(super) fn new(short_names: Option<BTreeSet<String>>, base: String) -> Self {
        Self { short_names, base, servers: BTreeMap::new(), slices: Slices::default(), claims: BTreeMap::new() }
    }

    /// The resources that are there, of one namespace or of all.
    pub(super) fn servers(&self, namespace: Option<&str>) -> Vec<Key> {
        self.servers.keys().filter(|key| namespace.is_none_or(|it| *key.namespace == *it)).cloned().collect()
    }

    /// The slices that are there, of one namespace or of all.
    pub(super) fn slices(&self, namespace: Option<&str>) -> Vec<Key> {
        self.slices.keys().filter(|key| namespace.is_none_or(|it| *key.namespace == *it)).cloned().collect()
    }

    /// A resource that is there.
    pub(super) fn server(&self, key: &Key) -> Option<&Server> {
        self.servers.get(key).map(|known| &known.server)
    }

    /// The pods whose word about a server counts.
    pub(super) fn watched(&self, key: &Key) -> Vec<Endpoint> {
        if self.servers.contains_key(key) {
            self.slices.endpoints(key).into_iter().filter(|endpoint| !endpoint.draining).collect()
        } else {
            Vec::new()
        }
    }

    /// Takes note of a change: what becomes of the routes, and of which resources something may be different.
    pub(super) fn apply(&mut self, change: Change) -> (Vec<Event>, BTreeSet<Key>) {
        let touched = match change {
            Change::Server(server) => self.put(*server),
            Change::NoServer(key) => {
                let gone = self.servers.remove(&key);
                let ids: Vec<_> = gone.iter().filter_map(|it| it.route.as_ref()).map(Route::id).collect();
                let touched = gone.map(|known| self.unclaim(&known.server)).unwrap_or_default();
                return self.events(touched.into_iter().chain([key]).collect(), ids);
            }
            Change::Slice(slice) => BTreeSet::from([self.slices.apply(slice)]),
            Change::NoSlice(key) => self.slices.remove(&key).into_iter().collect(),
            Change::Status(key, instance, status) => {
                if let Some(known) = self.servers.get_mut(&key) {
                    known.statuses.insert(instance, status);
                }
                BTreeSet::from([key])
            }
        };
        self.events(touched, Vec::new())
    }

    fn put(&mut self, server: Server) -> BTreeSet<Key> {
        let key = server.key.clone();
        let mut touched = BTreeSet::from([key.clone()]);
        let before = self.servers.get(&key);
        if before.is_some_and(|known| known.server.uid == server.uid && known.server.version > server.version) {
            // The watch lags behind what this gateway has written itself.
            return BTreeSet::new();
        }
        if let Some(known) = before
            && (known.server.uid, &known.server.route_name) != (server.uid, &server.route_name)
        {
            let old = known.server.clone();
            touched.extend(self.unclaim(&old));
        }
        if let Some(name) = &server.route_name {
            let claims = self.claims.entry(name.clone()).or_default();
            if claims.insert((server.created_at, key.clone())) {
                touched.extend(claims.iter().map(|(_, key)| key.clone()));
            }
        }
        let known = match self.servers.remove(&key) {
            Some(known) if known.server.uid == server.uid => Known { server, ..known },
            // What was known of another of that name is worth nothing, but that it had a route.
            before => Known {
                server,
                statuses: BTreeMap::new(),
                shown: Arc::default(),
                route: before.and_then(|it| it.route),
            },
        };
        self.servers.insert(key, known);
        touched
    }

    /// Lets go of a name; whom that concerns.
    fn unclaim(&mut self, server: &Server) -> BTreeSet<Key> {
        let Some(name) = &server.route_name else { return BTreeSet::new() };
        let Some(claims) = self.claims.get_mut(name) else { return BTreeSet::new() };
        claims.remove(&(server.created_at, server.key.clone()));
        let others = claims.iter().map(|(_, key)| key.clone()).collect();
        if claims.is_empty() {
            self.claims.remove(name);
        }
        others
    }

    fn events(&mut self, touched: BTreeSet<Key>, mut gone: Vec<String>) -> (Vec<Event>, BTreeSet<Key>) {
        let mut applied = Vec::new();
        for key in &touched {
            let route = self.route(key);
            let Some(known) = self.servers.get_mut(key) else { continue };
            if let Some(route) = &route
                && known.route.as_ref().is_some_and(|before| same(before, route))
            {
                continue;
            }
            gone.extend(known.route.take().map(|before| before.id()));
            known.route.clone_from(&route);
            applied.extend(route);
        }
        gone.retain(|id| applied.iter().all(|route| route.id() != *id));
        let gone = gone.into_iter().map(Event::Delete);
        (gone.chain(applied.into_iter().map(|route| Event::Apply(Box::new(route)))).collect(), touched)
    }

    /// The route of a resource, if there is the resource, and an address that is its own.
    fn route(&mut self, key: &Key) -> Option<Route> {
        let endpoints = self.slices.endpoints(key);
        let (owns_name, short) = self.standing(key);
        let may_be_short = self.may_be_short(&key.namespace);
        let known = self.servers.get_mut(key)?;
        known.statuses.retain(|instance, _| endpoints.iter().any(|it| it.instance == *instance && !it.draining));
        let told = || endpoints.iter().filter_map(|endpoint| known.statuses.get(&endpoint.instance));
        let status = told().find(|status| status.phase == Phase::Ready).or_else(|| told().next()).cloned();
        known.shown = status.unwrap_or_else(|| {
            let stand_in = stand_in(&known.server, Some(&known.shown));
            let same = known.shown.phase == stand_in.phase && known.shown.message == stand_in.message;
            if same { Arc::clone(&known.shown) } else { Arc::new(stand_in) }
        });
        let server = &known.server;
        let name = server.route_name.clone().filter(|_| owns_name)?;
        Some(Route {
            shared_name: may_be_short.then(|| shared_name(&key.namespace, &name, short)),
            name,
            namespace: Some(Arc::clone(&key.namespace)),
            resource: Some(Arc::clone(&key.name)),
            short,
            pending: matches!(verdict(server).0, Phase::Starting | Phase::Installing),
            uid: server.uid,
            created_at: server.created_at,
            spec: Arc::clone(&server.spec),
            origin: if server.deployed { Origin::Deployed } else { Origin::Kubernetes },
            endpoints,
            status: Arc::clone(&known.shown),
        })
    }

    /// Whether a resource owns its name in its namespace, and whether it owns the name alone.
    fn standing(&self, key: &Key) -> (bool, bool) {
        let name = self.servers.get(key).and_then(|known| known.server.route_name.as_ref());
        let Some(claims) = name.and_then(|name| self.claims.get(name)) else { return (false, false) };
        let first = |keys: &mut dyn Iterator<Item = &Key>| keys.next() == Some(key);
        let mut here = claims.iter().map(|(_, key)| key).filter(|it| it.namespace == key.namespace);
        let mut everywhere = claims.iter().map(|(_, key)| key).filter(|it| self.may_be_short(&it.namespace));
        (first(&mut here), first(&mut everywhere))
    }

    fn may_be_short(&self, namespace: &str) -> bool {
        self.short_names.as_ref().is_none_or(|namespaces| namespaces.contains(namespace))
    }

    /// What is to be written about a resource.
    pub(super) fn routable(&self, key: &Key) -> Option<Routable> {
        let known = self.servers.get(key)?;
        let Some(name) = &known.server.route_name else {
            return Some(Routable::no(
                routable::INVALID_NAME,
                "its name can be no part of an address: set spec.route.name",
            ));
        };
        let Some(route) = &known.route else {
            let text = format!("another, older McpServer in this namespace has the name {name}: set spec.route.name");
            return Some(Routable::no(routable::NAME_TAKEN, text));
        };
        let url = format!("{}/{}", self.base, route.address());
        if route.for_new_sessions().is_none() {
            let text = "no pod is ready to take requests";
            return Some(Routable { url, ..Routable::no(routable::NO_ENDPOINTS, text) });
        }
        let (reason, message) = if route.short {
            (routable::ROUTED, "the gateway serves it".to_owned())
        } else if self.may_be_short(&key.namespace) {
            let text = format!("the name {name} alone belongs to an older McpServer of another namespace");
            let shared = route.shared_name.as_ref().filter(|_| route.spec.route.aggregate);
            let shared = shared.map(|it| format!("; among all servers this one is {it}")).unwrap_or_default();
            (routable::SHORT_NAME_TAKEN, text + &shared)
        } else {
            (routable::SHORT_NAME_NOT_ALLOWED, "this namespace may not claim names alone".to_owned())
        };
        Some(Routable { ok: true, reason, message, url })
    }
}

/// What a server is called among all servers together: by its name, or with the namespace where that is an older one's.
/// No namespace has a `_`, and models take it in names of tools.
fn shared_name(namespace: &str, name: &ServerName, short: bool) -> Arc<str> {
    if short { name.as_str().into() } else { format!("{namespace}_{name}").into() }
}

/// Whether nobody would see a difference.
fn same(one: &Route, other: &Route) -> bool {
    one.name == other.name
        && (one.short, one.pending, one.uid, one.origin) == (other.short, other.pending, other.uid, other.origin)
        && one.spec == other.spec
        && one.endpoints == other.endpoints
        && Arc::ptr_eq(&one.status, &other.status)
}

#[cfg(test)]
pub(super) mod tests;
