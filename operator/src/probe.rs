//! What a sidecar tells of its server, followed over HTTP.

use std::sync::Arc;

use http::{Request, Uri};
use http_body_util::BodyExt as _;
use mcp::header::HOP_TOKEN;
use mcp::sse::Decoder;
use serde::{Deserialize, Deserializer, de};
use tokio::time::{Duration, timeout};
use wire::client::{AddressPolicy, Endpoint, HttpClient, empty};
use wire::hop::{self, Signer};
use wire::status::{Failure, Phase};

/// The largest status that is read: it has the server's whole catalogue.
const MAX_STATUS: usize = 64 << 20;
/// A sidecar says something at least so often; it sends comments when there is nothing new.
const SILENCE: Duration = Duration::from_secs(60);

/// The part of a sidecar's status that the operator keeps.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SidecarStatus {
    pub(crate) phase: Phase,
    pub(crate) message: String,
    #[serde(deserialize_with = "known")]
    pub(crate) failure: Option<Failure>,
    pub(crate) transport: String,
    pub(crate) catalogue: Option<Offer>,
    pub(crate) restarts: u64,
    pub(crate) last_exit: Option<Exit>,
    pub(crate) packages: Vec<String>,
    pub(crate) lock: Option<Lock>,
    pub(crate) hop_keys: Vec<String>,
}

impl SidecarStatus {
    /// Whether this says more than `other` does; how long an installation has taken by now is no news.
    pub(crate) fn differs(&self, other: &Self) -> bool {
        let said = |status: &Self| Self { message: without_progress(&status.message).to_owned(), ..status.clone() };
        said(self) != said(other)
    }
}

/// `installing a (3 downloads, 5 s)` without what changes each second.
fn without_progress(message: &str) -> &str {
    message.strip_suffix(" s)").and_then(|rest| rest.rsplit_once(" (")).map_or(message, |(before, _)| before)
}

/// What a server offers, counted.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Offer {
    pub(crate) protocol_version: String,
    pub(crate) server_info: Option<Info>,
    #[serde(deserialize_with = "count")]
    pub(crate) tools: usize,
    #[serde(deserialize_with = "count")]
    pub(crate) resources: usize,
    #[serde(deserialize_with = "count")]
    pub(crate) resource_templates: usize,
    #[serde(deserialize_with = "count")]
    pub(crate) prompts: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Info {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Exit {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) out_of_memory: bool,
    pub(crate) time: u64,
    pub(crate) stderr_tail: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, serde::Serialize)]
pub(crate) struct Lock {
    pub(crate) key: String,
    pub(crate) content: String,
}

/// A kind of failure; one that is not known here does not make the status unreadable.
fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Failure>, D::Error> {
    Ok(serde_json::from_value(serde_json::Value::deserialize(deserializer)?).ok())
}

/// The length of a list, without the list.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    Ok(Vec::<de::IgnoredAny>::deserialize(deserializer)?.len())
}

/// Asks sidecars.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    client: HttpClient,
    signer: Arc<Signer>,
}

impl Probe {
    pub(crate) fn new(signer: Arc<Signer>) -> Self {
        Self { client: HttpClient::new(AddressPolicy::Any), signer }
    }

    /// Follows the status of the sidecar at `address`, of the server with this UID, until the connection ends; says why
    /// it did.
    pub(crate) async fn follow(&self, address: &str, uid: &str, mut told: impl FnMut(SidecarStatus)) -> String {
        self.try_follow(address, uid, &mut told).await.err().unwrap_or_else(|| "the connection has ended".to_owned())
    }

    async fn try_follow(&self, address: &str, uid: &str, told: &mut impl FnMut(SidecarStatus)) -> Result<(), String> {
        let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        let uri: Uri = format!("http://{host}:8080/status?watch").parse().map_err(text)?;
        let endpoint = Endpoint::tcp(&uri).map_err(text)?;
        let token = self.signer.token(uid, hop::now()).map_err(text)?;
        let request = Request::get(uri).header(HOP_TOKEN, &*token).body(empty()).map_err(text)?;
        let response = timeout(SILENCE, self.client.request(&endpoint, request)).await.map_err(text)?.map_err(text)?;
        if !response.status().is_success() {
            return Err(format!("the sidecar answers {}", response.status()));
        }
        let mut body = response.into_body();
        let mut decoder = Decoder::new(MAX_STATUS);
        while let Some(frame) = timeout(SILENCE, body.frame()).await.map_err(text)? {
            let Ok(chunk) = frame.map_err(text)?.into_data() else { continue };
            decoder.push(chunk);
            for event in decoder.by_ref() {
                told(serde_json::from_slice(&event.map_err(text)?.data).map_err(text)?);
            }
        }
        Ok(())
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_an_installation_has_taken_is_no_news() {
        let said = |message: &str| SidecarStatus { message: message.to_owned(), ..SidecarStatus::default() };
        assert!(!said("installing a (3 downloads, 5 s)").differs(&said("installing a (4 downloads, 6 s)")));
        assert!(said("installing a (5 s)").differs(&said("installing b (5 s)")));
        assert!(said("exited (code 1)").differs(&said("exited (code 2)")));
    }

    #[test]
    fn what_a_newer_sidecar_calls_a_failure_is_one_of_no_known_kind() {
        let read = |text: &str| serde_json::from_str::<SidecarStatus>(text).unwrap().failure;
        assert_eq!(read(r#"{"phase":"failing","failure":"access"}"#), Some(Failure::Access));
        assert_eq!(read(r#"{"phase":"failing","failure":"of a new kind"}"#), None);
        assert_eq!(read(r#"{"phase":"failing"}"#), None);
    }

    #[test]
    fn a_catalogue_is_counted_and_what_is_new_is_left_out() {
        let text = r#"{"phase":"ready","message":"ready","transport":"stdio","new":1,"restarts":2,"hopKeys":["a"],
            "catalogue":{"protocolVersion":"2025-11-25","serverInfo":{"name":"time","version":"1","title":"T"},
            "tools":[{"name":"a"},{"name":"b"}],"resources":[],"resourceTemplates":[{}],"prompts":[]}}"#;
        let status: SidecarStatus = serde_json::from_str(text).unwrap();
        let offer = status.catalogue.unwrap();
        assert_eq!((offer.tools, offer.resource_templates, status.restarts), (2, 1, 2));
        assert_eq!(offer.server_info.unwrap().name, "time");
    }
}
