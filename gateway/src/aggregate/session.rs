//! One client's session over all servers.
//!
//! The task waits for whatever happens next: a command of the client, a message of a member, a change of the lists. It
//! answers itself what it can, and passes the rest on to the member that it concerns.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mcp::envelope::{Message, RequestId, code};
use mcp::json::Rope;
use mcp::session::mux::Relation;
use mcp::session::streams::{Delivery, Transport};
use mcp::session::{Clock, SessionKey};
use mcp::version::Version;
use tokio::sync::mpsc;
use tokio::time::Instant;
use wire::clients::Clients;
use wire::hub::Stop;
use wire::session::{COMMAND_QUEUE, Caller, Command, Departures, SessionHandle, SessionId};

use super::catalogue::{Member, Merged};
use super::member::Opener;
use super::members::Members;
use super::profile::Capabilities;
use super::rewrite;
use super::sight::Sight;
use super::{Aggregate, IDLE, principal};
use crate::access::View;

mod client;
pub(super) mod own;
mod server;

use own::Own;

/// How often it is looked whether the session is idle.
const LOOK: Duration = Duration::from_secs(30);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Session {
    aggregate: Aggregate,
    key: SessionKey,
    clients: Clients,
    departures: Arc<Departures>,
    commands: mpsc::Receiver<Command>,
    sight: Sight,
    /// What was last known of what the client may see.
    view: Arc<View>,
    /// What members offer to this session in particular.
    own: Own,
    /// The lists as the client was last told of.
    told: [u64; 3],
    hello: Option<Hello>,
    /// A raw JSON string.
    log_level: Option<String>,
    members: Members,
    /// Requests that a member works on.
    calls: HashMap<RequestId, Call>,
    /// Requests of members that the client has yet to answer, by the id the client knows them by.
    questions: HashMap<u64, Question>,
    next_question: u64,
    /// Resources the client has subscribed to: server and its own address.
    subscriptions: HashSet<(String, String)>,
    started: Instant,
    look_for_idle: Instant,
    ended: bool,
}

/// What the client said of itself.
#[derive(Debug)]
struct Hello {
    /// The raw `params` of its `initialize`.
    params: Box<str>,
    /// Whether it is ready for more than answers.
    initialized: bool,
}

#[derive(Debug)]
struct Call {
    server: String,
    method: Box<str>,
}

#[derive(Debug)]
struct Question {
    server: String,
    id: RequestId,
    /// The raw progress token in it. The client gets the question's own number instead: members choose alike.
    token: Option<Box<str>>,
}

enum Wake {
    Command(Option<Command>),
    Member(String, Option<Box<Delivery>>),
    Lists,
    Departures,
    Look,
    Drain,
    Stop,
}

impl Session {
    /// A session, to be run, and its handle.
    pub(super) fn open(
        aggregate: Aggregate,
        id: SessionId,
        caller: Caller,
        transport: Transport,
    ) -> (Self, Option<SessionHandle>) {
        let (tx, commands) = mpsc::channel(COMMAND_QUEUE);
        let mut clients = Clients::new(aggregate.0.sessions.clone(), &tx);
        let key = SessionKey(0);
        let handle = clients.add(key, (id, caller.clone(), transport), Clock::ZERO);
        let sight = Sight::new(&aggregate, principal(&caller));
        let view = sight.view();
        let opener = Opener {
            routes: aggregate.0.routes.clone(),
            client: aggregate.0.client.clone(),
            caller,
            stop: Stop { now: aggregate.0.forced.clone(), ..Stop::default() },
        };
        let session = Self {
            key,
            departures: clients.departures(),
            clients,
            commands,
            sight,
            view,
            own: Own::default(),
            told: [0; 3],
            hello: None,
            log_level: None,
            members: Members::new(opener),
            calls: HashMap::new(),
            questions: HashMap::new(),
            next_question: 0,
            subscriptions: HashSet::new(),
            started: Instant::now(),
            look_for_idle: Instant::now() + LOOK,
            ended: false,
            aggregate,
        };
        (session, handle)
    }

    /// Runs until the client ends it, is gone, or the gateway stops.
    pub(super) async fn run(mut self) {
        while !self.ended {
            let draining = self.aggregate.0.draining.is_cancelled();
            if draining && !self.is_busy() {
                self.clients.send_away(self.key);
                break;
            }
            match self.wake(draining).await {
                Wake::Command(Some(command)) => self.command(command).await,
                Wake::Member(name, Some(delivery)) => self.take_member(&name, *delivery).await,
                Wake::Member(name, None) => self.lose(&name, "its session has ended"),
                Wake::Lists => self.lists_changed(),
                Wake::Departures => self.ended = !self.clients.take_departures(self.now()).is_empty(),
                Wake::Look => {
                    self.look_for_idle = Instant::now() + LOOK;
                    let before = self.now().checked_sub(IDLE);
                    let idle = before.is_some_and(|before| !self.clients.idle(before, |_| self.is_busy()).is_empty());
                    self.ended = idle;
                }
                Wake::Drain => {}
                Wake::Command(None) | Wake::Stop => break,
            }
        }
        self.clients.clear();
        // Whoever has yet to send something is told that it is over.
        drop(self.commands);
        self.members.end().await;
    }

    async fn wake(&mut self, draining: bool) -> Wake {
        let Self { commands, departures, members, sight, aggregate, look_for_idle, .. } = self;
        tokio::select! {
            command = commands.recv() => Wake::Command(command),
            (name, delivery) = members.next() => Wake::Member(name, delivery),
            () = sight.changed() => Wake::Lists,
            () = departures.arrived() => Wake::Departures,
            () = tokio::time::sleep_until(*look_for_idle) => Wake::Look,
            () = aggregate.0.draining.cancelled(), if !draining => Wake::Drain,
            () = aggregate.0.forced.cancelled() => Wake::Stop,
        }
    }

    fn now(&self) -> Clock {
        self.started.elapsed()
    }

    fn is_busy(&self) -> bool {
        !self.calls.is_empty() || !self.questions.is_empty()
    }

    async fn command(&mut self, command: Command) {
        // What was taken from the client goes before what it asks for.
        if self.sight.view_has_changed() {
            self.lists_changed();
        }
        let now = self.now();
        match command {
            Command::Post { session, messages, stream } => {
                for message in self.clients.post(session, messages, stream, now).into_iter().flatten() {
                    self.take_client(message).await;
                }
            }
            Command::Listen { session, after, stream } => self.clients.listen(session, after, stream, now),
            Command::Close { .. } => self.ended = true,
            // Every session, and every request without one, has a task of its own.
            Command::Attach(_) | Command::Exchange { .. } => {}
        }
    }

    /// The lists for this client.
    fn lists(&self) -> Arc<Merged> {
        if let Some(own) = &self.own.merged {
            return Arc::clone(own);
        }
        // More may have been merged a moment ago than this client sees; the lists of its own are on their way then.
        let common = self.sight.common();
        if self.view.shows_all(&common.namespaces) { common } else { Arc::default() }
    }

    /// Waits until the lists show what the gateway knows by now.
    async fn catch_up(&mut self) {
        let change = self.aggregate.0.routes.latest_change();
        self.sight.catch_up(change).await;
        if self.sight.lists_have_changed() {
            self.lists_changed();
        } else if self.own.shows < change {
            // Which servers do not work now is no news, but it stands in the lists.
            self.merge_own();
        }
    }

    /// Tells the client which lists have changed, and lets go of servers that are gone.
    fn lists_changed(&mut self) {
        self.sight.see();
        self.view = self.sight.view();
        let merged = self.sight.everybody();
        let same = |it: &Member, uid| it.uid == uid && self.view.shows(it.namespace.as_deref());
        let gone = self.members.names(|name, uid| merged.members.get(name).is_none_or(|it| !same(it, uid)));
        for name in &gone {
            self.lose(name, "it has been removed");
        }
        self.merge_own();
        let versions = self.lists().versions();
        let told = std::mem::replace(&mut self.told, versions);
        if self.hello.as_ref().is_some_and(|hello| hello.initialized) {
            for (at, list) in ["tools", "prompts", "resources"].into_iter().enumerate() {
                if versions[at] != told[at] {
                    self.tell(&format!("notifications/{list}/list_changed"), None);
                }
            }
        }
    }

    fn adopt_capabilities(&mut self, raw: &str) {
        self.sight.adopt(&self.aggregate, &Capabilities::of(raw));
        self.merge_own();
        self.told = self.lists().versions();
    }

    /// A member's session is over: what it worked on is answered.
    fn lose(&mut self, name: &str, why: &str) {
        self.members.remove(name);
        self.own.forget(name);
        let text = format!("server `{name}` did not answer: {why}");
        let lost: Vec<RequestId> =
            self.calls.iter().filter(|(_, call)| call.server == name).map(|(id, _)| id.clone()).collect();
        for id in lost {
            self.calls.remove(&id);
            self.refuse(&id, code::INTERNAL_ERROR, &text);
        }
        let asked: Vec<u64> =
            self.questions.iter().filter(|(_, question)| question.server == name).map(|(id, _)| *id).collect();
        for id in asked {
            self.questions.remove(&id);
            self.tell(
                "notifications/cancelled",
                Some(&format!(r#"{{"requestId":{id},"reason":"the server has ended"}}"#)),
            );
        }
        self.subscriptions.retain(|(server, _)| server != name);
    }

    fn deliver(&mut self, relation: Relation, message: impl Into<Rope>) {
        // The client was too slow, or has gone meanwhile.
        let now = self.now();
        self.ended |= !self.clients.deliver(self.key, relation, message.into(), now);
    }

    fn tell(&mut self, method: &str, params: Option<&str>) {
        self.deliver(Relation::None, Message::call(None, method, params));
    }

    fn refuse(&mut self, id: &RequestId, code: i32, text: &str) {
        self.deliver(Relation::Answer(id.clone()), Message::error(Some(id), code, text, None));
    }

    /// Answers with a result that lies there in pieces.
    fn answer(&mut self, id: &RequestId, result: impl IntoIterator<Item = Bytes>) {
        self.deliver(Relation::Answer(id.clone()), rewrite::result(id, result));
    }

    fn set_version(&mut self, version: Version) {
        self.clients.set_version(self.key, version);
    }
}
