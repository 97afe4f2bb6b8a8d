//! What the checks need of a client, whatever it is made of, and what is behind each: a model, a user, roots.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use serde_json::{Value, json};

/// What the model says.
pub(crate) const SAMPLE: &str = "a sample from the client";
/// Whose model it is.
pub(crate) const MODEL: &str = "model-of-the-client";
/// What the user fills in.
pub(crate) const NAME: &str = "Ada Lovelace";

/// What changes a client wants to hear of.
#[derive(Debug)]
pub(crate) enum Watch {
    Resource(String),
    Resources,
}

/// A connected client.
pub(crate) trait Peer {
    /// Sends a request and gives its result. What the server asks on the way is answered.
    async fn request(&self, method: &str, params: Value) -> Result<Value>;

    /// What came that answers nothing, oldest first: objects with `method` and `params`.
    fn heard(&self) -> Vec<Value>;

    /// Wants log lines of every level; what a request has to say for that in its `_meta`.
    async fn log_all(&self) -> Result<Value>;

    async fn watch(&self, what: &Watch) -> Result<()>;

    /// Calls a tool, takes the call back when it reports progress, and fails if it is answered within some seconds.
    async fn take_back(&self, name: &str, arguments: Value) -> Result<()>;

    /// Has one more root, and says so; `false` where the revision has no way to say it.
    async fn add_root(&self, uri: &str) -> Result<bool>;
}

/// What is behind a client.
#[derive(Debug)]
pub(crate) struct Host {
    roots: Mutex<Vec<Value>>,
    heard: Mutex<Vec<Value>>,
}

impl Host {
    pub(crate) fn new() -> Self {
        let first = json!({"uri": FIRST_ROOT, "name": "first root"});
        Self { roots: Mutex::new(vec![first]), heard: Mutex::default() }
    }

    pub(crate) fn add_root(&self, uri: &str) {
        lock(&self.roots).push(json!({"uri": uri, "name": "later root"}));
    }

    pub(crate) fn hear(&self, method: &str, params: &Value) {
        lock(&self.heard).push(json!({"method": method, "params": params}));
    }

    /// The same of a whole message.
    pub(crate) fn hear_message(&self, message: &Value) {
        self.hear(message["method"].as_str().unwrap_or_default(), &message["params"]);
    }

    pub(crate) fn heard(&self) -> Vec<Value> {
        lock(&self.heard).clone()
    }

    /// The answer to what a server asks, if it can be asked that.
    pub(crate) fn answer(&self, method: &str, params: &Value) -> Option<Value> {
        Some(match method {
            "sampling/createMessage" => json!({
                "role": "assistant", "content": {"type": "text", "text": SAMPLE}, "model": MODEL, "stopReason": "endTurn",
            }),
            "elicitation/create" if params["mode"] == "url" => json!({"action": "accept"}),
            "elicitation/create" => json!({"action": "accept", "content": {"name": NAME, "integer": 7}}),
            "roots/list" => json!({"roots": *lock(&self.roots)}),
            _ => return None,
        })
    }
}

/// The root that it has from the beginning.
pub(crate) const FIRST_ROOT: &str = "file:///home/user/first";

/// What a client of 2025-11-25 can be asked.
pub(crate) fn capabilities() -> Value {
    json!({"sampling": {}, "elicitation": {"form": {}, "url": {}}, "roots": {"listChanged": true}})
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
