//! `POST /deploy`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};
use utoipa::{IntoParams, ToSchema};

use super::{Api, ApiError, JsonText, Params};
use crate::access::{Action, Who};
use crate::backend::{Deployed, Place};
use crate::routes::identity;
use crate::spec::{Accepted, Entry, Exposed, ServerSpec, Target, is_executable, parse_duration, parse_servers};

/// The longest time that an answer is kept waiting for.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// How to deploy.
#[derive(Debug, Deserialize, IntoParams)]
pub struct DeployQuery {
    /// Wait so long for each server to be ready, like `30s`.
    wait: Option<String>,
    /// The namespace in a cluster; the caller's own unless given.
    namespace: Option<String>,
}

/// What became of a deployment.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeployAnswer {
    /// `success` or `error`: the same as `success`.
    status: &'static str,
    /// Whether every entry was accepted.
    success: bool,
    /// What is wrong, when something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Each entry's own result, by its name.
    results: BTreeMap<String, EntryResult>,
    /// How many of each.
    summary: Summary,
    /// What was accepted without effect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// What is answered to a body that is not accepted: as a whole, or entry by entry.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "a description for clients, never built")]
enum DeployRefusal {
    Entries(DeployAnswer),
    Body(ApiError),
}

/// What became of one entry.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntryResult {
    /// Its name.
    name: String,
    /// In one word.
    status: EntryStatus,
    /// The same for people, with what the server is doing now.
    message: String,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What was accepted without effect; and arguments and parts of a URL that look secret, by name: they can be read by
    /// others, as variables (`env`) and `headers` cannot.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// What an answer about this entry alone would be.
    #[serde(skip)]
    code: StatusCode,
}

/// What became of an entry, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EntryStatus {
    /// The server is new.
    Deployed,
    /// It is like that already; nothing was done.
    Existed,
    /// It was different; it is replaced without a gap.
    Replaced,
    /// The entry was not accepted.
    Failed,
}

/// How many entries had which result.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Summary {
    total: usize,
    deployed: usize,
    existed: usize,
    replaced: usize,
    failed: usize,
}

/// Accepts servers in the form that MCP clients are configured with.
#[utoipa::path(
    post, path = "/deploy", params(DeployQuery), request_body = serde_json::Value,
    responses(
        (status = 200, body = DeployAnswer, description = "Every entry is durably accepted"),
        (status = 400, body = DeployRefusal, description = "Bad JSON, with line and column; or an entry is not accepted: `results` says which and why, and the valid ones are deployed"),
        (status = 401, body = ApiError, description = "No valid key"),
        (status = 403, body = ApiError, description = "The key has not the scope `deploy`, the account lacks the right that the text names, or the `Host` or `Origin` is not one that is answered"),
        (status = 409, body = DeployAnswer, description = "The configuration file, or somebody else in the cluster, defines an entry's server otherwise, and nothing is wrong with the others"),
        (status = 413, body = ApiError, description = "The body is too large"),
        (status = 415, body = ApiError, description = "The body is not declared to be JSON"),
        (status = 503, body = DeployAnswer, description = "The gateway is stopping"),
        (status = 507, body = DeployAnswer, description = "The state directory cannot be written"),
    )
)]
pub async fn deploy(
    State(api): State<Api>,
    Params(query): Params<DeployQuery>,
    who: Who,
    JsonText(text): JsonText,
) -> Result<Response, ApiError> {
    let bad = |text: String| ApiError::new(StatusCode::BAD_REQUEST, text);
    let wait = query.wait.as_deref().map(parse_duration).transpose().map_err(|e| bad(format!("`wait`: {e}")))?;
    let parsed = parse_servers(&text, api.max_body).map_err(|problem| bad(problem.to_string()))?;
    let place = Place::of(&api, &who, query.namespace.as_deref(), Action::Create).await?;
    let end = wait.map(|wait| Instant::now() + wait.min(LONGEST_WAIT));
    let results = join_all(parsed.entries.into_iter().map(|entry| deploy_entry(&api, &place, entry, end))).await;
    Ok(answer(results, parsed.warnings).into_response())
}

async fn deploy_entry(api: &Api, place: &Place, entry: Entry, wait: Option<Instant>) -> EntryResult {
    let Entry { name, outcome, .. } = entry;
    let failed = |code, error: String| EntryResult {
        name: name.clone(),
        status: EntryStatus::Failed,
        message: error.clone(),
        error: Some(error),
        warnings: Vec::new(),
        code,
    };
    let Accepted { name: server, spec, mut warnings } = match outcome {
        Ok(accepted) => accepted,
        Err(error) => return failed(StatusCode::BAD_REQUEST, error.to_string()),
    };
    if let Err(error) = check_program(&spec, api.path.as_deref()) {
        return failed(StatusCode::BAD_REQUEST, error);
    }
    let id = identity(place.namespace.as_deref(), server.as_str());
    warnings.extend(spec.exposed().iter().filter_map(|it| open_secret(it, place.namespace.is_some())));
    let deployed = match api.backend.deploy(place, server, spec).await {
        Ok(deployed) => deployed,
        Err(refusal) => return failed(refusal.status(), refusal.to_string()),
    };
    let (status, words) = match deployed {
        Deployed::New => (EntryStatus::Deployed, "deployed"),
        Deployed::Existed => (EntryStatus::Existed, "is like that already"),
        Deployed::Replaced => (EntryStatus::Replaced, "replaced"),
    };
    let state = match wait {
        Some(end) => wait_for(api, &id, end).await,
        None => state(api, &id),
    };
    let message = [&[words.to_owned(), state], warnings.as_slice()].concat().join("; ");
    EntryResult { name, status, message, error: None, warnings, code: StatusCode::OK }
}

/// What to know about something that looks secret; `None` where nobody else can read it.
fn open_secret(exposed: &Exposed, in_cluster: bool) -> Option<String> {
    match (exposed, in_cluster) {
        (Exposed::Argument(name), true) => Some(format!(
            "argument {name} looks secret, and stands in the McpServer for everybody to read who may get it: give it in \
             `env`, which is put into a Secret"
        )),
        (Exposed::Argument(name), false) => Some(format!(
            "argument {name} looks secret, and every list of this machine's processes shows it: give it in `env`"
        )),
        (Exposed::Parameter(name), true) => Some(format!(
            "{name} in the `url` looks secret, and stands in the McpServer for everybody to read who may get it: give \
             it in `headers`, which are put into a Secret"
        )),
        // The sidecar is told, and nobody else.
        (Exposed::Parameter(_), false) => None,
    }
}

/// On one machine a missing program is found before anything is changed.
fn check_program(spec: &ServerSpec, path: Option<&str>) -> Result<(), String> {
    match (&spec.target, path) {
        (Target::Command(command), Some(path)) => {
            command.locate(OsStr::new(path), is_executable).map(drop).map_err(|missing| missing.to_string())
        }
        _ => Ok(()),
    }
}

fn state(api: &Api, id: &str) -> String {
    api.routes.now().by_id(id).map_or_else(|| "removed".to_owned(), |route| route.status.message.clone())
}

/// Waits until the server is ready or does not work, and says how it is.
async fn wait_for(api: &Api, id: &str, end: Instant) -> String {
    let mut changes = api.routes.follow();
    let settled = async {
        loop {
            changes.mark_unchanged();
            if api.routes.now().by_id(id).is_none_or(|route| route.is_settled()) {
                return;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    };
    let not_yet = tokio::select! {
        () = settled => "",
        () = sleep_until(end) => "not ready yet: ",
        () = api.backend.stopped() => "not ready yet: ",
    };
    format!("{not_yet}{}", state(api, id))
}

fn answer(results: Vec<EntryResult>, warnings: Vec<String>) -> impl IntoResponse {
    let count = |status| results.iter().filter(|result| result.status == status).count();
    let summary = Summary {
        total: results.len(),
        deployed: count(EntryStatus::Deployed),
        existed: count(EntryStatus::Existed),
        replaced: count(EntryStatus::Replaced),
        failed: count(EntryStatus::Failed),
    };
    let errors: Vec<_> =
        results.iter().filter_map(|result| Some(format!("{}: {}", result.name, result.error.as_ref()?))).collect();
    let success = errors.is_empty();
    let failures = results.iter().filter(|result| result.error.is_some()).map(|result| result.code).min();
    let answer = DeployAnswer {
        status: if success { "success" } else { "error" },
        success,
        error: (!success).then(|| errors.join("; ")),
        results: results.into_iter().map(|result| (result.name.clone(), result)).collect(),
        summary,
        warnings,
    };
    // What the caller can mend goes before what it cannot.
    let status = failures.unwrap_or(StatusCode::OK);
    (status, Json(answer))
}
