//! The same for servers of 2026-07-28.

use std::time::Duration;

use mcp::envelope::{self, Incoming, Kind, Message, RequestId};
use mcp::modern::{DISCOVER, LISTEN, meta, probe};
use mcp::session::streams::Carrier;
use mcp::version::Version;

use super::{Asks, CallError, answer, lists, raw};
use crate::session::{Caller, Exchanges, Frame, StreamRx};
use crate::status::Catalogue;

/// A client of this program's own that speaks 2026-07-28.
#[derive(Debug)]
pub struct Looker {
    exchanges: Exchanges,
    /// Raw JSON.
    capabilities: &'static str,
    next_id: u64,
    /// The shortest time for which an answer holds, in milliseconds.
    ttl_ms: Option<u64>,
}

/// What changes at a server.
#[derive(Debug)]
pub struct Changes(StreamRx);

impl Looker {
    /// A client of the server that `exchanges` go to, which declares `capabilities`, raw JSON.
    pub fn new(exchanges: Exchanges, capabilities: &'static str) -> Self {
        Self { exchanges, capabilities, next_id: 0, ttl_ms: None }
    }

    /// Asks what the server is, and lists everything it declares.
    pub async fn catalogue(&mut self, limit: Duration) -> Result<Catalogue, CallError> {
        let hello = self.call(DISCOVER, "{}", limit).await?;
        let mut catalogue = Catalogue {
            version: 0,
            protocol_version: Version::V2026_07_28.to_string(),
            server_info: raw(&hello, &["_meta", meta::SERVER_INFO]),
            capabilities: raw(&hello, &["capabilities"]),
            instructions: hello.str_at(&["instructions"]).map(std::borrow::Cow::into_owned),
            ..Catalogue::default()
        };
        lists(self, &mut catalogue, limit).await?;
        catalogue.ttl_ms = self.ttl_ms;
        Ok(catalogue)
    }

    /// Listens to changes of the lists.
    pub async fn changes(&mut self) -> Result<Changes, CallError> {
        let wanted = r#"{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}"#;
        let request = self.request(LISTEN, &format!(r#"{{"notifications":{wanted}}}"#));
        self.send(request, Carrier::Events).await.map(Changes)
    }

    fn request(&mut self, method: &str, params: &str) -> Message {
        self.next_id += 1;
        let rest = params.trim_start_matches('{');
        let comma = if rest.starts_with('}') { "" } else { "," };
        let params = format!(r#"{{"_meta":{}{comma}{rest}"#, probe::own_meta(self.capabilities));
        Message::call(Some(&RequestId::from(self.next_id)), method, Some(&params))
    }

    async fn send(&self, request: Message, carrier: Carrier) -> Result<StreamRx, CallError> {
        self.exchanges.send(Caller::internal(), request, carrier).await.map_err(|_| CallError::Ended)
    }
}

impl Asks for Looker {
    async fn call(&mut self, method: &str, params: &str, limit: Duration) -> Result<Message, CallError> {
        let request = self.request(method, params);
        let answered = async {
            let mut frames = self.send(request, Carrier::Undecided).await?;
            loop {
                let message = next(&mut frames).await.ok_or(CallError::Ended)?;
                if message.is_response() {
                    return answer(message);
                }
            }
        };
        let timeout = || CallError::Timeout { method: method.to_owned(), limit };
        let answer = tokio::time::timeout(limit, answered).await.map_err(|_| timeout())??;
        if let Some(ttl) = answer.at(&["ttlMs"]).and_then(|ttl| ttl.parse().ok()) {
            self.ttl_ms = Some(self.ttl_ms.map_or(ttl, |known| known.min(ttl)));
        }
        Ok(answer)
    }
}

impl Changes {
    /// Waits for the next change; `None` when no more are told.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            let message = next(&mut self.0).await?;
            match message.kind() {
                Kind::Notification if message.method().ends_with("/list_changed") => return Some(message),
                Kind::Notification | Kind::Request => {}
                Kind::Result | Kind::Error => return None,
            }
        }
    }
}

async fn next(frames: &mut StreamRx) -> Option<Message> {
    loop {
        let Frame::Message(delivery) = frames.next().await? else { return None };
        if let Ok(Incoming::Single(message)) = envelope::parse(delivery.message.into_bytes(), usize::MAX) {
            return Some(message);
        }
    }
}
