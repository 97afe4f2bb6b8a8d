//! The main listener: every route, whom it is for, and what stands before it.

use std::time::Duration;

use axum::Router;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderName, Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, delete, get, post};
use mcp::header::{LAST_EVENT_ID, MCP_METHOD, MCP_NAME, MCP_PROTOCOL_VERSION, MCP_SESSION_ID};
use runtime::admin;
use runtime::listen::ListenAddr;
use runtime::readiness::Readiness;
use tower_http::cors::{AllowOrigin, CorsLayer};
use wire::front::{self, allow};
use wire::guard::{Guard, guard};

use super::gate::{self, Gate};
use super::settings::Settings;
use crate::access::{Access, Demand, look};
use crate::aggregate::Aggregate;
use crate::api::{self, Api, ApiError};
use crate::keys::Scope;
use crate::kubernetes::{Peers, pass_on};
use crate::proxy::{self, Proxy};
use crate::streams::Streams;
use crate::traffic::Traffic;

/// How long browsers remember what they may send.
const PREFLIGHT_AGE: Duration = Duration::from_secs(600);

/// Every route but health: where, for whom, and what.
pub(super) type Table = Vec<(&'static str, Demand, MethodRouter)>;

/// What stands before the routes.
pub(super) struct Gates {
    pub(super) access: Access,
    pub(super) streams: Streams,
    pub(super) lists: Guard,
    pub(super) traffic: Traffic,
    /// The other replicas, which may have the session that a request is about.
    pub(super) peers: Option<Peers>,
    /// Whether pages of the origins that `lists` admits may read answers.
    pub(super) cors: bool,
}

pub(super) fn table(aggregate: &Aggregate, proxy: &Proxy, api: &Api, max_body: usize) -> Table {
    let settings = front::Settings { max_body, message_path: "/message".to_owned() };
    let call = |(path, methods)| (path, Demand::Scope(Scope::Call), methods);
    let deploy = |path, allowed: &'static str, methods: MethodRouter<Api>| {
        let methods = methods.options(move || allow(allowed)).fallback(async move || not_allowed(allowed));
        (path, Demand::Scope(Scope::Deploy), methods.with_state(api.clone()))
    };
    let mut table: Table = front::routes(aggregate.clone(), settings).into_iter().map(call).collect();
    table.extend(proxy::routes(proxy).into_iter().map(call));
    table.extend([
        deploy("/deploy", "POST, OPTIONS", post(api::deploy)),
        deploy("/delete", "DELETE, OPTIONS", delete(api::delete_by_query)),
        deploy("/servers", "GET, HEAD, OPTIONS", get(api::list_servers)),
        deploy("/services", "GET, HEAD, OPTIONS", get(api::list_services)),
        deploy("/servers/{name}", "GET, HEAD, DELETE, OPTIONS", get(api::get_server).delete(api::delete_server)),
        deploy("/servers/{name}/logs", "GET, HEAD, OPTIONS", get(api::logs)),
    ]);
    let description = get(api::openapi).fallback(async || not_allowed("GET, HEAD"));
    table.push(("/openapi.json", Demand::Admitted, description));
    table
}

/// The whole of the main listener. Layers run from the last to the first.
pub(super) fn router(table: Table, gates: Gates, readiness: &Readiness) -> Router {
    let (lists, cors) = (gates.lists.clone(), gates.cors);
    let (access, peers) = (gates.access.clone(), gates.peers.clone());
    let gate = Gate::new(&table, gates);
    let add = |router: Router, (path, demand, methods): (&'static str, Demand, MethodRouter)| {
        let of_all = demand == Demand::Scope(Scope::Call) && !path.contains("{name}");
        let methods = match peers.clone().filter(|_| of_all) {
            Some(peers) => {
                methods.layer(from_fn_with_state(access.clone(), look)).layer(from_fn_with_state(peers, pass_on))
            }
            None => methods,
        };
        router.route(path, methods)
    };
    let router =
        table.into_iter().fold(Router::new(), add).fallback(unknown).layer(from_fn_with_state(gate, gate::pass));
    let health = admin::health_routes(readiness).layer(from_fn_with_state(lists.clone(), guard));
    let router = router.merge(health);
    // The gate asks about origins as well, but a preflight does not come so far.
    if cors { router.layer(cross_origin()).layer(from_fn_with_state(lists, guard)) } else { router }
}

/// Lets pages read answers, and asks for no key before a browser's preflight, which has none. Whose pages is the
/// guard's business: it stands before this and refuses all origins but those admitted.
fn cross_origin() -> CorsLayer {
    let (session, version) = (HeaderName::from_static(MCP_SESSION_ID), HeaderName::from_static(MCP_PROTOCOL_VERSION));
    let sent = [LAST_EVENT_ID, MCP_METHOD, MCP_NAME, "x-api-key"].map(HeaderName::from_static);
    CorsLayer::new()
        .allow_origin(AllowOrigin::mirror_request())
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(
            [AUTHORIZATION, CONTENT_TYPE, session.clone(), version.clone()].into_iter().chain(sent).collect::<Vec<_>>(),
        )
        .expose_headers([session, version])
        .max_age(PREFLIGHT_AGE)
}

async fn unknown(uri: Uri) -> ApiError {
    let text = format!(
        "there is nothing at {}; see /mcp and /sse for all servers, /NAME/mcp and /NAME/sse for one, /servers for their names",
        uri.path()
    );
    ApiError::new(StatusCode::NOT_FOUND, text)
}

fn not_allowed(methods: &'static str) -> impl IntoResponse {
    let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, format!("this address takes {methods}"));
    ([(axum::http::header::ALLOW, methods)], error)
}

/// Which `Host` and `Origin` are answered to. Any `Host` where a key is demanded, as a page that tricks a browser into
/// calling under another name has none to show, and on a Unix socket, which no browser reaches.
pub(super) fn lists(settings: &Settings) -> Guard {
    let Settings { listen, hosts, origins, .. } = settings;
    let any_host = settings.needs_key() && hosts.is_empty() || matches!(listen, ListenAddr::Unix(_));
    Guard::new(any_host, hosts.clone(), origins.clone())
}

#[cfg(test)]
mod tests;
