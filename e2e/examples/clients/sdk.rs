//! The Rust SDK as a client.
#![expect(deprecated, reason = "sampling, roots and logging are, and are checked")]

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use e2e::eventually;
use rmcp::model::{
    ClientConfig, ClientRequest, CreateMessageRequestParams, CreateMessageResult, ElicitRequestParams, ElicitResult,
    ErrorData, ListRootsResult, LoggingMessageNotificationParam, ProgressNotificationParam, ProtocolVersion,
    ResourceUpdatedNotificationParam,
};
use rmcp::service::{
    ClientLifecycleMode, ClientServiceExt, NotificationContext, PeerRequestOptions, RequestContext, RunningService,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientHandler, RoleClient};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::host::{Host, Peer, Watch, capabilities};
use crate::session::SILENCE;

pub(crate) struct Sdk {
    running: RunningService<RoleClient, Handler>,
    host: Arc<Host>,
    streams: Mutex<JoinSet<()>>,
}

struct Handler(Arc<Host>);

impl Sdk {
    /// With `auto`, it asks whether the server knows 2026-07-28.
    pub(crate) async fn connect(url: &str, auto: bool) -> Result<Self> {
        let host = Arc::new(Host::new());
        let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
        let lifecycle = if auto {
            ClientLifecycleMode::Auto { preferred_versions, legacy_version: None }
        } else {
            ClientLifecycleMode::Initialize
        };
        let transport = StreamableHttpClientTransport::from_uri(url);
        let running = Handler(Arc::clone(&host)).serve_with_lifecycle(transport, lifecycle).await?;
        Ok(Self { running, host, streams: Mutex::default() })
    }

    fn is_modern(&self) -> bool {
        let version = self.running.peer_info().map(|info| info.protocol_version.clone());
        version.is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
    }

    async fn send(&self, method: &str, params: Value) -> Result<Value> {
        let request: ClientRequest = parse(&json!({"method": method, "params": params}))?;
        Ok(serde_json::to_value(self.running.send_request(request).await?)?)
    }
}

impl Peer for Sdk {
    async fn request(&self, method: &str, params: Value) -> Result<Value> {
        if method == "tools/call" {
            return Ok(serde_json::to_value(self.running.call_tool(parse(&params)?).await?)?);
        }
        self.send(method, params).await
    }

    fn heard(&self) -> Vec<Value> {
        self.host.heard()
    }

    async fn log_all(&self) -> Result<Value> {
        if self.is_modern() {
            return Ok(json!({"io.modelcontextprotocol/logLevel": "debug"}));
        }
        self.send("logging/setLevel", json!({"level": "debug"})).await?;
        Ok(json!({}))
    }

    async fn watch(&self, what: &Watch) -> Result<()> {
        let filter = match what {
            Watch::Resource(uri) if !self.is_modern() => {
                return self.send("resources/subscribe", json!({"uri": uri})).await.map(drop);
            }
            Watch::Resources if !self.is_modern() => return Ok(()),
            Watch::Resource(uri) => json!({"resourceSubscriptions": [uri]}),
            Watch::Resources => json!({"resourcesListChanged": true}),
        };
        let mut subscription = self.running.listen(parse(&filter)?).await?;
        let host = Arc::clone(&self.host);
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
            while let Ok(Some(told)) = subscription.next().await {
                host.hear_message(&value(&told));
            }
        });
        Ok(())
    }

    async fn take_back(&self, name: &str, arguments: Value) -> Result<()> {
        let mark = self.heard().len();
        let params = json!({"name": name, "arguments": arguments});
        let request: ClientRequest = parse(&json!({"method": "tools/call", "params": params}))?;
        let call = self.running.send_cancellable_request(request, PeerRequestOptions::no_options()).await?;
        eventually(SILENCE * 10, "progress", async || {
            let heard = self.heard().split_off(mark);
            heard.iter().any(|it| it["method"] == "notifications/progress").then_some(())
        })
        .await?;
        call.cancel(Some("check".into())).await?;
        Ok(())
    }

    async fn add_root(&self, uri: &str) -> Result<bool> {
        self.host.add_root(uri);
        if !self.is_modern() {
            self.running.notify_roots_list_changed().await?;
        }
        Ok(!self.is_modern())
    }
}

impl Handler {
    fn answer<T: DeserializeOwned>(&self, method: &str, params: &Value) -> Result<T, ErrorData> {
        let answer = self.0.answer(method, params).unwrap_or_default();
        self.0.hear(method, params);
        parse(&answer).map_err(|error| ErrorData::internal_error(error.to_string(), None))
    }

    fn hear(&self, method: &str, params: &impl Serialize) {
        self.0.hear(method, &value(params));
    }
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let client = json!({"name": "check", "version": "1"});
        let info = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities(), "clientInfo": client});
        parse(&info).unwrap_or_default()
    }

    async fn create_message(
        &self,
        params: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        self.answer("sampling/createMessage", &value(&params))
    }

    async fn create_elicitation(
        &self,
        params: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        self.answer("elicitation/create", &value(&params))
    }

    async fn list_roots(&self, _: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        self.answer("roots/list", &Value::Null)
    }

    async fn on_progress(&self, params: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.hear("notifications/progress", &params);
    }

    async fn on_logging_message(&self, params: LoggingMessageNotificationParam, _: NotificationContext<RoleClient>) {
        self.hear("notifications/message", &params);
    }

    async fn on_resource_updated(&self, params: ResourceUpdatedNotificationParam, _: NotificationContext<RoleClient>) {
        self.hear("notifications/resources/updated", &params);
    }

    async fn on_resource_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.hear("notifications/resources/list_changed", &Value::Null);
    }
}

/// Any type of the SDK from JSON, which is shorter than its builders.
fn parse<T: DeserializeOwned>(json: &Value) -> Result<T> {
    serde_json::from_value(json.clone()).with_context(|| format!("the SDK does not take {json}"))
}

fn value(it: &impl Serialize) -> Value {
    serde_json::to_value(it).unwrap_or_default()
}
