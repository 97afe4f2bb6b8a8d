//! Clients that shake hands, by hand.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use e2e::client::{Client, ClientOptions, HttpClient, SseClient};
use e2e::eventually;
use serde_json::{Value, json};

use crate::host::{Host, Peer, Watch, capabilities};

/// How long a call that was taken back is waited for.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(crate) struct Session<C> {
    client: C,
    host: Arc<Host>,
}

/// A client of 2024-11-05, which knows of no elicitation.
pub(crate) async fn sse(url: &str, limit: Duration) -> Result<Session<SseClient>> {
    let host = Arc::new(Host::new());
    let options = options("2024-11-05", json!({"sampling": {}, "roots": {"listChanged": true}}), limit, &host);
    Ok(Session { client: SseClient::connect_with(url, options).await?, host })
}

/// A client of 2025-11-25.
pub(crate) async fn streamable(url: &str, limit: Duration) -> Result<Session<HttpClient>> {
    let host = Arc::new(Host::new());
    let options = options("2025-11-25", capabilities(), limit, &host);
    Ok(Session { client: HttpClient::connect_with(url, options).await?, host })
}

fn options(version: &str, capabilities: Value, limit: Duration, host: &Arc<Host>) -> ClientOptions {
    let host = Arc::clone(host);
    let options = ClientOptions::new(version).capabilities(capabilities).timeout(limit);
    options.respond(move |method, params| host.answer(method, params).map(Ok))
}

impl<C: Client> Peer for Session<C> {
    async fn request(&self, method: &str, params: Value) -> Result<Value> {
        self.client.call(method, params).await
    }

    fn heard(&self) -> Vec<Value> {
        let events = self.client.events();
        events.iter().map(|event| json!({"method": event.method(), "params": event.params()})).collect()
    }

    async fn log_all(&self) -> Result<Value> {
        self.client.call("logging/setLevel", json!({"level": "debug"})).await?;
        Ok(json!({}))
    }

    async fn watch(&self, what: &Watch) -> Result<()> {
        if let Watch::Resource(uri) = what {
            self.client.call("resources/subscribe", json!({"uri": uri})).await?;
        }
        Ok(())
    }

    async fn take_back(&self, name: &str, arguments: Value) -> Result<()> {
        let mark = self.heard().len();
        let params = json!({"name": name, "arguments": arguments, "_meta": {"progressToken": "of a call taken back"}});
        let call = json!({"jsonrpc": "2.0", "id": "taken back", "method": "tools/call", "params": params});
        let taking_back = async {
            eventually(SILENCE * 10, "progress", async || {
                let heard = self.heard().split_off(mark);
                heard.iter().any(|it| it["method"] == "notifications/progress").then_some(())
            })
            .await?;
            self.client.notify("notifications/cancelled", json!({"requestId": "taken back"})).await?;
            tokio::time::sleep(SILENCE).await;
            Ok(())
        };
        tokio::select! {
            answer = self.client.request_raw(call.to_string()) => bail!("it was answered: {}", answer?.raw()),
            done = taking_back => done,
        }
    }

    async fn add_root(&self, uri: &str) -> Result<bool> {
        self.host.add_root(uri);
        self.client.notify("notifications/roots/list_changed", json!({})).await?;
        Ok(true)
    }
}
