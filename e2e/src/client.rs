//! Raw MCP clients: [`SseClient`] for HTTP+SSE, [`HttpClient`] for Streamable HTTP, and what they share in [`Client`].
//!
//! Messages are kept as they came ([`Message::raw`]). What nobody waited for (notifications, requests of the server, answers
//! that no call expects) queues up as events, so that a test can say what arrived and that nothing else did.

mod http;
mod inbox;
mod message;
mod options;
mod pool;
mod sse;

use std::fmt::{Debug, Display};
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Error, Result, bail};
use bytes::Bytes;
use serde_json::{Value, json};

pub use http::HttpClient;
pub use message::{Message, RpcError};
pub use options::{ClientOptions, Reply};
pub use sse::SseClient;

use crate::http::NotSent;
use crate::wait::within;
use inbox::Inbox;

/// What the methods of [`Client`] return; boxed so that both clients fit one `Box<dyn Client>`.
pub type Future<'a, T> = Pin<Box<dyn std::future::Future<Output = Result<T>> + Send + 'a>>;

/// An HTTP status that a client did not expect.
#[derive(Debug, Clone, thiserror::Error)]
#[error("status {status}: {body}")]
pub struct StatusError {
    /// Status code.
    pub status: u16,
    /// The body, as text.
    pub body: String,
}

/// Whether a request certainly did not reach anybody: no connection was made for it. Only such a one may be sent again.
pub fn was_not_sent(error: &Error) -> bool {
    let pooled = |it: &hyper_util::client::legacy::Error| it.is_connect();
    error.is::<NotSent>() || error.chain().any(|it| it.downcast_ref().is_some_and(pooled))
}

/// What both clients have.
#[derive(Debug)]
pub struct Core {
    options: ClientOptions,
    inbox: Inbox,
    last_id: AtomicU64,
    welcome: OnceLock<Value>,
}

impl Core {
    fn new(options: ClientOptions) -> Self {
        Self { options, inbox: Inbox::default(), last_id: AtomicU64::new(0), welcome: OnceLock::new() }
    }

    /// Delivers what came as the data of an event or as a body, and returns the answers to requests among it.
    fn receive(&self, raw: &str) -> Vec<Bytes> {
        let messages = match Message::parse_all(raw) {
            Ok(messages) => messages,
            Err(error) => {
                self.inbox.close(format!("{error:#}"));
                return Vec::new();
            }
        };
        let replies = messages.iter().filter_map(|message| self.reply(message)).collect();
        for message in messages {
            self.inbox.deliver(message);
        }
        replies
    }

    fn reply(&self, message: &Message) -> Option<Bytes> {
        let (id, method) = (message.id()?, message.method()?);
        let outcome = match self.options.answer(method, message.params())? {
            Ok(result) => format!(r#""result":{result}"#),
            Err(error) => format!(r#""error":{}"#, json!({"code": error.code, "message": error.message})),
        };
        Some(format!(r#"{{"jsonrpc":"2.0","id":{id},{outcome}}}"#).into())
    }
}

/// One MCP session. Errors of JSON-RPC come as [`RpcError`], of HTTP as [`StatusError`], both by downcast.
///
/// Every wait ends after the options' timeout, with an error that says for what it was.
pub trait Client: Send + Sync + Debug {
    /// What both transports share.
    fn core(&self) -> &Core;

    /// POSTs one body as it is, whatever it holds.
    fn post(&self, body: Bytes) -> Future<'_, ()>;

    /// Takes note of the result of `initialize`.
    fn welcome(&self, result: &Value);

    /// The result of `initialize`; null before.
    fn server(&self) -> &Value {
        self.core().welcome.get().unwrap_or(&Value::Null)
    }

    /// Shakes hands: `initialize`, then `notifications/initialized`.
    fn initialize(&self) -> Future<'_, &Value> {
        Box::pin(async move {
            let options = &self.core().options;
            let params = json!({
                "protocolVersion": options.version,
                "capabilities": options.capabilities,
                "clientInfo": {"name": options.name, "version": "0"},
            });
            let result = self.call("initialize", params).await?;
            self.welcome(&result);
            // A second handshake keeps the first result, which tests of it do not look at.
            let _ = self.core().welcome.set(result);
            self.notify("notifications/initialized", json!({})).await?;
            Ok(self.server())
        })
    }

    /// Sends a request and gives its result.
    fn call<'a>(&'a self, method: &'a str, params: Value) -> Future<'a, Value> {
        Box::pin(async move {
            let answer = self.request(method, params).await?;
            answer.into_result().with_context(|| format!("{method} was refused"))
        })
    }

    /// Calls a tool and gives the result.
    fn tool<'a>(&'a self, name: &'a str, arguments: Value) -> Future<'a, Value> {
        self.call("tools/call", json!({"name": name, "arguments": arguments}))
    }

    /// Calls a tool and gives the text of the first content.
    fn tool_text<'a>(&'a self, name: &'a str, arguments: Value) -> Future<'a, String> {
        Box::pin(async move {
            let result = self.tool(name, arguments).await?;
            let text = result["content"][0]["text"].as_str();
            text.map(Into::into).with_context(|| format!("{name} answered without text: {result}"))
        })
    }

    /// Sends a request and gives the whole answer, be it a result or an error.
    fn request<'a>(&'a self, method: &'a str, params: Value) -> Future<'a, Message> {
        let id = self.core().last_id.fetch_add(1, Ordering::Relaxed) + 1;
        self.request_raw(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string())
    }

    /// Sends a request as it is and gives the answer to its id.
    fn request_raw(&self, raw: String) -> Future<'_, Message> {
        Box::pin(async move {
            let request = Message::parse(&raw)?;
            let id = request.id().context("a request needs an id")?.to_owned();
            let limit = self.core().options.timeout;
            let answer = self.core().inbox.expect(&id);
            let what = format!("the answer to {} (id {id})", request.method().unwrap_or("?"));
            let answer = within(limit, what, async {
                self.post(raw.into()).await?;
                answer.await.context("the id was used again")?.map_err(Error::msg)
            });
            let answer = answer.await;
            self.core().inbox.abandon(&id, "the test gave up");
            answer
        })
    }

    /// Sends a notification.
    fn notify<'a>(&'a self, method: &'a str, params: Value) -> Future<'a, ()> {
        self.post(json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string().into())
    }

    /// Answers a request of the server that the options left open; `id` as JSON.
    fn reply<'a>(&'a self, id: &'a str, result: &'a Value) -> Future<'a, ()> {
        self.post(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).into())
    }

    /// Takes the oldest event.
    fn next_event(&self) -> Future<'_, Message> {
        self.take_event(&"any event", &|_| true)
    }

    /// Takes the oldest event of that method and leaves the others.
    fn expect_event<'a>(&'a self, method: &'a str) -> Future<'a, Message> {
        Box::pin(async move { self.take_event(&method, &|event| event.method() == Some(method)).await })
    }

    /// Takes the oldest event that `wanted` likes; `what` names it in the error.
    fn take_event<'a>(
        &'a self,
        what: &'a (dyn Display + Sync),
        wanted: &'a (dyn Fn(&Message) -> bool + Sync),
    ) -> Future<'a, Message> {
        let limit = self.core().options.timeout;
        Box::pin(within(limit, what, self.core().inbox.take(wanted)))
    }

    /// Passes when no event is there and none comes within `limit`.
    fn no_event(&self, limit: Duration) -> Future<'_, ()> {
        Box::pin(async move {
            match tokio::time::timeout(limit, self.core().inbox.take(&|_| true)).await {
                Err(_) => Ok(()),
                Ok(Err(closed)) => Err(closed),
                Ok(Ok(event)) => bail!("an event came that should not: {}", event.raw()),
            }
        })
    }

    /// The events that nobody has taken, oldest first.
    fn events(&self) -> Vec<Message> {
        self.core().inbox.events()
    }

    /// Every page of a list, as one array; `key` is the member that holds the entries.
    fn list<'a>(&'a self, method: &'a str, key: &'a str) -> Future<'a, Vec<Value>> {
        Box::pin(async move {
            let (mut entries, mut params) = (Vec::new(), json!({}));
            loop {
                let mut page = self.call(method, params).await?;
                let Value::Array(found) = page[key].take() else { bail!("{method} answered without {key}: {page}") };
                entries.extend(found);
                match page["nextCursor"].take() {
                    Value::Null => return Ok(entries),
                    cursor => params = json!({"cursor": cursor}),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
