//! What programs with service accounts have asked of the API server, from the log of a cluster of our own.

use std::fs::File;
use std::io::{BufRead as _, BufReader};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::state_folder;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    /// As roles name it.
    pub verb: String,
    /// The group of the resource; empty for the core.
    pub group: String,
    /// With the subresource: `mcpservers/status`.
    pub resource: String,
    /// Empty for the whole cluster.
    pub namespace: String,
    /// Empty for all, and for what gets its name from the API server.
    pub name: String,
    /// The status of the answer; 201 is given to a patch that made something.
    pub code: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    user: User,
    object_ref: Option<Object>,
    response_status: Option<Status>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Object {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

impl Request {
    /// Whether it was to change something.
    pub fn writes(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

impl Event {
    /// Each request once; watches when they begin, since they may not have ended.
    fn counts(&self) -> bool {
        self.stage == if self.verb == "watch" { "ResponseStarted" } else { "ResponseComplete" }
    }

    fn request(self) -> Option<Request> {
        let object = self.object_ref?;
        let sub = if object.subresource.is_empty() { String::new() } else { format!("/{}", object.subresource) };
        Some(Request {
            verb: self.verb,
            group: object.api_group,
            resource: object.resource + &sub,
            namespace: object.namespace,
            name: object.name,
            code: self.response_status.map(|status| status.code).unwrap_or_default(),
        })
    }
}

/// All requests so far of the service account of that name and namespace, in their order.
///
/// # Errors
/// When there is no log.
pub fn requests_of(namespace: &str, account: &str) -> Result<Vec<Request>> {
    let path = state_folder()?.join("logs/audit");
    let file = File::open(&path).with_context(|| format!("no log of requests: {}", path.display()))?;
    let username = format!("system:serviceaccount:{namespace}:{account}");
    let mut requests = Vec::new();
    for line in BufReader::new(file).lines() {
        // The last line may be one that is being written.
        let Ok(event) = serde_json::from_str::<Event>(&line?) else { continue };
        if event.user.username == username && event.counts() {
            requests.extend(event.request());
        }
    }
    Ok(requests)
}
