//! What a client says of itself, and how it answers the server's own requests.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::RpcError;
use crate::wait::PATIENCE;

/// How a request of the server is answered; `None` leaves it to the test, by [`super::Client::reply`].
pub type Reply = Option<Result<Value, RpcError>>;

type Responder = Arc<dyn Fn(&str, &Value) -> Reply + Send + Sync>;

/// Settings of a client; each method returns the settings changed.
#[derive(Clone)]
pub struct ClientOptions {
    pub(super) version: String,
    pub(super) capabilities: Value,
    pub(super) name: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) timeout: Duration,
    pub(super) listen: bool,
    responder: Responder,
}

impl ClientOptions {
    /// A client of that protocol revision that declares nothing, answers `ping` and refuses other requests.
    pub fn new(version: &str) -> Self {
        Self {
            version: version.into(),
            capabilities: json!({}),
            name: "e2e".into(),
            headers: Vec::new(),
            timeout: PATIENCE,
            listen: true,
            responder: Arc::new(|_, _| Some(Err(RpcError::new(-32601, "the test client has no such method")))),
        }
    }

    /// Declares these capabilities, such as `{"sampling": {}}`.
    pub fn capabilities(self, capabilities: Value) -> Self {
        Self { capabilities, ..self }
    }

    /// Calls itself `name` in `clientInfo`.
    pub fn name(self, name: &str) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Adds a header to every HTTP request.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Waits so long for each answer and each event.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Streamable HTTP: opens no stream by GET.
    pub fn without_stream(self) -> Self {
        Self { listen: false, ..self }
    }

    /// Answers the server's own requests, by method and params. `ping` is answered without asking.
    pub fn respond(self, responder: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static) -> Self {
        Self { responder: Arc::new(responder), ..self }
    }

    pub(super) fn answer(&self, method: &str, params: &Value) -> Reply {
        if method == "ping" { Some(Ok(json!({}))) } else { (self.responder)(method, params) }
    }

    pub(super) fn pairs(&self) -> Vec<(&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("version", &self.version)
            .field("capabilities", &self.capabilities)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
