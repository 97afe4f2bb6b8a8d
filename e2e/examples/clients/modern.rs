//! A client of 2026-07-28, by hand.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use e2e::modern::{ModernClient, message};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use crate::host::{Host, Peer, Watch, capabilities};

/// How often a call may ask something.
const ROUNDS: usize = 8;

#[derive(Debug)]
pub(crate) struct Modern {
    url: String,
    host: Arc<Host>,
    streams: Mutex<JoinSet<()>>,
}

impl Modern {
    pub(crate) fn new(url: &str) -> Self {
        Self { url: url.into(), host: Arc::new(Host::new()), streams: Mutex::default() }
    }

    /// A client that says this of its next request. What it can be asked has a mark of its own, so that no other client of the
    /// same run is taken for it.
    fn client(&self, meta: &Value) -> ModernClient {
        let mut capabilities = capabilities();
        capabilities["roots"] = json!({});
        capabilities["experimental"] = json!({"check": {"of": std::process::id()}});
        let client = ModernClient::new(&self.url).capabilities(capabilities);
        meta.as_object().into_iter().flatten().fold(client, |client, (key, value)| client.meta(key, value.clone()))
    }

    /// The result of one request, which may be that something is asked.
    async fn once(&self, method: &str, params: Value) -> Result<Value> {
        let answer = self.client(&params["_meta"]).exchange(method, params).await?;
        let mut last = answer.json()?;
        let notifications = &answer.messages[..answer.messages.len() - 1];
        for text in notifications {
            self.host.hear_message(&serde_json::from_str(text)?);
        }
        ensure!(last.get("result").is_some(), "{method} is refused with status {}: {last}", answer.status);
        Ok(last["result"].take())
    }

    fn answers(&self, questions: &Value) -> Result<Value> {
        let mut answers = Map::new();
        for (key, question) in questions.as_object().into_iter().flatten() {
            let method = question["method"].as_str().unwrap_or_default();
            self.host.hear(method, &question["params"]);
            let answer = self.host.answer(method, &question["params"]);
            answers.insert(key.clone(), answer.with_context(|| format!("{method} is asked"))?);
        }
        Ok(answers.into())
    }
}

impl Peer for Modern {
    async fn request(&self, method: &str, mut params: Value) -> Result<Value> {
        for _ in 0..ROUNDS {
            let mut result = self.once(method, params.clone()).await?;
            if result["resultType"] != "input_required" {
                return Ok(result);
            }
            params["inputResponses"] = self.answers(&result["inputRequests"])?;
            params["requestState"] = result["requestState"].take();
        }
        bail!("{method} asks for ever")
    }

    fn heard(&self) -> Vec<Value> {
        self.host.heard()
    }

    async fn log_all(&self) -> Result<Value> {
        Ok(json!({"io.modelcontextprotocol/logLevel": "debug"}))
    }

    async fn watch(&self, what: &Watch) -> Result<()> {
        let wanted = match what {
            Watch::Resource(uri) => json!({"resourceSubscriptions": [uri]}),
            Watch::Resources => json!({"resourcesListChanged": true}),
        };
        let params = json!({"notifications": wanted});
        let mut events = self.client(&Value::Null).open("subscriptions/listen", params).await?.into_events().await?;
        let first = message(&mut events).await?;
        ensure!(first["method"] == "notifications/subscriptions/acknowledged", "{first}");
        let host = Arc::clone(&self.host);
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
            while let Ok(Some(event)) = events.next().await {
                if let Some(Ok(told)) = event.data.map(|data| serde_json::from_str(&data)) {
                    host.hear_message(&told);
                }
            }
        });
        Ok(())
    }

    async fn take_back(&self, name: &str, arguments: Value) -> Result<()> {
        let client = self.client(&json!({"progressToken": "of a call taken back"}));
        let params = json!({"name": name, "arguments": arguments});
        let mut events = client.open("tools/call", params).await?.into_events().await?;
        let first = message(&mut events).await?;
        ensure!(first["method"] == "notifications/progress", "{first}");
        // Closing the stream is all.
        Ok(())
    }

    async fn add_root(&self, uri: &str) -> Result<bool> {
        self.host.add_root(uri);
        Ok(false)
    }
}
