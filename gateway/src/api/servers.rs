//! Servers as resources.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use mcp::names::ServerName;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use wire::status::{LastExit, Phase};

use super::{Api, ApiError, Params, ServerPath};
use crate::access::{Action, Who};
use crate::backend::{Place, forbidden};
use crate::routes::{Origin, Route};
use crate::spec::Masked;
use crate::store::Timestamp;

/// A server, its secrets masked.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerView {
    /// Its name.
    name: String,
    /// Its namespace in a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    /// What it is to be.
    #[serde(flatten)]
    spec: Masked,
    /// `file`, `deploy` or `kubernetes`: who says so.
    origin: &'static str,
    /// When it was first deployed.
    #[schema(value_type = String)]
    created_at: Timestamp,
    /// `starting`, `installing`, `ready`, `failing` or `suspended`.
    status: &'static str,
    /// The same for people: what is being done, or what is wrong and what to do.
    message: String,
    /// Whether it works.
    ready: bool,
    /// Where clients connect.
    endpoints: Endpoints,
    /// `stdio`, `streamable-http` or `sse`: what was found behind it.
    transport: String,
    /// The revision it speaks.
    protocol_version: Option<String>,
    /// What it calls itself.
    #[schema(value_type = Option<Object>)]
    server_info: Option<Box<serde_json::value::RawValue>>,
    /// How many tools it has.
    tools: usize,
    /// How many resources.
    resources: usize,
    /// How many prompts.
    prompts: usize,
    /// Its processes at the moment.
    processes: usize,
    /// Its client sessions at the moment.
    sessions: usize,
    /// Processes that ended without being told to.
    restarts: u64,
    /// How the last of those ended.
    #[schema(value_type = Option<Object>)]
    last_exit: Option<LastExit>,
    /// The exact packages it runs from.
    packages: Vec<String>,
}

/// Where clients connect to one server.
#[derive(Debug, Serialize, ToSchema)]
struct Endpoints {
    /// Streamable HTTP.
    mcp: String,
    /// HTTP+SSE.
    sse: String,
}

fn view(route: &Route) -> ServerView {
    let status = &*route.status;
    let catalogue = status.catalogue.as_ref();
    let count = |list: fn(&wire::status::Catalogue) -> usize| catalogue.map_or(0, list);
    ServerView {
        name: route.name.to_string(),
        namespace: route.namespace.as_deref().map(ToOwned::to_owned),
        spec: route.spec.masked(),
        origin: match route.origin {
            Origin::File => "file",
            Origin::Deployed => "deploy",
            Origin::Kubernetes => "kubernetes",
        },
        created_at: route.created_at,
        status: status.phase.as_str(),
        message: status.message.clone(),
        ready: status.phase == Phase::Ready,
        endpoints: Endpoints { mcp: format!("/{}/mcp", route.address()), sse: format!("/{}/sse", route.address()) },
        transport: status.transport.clone(),
        protocol_version: catalogue.map(|it| it.protocol_version.clone()),
        server_info: catalogue.and_then(|it| it.server_info.clone()),
        tools: count(|it| it.tools.len()),
        resources: count(|it| it.resources.len()),
        prompts: count(|it| it.prompts.len()),
        processes: status.processes,
        sessions: status.sessions,
        restarts: status.restarts,
        last_exit: status.last_exit.clone(),
        packages: status.packages.clone(),
    }
}

/// All servers, by name.
#[utoipa::path(get, path = "/servers", responses(
    (status = 200, body = [ServerView]),
    (status = 401, body = ApiError, description = "No valid key"),
    (status = 403, body = ApiError, description = "The key has not the scope `deploy`, the account lacks the right that the text names, or the `Host` or `Origin` is not one that is answered"),
))]
pub async fn list_servers(State(api): State<Api>, who: Who) -> Json<Vec<ServerView>> {
    Json(api.access.visible(&who, Action::List, &api.routes.now()).await.iter().map(|route| view(route)).collect())
}

/// The same under its older name.
#[utoipa::path(get, path = "/services", responses(
    (status = 200, body = [ServerView]),
    (status = 401, body = ApiError, description = "No valid key"),
    (status = 403, body = ApiError, description = "The key has not the scope `deploy`, the account lacks the right that the text names, or the `Host` or `Origin` is not one that is answered"),
))]
pub async fn list_services(state: State<Api>, who: Who) -> Json<Vec<ServerView>> {
    list_servers(state, who).await
}

/// One server.
#[utoipa::path(get, path = "/servers/{name}", params(("name" = String, Path, description = "The server's name")), responses(
    (status = 200, body = ServerView),
    (status = 401, body = ApiError, description = "No valid key"),
    (status = 403, body = ApiError, description = "The key has not the scope `deploy`, the account lacks the right that the text names, or the `Host` or `Origin` is not one that is answered"),
    (status = 404, body = ApiError, description = "No such server; `servers` lists those there are"),
))]
pub async fn get_server(State(api): State<Api>, server: ServerPath, who: Who) -> Result<Json<ServerView>, ApiError> {
    let table = api.routes.now();
    match server.find(&api.access, &who, Action::Get, &table).await {
        Some(route) => Ok(Json(view(&route))),
        None => Err(server.unknown(&api.access, &who, &table).await),
    }
}

/// Removes a server.
#[utoipa::path(delete, path = "/servers/{name}", params(("name" = String, Path, description = "The server's name")), responses(
    (status = 200, description = "It is removed for good"),
    (status = 401, body = ApiError, description = "No valid key"),
    (status = 403, body = ApiError, description = "The key has not the scope `deploy`, the account lacks the right that the text names, or the `Host` or `Origin` is not one that is answered"),
    (status = 404, body = ApiError, description = "No such server"),
    (status = 409, body = ApiError, description = "The configuration file defines it"),
    (status = 503, body = ApiError, description = "The gateway is stopping"),
    (status = 507, body = ApiError, description = "The state directory cannot be written"),
))]
pub async fn delete_server(
    State(api): State<Api>,
    server: ServerPath,
    who: Who,
) -> Result<impl IntoResponse, ApiError> {
    remove(&api, &server, &who).await
}

/// Which server to remove.
#[derive(Debug, Deserialize, IntoParams)]
pub struct DeleteQuery {
    /// Its name.
    name: Option<String>,
    /// Its namespace in a cluster; the caller's own unless given.
    namespace: Option<String>,
}

/// The same in its older form.
#[utoipa::path(delete, path = "/delete", params(DeleteQuery), responses(
    (status = 200, description = "It is removed for good"),
    (status = 400, body = ApiError, description = "`name` is missing"),
    (status = 401, body = ApiError, description = "No valid key"),
    (status = 403, body = ApiError, description = "The key has not the scope `deploy`, the account lacks the right that the text names, or the `Host` or `Origin` is not one that is answered"),
    (status = 404, body = ApiError, description = "No such server"),
    (status = 409, body = ApiError, description = "The configuration file defines it"),
    (status = 503, body = ApiError, description = "The gateway is stopping"),
    (status = 507, body = ApiError, description = "The state directory cannot be written"),
))]
pub async fn delete_by_query(
    State(api): State<Api>,
    Params(query): Params<DeleteQuery>,
    who: Who,
) -> Result<impl IntoResponse, ApiError> {
    let missing = || ApiError::new(StatusCode::BAD_REQUEST, "`name` is missing: DELETE /delete?name=SERVER");
    let server = ServerPath { name: query.name.ok_or_else(missing)?, namespace: query.namespace };
    remove(&api, &server, &who).await
}

async fn remove(api: &Api, server: &ServerPath, who: &Who) -> Result<impl IntoResponse + use<>, ApiError> {
    let place = Place::of(api, who, server.namespace.as_deref(), Action::Delete).await?;
    let removed = match ServerName::parse(&server.name) {
        Ok(name) => api.backend.delete(&place, name).await?,
        Err(_) => false,
    };
    if !removed {
        return Err(server.unknown(&api.access, who, &api.routes.now()).await);
    }
    let name = &server.name;
    let message = format!("server `{name}` is removed");
    Ok(Json(json!({"status": "success", "success": true, "name": name, "message": message})))
}

/// What part of a log is wanted.
#[derive(Debug, Deserialize, IntoParams)]
pub struct LogsQuery {
    /// How many lines; 100 unless told otherwise.
    lines: Option<usize>,
    /// Goes on as lines are written, unless `false` or `0`.
    follow: Option<String>,
}

/// The end of a server's standard error.
#[utoipa::path(get, path = "/servers/{name}/logs", params(("name" = String, Path, description = "The server's name"), LogsQuery), responses(
    (status = 200, content_type = "text/plain", description = "The lines, oldest first"),
    (status = 400, body = ApiError, description = "`lines` is no number"),
    (status = 401, body = ApiError, description = "No valid key"),
    (status = 403, body = ApiError, description = "The key has not the scope `deploy`, the account lacks the right that the text names, or the `Host` or `Origin` is not one that is answered"),
    (status = 404, body = ApiError, description = "No such server"),
    (status = 429, body = ApiError, description = "The caller has as many streams open as it may"),
    (status = 503, body = ApiError, description = "It does not run at the moment"),
))]
pub async fn logs(
    State(api): State<Api>,
    server: ServerPath,
    Params(query): Params<LogsQuery>,
    who: Who,
) -> Result<Response, ApiError> {
    let table = api.routes.now();
    let Some(route) = server.find(&api.access, &who, Action::Get, &table).await else {
        return Err(server.unknown(&api.access, &who, &table).await);
    };
    let namespace = route.namespace.as_deref();
    if !api.access.may(&who, Action::ReadLog, namespace).await {
        return Err(forbidden(&who, Action::ReadLog, namespace));
    }
    let down =
        |why: &str| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, format!("server `{server}` has no log: {why}"));
    let endpoint = route.endpoints.last().ok_or_else(|| down(&route.status.message))?;
    let lines = query.lines.map(|lines| format!("lines={lines}&")).unwrap_or_default();
    let follow = query.follow.is_some_and(|follow| !matches!(follow.as_str(), "false" | "0"));
    let follow = if follow { "follow" } else { "" };
    let request =
        Request::get(format!("/logs?{lines}{follow}")).body(wire::client::empty()).map_err(|e| down(&e.to_string()))?;
    let response = api.client.for_server(route.uid).request(&endpoint.address, request).await;
    let (parts, body) = response.map_err(|error| down(&error.to_string()))?.into_parts();
    Ok(Response::from_parts(parts, Body::new(body.map_err(axum::Error::new))))
}
