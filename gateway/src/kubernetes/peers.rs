//! Sessions over all servers live in one replica of the gateway: another passes their requests on to it.
//!
//! What is passed on is the client's own request, with its own credential, which the home replica judges like any other.
//! So there is nothing between replicas that could be forged.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use mcp::header::MCP_SESSION_ID;
use runtime::readiness::Token;
use wire::client::{Endpoint as Address, HttpClient};
use wire::front::Problem;

use super::endpoints::{SERVICE, Slice, Slices};
use super::server::Key;
use crate::access::parameter;
use crate::api::ApiError;
use crate::proxy::strip_connection;
use crate::seal::Sealer;
use crate::store::Uid;

/// On a request that was passed on once. It is not passed on again, whoever sent it.
const PASSED_ON: HeaderName = HeaderName::from_static("mcp-gateway-peer");

/// The other replicas. Clones share what is known of them.
#[derive(Clone)]
pub struct Peers(Arc<Inner>);

struct Inner {
    own: Uid,
    sealer: Sealer,
    client: HttpClient,
    replicas: ArcSwap<BTreeMap<Uid, Address>>,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").field("replicas", &self.0.replicas).finish_non_exhaustive()
    }
}

impl Peers {
    /// This replica is `own`. It knows no other yet.
    pub fn new(own: Uid, sealer: Sealer, client: HttpClient) -> Self {
        Self(Arc::new(Inner { own, sealer, client, replicas: ArcSwap::default() }))
    }

    /// Follows the endpoints of the gateway's own Service for ever. Lets go of `ready` when the other replicas are known:
    /// whoever asked before would be told that its session is gone.
    pub async fn follow(self, client: Client, namespace: String, service: String, ready: Token) {
        let mut ready = Some(ready);
        let config = watcher::Config::default().labels(&format!("{SERVICE}={service}"));
        let mut events =
            watcher(Api::<EndpointSlice>::namespaced(client, &namespace), config).backoff(super::pauses()).boxed();
        let service = Key { namespace: namespace.as_str().into(), name: service.as_str().into() };
        let (mut slices, mut fresh) = (Slices::default(), None);
        while let Some(event) = events.next().await {
            let all = matches!(event, Ok(watcher::Event::InitDone));
            match event {
                Ok(watcher::Event::Init) => fresh = Some(Slices::default()),
                Ok(watcher::Event::InitApply(slice)) => {
                    if let (Some(fresh), Some(slice)) = (&mut fresh, Slice::of(&slice)) {
                        fresh.apply(slice);
                    }
                }
                Ok(watcher::Event::InitDone) => slices = fresh.take().unwrap_or_default(),
                Ok(watcher::Event::Apply(slice)) => drop(Slice::of(&slice).map(|slice| slices.apply(slice))),
                Ok(watcher::Event::Delete(slice)) => drop(Key::of(&slice.metadata).and_then(|key| slices.remove(&key))),
                Err(error) => tracing::warn!(%error, "the other replicas of the gateway cannot be followed"),
            }
            let replicas = slices.endpoints(&service).into_iter().map(|it| (it.instance, it.address));
            self.0.replicas.store(Arc::new(replicas.collect()));
            if all {
                drop(ready.take());
            }
        }
    }

    /// The replica that has the session of a request, if that is another one that is there.
    fn home(&self, request: &Request) -> Option<Address> {
        if request.headers().contains_key(PASSED_ON) {
            return None;
        }
        let header = request.headers().get(MCP_SESSION_ID).and_then(|value| value.to_str().ok());
        let query = || parameter(request.uri().query().unwrap_or_default(), "sessionId");
        let presented = header.map(ToOwned::to_owned).or_else(query)?;
        let handle = self.0.sealer.open(&presented)?;
        if !handle.server.is_empty() || handle.instance == self.0.own {
            return None;
        }
        self.0.replicas.load().get(&handle.instance).cloned()
    }
}

/// The layer that passes a request on to the replica that has its session. One whose home is gone is for nobody: it gets
/// the answer that there is no such session.
pub async fn pass_on(State(peers): State<Peers>, request: Request, next: Next) -> Response {
    let Some(home) = peers.home(&request) else { return next.run(request).await };
    let (mut parts, body) = request.into_parts();
    strip_connection(&mut parts.headers);
    parts.headers.insert(PASSED_ON, HeaderValue::from_static("1"));
    let client = if parts.method == Method::GET { peers.0.client.long_streams() } else { peers.0.client.clone() };
    let mut outgoing = hyper::Request::new(wire::client::streamed(body));
    (*outgoing.method_mut(), *outgoing.uri_mut(), *outgoing.headers_mut()) = (parts.method, parts.uri, parts.headers);
    match client.request(&home, outgoing).await {
        Ok(mut response) => {
            strip_connection(response.headers_mut());
            response.map(Body::new)
        }
        // Nothing was sent: it may have gone since.
        Err(wire::client::ClientError::Connect { .. }) => Problem::no_session().into_response(),
        Err(error) => {
            let text = format!("the replica of the gateway that has this session cannot be reached now: {error}");
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, text).retry_after(2).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::PrincipalHash;
    use crate::seal::{Handle, Kind};

    fn uid(n: u8) -> Uid {
        Uid::from_bytes([n; 16])
    }

    #[test]
    fn a_request_goes_to_the_replica_that_has_its_session_and_only_once() {
        let sealer = Sealer::new(&[1; 32], None);
        let peers = Peers::new(uid(1), sealer.clone(), HttpClient::new(wire::client::AddressPolicy::Any));
        let other = Address::tcp(&"http://10.0.0.2:8080".parse().unwrap()).unwrap();
        peers.0.replicas.store(Arc::new([(uid(2), other.clone())].into()));
        let handle = |server: &str, instance| {
            let (server, session, principal) = (server.to_owned(), "s".to_owned(), PrincipalHash::from_bytes([1; 16]));
            sealer.seal(&Handle { kind: Kind::Streamable, server, instance, session, principal })
        };
        let home = |session: &str, more: &str| {
            let request = Request::post("/mcp").header(MCP_SESSION_ID, session);
            let request = if more.is_empty() { request } else { request.header(more, "1") };
            peers.home(&request.body(Body::empty()).unwrap())
        };
        assert_eq!(home(&handle("", uid(2)), ""), Some(other.clone()));
        assert_eq!(home(&handle("", uid(2)), "mcp-gateway-peer"), None);
        assert_eq!(home(&handle("", uid(1)), ""), None, "its own");
        assert_eq!(home(&handle("", uid(3)), ""), None, "gone");
        assert_eq!(home(&handle("team/time", uid(2)), ""), None, "a server's");
        assert_eq!(home("garbage", ""), None);
        let post = Request::post(format!("/message?sessionId={}", handle("", uid(2)))).body(Body::empty()).unwrap();
        assert_eq!(peers.home(&post), Some(other));
    }
}
