//! What servers offer depends on what the client can do: a tool that asks the user is of no use to a client that cannot.
//! Clients that declare the same capabilities see the same lists.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::Request;
use http_body_util::{BodyExt as _, Limited};
use mcp::modern::TASKS_EXTENSION;
use mcp::names::Style;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use tokio::time::Instant;
use wire::client::HttpClient;
use wire::status::{Catalogue, Status};

use super::catalogue::Merged;
use super::kept::Kept;
use crate::access::View;
use crate::routes::{Route, RouteTable, Routes};
use crate::store::Uid;

/// How long changes of servers are collected.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// How long a server may take to say what it offers: it starts a process for that.
const ASK_LIMIT: Duration = Duration::from_secs(60);
/// The largest answer.
const MAX_STATUS: usize = 64 << 20;
/// How long it is worth waiting for servers to say so the first time.
const SETTLE: Duration = Duration::from_secs(2);
/// How long after a server did not say what it offers it is asked again.
const RETRY: Duration = Duration::from_secs(30);

/// Declared capabilities in a canonical form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Capabilities(String);

impl Capabilities {
    /// The canonical form of `capabilities` of an `initialize`, or of a request of 2026-07-28; what is experimental is
    /// left out, or hardly two clients would be alike, and so is that results may be tasks, which no list depends on.
    pub(super) fn of(raw: &str) -> Self {
        let Ok(Value::Object(mut declared)) = serde_json::from_str(raw) else { return Self::default() };
        if let Some(Value::Object(extensions)) = declared.get_mut("extensions") {
            extensions.remove(TASKS_EXTENSION);
        }
        let is_nothing = |key: &str, value: &Value| key == "extensions" && value.as_object().is_some_and(Map::is_empty);
        declared.retain(|key, value| key != "experimental" && !is_nothing(key, value));
        if declared.is_empty() {
            return Self::default();
        }
        let mut declared = Value::Object(declared);
        declared.sort_all_objects();
        Self(declared.to_string())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The merged lists for one set of capabilities.
#[derive(Debug, Default)]
pub(super) struct Profile {
    pub(super) merged: Arc<Merged>,
    /// What was merged, by server.
    pub(super) catalogues: HashMap<String, Arc<Catalogue>>,
    /// Whether every server that works has been asked.
    pub(super) complete: bool,
    /// Whether it once was complete, or as much as may be waited for.
    pub(super) settled: bool,
}

/// A server's catalogue was asked of this instance, when its catalogue for everybody had this version.
type Asked = (Uid, u64);

/// Keeps a profile in step with the servers, for ever. What a server says is published as it says it: one that is slow
/// holds back neither the others nor what changes meanwhile.
pub(super) async fn follow(
    (routes, client): (Routes, HttpClient),
    capabilities: Capabilities,
    profile: Kept<Profile>,
    style: Style,
) {
    let mut changes = routes.follow();
    let mut known: HashMap<Asked, Known> = HashMap::new();
    let mut answers = FuturesUnordered::new();
    let settle = Instant::now() + SETTLE;
    loop {
        let change = *changes.borrow_and_update();
        let table = routes.now();
        let working: Vec<(Asked, &Arc<Route>)> =
            table.shared().filter_map(|(_, route)| Some((asked(route)?, route))).collect();
        known.retain(|key, _| working.iter().any(|(asked, _)| asked == key));
        for (key, route) in working {
            if known.get(&key).is_none_or(Known::is_stale) {
                known.insert(key, Known::Asked);
                let (client, route, capabilities) = (client.clone(), Arc::clone(route), capabilities.clone());
                answers.push(async move { (key, ask(&client, &route, &capabilities).await) });
            }
        }
        publish((&table, style), &known, &profile, (change, Instant::now() >= settle));
        tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                tokio::time::sleep(DEBOUNCE).await;
            }
            Some((key, answer)) = answers.next(), if !answers.is_empty() => {
                // It may have gone meanwhile.
                if let Some(known) = known.get_mut(&key) {
                    *known = answer.map_or_else(|| Known::Silent(Instant::now()), Known::Said);
                }
            }
            () = tokio::time::sleep_until(settle), if !profile.now().settled => {}
            () = tokio::time::sleep(RETRY), if known.values().any(|it| matches!(it, Known::Silent(_))) => {}
        }
    }
}

/// What is known of what a server offers to such clients.
#[derive(Debug)]
enum Known {
    Asked,
    Said(Arc<Catalogue>),
    /// It did not say, at that time.
    Silent(Instant),
}

impl Known {
    /// Whether it is time to ask again.
    fn is_stale(&self) -> bool {
        matches!(self, Self::Silent(since) if since.elapsed() >= RETRY)
    }
}

/// Tells those who follow the profile, if there is anything new as of `change`.
fn publish(
    (table, style): (&RouteTable, Style),
    known: &HashMap<Asked, Known>,
    profile: &Kept<Profile>,
    (change, waited): (u64, bool),
) {
    let better = |_: &str, route: &Route| match known.get(&asked(route)?)? {
        Known::Said(catalogue) => Some(Arc::clone(catalogue)),
        Known::Asked | Known::Silent(_) => None,
    };
    let merged = Arc::new(Merged::build(table, (&View::All, style), better, &profile.now().merged));
    let named = |(name, route): (&Arc<str>, &Arc<Route>)| Some((name.to_string(), better(name, route)?));
    let catalogues = table.shared().filter_map(named).collect();
    let complete = !known.values().any(|it| matches!(it, Known::Asked));
    let settled = complete || waited || profile.now().settled;
    let profile_now = Profile { merged, catalogues, complete, settled };
    profile.publish(profile_now, change, |new, old| {
        new.merged.differs(&old.merged) || (new.complete, new.settled) != (old.complete, old.settled)
    });
}

fn asked(route: &Route) -> Option<Asked> {
    let version = route.status.catalogue.as_ref().filter(|_| route.is_ready())?.version;
    Some((route.for_new_sessions()?.instance, version))
}

/// Asks a sidecar what its server offers to such clients. What it offers to everybody stands in when it does not say.
async fn ask(client: &HttpClient, route: &Route, capabilities: &Capabilities) -> Option<Arc<Catalogue>> {
    let endpoint = &route.for_new_sessions()?.address;
    let query = utf8_percent_encode(&capabilities.0, NON_ALPHANUMERIC);
    let request = Request::get(format!("/status?capabilities={query}")).body(wire::client::empty()).ok()?;
    let answer = async {
        let response = client.for_server(route.uid).request(endpoint, request).await.ok()?;
        let body = Limited::new(response.into_body(), MAX_STATUS).collect().await.ok()?.to_bytes();
        serde_json::from_slice::<Status>(&body).ok()?.catalogue
    };
    tokio::time::timeout(ASK_LIMIT, answer).await.ok().flatten().map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_alike_whatever_their_order() {
        let of = |raw| Capabilities::of(raw);
        assert_eq!(of(r#"{"sampling":{"b":1,"a":2},"roots":{}}"#), of(r#"{"roots":{}, "sampling":{"a":2,"b":1}}"#));
        assert!(of(r#"{"experimental":{"x":1}}"#).is_empty() && of("{}").is_empty() && of("7").is_empty());
        assert!(of(r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#).is_empty());
        assert_eq!(
            of(r#"{"extensions":{"x":{},"io.modelcontextprotocol/tasks":{}}}"#),
            of(r#"{"extensions":{"x":{}}}"#)
        );
        assert_ne!(of(r#"{"roots":{}}"#), of(r#"{"roots":{"listChanged":true}}"#));
    }
}
