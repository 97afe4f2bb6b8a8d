//! Makes what runs follow what is desired.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mcp::names::ServerName;
use runtime::backoff::{Backoff, Restarts};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wire::client::Endpoint as Address;
use wire::status::{Phase, Status};

use super::Request;
use super::instance::{Happening, Instance, Report, Sidecars};
use super::launch::launch;
use crate::backend::{Deployed, Refusal};
use crate::routes::{Endpoint, Event, Origin, Route, Routes};
use crate::spec::ServerSpec;
use crate::store::{Record, StorageError, Store, Timestamp, Uid};

/// Reports of instances that may wait for the controller; an instance waits when there are more.
const REPORTS: usize = 256;
/// How a sidecar that ends by itself is started again.
const BACKOFF: Backoff = Backoff { initial: Duration::from_millis(200), max: Duration::from_secs(30), factor: 2.0 };
/// A sidecar that ran this long has not failed to start.
const STABLE: Duration = Duration::from_secs(30);

/// See the [module](self).
#[derive(Debug)]
pub struct Controller {
    store: Arc<Store>,
    sidecars: Sidecars,
    request_timeout: Duration,
    routes: Routes,
    servers: BTreeMap<ServerName, Server>,
    /// What was deployed under names that the configuration file has taken; it comes back when that lets go of them.
    shadowed: BTreeMap<ServerName, Record>,
    tasks: JoinSet<()>,
    reports: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
    stopping: bool,
}

/// A server that is desired, or was and has not ended.
#[derive(Debug)]
struct Server {
    record: Record,
    origin: Origin,
    /// The newest last; all but that one are on their way out, or wait to be replaced by it.
    instances: Vec<Running>,
    restarts: Restarts,
    status: Arc<Status>,
    deleted: bool,
}

#[derive(Debug)]
struct Running {
    uid: Uid,
    stop: CancellationToken,
    address: Address,
    listening: bool,
    ready: bool,
    started: std::time::Instant,
}

impl Controller {
    /// A controller for what `store` keeps. It publishes to `routes`.
    pub fn new(store: Store, sidecars: Sidecars, request_timeout: Duration, routes: Routes) -> Self {
        Self {
            store: Arc::new(store),
            sidecars,
            request_timeout,
            routes,
            servers: BTreeMap::new(),
            shadowed: BTreeMap::new(),
            tasks: JoinSet::new(),
            reports: mpsc::channel(REPORTS),
            stopping: false,
        }
    }

    /// Brings back what was deployed, beside what the configuration file says.
    pub fn restore(&mut self, configured: BTreeMap<ServerName, ServerSpec>) -> Result<(), StorageError> {
        let loaded = self.store.load()?;
        for bad in loaded.quarantined {
            tracing::error!(file = %bad.path.display(), reason = bad.reason, "a stored server is damaged and left alone");
        }
        let taken = |name: &ServerName| configured.contains_key(name);
        let (shadowed, deployed) = loaded.servers.into_iter().partition(|(name, _)| taken(name));
        self.shadowed = shadowed;
        for (name, record) in deployed {
            self.put(&name, record, Origin::Deployed);
        }
        self.configure(configured);
        Ok(())
    }

    /// Works until `stop`, then ends every sidecar in order.
    pub async fn run(mut self, mut requests: mpsc::Receiver<Request>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled(), if !self.stopping => {
                    self.stopping = true;
                    requests.close();
                    self.servers.values().flat_map(|server| &server.instances).for_each(|it| it.stop.cancel());
                }
                Some(request) = requests.recv(), if !self.stopping => self.request(request).await,
                Some((uid, happening)) = self.reports.1.recv() => self.report(uid, happening),
                Some(_) = self.tasks.join_next() => {}
            }
            if self.stopping && self.tasks.is_empty() {
                return;
            }
        }
    }

    async fn request(&mut self, request: Request) {
        // Whoever asked may be gone; what was asked is done all the same.
        match request {
            Request::Deploy { name, spec, reply } => drop(reply.send(self.deploy(name, *spec).await)),
            Request::Delete { name, reply } => drop(reply.send(self.delete(name).await)),
            Request::Configure(servers) => self.configure(servers),
        }
    }

    async fn deploy(&mut self, name: ServerName, spec: ServerSpec) -> Result<Deployed, Refusal> {
        let existing = self.servers.get(&name).filter(|server| !server.deleted);
        let like_that = |server: &&Server| server.record.spec == spec;
        if let Some(server) = existing.filter(like_that) {
            if server.origin == Origin::File {
                // It stays when the file lets go of it: that was asked for as well.
                let record = server.record.clone();
                self.keep(&name, &record).await?;
                self.shadowed.insert(name, record);
            }
            return Ok(Deployed::Existed);
        }
        if existing.is_some_and(|server| server.origin == Origin::File) {
            return Err(Refusal::Configured(name));
        }
        let deployed = if existing.is_some() { Deployed::Replaced } else { Deployed::New };
        let (created_at, uid) = existing.map_or_else(
            || (Timestamp::from(SystemTime::now()), Uid::random()),
            |it| (it.record.created_at, it.record.uid),
        );
        let record = Record { spec, created_at, uid };
        self.keep(&name, &record).await?;
        self.put(&name, record, Origin::Deployed);
        Ok(deployed)
    }

    async fn keep(&self, name: &ServerName, record: &Record) -> Result<(), Refusal> {
        let (store, name, record) = (Arc::clone(&self.store), name.clone(), record.clone());
        durably(move || store.put(&name, &record)).await
    }

    async fn delete(&mut self, name: ServerName) -> Result<bool, Refusal> {
        match self.servers.get(&name).filter(|server| !server.deleted) {
            None => return Ok(false),
            Some(server) if server.origin == Origin::File => return Err(Refusal::Configured(name)),
            Some(_) => {}
        }
        let (store, key) = (Arc::clone(&self.store), name.clone());
        durably(move || store.remove(&key)).await?;
        self.take(&name);
        Ok(true)
    }

    fn configure(&mut self, configured: BTreeMap<ServerName, ServerSpec>) {
        let gone = |(name, server): &(&ServerName, &Server)| {
            server.origin == Origin::File && !server.deleted && !configured.contains_key(*name)
        };
        let gone: Vec<_> = self.servers.iter().filter(gone).map(|(name, _)| name.clone()).collect();
        for name in gone {
            match self.shadowed.remove(&name) {
                Some(record) => self.put(&name, record, Origin::Deployed),
                None => self.take(&name),
            }
        }
        for (name, spec) in configured {
            let existing = self.servers.get(&name).filter(|server| !server.deleted);
            if let Some(deployed) = existing.filter(|server| server.origin == Origin::Deployed) {
                self.shadowed.insert(name.clone(), deployed.record.clone());
            }
            if existing.is_some_and(|server| server.origin == Origin::File && server.record.spec == spec) {
                continue;
            }
            let (created_at, uid) = existing.map_or_else(
                || (Timestamp::from(SystemTime::now()), Uid::random()),
                |server| (server.record.created_at, server.record.uid),
            );
            self.put(&name, Record { spec, created_at, uid }, Origin::File);
        }
    }

    /// Makes a server what the record says.
    fn put(&mut self, name: &ServerName, record: Record, origin: Origin) {
        let suspend = record.spec.suspend;
        let fresh = || Server {
            record: record.clone(),
            origin,
            instances: Vec::new(),
            restarts: Restarts::new(BACKOFF, STABLE),
            status: Arc::default(),
            deleted: false,
        };
        let server = self.servers.entry(name.clone()).or_insert_with(fresh);
        // The same process serves a server that only changed hands.
        let same = !server.deleted && !server.instances.is_empty() && server.record.spec == record.spec;
        (server.record, server.origin, server.deleted) = (record, origin, false);
        if !same {
            // Whatever does not work need not be kept until its successor does.
            server.instances.iter().filter(|it| !it.ready || suspend).for_each(|it| it.stop.cancel());
            if suspend {
                server.status = suspended();
            } else {
                // What its predecessor offers is offered until it says better itself.
                let catalogue = server.status.catalogue.clone();
                server.status = Arc::new(Status { message: "starting".to_owned(), catalogue, ..Status::default() });
                server.restarts = Restarts::new(BACKOFF, STABLE);
                self.start(name, Duration::ZERO);
            }
        }
        self.publish(name);
    }

    fn take(&mut self, name: &ServerName) {
        if let Some(server) = self.servers.get_mut(name) {
            server.deleted = true;
            server.instances.iter().for_each(|it| it.stop.cancel());
        }
        self.publish(name);
    }

    fn start(&mut self, name: &ServerName, pause: Duration) {
        let Some(server) = self.servers.get_mut(name) else { return };
        let (uid, stop) = (Uid::random(), CancellationToken::new());
        let launch = launch(name, &server.record.spec, self.request_timeout);
        let started = std::time::Instant::now() + pause;
        let address = match Address::unix(&self.sidecars.socket(uid)) {
            Ok(address) => address,
            Err(error) => return tracing::error!(%error, "a sidecar has no place to listen"),
        };
        server.instances.push(Running { uid, stop: stop.clone(), address, listening: false, ready: false, started });
        let instance = Instance { uid, launch, pause, stop, reports: self.reports.0.clone() };
        self.tasks.spawn(self.sidecars.clone().run(instance));
    }

    fn report(&mut self, uid: Uid, happening: Happening) {
        let of = |(_, server): &(&ServerName, &Server)| server.instances.iter().any(|it| it.uid == uid);
        let Some(name) = self.servers.iter().find(of).map(|(name, _)| name.clone()) else { return };
        let Some(server) = self.servers.get_mut(&name) else { return };
        match happening {
            Happening::Listening => server.running(uid, |it| it.listening = true),
            Happening::Status(status) => server.status(uid, status, &name),
            Happening::Ended(reason) => self.ended(&name, uid, &reason),
        }
        self.publish(&name);
    }

    fn ended(&mut self, name: &ServerName, uid: Uid, reason: &str) {
        let Some(server) = self.servers.get_mut(name) else { return };
        let Some(at) = server.instances.iter().position(|it| it.uid == uid) else { return };
        let was_newest = at + 1 == server.instances.len();
        let ended = server.instances.remove(at);
        if server.deleted && server.instances.is_empty() {
            self.servers.remove(name);
            return;
        }
        if !was_newest || ended.stop.is_cancelled() || self.stopping || server.record.spec.suspend {
            return;
        }
        let pause = server.restarts.failed(ended.started, std::time::Instant::now(), 0.5);
        tracing::warn!(server = %name, reason, pause_ms = pause.as_millis(), "a sidecar has ended and is started again");
        let message = format!("{reason}; started again in {:.1} s", pause.as_secs_f32());
        server.status = Arc::new(Status { phase: Phase::Failing, message, ..Status::clone(&server.status) });
        self.start(name, pause);
    }

    fn publish(&self, name: &ServerName) {
        let event = match self.servers.get(name) {
            Some(server) if !server.deleted => Event::Apply(Box::new(server.route(name))),
            _ => Event::Delete(name.to_string()),
        };
        self.routes.change(event);
    }
}

impl Server {
    /// As clients see it.
    fn route(&self, name: &ServerName) -> Route {
        let newest = self.instances.last().map(|it| it.uid);
        // New sessions go to the newest that works, else to the newest.
        let chosen = self.instances.iter().rev().find(|it| it.ready && !it.stop.is_cancelled()).map(|it| it.uid);
        let endpoint = |it: &Running| {
            let draining = Some(it.uid) != chosen.or(newest);
            Endpoint { instance: it.uid, address: it.address.clone(), draining, leaving: draining }
        };
        let listening = self.instances.iter().filter(|it| it.listening);
        Route {
            name: name.clone(),
            namespace: None,
            resource: None,
            short: true,
            shared_name: Some(name.as_str().into()),
            pending: false,
            uid: self.record.uid,
            created_at: self.record.created_at,
            spec: Arc::new(self.record.spec.clone()),
            origin: self.origin,
            endpoints: listening.map(endpoint).collect(),
            status: Arc::clone(&self.status),
        }
    }

    fn running(&mut self, uid: Uid, change: impl FnOnce(&mut Running)) {
        if let Some(running) = self.instances.iter_mut().find(|it| it.uid == uid) {
            change(running);
        }
    }

    /// Takes note of a status. When the newest works, its predecessors may end.
    fn status(&mut self, uid: Uid, status: Arc<Status>, name: &ServerName) {
        let ready = status.phase == Phase::Ready;
        self.running(uid, |it| it.ready = ready);
        let Some((newest, older)) = self.instances.split_last() else { return };
        if newest.uid != uid {
            return;
        }
        if ready {
            for it in older {
                it.stop.cancel();
            }
        }
        if self.status.message != status.message {
            tracing::info!(server = %name, status = status.message, "server");
        }
        // One that does not know yet what its server offers says nothing against what was known.
        let known = self.status.catalogue.clone().filter(|_| status.catalogue.is_none());
        self.status = match known {
            Some(known) => Arc::new(Status { catalogue: Some(known), ..Status::clone(&status) }),
            None => status,
        };
    }
}

fn suspended() -> Arc<Status> {
    Arc::new(Status { phase: Phase::Suspended, message: "suspended".to_owned(), ..Status::default() })
}

/// Does disk work where it keeps nobody waiting.
async fn durably<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Refusal::Stopping),
    }
}
