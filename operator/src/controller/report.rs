//! From what was found to what is done and told.

use api::conditions::{accepted, ready};
use api::status::{MAX_PACKAGES, PackageLock};
use api::{Guarded, McpServer, McpServerStatus, Unreadable, labels};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::ObjectMeta;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::Context;
use super::advice::advised;
use super::apply::{Target, apply};
use super::dereference::Found;
use super::status::{Seen, derive, own_part};
use super::validate::{Invalid, validate};
use super::verdict::Verdict;
use crate::build::{Surroundings, build};
use crate::error::{Category, Error, call};
use crate::events::{Told, transitions};

/// What became of a spec.
#[derive(Debug)]
pub(super) enum Outcome {
    /// All objects are there.
    Applied(Box<Deployment>),
    /// The spec cannot be carried out.
    Invalid(Invalid),
    /// Something that it refers to is missing: nothing was touched.
    Unresolved,
    /// The objects could not be brought there.
    Failed(Error),
}

/// Validates, builds and applies.
pub(super) async fn carry_out(server: &McpServer, found: &Found, context: &Context) -> Outcome {
    let validated = match validate(server, &context.settings) {
        Ok(validated) => validated,
        Err(invalid) => return Outcome::Invalid(invalid),
    };
    if found.references.verdict.is_false() {
        return Outcome::Unresolved;
    }
    let around = Surroundings {
        jwks: context.jwks.borrow().clone(),
        references: found.references.digest.clone().unwrap_or_default(),
        lock: validated.requested().and_then(|requested| found.lock_for(&requested)),
        unresolved: validated.requested().is_some_and(|requested| found.resolves_nothing(&requested)),
        replicas: found.deployment.as_ref().and_then(|it| it.spec.as_ref()?.replicas),
    };
    let resources = build(&validated, &context.settings, &around);
    let (client, metrics) = (&context.client.0, &context.metrics);
    let (namespace, server) = (&*validated.namespace, &*validated.name);
    let target = Target { client, metrics, namespace, server, uid: &validated.uid };
    match Box::pin(apply(&validated, resources, &target)).await {
        Ok(deployment) => Outcome::Applied(Box::new(deployment)),
        Err(error) => Outcome::Failed(error),
    }
}

/// Writes the status if it is another, and tells of what changed.
pub(super) async fn write(
    server: &McpServer,
    found: &Found,
    outcome: &Outcome,
    context: &Context,
) -> Result<(), Error> {
    let Some(accepted) = verdict(outcome) else { return Ok(()) };
    let deployment = match outcome {
        Outcome::Applied(deployment) => Some(&**deployment),
        _ => found.deployment.as_ref(),
    };
    let seen = Seen {
        server,
        accepted,
        references: found.references.verdict.clone(),
        deployment,
        pods: &found.pods,
        sidecars: &found.sidecars,
    };
    let old = server.status.clone().unwrap_or_default();
    let mut status = derive(&seen, Timestamp::now());
    if let Ok(validated) = validate(server, &context.settings) {
        status.packages = packages(server, validated.requested(), found, old.packages.as_ref());
    }
    if status != own_part(&old) {
        patch(server, &status, context).await?;
        for told in transitions(&old.conditions, &status.conditions) {
            context.events.tell(server, told).await;
        }
    }
    if old.observed_generation != server.metadata.generation {
        advise(server, context).await;
    }
    Ok(())
}

/// `None` where the next attempt may tell more.
fn verdict(outcome: &Outcome) -> Option<Verdict> {
    Some(match outcome {
        Outcome::Applied(_) | Outcome::Unresolved => Verdict::yes(accepted::VALID, "the spec can be carried out"),
        Outcome::Invalid(invalid) => Verdict::no(accepted::INVALID, invalid.to_string()),
        Outcome::Failed(error) => {
            let reason = match error.category() {
                Category::Foreign => accepted::FOREIGN_OBJECT,
                Category::Forbidden => accepted::FORBIDDEN,
                Category::Refused => accepted::REFUSED,
                Category::Conflict | Category::Ending | Category::Transient => return None,
            };
            let message = if reason == accepted::REFUSED { advised(&error.to_string()) } else { error.to_string() };
            Verdict::no(reason, message)
        }
    })
}

fn packages(
    server: &McpServer,
    requested: Option<String>,
    found: &Found,
    old: Option<&PackageLock>,
) -> Option<PackageLock> {
    let requested = requested?;
    found.lock_for(&requested)?;
    if let Some(old) = old.filter(|old| old.requested == requested && !old.installed.is_empty()) {
        return Some(old.clone());
    }
    let mut installed =
        found.same(&requested).map(|it| it.packages.clone()).find(|it| !it.is_empty()).unwrap_or_default();
    installed.sort();
    let count = i32::try_from(installed.len()).ok();
    installed.truncate(MAX_PACKAGES);
    let since = old.filter(|old| old.requested == requested).and_then(|old| old.resolved_time.clone());
    Some(PackageLock {
        requested,
        installed,
        count,
        config_map: Some(format!("{}-lock", server.name_any())),
        resolved_time: since.or_else(|| Some(Time(Timestamp::now()))),
    })
}

async fn patch(server: &McpServer, status: &McpServerStatus, context: &Context) -> Result<(), Error> {
    write_status(&server.metadata, &json!(status), context).await
}

async fn write_status(of: &ObjectMeta, status: &serde_json::Value, context: &Context) -> Result<(), Error> {
    let (name, namespace) = (of.name.as_deref().unwrap_or_default(), of.namespace.as_deref().unwrap_or_default());
    let api: Api<Guarded> = Api::namespaced(context.client.0.clone(), namespace);
    let version = format!("{}/{}", labels::GROUP, labels::VERSION);
    // The UID: one of the same name that came after it is not told what was found of this one.
    let patch = json!({"apiVersion": version, "kind": "McpServer", "metadata": {"uid": of.uid}, "status": status});
    let (params, patch) = (PatchParams::apply(labels::OPERATOR).force(), Patch::Apply(patch));
    let written = api.patch_status(name, &params, &patch);
    match call("write the status of", format!("McpServer `{name}`"), written).await {
        // Its own end came first.
        Err(error) if error.is_gone() => Ok(()),
        Err(error) => Err(error),
        Ok(_) => {
            context.metrics.wrote("McpServer/status");
            Ok(())
        }
    }
}

/// A package without a version is another one at the next update.
async fn advise(server: &McpServer, context: &Context) {
    let command: Vec<String> = server.spec.command.iter().cloned().collect();
    let runner = super::validate::Runner::of(&command);
    if let Some(package) = runner.and_then(|runner| runner.floating(&server.spec.args)) {
        let note = format!("package `{package}` has no version: name one to know what runs");
        context.events.tell(server, Told { warning: true, reason: "FloatingVersion".to_owned(), note }).await;
    }
}

/// An object that does not fit the type: it is told so, and nothing else is done.
pub(super) async fn unreadable(object: &Unreadable, context: &Context) -> Result<Action, Error> {
    let metadata = &object.metadata;
    let message = format!("the resource cannot be read: {}", object.problem);
    let condition = |kind: &str, reason: &str| {
        json!({"type": kind, "status": "False", "reason": reason, "message": message,
            "observedGeneration": metadata.generation, "lastTransitionTime": metadata.creation_timestamp})
    };
    let conditions = [condition(accepted::TYPE, accepted::INVALID), condition(ready::TYPE, ready::NOT_ACCEPTED)];
    let status = json!({"observedGeneration": metadata.generation, "conditions": conditions});
    write_status(metadata, &status, context).await?;
    Ok(Action::await_change())
}
