//! One server: its sidecar's own endpoints, passed through.
//!
//! The gateway keeps no state of these sessions. What a client holds as its session is a sealed [`Handle`] that names
//! the sidecar and the session there; the proxy opens it, passes the request on, and seals what comes back. Messages
//! are not looked into.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, InvalidHeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use axum::response::IntoResponse as _;
use axum::routing::{MethodRouter, get, post};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use mcp::header::{HOP_PRINCIPAL, HOP_VERSION, MCP_PROTOCOL_VERSION, MCP_SESSION_ID};
use mcp::version::Version;
use wire::client::{ClientError, HttpClient};
use wire::front::{NeedsPass, Problem, allow, not_allowed};
use wire::session::Caller;

use crate::access::{Access, Action, Who, parameter};
use crate::api::{ApiError, ServerPath};
use crate::keys::PrincipalHash;
use crate::routes::{Endpoint, Route, Routes};
use crate::seal::{Handle, Kind, Sealer};
use crate::streams::opens_stream;

mod body;
mod parked;

use body::Offered;
pub(crate) use parked::instance_of;

/// The version of what gateway and sidecar say to each other.
const HOP: HeaderValue = HeaderValue::from_static("1");
/// An `endpoint` event is shorter than this.
const MAX_FIRST_EVENT: usize = 4096;
const SESSION: HeaderName = HeaderName::from_static(MCP_SESSION_ID);

/// Passes requests on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// What there is.
    pub routes: Routes,
    /// Seals handles.
    pub sealer: Sealer,
    /// Reaches sidecars.
    pub client: HttpClient,
    /// Who may.
    pub access: Access,
}

/// What a request is about, apart from its body.
struct Target {
    route: Arc<Route>,
    endpoint: Endpoint,
    /// The server as the client's address has it.
    address: String,
    /// The session's own id at the sidecar.
    session: Option<String>,
    principal: PrincipalHash,
}

/// The routes of one server.
pub fn routes(proxy: &Proxy) -> Vec<(&'static str, MethodRouter)> {
    let sse = || {
        get(stream)
            .head(|| async { [(header::CONTENT_TYPE, "text/event-stream")] })
            .options(|| allow("GET, HEAD, OPTIONS"))
            .fallback(|| not_allowed("GET, HEAD, OPTIONS"))
    };
    let mcp = || {
        post(streamable)
            .get(streamable)
            .delete(streamable)
            .head(|| not_allowed("GET, POST, DELETE, OPTIONS"))
            .options(|| allow("GET, POST, DELETE, OPTIONS"))
            .fallback(|| not_allowed("GET, POST, DELETE, OPTIONS"))
    };
    let message = || post(message).options(|| allow("POST, OPTIONS")).fallback(|| not_allowed("POST, OPTIONS"));
    let routes = [
        ("/{name}/sse", sse()),
        // A client in the field appends it to what is the endpoint already.
        ("/{name}/sse/sse", sse()),
        ("/{name}/message", message()),
        ("/{name}/mcp", mcp()),
        ("/{name}/stream", mcp()),
        // In a cluster, where two namespaces may have servers of one name.
        ("/{namespace}/{name}/sse", sse()),
        ("/{namespace}/{name}/message", message()),
        ("/{namespace}/{name}/mcp", mcp()),
        ("/{namespace}/{name}/stream", mcp()),
    ];
    routes.into_iter().map(|(path, methods)| (path, methods.with_state(proxy.clone()))).collect()
}

/// `GET /{name}/sse`.
async fn stream(
    State(proxy): State<Proxy>,
    server: ServerPath,
    who: Who,
    pass: Option<Extension<NeedsPass>>,
    request: Request,
) -> Result<Response<Body>, Response<Body>> {
    let handle = parameter(request.uri().query().unwrap_or_default(), "sessionId");
    let mut target = proxy.target(&server, &who, handle.as_deref(), Kind::Sse).await?;
    let path = match &target.session {
        Some(session) => format!("/sse?sessionId={session}"),
        None => "/sse".to_owned(),
    };
    let response = proxy.forward(&mut target, &who.caller, path, request).await?;
    let (parts, body) = response.into_parts();
    if parts.status != StatusCode::OK {
        return Ok(Response::from_parts(parts, Body::new(body)));
    }
    let kind = if pass.is_some() { Kind::SsePass } else { Kind::Sse };
    let (first, rest) = first_event(body).await.map_err(|why| unavailable(&target.route, &why))?;
    let first =
        proxy.announce(&target, kind, &first).ok_or_else(|| unavailable(&target.route, "it names no endpoint"))?;
    let first = futures::stream::iter([Ok(first)]);
    let rest = rest.into_data_stream();
    Ok(Response::from_parts(parts, Body::from_stream(futures::StreamExt::chain(first, rest))))
}

/// `POST /{name}/message`.
async fn message(
    State(proxy): State<Proxy>,
    server: ServerPath,
    who: Who,
    request: Request,
) -> Result<Response<Body>, Response<Body>> {
    let Some(handle) = parameter(request.uri().query().unwrap_or_default(), "sessionId") else {
        let text = "`sessionId` is missing: post to the address that the stream's `endpoint` event gave";
        return Err(Problem::new(StatusCode::BAD_REQUEST, text).into_response());
    };
    let mut target = proxy.target(&server, &who, Some(&handle), Kind::Sse).await?;
    let session = target.session.clone().unwrap_or_default();
    let response = proxy.forward(&mut target, &who.caller, format!("/message?sessionId={session}"), request).await?;
    Ok(response.map(Body::new))
}

/// `POST`, `GET` and `DELETE` of `/{name}/mcp`.
async fn streamable(
    State(proxy): State<Proxy>,
    server: ServerPath,
    who: Who,
    mut request: Request,
) -> Result<Response<Body>, Response<Body>> {
    let handle = request.headers_mut().remove(SESSION);
    // Such a request belongs to no session, whatever its client sends.
    let modern = names_modern(request.headers());
    let handle = handle.filter(|_| !modern);
    let handle = handle.as_ref().map(|value| value.to_str().unwrap_or_default());
    let mut target = proxy.target(&server, &who, handle, Kind::Streamable).await?;
    if modern {
        let (waiting, unread) = parked::home(request, &target.route).await;
        request = unread;
        let home = waiting.or_else(|| target.route.home_of(&target.principal).cloned());
        target.endpoint = home.unwrap_or(target.endpoint);
    }
    if let Some(session) = &target.session {
        let value = HeaderValue::from_str(session).map_err(|_| Problem::no_session().into_response())?;
        request.headers_mut().insert(SESSION, value);
    }
    let mut response = proxy.forward(&mut target, &who.caller, "/mcp".to_owned(), request).await?;
    if let Some(session) = response.headers().get(SESSION).and_then(|value| value.to_str().ok()) {
        let sealed = proxy.seal(&target, Kind::Streamable, session);
        let value =
            HeaderValue::from_str(&sealed).map_err(|_| unavailable(&target.route, "its session cannot be named"))?;
        response.headers_mut().insert(SESSION, value);
    }
    Ok(response.map(Body::new))
}

/// Whether the request says that it is of 2026-07-28 or later.
fn names_modern(headers: &HeaderMap) -> bool {
    headers.get(MCP_PROTOCOL_VERSION).and_then(|value| value.to_str().ok()).is_some_and(Version::is_modern)
}

impl Proxy {
    /// Finds the sidecar for a new session, or the one that holds the session of `handle`.
    async fn target(
        &self,
        server: &ServerPath,
        who: &Who,
        handle: Option<&str>,
        kind: Kind,
    ) -> Result<Target, Response<Body>> {
        let Some(route) = server.find(&self.access, who, Action::Call, &self.routes.now()).await else {
            return Err(server.unknown(&self.access, who, &self.routes.now()).await.into_response());
        };
        let (address, principal) = (server.to_string(), principal(&who.caller));
        let Some(handle) = handle else {
            let found = self.routes.for_new_sessions(&route.id()).await;
            let (route, endpoint) = found.map_err(|last| {
                let route = last.unwrap_or(route);
                unavailable(&route, &route.status.message)
            })?;
            return Ok(Target { route, endpoint, address, session: None, principal });
        };
        let no_session = || Problem::no_session().into_response();
        let handle = self.sealer.open(handle).ok_or_else(no_session)?;
        let same_kind = handle.kind == kind || (kind == Kind::Sse && handle.kind == Kind::SsePass);
        let mine = handle.server == route.id() && handle.principal == principal;
        let endpoint = route.instance(handle.instance).filter(|_| same_kind && mine).ok_or_else(no_session)?.clone();
        Ok(Target { route, endpoint, address, session: Some(handle.session), principal })
    }

    /// Passes a request on to a sidecar: to the one that has its session, or to any that takes new ones.
    async fn forward(
        &self,
        target: &mut Target,
        caller: &Caller,
        path: String,
        request: Request,
    ) -> Result<Response<Incoming>, Response<Body>> {
        let (mut parts, body) = request.into_parts();
        let route = Arc::clone(&target.route);
        let fail = |why: &dyn std::fmt::Display| unavailable(&route, &why.to_string());
        parts.uri = path.parse::<Uri>().map_err(|error| fail(&error))?;
        strip(&mut parts.headers);
        parts.headers.extend(hop(caller).map_err(|error| fail(&error))?);
        let response = match target.session {
            Some(_) => match self.send(target, parts, wire::client::streamed(body)).await {
                // The session was in the memory of who listened there.
                Err(ClientError::Connect { refused: true, .. }) => return Err(Problem::no_session().into_response()),
                response => response,
            },
            None => self.send_anywhere(target, &parts, Offered::new(body)).await,
        };
        let mut response = response.map_err(|error| fail(&error))?;
        strip(response.headers_mut());
        Ok(response)
    }

    async fn send(
        &self,
        target: &Target,
        parts: Parts,
        body: wire::client::Body,
    ) -> Result<Response<Incoming>, ClientError> {
        // Streams last long: they share one connection, calls have pooled ones.
        let long = opens_stream(&parts.method, &parts.headers);
        let mut outgoing = hyper::Request::new(body);
        (*outgoing.method_mut(), *outgoing.uri_mut(), *outgoing.headers_mut()) =
            (parts.method, parts.uri, parts.headers);
        let client = self.client.for_server(target.route.uid);
        let client = if long { client.long_streams() } else { client };
        client.request(&target.endpoint.address, outgoing).await
    }

    /// Sends a request that no sidecar has to get in particular. A pod may be gone before its endpoint is; nothing has
    /// been sent then, and the next one is asked.
    async fn send_anywhere(
        &self,
        target: &mut Target,
        parts: &Parts,
        body: Offered,
    ) -> Result<Response<Incoming>, ClientError> {
        let mut gone = Vec::new();
        loop {
            let answer = self.send(target, parts.clone(), wire::client::streamed(body.clone())).await;
            let Err(ClientError::Connect { .. }) = &answer else { return answer };
            gone.push(target.endpoint.instance);
            let Some(other) = self.routes.another(&target.route, &gone) else { return answer };
            target.endpoint = other;
        }
    }

    fn seal(&self, target: &Target, kind: Kind, session: &str) -> String {
        self.sealer.seal(&Handle {
            kind,
            server: target.route.id(),
            instance: target.endpoint.instance,
            session: session.to_owned(),
            principal: target.principal,
        })
    }

    /// The `endpoint` event that the client gets for the sidecar's.
    fn announce(&self, target: &Target, kind: Kind, event: &Bytes) -> Option<Bytes> {
        let text = std::str::from_utf8(event).ok()?;
        let (_, session) = text.split_once("sessionId=")?;
        let end = session.find(|c: char| c.is_whitespace() || c == '&')?;
        let sealed = self.seal(target, kind, &session[..end]);
        Some(format!("event: endpoint\ndata: /{}/message?sessionId={sealed}\n\n", target.address).into())
    }
}

/// What a sidecar is told of whoever asks.
///
/// # Errors
/// When the caller cannot be named in a header.
pub(crate) fn hop(caller: &Caller) -> Result<[(HeaderName, HeaderValue); 2], InvalidHeaderValue> {
    let principal = HeaderValue::from_str(&caller.0)?;
    Ok([(HeaderName::from_static(HOP_PRINCIPAL), principal), (HeaderName::from_static(HOP_VERSION), HOP)])
}

/// The principal that a caller was admitted as.
fn principal(caller: &Caller) -> PrincipalHash {
    caller.0.parse().unwrap_or_else(|_| crate::keys::Principal::Anonymous.hash())
}

/// Splits a body behind its first event.
async fn first_event(
    mut body: Incoming,
) -> Result<(Bytes, http_body_util::Either<http_body_util::Full<Bytes>, Incoming>), String> {
    let mut first = BytesMut::new();
    while first.len() < MAX_FIRST_EVENT {
        let frame = body.frame().await.ok_or("its stream ended at once")?.map_err(|error| error.to_string())?;
        let Ok(data) = frame.into_data() else { continue };
        first.extend_from_slice(&data);
        if first.ends_with(b"\n\n") {
            return Ok((first.freeze(), http_body_util::Either::Right(body)));
        }
    }
    Err("its stream begins with no endpoint".to_owned())
}

fn unavailable(route: &Route, why: &str) -> Response<Body> {
    let text = format!("server `{}` cannot be reached now: {why}", route.name);
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, text).retry_after(2).into_response()
}

/// Takes out what is between client and gateway, or between gateway and sidecar, and nobody else's business.
fn strip(headers: &mut HeaderMap) {
    strip_connection(headers);
    for name in [header::HOST, header::AUTHORIZATION, header::COOKIE, header::ORIGIN] {
        headers.remove(name);
    }
    headers.remove("x-api-key");
    let own: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("mcp-gateway-")).cloned().collect();
    for name in own {
        headers.remove(name);
    }
}

/// Takes out what is about one connection only (RFC 9110 §7.6.1).
pub(crate) fn strip_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').filter_map(|name| name.trim().parse().ok()))
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        header::CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ] {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection"] {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_identifies_the_client_reaches_the_sidecar() {
        let pairs = [
            ("authorization", "Bearer x"),
            ("x-api-key", "x"),
            ("cookie", "x"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("mcp-gateway-principal", "forged"),
            ("origin", "http://localhost"),
            ("mcp-protocol-version", "2025-06-18"),
            ("accept", "*/*"),
        ];
        let mut headers: HeaderMap =
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        strip(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "mcp-protocol-version"]);
    }
}
