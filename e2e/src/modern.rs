//! A client of 2026-07-28: each request stands alone, and says of itself in headers and envelope what it must.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::fixture::MODERN;
use crate::harness::{Gateway, Sidecar};
use crate::http::{Opened, open};
use crate::sse::{Event, EventStream};
use crate::{PATIENCE, eventually, within};

/// Sends requests to one endpoint. No connection is kept between two.
#[derive(Debug)]
pub struct ModernClient {
    url: String,
    meta: Value,
    headers: Vec<(String, String)>,
    next_id: AtomicU64,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Whether it came as a stream of events.
    pub streamed: bool,
    /// All messages as text, the answer last.
    pub messages: Vec<String>,
}

impl Answer {
    /// The answer.
    ///
    /// # Errors
    /// When there is none, or it is no JSON.
    pub fn json(&self) -> Result<Value> {
        let last = self.messages.last().with_context(|| format!("nothing came with status {}", self.status))?;
        serde_json::from_str(last).with_context(|| format!("{last} came with status {}", self.status))
    }

    /// The status and the code of the error that the answer is; 0 when it is none.
    ///
    /// # Errors
    /// As [`Self::json`].
    pub fn outcome(&self) -> Result<(u16, i64)> {
        Ok((self.status, self.json()?["error"]["code"].as_i64().unwrap_or_default()))
    }
}

impl ModernClient {
    /// A client that declares no capabilities.
    pub fn new(url: impl Into<String>) -> Self {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "0"},
        });
        Self { url: url.into(), meta, headers: Vec::new(), next_id: AtomicU64::new(1) }
    }

    /// With something else in the `_meta` of requests.
    #[must_use]
    pub fn meta(mut self, key: &str, value: Value) -> Self {
        self.meta[key] = value;
        self
    }

    /// With these capabilities.
    #[must_use]
    pub fn capabilities(self, capabilities: Value) -> Self {
        self.meta("io.modelcontextprotocol/clientCapabilities", capabilities)
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Opens a request, whose answer is still to be read.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn open(&self, method: &str, params: Value) -> Result<Opened> {
        let mut params = params;
        params["_meta"] = self.meta.clone();
        let name = ["name", "uri", "taskId"].iter().find_map(|key| params[*key].as_str()).map(coded);
        self.open_raw(method, name.as_deref(), &params.to_string()).await
    }

    /// The same with these params, which have all they need; `name` is what they name.
    async fn open_raw(&self, method: &str, name: Option<&str>, params: &str) -> Result<Opened> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{},"params":{params}}}"#, json!(method));
        let mut headers = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", MODERN),
            ("mcp-method", method),
        ];
        headers.extend(name.map(|name| ("mcp-name", name)));
        headers.extend(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        open("POST", &self.url, &headers, body).await
    }

    /// Sends a request and reads all that comes back.
    ///
    /// # Errors
    /// When nobody answers, or not to the end.
    pub async fn post(&self, method: &str, params: Value) -> Result<Answer> {
        within(PATIENCE, format!("the answer to {method}"), self.exchange(method, params)).await
    }

    /// As [`Self::post`], for as long as it takes.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub async fn exchange(&self, method: &str, params: Value) -> Result<Answer> {
        Answer::read(self.open(method, params).await?).await
    }

    /// The result of a request.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn result(&self, method: &str, params: Value) -> Result<Value> {
        let answer = self.post(method, params).await?;
        let mut json = answer.json()?;
        ensure!(json.get("result").is_some(), "{method} is refused with status {}: {json}", answer.status);
        Ok(json["result"].take())
    }

    /// Calls a tool with these arguments as they are; with its answer as it is.
    ///
    /// # Errors
    /// When nobody answers, or not to the end.
    pub async fn tool_raw(&self, name: &str, arguments: &str) -> Result<String> {
        let params = format!(r#"{{"name":{},"arguments":{arguments},"_meta":{}}}"#, json!(name), self.meta);
        let answer = async { Answer::read(self.open_raw("tools/call", Some(&coded(name)), &params).await?).await };
        let answer = within(PATIENCE, format!("the answer of {name}"), answer).await?;
        answer.messages.into_iter().next_back().context("nothing came")
    }

    /// The result of a call of a tool.
    ///
    /// # Errors
    /// As [`Self::result`].
    pub async fn tool(&self, name: &str, arguments: Value) -> Result<Value> {
        self.result("tools/call", json!({"name": name, "arguments": arguments})).await
    }
}

impl Answer {
    async fn read(opened: Opened) -> Result<Self> {
        let status = opened.status;
        let kind = opened.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("text/event-stream") {
            let text = opened.collect().await?.text();
            return Ok(Self { status, streamed: false, messages: vec![text] });
        }
        let (mut events, mut messages) = (opened.events(), Vec::new());
        while let Some(Event { data, .. }) = events.next().await? {
            messages.extend(data);
        }
        Ok(Self { status, streamed: true, messages })
    }
}

/// A name or a value as it stands in a header.
pub fn coded(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return name.into();
    }
    format!("=?base64?{}?=", BASE64_STANDARD.encode(name)).into()
}

/// Waits until the fixture behind `client` has seen one request cancelled.
///
/// # Errors
/// When it sees none in time.
pub async fn cancelled_one(client: &ModernClient) -> Result<()> {
    let look = async || {
        let seen = client.tool("cancelled_seen", json!({})).await.ok()?;
        (seen["structuredContent"]["count"] == 1).then_some(())
    };
    eventually(PATIENCE, "the cancellation", look).await
}

/// A client of this sidecar.
pub fn client(sidecar: &Sidecar) -> ModernClient {
    ModernClient::new(sidecar.url("/mcp"))
}

/// A client of all servers of this gateway together.
pub fn of_all(gateway: &Gateway) -> ModernClient {
    ModernClient::new(gateway.url("/mcp"))
}

/// The text that a tool has answered with; empty when it is no text.
pub fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_default()
}

/// Opens a stream of the changes that are `wanted`; with what was agreed.
///
/// # Errors
/// When it is refused.
pub async fn listen(client: &ModernClient, wanted: Value) -> Result<(EventStream, Value)> {
    let opened = client.open("subscriptions/listen", json!({"notifications": wanted})).await?;
    let mut events = opened.into_events().await?;
    let first = message(&mut events).await?;
    ensure!(first["method"] == "notifications/subscriptions/acknowledged", "{first}");
    Ok((events, first["params"].clone()))
}

/// What a list, one page of it, names: by names or addresses.
///
/// # Errors
/// When it is refused, or none.
pub async fn names(client: &ModernClient, method: &str, key: &str) -> Result<BTreeSet<String>> {
    let list = client.result(method, json!({})).await?;
    let items = list[key].as_array().context("a list")?;
    let name = |item: &Value| ["uri", "uriTemplate", "name"].iter().find_map(|key| item[*key].as_str()).map(Into::into);
    Ok(items.iter().filter_map(name).collect())
}

/// The next message of a stream.
///
/// # Errors
/// When none comes in time, or what comes is not JSON.
pub async fn message(events: &mut EventStream) -> Result<Value> {
    let data = events.data(PATIENCE).await?.data.context("an event with data")?;
    Ok(serde_json::from_str(&data)?)
}
