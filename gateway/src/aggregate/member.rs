//! A member's session, opened on behalf of one session of the aggregate.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::HeaderMap;
use http::uri::PathAndQuery;
use mcp::envelope::{Message, RequestId};
use mcp::json::Rope;
use mcp::session::filter::ToolFilter;
use mcp::session::mux::{Config, Loss, Sharing};
use mcp::session::streams::{Delivery, Transport};
use tokio::sync::watch;
use wire::client::HttpClient;
use wire::hub::{Hub, Settings, Stop};
use wire::link::{Connect, Event, Link};
use wire::session::{Caller, Ended, Frame, Registry, SessionHandle, SessionId, StreamRx};
use wire::upstream::{Doubts, Site, StreamableLink, Target};

use crate::proxy::hop;
use crate::routes::Routes;
use crate::store::Uid;

/// The id of the `initialize` that opens a member's session; no client's own.
pub(super) const HELLO: &[u8] = br#""mcp-gateway/initialize""#;
/// The sidecar ends calls that take too long, and says so better: this is for a sidecar that does not answer.
const BACKSTOP: Duration = Duration::from_secs(3600);

/// A member's session ends with the client's, which is never without a stream to it.
const NEVER_IDLE: Duration = Duration::from_secs(86_400);
/// The sidecar limits messages: this is for one that does not.
const MAX_MESSAGE: usize = 256 << 20;

/// Connects to the sidecar that is right for new sessions at that moment.
#[derive(Debug)]
struct Sidecar {
    name: String,
    /// What the routes know it by.
    id: String,
    routes: Routes,
    client: HttpClient,
    headers: HeaderMap,
}

impl Sidecar {
    fn lost(&self, what: &str, why: &str) -> Loss {
        Loss { message: format!("server `{}` {what}: {why}", self.name), data: None }
    }
}

impl Connect for Sidecar {
    type Link = InstanceLink;

    async fn connect(&self) -> Result<InstanceLink, Loss> {
        let reach = self.routes.for_new_sessions(&self.id).await;
        let (route, endpoint) = reach.map_err(|route| {
            let why = route.as_ref().map_or("it has been removed", |route| &route.status.message);
            self.lost("cannot be reached now", why)
        })?;
        let client = self.client.for_server(route.uid);
        let site = Site {
            name: self.name.as_str().into(),
            target: Target { endpoint: endpoint.address, path: PathAndQuery::from_static("/mcp") },
            headers: self.headers.clone(),
            calls: client.clone(),
            streams: client.long_streams(),
            max_message: MAX_MESSAGE,
            doubts: Doubts::default(),
        };
        Ok(InstanceLink {
            link: StreamableLink::new(Arc::new(site)),
            instance: endpoint.instance,
            changes: self.routes.follow(),
            routes: self.routes.clone(),
            gone: self.lost("did not answer", "its sidecar has ended; send the request again"),
            id: self.id.clone(),
        })
    }
}

/// A link to one sidecar. It is lost with the sidecar, at once, as nobody else will ever listen at that address; and
/// already when that is about to end, as soon as nothing is under way.
#[derive(Debug)]
struct InstanceLink {
    link: StreamableLink,
    id: String,
    instance: Uid,
    routes: Routes,
    changes: watch::Receiver<u64>,
    gone: Loss,
}

impl Link for InstanceLink {
    fn send(&mut self, message: Rope) {
        self.link.send(message);
    }

    fn over(&self) -> Option<Loss> {
        let table = self.routes.now();
        let over = match table.by_id(&self.id).and_then(|route| route.instance(self.instance)) {
            None => true,
            Some(endpoint) => endpoint.leaving && self.link.is_quiet(),
        };
        over.then(|| self.gone.clone())
    }

    async fn next(&mut self) -> Event {
        loop {
            self.changes.mark_unchanged();
            if let Some(gone) = self.over() {
                return Event::Lost(gone);
            }
            tokio::select! {
                event = self.link.next() => return event,
                // The routes go when the program ends, which ends this as well.
                Ok(()) = self.changes.changed() => {}
            }
        }
    }

    async fn stop(self) {
        self.link.stop().await;
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Member {
    /// The server, as it was when the session was opened.
    pub(super) uid: Uid,
    handle: SessionHandle,
    frames: StreamRx,
}

/// What is needed to open members.
#[derive(Clone, Debug)]
pub(super) struct Opener {
    pub(super) routes: Routes,
    pub(super) client: HttpClient,
    pub(super) caller: Caller,
    pub(super) stop: Stop,
}

impl Opener {
    /// Opens a session of server `name`, with the client's own `initialize` parameters; and what has to run for it. `None`
    /// when the name means another server by now, which the client may not see.
    pub(super) async fn open(
        &self,
        name: &str,
        uid: Uid,
        params: &str,
        log_level: Option<&str>,
    ) -> Option<(Member, BoxFuture<'static, ()>)> {
        let (caller, id) = (self.caller.clone(), SessionId::random().ok()?);
        let sidecar = Sidecar {
            name: name.to_owned(),
            id: self.routes.shared(name).filter(|route| route.uid == uid)?.id(),
            routes: self.routes.clone(),
            client: self.client.clone(),
            headers: hop(&caller).ok()?.into_iter().collect(),
        };
        let mux = Config {
            sharing: Sharing::Exclusive,
            request_timeout: BACKSTOP,
            startup_timeout: BACKSTOP,
            connect_timeout: BACKSTOP,
            asking: None,
            tools: ToolFilter::default(),
            server: name.to_owned(),
        };
        let settings = Settings { mux, idle_timeout: NEVER_IDLE };
        let (mut hub, commands) = Hub::new(Arc::new(sidecar), settings, Registry::default(), self.stop.clone());
        let handle = hub.add(id, caller, Transport::Sse)?;
        drop(commands);
        let frames = handle.listen_inside().await.ok()?;
        let member = Member { uid, handle, frames };
        let hello = RequestId::from_raw(bytes::Bytes::from_static(HELLO))?;
        member.send(Message::call(Some(&hello), "initialize", Some(params))).await.ok()?;
        member.send(Message::call(None, "notifications/initialized", None)).await.ok()?;
        if let Some(level) = log_level {
            let id = RequestId::from_raw(bytes::Bytes::from_static(br#""mcp-gateway/setLevel""#))?;
            let params = format!(r#"{{"level":{level}}}"#);
            member.send(Message::call(Some(&id), "logging/setLevel", Some(&params))).await.ok()?;
        }
        Some((member, Box::pin(hub.run())))
    }
}

impl Member {
    /// Sends a message.
    pub(super) async fn send(&self, message: Message) -> Result<(), Ended> {
        self.handle.post(vec![message], None).await
    }

    /// The next message of the member; `None` when its session has ended.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Box<Delivery>>> {
        loop {
            return match self.frames.poll_next(cx) {
                Poll::Ready(Some(Frame::Message(delivery))) => Poll::Ready(Some(delivery)),
                Poll::Ready(Some(Frame::Refused(_))) => continue,
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            };
        }
    }
}
