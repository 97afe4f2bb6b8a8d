//! What the gateway knows of its servers.
//!
//! Whoever watches the servers (a [`local`](crate::local) controller, or Kubernetes) reports changes as [`Event`]s;
//! the reducer turns them into a new immutable [`RouteTable`]. Requests read whichever table is current, without a
//! lock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use mcp::names::ServerName;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry as Metrics;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use wire::client::Endpoint as Address;
use wire::status::{Phase, Status};

use crate::spec::ServerSpec;
use crate::store::{Timestamp, Uid};

/// How long a server that has only just been deployed is waited for until its sidecar listens.
const FIRST_LISTEN: Duration = Duration::from_secs(5);

/// One server.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name.
    pub name: ServerName,
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
}

/// A change.
#[derive(Clone, Debug)]
pub enum Event {
    /// A server is there, or is now like this.
    Apply(Box<Route>),
    /// A server is gone.
    Delete(ServerName),
    /// These are all servers there are.
    Reset(Vec<Route>),
}

/// All servers at one moment.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    routes: BTreeMap<ServerName, Arc<Route>>,
}

impl Route {
    /// The endpoint for a new session.
    pub fn for_new_sessions(&self) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| !endpoint.draining)
    }

    /// The endpoint that holds the sessions of an instance.
    pub fn instance(&self, instance: Uid) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.instance == instance)
    }

    /// Whether it works.
    pub fn is_ready(&self) -> bool {
        self.status.phase == Phase::Ready
    }
}

impl RouteTable {
    /// The server of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Route>> {
        self.routes.get(name)
    }

    /// All servers, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.values()
    }

    /// The names there are.
    pub fn names(&self) -> Vec<&str> {
        self.routes.keys().map(AsRef::as_ref).collect()
    }

    /// The table after a change.
    #[must_use]
    pub fn after(&self, event: Event) -> Self {
        let mut routes = self.routes.clone();
        match event {
            Event::Apply(route) => drop(routes.insert(route.name.clone(), Arc::from(route))),
            Event::Delete(name) => drop(routes.remove(&name)),
            Event::Reset(all) => {
                routes = all.into_iter().map(|route| (route.name.clone(), Arc::new(route))).collect();
            }
        }
        Self { routes }
    }
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

    /// The server of that name now.
    pub fn get(&self, name: &str) -> Option<Arc<Route>> {
        self.0.table.load().get(name).cloned()
    }

    /// Where new sessions of a server go; while its sidecar is only just being started, that is waited for. `Err` is the
    /// server as it is when there is no such place, `None` when there is no such server.
    pub async fn for_new_sessions(&self, name: &str) -> Result<(Arc<Route>, Endpoint), Option<Arc<Route>>> {
        let mut changes = self.follow();
        let end = Instant::now() + FIRST_LISTEN;
        loop {
            changes.mark_unchanged();
            let route = self.get(name).ok_or(None)?;
            if let Some(endpoint) = route.for_new_sessions().cloned() {
                return Ok((route, endpoint));
            }
            let starting = matches!(route.status.phase, Phase::Starting | Phase::Installing);
            if !starting || !matches!(timeout_at(end, changes.changed()).await, Ok(Ok(()))) {
                return Err(Some(route));
            }
        }
    }

    /// Makes a change. Only the one task that watches the servers does.
    pub fn change(&self, event: Event) {
        self.0.table.store(Arc::new(self.now().after(event)));
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
        let mut family = |name, help, value: fn(&Route) -> i64| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for route in table.iter() {
                let labels = [("server", route.name.as_str())];
                ConstGauge::new(value(route)).encode(family.encode_family(&labels)?)?;
            }
            Ok(())
        };
        family("mcp_gateway_server_ready", "Whether the server has shown that it works.", |it| it.is_ready().into())?;
        family("mcp_gateway_server_restarts", "Processes of the server that ended without being told to.", |it| {
            it.status.restarts.try_into().unwrap_or(i64::MAX)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str, draining: &[bool]) -> Route {
        let accepted = crate::spec::parse_servers(r#"{"mcpServers":{"x":{"command":"y"}}}"#, 1000).unwrap();
        let spec = accepted.entries.into_iter().next().unwrap().outcome.unwrap().spec;
        let endpoint = |(n, draining): (usize, &bool)| Endpoint {
            instance: Uid::from_bytes([u8::try_from(n).unwrap(); 16]),
            address: Address::unix("/x".as_ref()).unwrap(),
            draining: *draining,
        };
        Route {
            name: ServerName::parse(name).unwrap(),
            uid: Uid::from_bytes([0; 16]),
            created_at: Timestamp::from_unix(0),
            spec: Arc::new(spec),
            origin: Origin::Deployed,
            endpoints: draining.iter().enumerate().map(endpoint).collect(),
            status: Arc::default(),
        }
    }

    #[test]
    fn a_change_makes_a_new_table_and_leaves_the_old_one_alone() {
        let empty = RouteTable::default();
        let one = empty.after(Event::Apply(Box::new(route("a", &[]))));
        let two = one.after(Event::Reset(vec![route("b", &[]), route("c", &[])]));
        assert_eq!((empty.names(), one.names(), two.names()), (vec![], vec!["a"], vec!["b", "c"]));
        assert_eq!(two.after(Event::Delete(ServerName::parse("b").unwrap())).names(), ["c"]);
    }

    #[test]
    fn a_draining_endpoint_keeps_its_sessions_and_takes_no_new_ones() {
        let route = route("a", &[true, false]);
        assert_eq!(route.for_new_sessions().unwrap().instance, Uid::from_bytes([1; 16]));
        assert!(route.instance(Uid::from_bytes([0; 16])).is_some());
        assert!(route.instance(Uid::from_bytes([7; 16])).is_none());
    }
}
