//! Opens sessions on the server.

use std::sync::Arc;
use std::time::Duration;

use mcp::envelope::Message;
use mcp::session::filter::ToolFilter;
use mcp::session::mux::{Asking, Config, Loss, Sharing};
use mcp::session::streams::Transport;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::front::{Door, Unavailable};
use wire::hub::{Hub, Settings, Stop};
use wire::link::{Connect, Link as _};
use wire::session::{Caller, Exchanges, SessionHandle, SessionId};
use wire::spec::{Launch, Mode};

use crate::era::{Eras, speaks_modern};
use crate::memory::Memory;
use crate::mirrored;
use crate::pool::{Pool, Wanted};
use crate::state::State;

/// When a client that was refused may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// See the [module](self). Clones share it.
#[derive(Debug)]
pub struct Server<C: Connect>(Arc<Inner<C>>);

impl<C: Connect> Clone for Server<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Inner<C: Connect> {
    name: String,
    source: Arc<C>,
    settings: Settings,
    /// The one connection, where all sessions share it.
    common: Option<Exchanges>,
    /// What the server speaks, as far as it is known.
    eras: Eras,
    /// Where requests of 2026-07-28 go when it speaks an older revision.
    adapted: Pool,
    /// One for each process that a session may have.
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: Stop,
    state: State,
}

impl<C: Connect> Server<C> {
    /// Sessions on connections from `source`, until `stop`. `adapted` has the connections for clients of a newer
    /// revision than the server's.
    pub fn new(launch: &Launch, source: Arc<C>, state: State, stop: Stop, adapted: Pool) -> Self {
        let sharing = match launch.process.mode {
            // Of the older era, that is: requests of the newer one share a process anyway.
            Mode::Auto | Mode::PerSession => Sharing::Exclusive,
            Mode::Shared => Sharing::Common,
        };
        let tools = ToolFilter::new(launch.tools.allow.clone(), launch.tools.deny.clone());
        let mux = Config {
            sharing,
            request_timeout: launch.process.request_timeout,
            startup_timeout: launch.process.startup_timeout,
            // A package may have to be fetched first.
            connect_timeout: launch.process.install_timeout.saturating_add(launch.process.startup_timeout),
            asking: None,
            tools,
            server: launch.name.clone(),
        };
        let settings = Settings { mux, idle_timeout: launch.process.idle_timeout };
        let tasks = TaskTracker::new();
        let eras = Eras::new(C::MAY_CHANGE);
        let common = (sharing == Sharing::Common).then(|| {
            let sessions = state.sessions.clone();
            let (mut hub, commands) = Hub::new(Arc::clone(&source), settings.clone(), sessions, stop.clone());
            hub.may_turn(eras.turned(source.doubts()));
            let common = hub.exchanges(commands);
            tasks.spawn(hub.run());
            common
        });
        let slots = Arc::new(Semaphore::new(launch.process.max_processes.min(Semaphore::MAX_PERMITS)));
        let name = launch.name.clone();
        Self(Arc::new(Inner { name, source, settings, common, eras, adapted, slots, tasks, stop, state }))
    }

    /// The server does not shake hands, and speaks 2026-07-28.
    pub fn turn(&self) {
        if !self.has_turned() {
            tracing::info!("clients of older revisions are translated");
        }
        self.turned().cancel();
    }

    /// Whether that is known.
    pub fn has_turned(&self) -> bool {
        self.turned().is_cancelled()
    }

    /// Cancelled when the server is known to speak 2026-07-28 alone: sessions of older clients share its connection.
    fn turned(&self) -> CancellationToken {
        self.0.eras.turned(self.0.source.doubts())
    }

    /// Where requests of 2026-07-28 go; `None` when the server does not speak that, or cannot be asked now. All of them
    /// share one process: such a server keeps nothing of one request for another but tasks, which the hub keeps apart, and
    /// what the client presents.
    pub async fn modern(&self) -> Option<Exchanges> {
        let doubts = || self.0.source.doubts();
        self.0.eras.newer(doubts, |over| self.find_out(over)).await.ok()?
    }

    /// `over` is cancelled when what is found out holds no longer.
    async fn find_out(&self, over: CancellationToken) -> Result<Option<Exchanges>, Loss> {
        let Inner { source, stop, tasks, .. } = &*self.0;
        let Some(mut link) = source.disposable().await? else { return Ok(None) };
        // Where asking takes no process, who made the link has asked.
        let answer = if C::ASKS_FREELY { Some(true) } else { speaks_modern(&mut link).await };
        tasks.spawn(link.stop());
        // Who shakes hands need not answer anything before. Who does not may only be slow to start: it is asked again.
        let shakes_hands = self.0.state.now().catalogue.is_some();
        let unknown = || Loss { message: "the server does not say what it speaks".to_owned(), data: None };
        if !answer.or_else(|| shakes_hands.then_some(false)).ok_or_else(unknown)? {
            return Ok(None);
        }
        tracing::info!("the server speaks 2026-07-28");
        let exchanges = self.start((Sharing::Exchanges, None), None);
        let limit = self.0.settings.mux.request_timeout;
        if let Ok(changes) = mirrored::look(&exchanges, limit).await {
            let follow = mirrored::follow(exchanges.clone(), changes, limit);
            let drain = stop.drain.clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = follow => {}
                    () = over.cancelled() => {}
                    () = drain.cancelled() => {}
                }
            });
        }
        Ok(Some(exchanges))
    }

    /// Opens a session for this program's own use: on the common connection, or on one outside the caps.
    pub async fn open_internal(&self) -> Result<SessionHandle, Unavailable> {
        self.session(Caller::internal(), Transport::Sse, None).await
    }

    /// Whether all sessions share one connection.
    pub fn is_shared(&self) -> bool {
        self.0.common.is_some()
    }

    /// Waits until every session's task has ended.
    pub async fn ended(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Where `message` of `caller` goes when the server speaks an older revision.
    async fn adapted(&self, caller: &Caller, message: &Message) -> Result<Exchanges, Unavailable> {
        let wanted = if self.is_shared() { Wanted::shared() } else { Wanted::of(message, caller.clone()) };
        if let Some(open) = self.0.adapted.find(&wanted) {
            return Ok(open);
        }
        let slot = self.slot()?;
        let opened = self.0.adapted.open(&wanted, |asking| self.start((Sharing::Adapted, asking), slot));
        let opened = opened.ok_or_else(|| self.refuse("is busy"))?;
        mirrored::glance(&opened.unleased(), self.0.settings.mux.request_timeout).await;
        Ok(opened)
    }

    /// Starts a task for requests that stand alone.
    fn start(&self, (sharing, asking): (Sharing, Option<Asking>), slot: Option<OwnedSemaphorePermit>) -> Exchanges {
        let Inner { source, settings, state, stop, tasks, .. } = &*self.0;
        let mux = Config { sharing, asking, ..settings.mux.clone() };
        let settings = Settings { mux, ..settings.clone() };
        let (hub, commands) = Hub::new(Arc::clone(source), settings, state.sessions.clone(), stop.clone());
        let exchanges = hub.exchanges(commands);
        tasks.spawn(async move {
            hub.run().await;
            drop(slot);
        });
        exchanges
    }

    /// A place for one more process; none is needed where all share one.
    fn slot(&self) -> Result<Option<OwnedSemaphorePermit>, Unavailable> {
        if self.is_shared() {
            return Ok(None);
        }
        let slot = Arc::clone(&self.0.slots).try_acquire_owned().map_err(|_| {
            self.refuse("has as many processes as it may (`maxProcesses`); try again when a session has ended")
        })?;
        if !self.0.state.has_room(Memory::of_container()) {
            return Err(self.refuse("has no memory for one more process; try again when a session has ended"));
        }
        Ok(Some(slot))
    }

    /// The connection that sessions share, if they do.
    async fn shared(&self) -> Option<Exchanges> {
        let newer = if self.has_turned() { self.modern().await } else { None };
        newer.or_else(|| self.0.common.clone())
    }

    async fn session(
        &self,
        caller: Caller,
        transport: Transport,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Result<SessionHandle, Unavailable> {
        let id = SessionId::random().map_err(|error| self.refuse(&format!("has no random numbers: {error}")))?;
        if let Some(shared) = self.shared().await {
            return shared.attach(id, caller, transport).await.map_err(|_| self.refuse("is stopping"));
        }
        let Inner { source, settings, state, stop, tasks, .. } = &*self.0;
        let (mut hub, commands) = Hub::new(Arc::clone(source), settings.clone(), state.sessions.clone(), stop.clone());
        // This program's own clients are told, and ask in the newer era.
        if caller != Caller::internal() {
            hub.may_turn(self.turned());
        }
        let handle = hub.add(id, caller, transport).ok_or_else(|| self.refuse("is stopping"))?;
        drop(commands);
        tasks.spawn(async move {
            hub.run().await;
            drop(slot);
        });
        Ok(handle)
    }

    fn refuse(&self, why: &str) -> Unavailable {
        Unavailable { reason: format!("server `{}` {why}", self.0.name), retry_after: RETRY_AFTER }
    }
}

impl<C: Connect> Door for Server<C> {
    async fn open(&self, caller: Caller, transport: Transport) -> Result<SessionHandle, Unavailable> {
        if self.0.stop.drain.is_cancelled() {
            return Err(self.refuse("is stopping; connect again"));
        }
        let slot = if self.shared().await.is_some() { None } else { self.slot()? };
        self.session(caller, transport, slot).await
    }

    async fn exchanges(&self, caller: &Caller, message: &Message) -> Result<Option<Exchanges>, Unavailable> {
        match self.modern().await {
            Some(exchanges) => Ok(Some(exchanges)),
            None => self.adapted(caller, message).await.map(Some),
        }
    }

    fn find(&self, id: &str, caller: &Caller) -> Option<SessionHandle> {
        self.0.state.sessions.find(id, caller)
    }
}
