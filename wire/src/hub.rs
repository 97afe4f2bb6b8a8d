//! The task that owns a server connection and the sessions that talk over it.
//!
//! It waits for whatever happens next (a client's command, a message of the server, a connection that ended, a
//! deadline), tells the state machines, and does what they say. Nothing here waits for a client: what a slow one does
//! not take is cut.

use std::sync::Arc;
use std::time::Duration;

use mcp::session::mux::{Config, Loss, Mux, Out, Relation, Sharing};
use mcp::session::streams::Transport;
use mcp::session::{Clock, SessionKey};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::connection::Connection;
use self::failures::Failures;
use crate::clients::Clients;
use crate::link::{Connect, Event, Link};
use crate::session::{
    COMMAND_QUEUE, Caller, Command, Departures, Exchanges, Lease, Registry, SessionHandle, SessionId,
};

mod connection;
mod failures;

/// A server that was up for this long has not failed to start.
const STABLE: Duration = Duration::from_secs(10);
/// So long somebody waits for the next attempt rather than be told of the last.
const SHORT_WAIT: Duration = Duration::from_secs(1);

/// How a hub is to work.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the mux needs to know.
    pub mux: Config,
    /// A session that has no stream open, waits for nothing and does nothing for this long is ended.
    pub idle_timeout: Duration,
}

/// Starts hubs.
#[derive(Debug)]
pub struct Hub<C: Connect> {
    connect: Arc<C>,
    settings: Settings,
    mux: Mux,
    clients: Clients,
    departures: Arc<Departures>,
    commands: mpsc::Receiver<Command>,
    link: Connection<C::Link>,
    failures: Failures,
    started: Instant,
    look_for_idle: Clock,
    /// When the last request that stands alone came.
    last_exchange: Clock,
    /// That of the call in which clients may be asked.
    lease: Option<Lease>,
    /// Cancelled when the server has shown itself to be of 2026-07-28 alone.
    turned: CancellationToken,
    stop: Stop,
}

/// Ends a hub.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// From then on sessions end as soon as nothing waits for an answer, and the hub with the last of them.
    pub drain: CancellationToken,
    /// Ends it now.
    pub now: CancellationToken,
}

/// What woke the task.
enum Wake<L> {
    Command(Option<Command>),
    Server(Event),
    Started(Result<L, Loss>),
    /// The pause after a failure is over.
    Due,
    Departures,
    Deadline,
    Drain,
    Stop,
}

impl<C: Connect> Hub<C> {
    /// A hub that takes commands from the returned sender once [`Self::run`] runs, until `stop`.
    pub fn new(connect: Arc<C>, settings: Settings, registry: Registry, stop: Stop) -> (Self, mpsc::Sender<Command>) {
        let (tx, commands) = mpsc::channel(COMMAND_QUEUE);
        let clients = Clients::new(registry, &tx);
        let departures = clients.departures();
        let (mux, link, started) = (Mux::new(settings.mux.clone()), Connection::None, Instant::now());
        let look_for_idle = idle_interval(&settings);
        let hub = Self {
            connect,
            settings,
            mux,
            clients,
            departures,
            commands,
            link,
            failures: Failures::default(),
            started,
            look_for_idle,
            last_exchange: Clock::ZERO,
            lease: None,
            turned: CancellationToken::new(),
            stop,
        };
        (hub, tx)
    }

    /// Sends requests that stand alone; `commands` is what [`Self::new`] gave.
    pub fn exchanges(&self, commands: mpsc::Sender<Command>) -> Exchanges {
        Exchanges::new(commands, Arc::clone(&self.departures))
    }

    /// A server that refuses to shake hands because it is of 2026-07-28 is used as one of that, where its links carry it.
    /// `turned` is cancelled then.
    pub fn may_turn(&mut self, turned: CancellationToken) {
        if C::CARRIES_BOTH_ERAS {
            self.turned = turned;
            self.mux.may_turn();
        }
    }

    /// Adds a session before the hub runs.
    pub fn add(&mut self, id: SessionId, caller: Caller, transport: Transport) -> Option<SessionHandle> {
        let key = self.mux.attach();
        self.clients.add(key, (id, caller, transport), self.now())
    }

    /// Runs until told to stop or, where the connection is exclusive, until its session has ended; where it is for single
    /// requests of one client, until none has come for long. Then ends the connection in order.
    pub async fn run(mut self) {
        loop {
            self.start_if_wanted();
            self.flush();
            if !self.mux.is_lent() {
                self.lease = None;
            }
            // A server that has much to say at once must not keep this thread from handing it on.
            tokio::task::coop::consume_budget().await;
            if self.stop.drain.is_cancelled() && self.end_idle_sessions() {
                break;
            }
            if self.clients.is_empty() && self.is_of_no_use() {
                break;
            }
            match self.wake().await {
                Wake::Command(Some(command)) => {
                    self.let_go();
                    self.command(command);
                }
                Wake::Server(event) => self.event(event),
                Wake::Started(Ok(link)) => self.connected(link),
                Wake::Started(Err(loss)) => self.failed(&loss),
                Wake::Departures => {
                    let ended = self.clients.take_departures(self.now());
                    for session in ended {
                        self.end(session);
                    }
                }
                Wake::Deadline => self.deadline(),
                Wake::Due | Wake::Drain => {}
                Wake::Command(None) | Wake::Stop => break,
            }
        }
        self.clients.clear();
        if let Connection::Up { link, .. } = std::mem::replace(&mut self.link, Connection::None) {
            link.stop().await;
        }
    }

    /// Whether it is not needed any more, now that it has no clients.
    fn is_of_no_use(&self) -> bool {
        match self.settings.mux.sharing {
            Sharing::Exclusive => true,
            Sharing::Adapted => {
                let idle = self.now().saturating_sub(self.last_exchange) >= self.settings.idle_timeout;
                idle && !self.mux.is_lent()
            }
            Sharing::Common | Sharing::Exchanges => false,
        }
    }

    fn now(&self) -> Clock {
        self.started.elapsed()
    }

    /// Does what the mux says.
    fn flush(&mut self) {
        while let Some(out) = self.mux.poll() {
            match out {
                Out::ToServer(message) => {
                    if let Connection::Up { link, .. } = &mut self.link {
                        link.send(message);
                    }
                }
                Out::Hopeless(loss) => self.failed(&loss),
                Out::Turned => {
                    self.turned.cancel();
                    self.link = Connection::None;
                }
                Out::ToClient { session, relation, message } => {
                    if matches!(relation, Relation::Answer(_))
                        && let Some(version) = self.mux.version(session)
                    {
                        self.clients.set_version(session, version);
                    }
                    if !self.clients.is_heard(session, &relation) && self.mux.refuse_unheard(&message) {
                        continue;
                    }
                    if !self.clients.deliver(session, relation, message, self.now()) {
                        self.end(session);
                    }
                }
            }
        }
    }

    /// While a long pause after failures has still to pass, whoever asks is told the last failure.
    fn start_if_wanted(&mut self) {
        if !matches!(self.link, Connection::None) || !self.mux.wants_server() {
            return;
        }
        let wait = self.failures.wait();
        if wait > SHORT_WAIT
            && let Some(loss) = self.failures.told(wait)
        {
            self.mux.unavailable(&loss);
        }
        if wait.is_zero() {
            let connect = Arc::clone(&self.connect);
            let newer = self.mux.is_newer();
            self.link = Connection::Starting(Box::pin(async move {
                if newer { connect.connect_newer().await } else { connect.connect().await }
            }));
        }
    }

    async fn wake(&mut self) -> Wake<C::Link> {
        let draining = self.stop.drain.is_cancelled();
        let idle_check = self.started.checked_add(self.next_check()).unwrap_or_else(far_away);
        let connection = async {
            match &mut self.link {
                Connection::None if self.mux.wants_server() => {
                    tokio::time::sleep(self.failures.wait()).await;
                    Wake::Due
                }
                Connection::None => std::future::pending().await,
                Connection::Starting(starting) => Wake::Started(starting.await),
                Connection::Up { link, .. } => Wake::Server(link.next().await),
            }
        };
        tokio::select! {
            command = self.commands.recv() => Wake::Command(command),
            wake = connection => wake,
            () = self.departures.arrived() => Wake::Departures,
            () = tokio::time::sleep_until(idle_check) => Wake::Deadline,
            () = self.stop.drain.cancelled(), if !draining => Wake::Drain,
            () = self.stop.now.cancelled() => Wake::Stop,
        }
    }

    /// When to look at deadlines next: the mux's, and the idle sessions' now and then.
    fn next_check(&self) -> Clock {
        self.mux.deadline().map_or(self.look_for_idle, |deadline| deadline.min(self.look_for_idle))
    }

    fn deadline(&mut self) {
        let now = self.now();
        self.mux.expire(now);
        if now < self.look_for_idle {
            return;
        }
        self.look_for_idle = now.saturating_add(idle_interval(&self.settings));
        if let Some(before) = now.checked_sub(self.settings.idle_timeout) {
            let idle = self.clients.idle(before, |session| self.mux.is_busy(session));
            for session in idle {
                self.end(session);
            }
        }
    }

    /// Ends every session that waits for nothing; whether none is left.
    fn end_idle_sessions(&mut self) -> bool {
        for session in self.clients.keys() {
            if !self.mux.is_busy(session) {
                self.mux.stop_listening(session);
                self.flush();
                self.clients.send_away(session);
                self.end(session);
            }
        }
        self.clients.is_empty()
    }

    fn command(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Post { session, messages, stream } => {
                for message in self.clients.post(session, messages, stream, now).into_iter().flatten() {
                    self.mux.from_client(session, message, now);
                }
            }
            Command::Exchange { key, caller, message, stream, lease, repeated: _ } => {
                self.last_exchange = now;
                self.lease = lease.or_else(|| self.lease.take());
                if caller == Caller::internal() {
                    self.mux.enter_own(key, caller.0);
                } else {
                    self.mux.enter(key, caller.0);
                }
                self.clients.exchange(key, stream);
                self.mux.from_client(key, message, now);
            }
            Command::Listen { session, after, stream } => self.clients.listen(session, after, stream, now),
            Command::Attach(attach) => {
                let key = self.mux.attach();
                if !self.clients.attach(key, attach, now) {
                    self.mux.detach(key);
                }
            }
            Command::Close { session } => self.end(session),
        }
    }

    fn end(&mut self, session: SessionKey) {
        self.last_exchange = self.now();
        self.mux.detach(session);
        self.clients.remove(session);
    }

    /// Ends a connection that is over, so that what comes next goes over another.
    fn let_go(&mut self) {
        if let Connection::Up { link, .. } = &self.link
            && let Some(loss) = link.over()
        {
            self.event(Event::Lost(loss));
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Message(message) => self.mux.from_server(message, self.now()),
            Event::Junk => {}
            Event::Unreadable { id, reason } => self.mux.unreadable_answer(id, &reason),
            Event::Lost(loss) => {
                if let Connection::Up { since, .. } = self.link {
                    if since.elapsed() > STABLE {
                        self.failures = Failures::default();
                    }
                    self.failures.add(&loss);
                }
                self.link = Connection::None;
                self.mux.disconnected(&loss);
            }
        }
    }

    fn connected(&mut self, link: C::Link) {
        self.link = Connection::Up { link, since: Instant::now() };
        self.mux.connected(self.now());
    }

    /// No server could be started: those who wait are told now, and it is tried again when it is wanted again.
    fn failed(&mut self, loss: &Loss) {
        self.failures.add(loss);
        self.link = Connection::None;
        self.mux.unavailable(loss);
    }
}

/// For deadlines beyond what the system's clock can tell.
fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(365 * 86_400)
}

/// How often it is looked for sessions that are idle.
fn idle_interval(settings: &Settings) -> Duration {
    (settings.idle_timeout / 4).max(Duration::from_millis(50))
}

#[cfg(test)]
mod tests;
