//! A Kubernetes with the charts installed, as `hack/on-cluster` has it ready for the command that it runs.
//!
//! Tests speak to it as people do, by `kubectl` and over HTTP. Each has [`Namespace`]s of its own, where Pod Security is
//! enforced; they go when the test ends, and tell what was in them when it failed.

mod accounts;
mod audit;
mod global;
mod keys;
mod kubectl;
mod load;
mod machine;
mod namespace;
mod relay;
mod release;
mod served;
mod truth;
mod volume;

use std::env;

use anyhow::{Context, Result};
use serde_json::{Value, json};

pub use accounts::Account;
pub use audit::{Request, requests_of};
pub use global::Global;
pub use kubectl::{Cut, kubectl, kubectl_with, run};
pub use load::{Load, Tally};
pub use machine::{has_machine, host_address, kill_container, machine, state_folder};
pub use namespace::Namespace;
pub use relay::{Hold, Relay};
pub use release::{Release, helm};
pub use served::{example, is_ready, note, session_at};
pub use volume::Volume;

use crate::client::{ClientOptions, HttpClient};
use crate::http::{Response, http};
use crate::wait::{PATIENCE, eventually};

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The gateway's address.
    pub url: String,
    /// A key that may do everything.
    pub key: String,
    /// The namespace of the release.
    pub system: String,
    /// The image of the tests' own server ([`crate::fixture`]); `None` where no image can be loaded.
    pub fixture: Option<String>,
    /// The image of a gateway with all that servers need, to run without a cluster; `None` likewise.
    pub all_in_one: Option<String>,
}

impl Cluster {
    /// The cluster of this test.
    ///
    /// # Errors
    /// When there is none.
    pub fn get() -> Result<Self> {
        let var = |name: &str| {
            let text = env::var_os(name).and_then(|text| text.into_string().ok());
            text.with_context(|| {
                format!("{name} is not set: run this by `make cluster-test`, or behind hack/on-cluster")
            })
        };
        Ok(Self {
            url: var("MCP_TEST_URL")?,
            key: var("MCP_TEST_KEY")?,
            system: var("MCP_TEST_NAMESPACE")?,
            fixture: Some(var("MCP_TEST_FIXTURE")?).filter(|image| !image.is_empty()),
            all_in_one: Some(var("MCP_TEST_ALL_IN_ONE")?).filter(|image| !image.is_empty()),
        })
    }

    /// The spec of a server whose program is the tests' own, and with these fields more.
    ///
    /// # Errors
    /// Where there is no image of it.
    pub fn program(&self, more: &Value) -> Result<Value> {
        let image = self.fixture.as_ref().context("an image of the fixture; CLUSTER=current has none")?;
        let mut spec = json!({"image": image, "imagePullPolicy": "IfNotPresent", "command": "/usr/local/bin/fixture"});
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        Ok(spec)
    }

    /// An address of the gateway.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// A client of that revision with the key.
    pub fn client(&self, version: &str) -> ClientOptions {
        ClientOptions::new(version).header("authorization", &format!("Bearer {}", self.key))
    }

    /// A session with one server, a moment after it got ready: the gateway learns of that by itself.
    ///
    /// # Errors
    /// When none is opened in time.
    pub async fn session(&self, place: &Namespace, server: &str) -> Result<HttpClient> {
        let url = self.address(place, server);
        let open = async || HttpClient::connect_with(&url, self.client("2025-11-25").without_stream()).await.ok();
        eventually(PATIENCE, format!("{server} at the gateway"), open).await
    }

    /// A request to the gateway, with the key.
    ///
    /// # Errors
    /// As [`http`].
    pub async fn request(&self, method: &str, path: &str, body: &Value) -> Result<Response> {
        self.request_as(&self.key, method, path, body).await
    }

    /// The same with another credential.
    ///
    /// # Errors
    /// As [`http`].
    pub async fn request_as(&self, credential: &str, method: &str, path: &str, body: &Value) -> Result<Response> {
        let authorization = format!("Bearer {credential}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        http(method, &self.url(path), &headers, body).await
    }
}
