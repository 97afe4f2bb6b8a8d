//! What the conditions of a resource mean for those who wait for it, and the condition that the gateway writes itself.

use api::conditions::{accepted, available, ready, resolved_refs, routable, verified};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use wire::status::{Phase, Status};

use super::server::Server;

/// How far a server is by what the operator wrote.
pub(super) fn verdict(server: &Server) -> (Phase, String) {
    let status = &server.status;
    let condition = |kind: &str| status.conditions.iter().find(|condition| condition.type_ == kind);
    let no = |kind| condition(kind).filter(|condition| condition.status == "False");
    let told = |condition: &Condition| match condition.message.as_str() {
        "" => condition.reason.clone(),
        message => message.to_owned(),
    };
    if server.spec.suspend {
        return (Phase::Suspended, "suspended".to_owned());
    }
    if status.observed_generation != Some(server.generation) {
        return (Phase::Starting, "the operator has not taken it up yet".to_owned());
    }
    if let Some(refused) = no(accepted::TYPE).or_else(|| no(resolved_refs::TYPE)) {
        return (Phase::Failing, told(refused));
    }
    if let Some(pods) = no(available::TYPE) {
        let phase = match pods.reason.as_str() {
            available::INSTALLING => Phase::Installing,
            available::PROGRESSING | available::PODS_NOT_READY => Phase::Starting,
            available::SCALED_TO_ZERO | available::SUSPENDED => Phase::Suspended,
            _ => Phase::Failing,
        };
        return (phase, told(pods));
    }
    if let Some(failed) = no(verified::TYPE) {
        return (Phase::Failing, told(failed));
    }
    match condition(ready::TYPE) {
        Some(ready) if ready.status == "True" => (Phase::Ready, "ready".to_owned()),
        Some(ready) => (Phase::Starting, told(ready)),
        None => (Phase::Starting, "the operator has not told how it is yet".to_owned()),
    }
}

/// What stands in for the word of a sidecar while there is none; the catalogue that was known before is kept.
pub(super) fn stand_in(server: &Server, before: Option<&Status>) -> Status {
    let (phase, message) = verdict(server);
    Status { phase, message, ..before.cloned().unwrap_or_default() }
}

/// What the gateway writes of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Routable {
    pub(super) ok: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// Where clients reach it; empty when nowhere.
    pub(super) url: String,
}

impl Routable {
    pub(super) fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self { ok: false, reason, message: message.into(), url: String::new() }
    }

    /// Whether the resource says the same already.
    pub(super) fn is_told(&self, server: &Server) -> bool {
        let condition = server.status.conditions.iter().find(|condition| condition.type_ == routable::TYPE);
        let same = |it: &Condition| {
            it.status == self.status()
                && it.reason == self.reason
                && it.message == self.message
                && it.observed_generation == Some(server.generation)
        };
        condition.is_some_and(same) && server.status.url.as_deref().unwrap_or_default() == self.url
    }

    pub(super) fn status(&self) -> &'static str {
        if self.ok { "True" } else { "False" }
    }
}
