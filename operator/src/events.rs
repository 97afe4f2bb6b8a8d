//! Events: what `kubectl describe` shows. Only when something has changed; nothing fails when they cannot be written.

use std::sync::Arc;

use api::McpServer;
use api::conditions::{accepted, available, ready, resolved_refs, verified};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource as _};

use crate::error::{Category, call};

/// The longest note that the API server takes, in bytes.
const MAX_NOTE: usize = 1000;

/// Writes events.
#[derive(Clone)]
pub(crate) struct Events(Arc<Recorder>);

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// One thing to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) warning: bool,
    pub(crate) reason: String,
    pub(crate) note: String,
}

impl Events {
    pub(crate) fn new(client: Client, identity: &str) -> Self {
        let reporter = Reporter { controller: api::labels::OPERATOR.into(), instance: Some(identity.into()) };
        Self(Arc::new(Recorder::new(client, reporter)))
    }

    /// Writes one.
    pub(crate) async fn tell(&self, server: &McpServer, told: Told) {
        let mut note = told.note;
        let end = (0..=MAX_NOTE.min(note.len())).rev().find(|&end| note.is_char_boundary(end)).unwrap_or_default();
        note.truncate(end);
        let type_ = if told.warning { EventType::Warning } else { EventType::Normal };
        let event = Event { type_, reason: told.reason, note: Some(note), action: "Reconcile".into(), secondary: None };
        match call("create", "an event", self.0.publish(&event, &server.object_ref(&()))).await {
            // Nobody will read it where the namespace goes.
            Err(error) if error.category() != Category::Ending => tracing::warn!(%error, "an event was not written"),
            _ => {}
        }
    }
}

/// What is worth telling of the way from one set of conditions to the next. Pure.
pub(crate) fn transitions(old: &[Condition], new: &[Condition]) -> Vec<Told> {
    let find = |list: &[Condition], kind: &str| list.iter().find(|condition| condition.type_ == kind).cloned();
    let mut told = Vec::new();
    for kind in [accepted::TYPE, resolved_refs::TYPE, available::TYPE, verified::TYPE, ready::TYPE] {
        let Some(now) = find(new, kind) else { continue };
        let before = find(old, kind);
        let same = before.as_ref().is_some_and(|before| before.status == now.status && before.reason == now.reason);
        let expected = [available::PROGRESSING, available::INSTALLING, available::SUSPENDED, available::SCALED_TO_ZERO];
        // That a server begins or is told to stop is no failure, and `Ready` being false repeats another condition.
        let warning = now.status == "False" && kind != ready::TYPE && !expected.contains(&now.reason.as_str());
        let good = kind == ready::TYPE && now.status == "True";
        let lost = kind == ready::TYPE && now.status != "True" && before.is_some_and(|before| before.status == "True");
        if !same && (warning || good || lost) {
            let reason = if good { "Ready".to_owned() } else { now.reason };
            told.push(Told { warning: !good, reason, note: now.message });
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn condition(kind: &str, status: &str, reason: &str) -> Condition {
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }
    }

    #[test]
    fn only_changes_are_told() {
        let failed = [condition("Available", "False", "ImagePullFailed")];
        let progressing = [condition("Available", "False", "Progressing")];
        let works = [condition("Ready", "True", "Working")];
        let broken = [condition("Ready", "False", "NotAvailable")];
        let reasons = |old: &[Condition], new: &[Condition]| -> Vec<_> {
            transitions(old, new).into_iter().map(|told| told.reason).collect()
        };
        assert_eq!(reasons(&[], &failed), ["ImagePullFailed"]);
        assert!(reasons(&failed, &failed).is_empty() && reasons(&[], &progressing).is_empty());
        assert_eq!(reasons(&[], &works), ["Ready"]);
        assert_eq!(reasons(&works, &broken), ["NotAvailable"]);
        assert!(reasons(&[], &broken).is_empty());
    }
}
