//! One request, and what comes back.

use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use mcp::envelope::{Message, RequestId, code};
use mcp::json;
use mcp::modern::code::HEADER_MISMATCH;
use mcp::modern::mirrored::Mirrored;
use mcp::modern::{LISTEN, headers};
use tokio::sync::mpsc;

use crate::link::Event;
use crate::upstream::Site;
use crate::upstream::events::with_id;
use crate::upstream::failure::Failure;
use crate::upstream::reply::Reply;

const TOOLS: &str = "tools/list";
/// So many pages of a list are read to find out which arguments are repeated in headers.
const MAX_PAGES: usize = 32;

/// Which arguments of a server's tools are repeated in headers, as far as lists have said so. Clones share it.
#[derive(Clone, Debug, Default)]
pub(in crate::upstream) struct Rules(Arc<Mutex<Mirrored>>);

/// What all requests of a link know.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) site: Arc<Site>,
    rules: Rules,
    events: mpsc::Sender<Event>,
}

impl Shared {
    pub(super) fn new(site: Arc<Site>, rules: Rules, events: mpsc::Sender<Event>) -> Self {
        Self { site, rules, events }
    }

    /// Sends a request, and hands on what comes back; names the request at its end.
    pub(super) async fn call(self: Arc<Self>, id: RequestId, request: Message) -> RequestId {
        let mut failure = match self.exchange(&id, &request).await {
            Ok(()) => return id,
            Err(failure) => failure,
        };
        // The specification wants the list to be read again, and the call sent once more ("Custom Headers from Tool
        // Parameters"); it was refused before anything was done.
        if failure.has_code(HEADER_MISMATCH) && self.read_tools(&request).await {
            match self.exchange(&id, &request).await {
                Ok(()) => return id,
                Err(again) => failure = again,
            }
        }
        if failure.is_not_understood() {
            self.site.doubts.add();
        }
        let answer = match &failure.error {
            // In the server's own words, under the id that it may not have been able to read.
            Some(error) => with_id(error, &id),
            None => Message::error(Some(&id), code::INTERNAL_ERROR, &failure.text, Some(&failure.data())),
        };
        self.hand_on(answer).await;
        id
    }

    async fn exchange(&self, id: &RequestId, request: &Message) -> Result<(), Failure> {
        let (mut reply, status) = self.post(id, request).await?;
        loop {
            let message = self.read(&mut reply, status).await?;
            let last = message.is_response();
            if last && request.method() == TOOLS {
                self.learn(&message);
            }
            self.hand_on(message).await;
            if last {
                reply.finish().await;
                return Ok(());
            }
        }
    }

    async fn post(&self, id: &RequestId, request: &Message) -> Result<(Reply, StatusCode), Failure> {
        let site = &self.site;
        let client = if request.method() == LISTEN { &site.streams } else { &site.calls };
        let own = headers::of(request).into_iter().map(|(name, value)| (name.to_owned(), value));
        let headers = site.posting_of(own.chain(self.mirrored(|known| known.headers(request))));
        let response = site.post_by(client, &site.target, headers, request.raw().clone()).await?;
        let status = response.status();
        let reply = Reply::new(response, id.clone(), site.max_message);
        reply.map(|reply| (reply, status)).map_err(|error| site.failure(Some(status), error))
    }

    async fn read(&self, reply: &mut Reply, status: StatusCode) -> Result<Message, Failure> {
        reply.next().await.map_err(|error| self.site.failure(Some(status), error))
    }

    /// Reads the list of tools as the client of `call` is shown it. Whether that changes the headers of the call.
    async fn read_tools(&self, call: &Message) -> bool {
        let before = self.mirrored(|known| known.headers(call));
        let Some(meta) = call.at(&["_meta"]) else { return false };
        let id = RequestId::from(0);
        let mut cursor = String::new();
        for _ in 0..MAX_PAGES {
            let request = Message::call(Some(&id), TOOLS, Some(&format!(r#"{{"_meta":{meta}{cursor}}}"#)));
            let page = async {
                let (mut reply, status) = self.post(&id, &request).await?;
                loop {
                    let message = self.read(&mut reply, status).await?;
                    if message.is_response() {
                        return Ok::<_, Failure>(message);
                    }
                }
            };
            let Ok(page) = page.await else { break };
            self.learn(&page);
            match page.at(&["nextCursor"]) {
                Some(next) if json::string(next).is_some() => cursor = format!(r#","cursor":{next}"#),
                _ => break,
            }
        }
        self.mirrored(|known| known.headers(call)) != before
    }

    fn learn(&self, page: &Message) {
        let tools = page.at(&["tools"]).and_then(json::elements).unwrap_or_default();
        self.mirrored(|known| known.learn(tools));
    }

    fn mirrored<T>(&self, with: impl FnOnce(&mut Mirrored) -> T) -> T {
        with(&mut self.rules.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn hand_on(&self, message: Message) {
        // The link has ended when nobody takes it.
        drop(self.events.send(Event::Message(message)).await);
    }
}
