//! Who calls, and what they may.
//!
//! [`Access::identify`] comes first: nothing but health is served before it. [`Access::demand`] asks for the scope that the
//! route table gives a route. Everything behind them asks the request's extensions for the
//! [`Principal`] and the [`Caller`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{self, HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::future::join_all;
use wire::front::NeedsPass;
use wire::session::Caller;

use crate::api::ApiError;
use crate::keys::{Account, Keys, Principal, PrincipalHash, Scope};
use crate::kubernetes::Accounts;
use crate::routes::{Route, RouteTable, Routes};
use crate::seal::{Handle, Kind, Sealer};
use crate::store::Timestamp;

mod action;

pub use action::{Action, Right};

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Whoever was admitted.
    Admitted,
    /// Whoever has the scope.
    Scope(Scope),
}

/// What decides about callers. Clones share it.
#[derive(Clone, Debug)]
pub struct Access(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    /// Whether a credential is demanded.
    required: bool,
    /// Whether event streams may be opened with `?api_key=`.
    query_keys: bool,
    keys: ArcSwap<Keys>,
    sealer: Sealer,
    cluster: Option<ClusterRules>,
}

/// What is different in a cluster.
#[derive(Debug)]
pub struct ClusterRules {
    /// Who is known to the cluster, and what they may.
    pub accounts: Accounts,
    /// The namespace that keys deploy into.
    pub deploy_namespace: Arc<str>,
    /// What there is.
    pub routes: Routes,
}

/// Whose request it is. A request that came by a pass has a caller, and is nobody's in particular.
#[derive(Clone, Debug)]
pub struct Who {
    /// As sessions know it.
    pub caller: Caller,
    principal: Option<Principal>,
}

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let caller = parts.extensions.get::<Caller>().cloned().ok_or(Refusal::NoKey)?;
        Ok(Self { caller, principal: parts.extensions.get().cloned() })
    }
}

impl Who {
    /// The namespace of a caller that has one.
    pub fn namespace(&self) -> Option<&str> {
        self.account()?.namespace()
    }

    /// The account of the cluster, if it is one.
    pub fn account(&self) -> Option<&Arc<Account>> {
        match self.principal.as_ref()? {
            Principal::Account(account) => Some(account),
            Principal::Anonymous | Principal::Key { .. } => None,
        }
    }
}

/// What a request brought, judged.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is this principal's.
    Known(Principal),
    /// It is this principal's, who could only put the credential into the URL.
    ByQuery(Principal),
    /// It posts to a session whose address is its credential.
    Pass(PrincipalHash),
    /// It brought nothing.
    Nothing,
    /// It brought something that is no valid credential.
    Invalid,
    /// It cannot be told at the moment.
    Unknown,
}

impl Access {
    /// Demands a credential when `required`.
    pub fn new(required: bool, query_keys: bool, keys: Arc<Keys>, sealer: Sealer) -> Self {
        Self(Arc::new(Rules { required, query_keys, keys: ArcSwap::new(keys), sealer, cluster: None }))
    }

    /// In a cluster, with no keys yet.
    pub fn in_cluster(required: bool, query_keys: bool, sealer: Sealer, cluster: ClusterRules) -> Self {
        Self(Arc::new(Rules { required, query_keys, keys: ArcSwap::default(), sealer, cluster: Some(cluster) }))
    }

    /// The one rule about who may what, for lists and for requests: whether the caller may do `action` in a namespace of
    /// the cluster, or on this machine.
    pub async fn may(&self, who: &Who, action: Action, namespace: Option<&str>) -> bool {
        let Some(principal) = &who.principal else { return action == Action::Call };
        match (principal, &self.0.cluster, namespace) {
            (Principal::Account(account), Some(cluster), Some(namespace)) => {
                cluster.accounts.may(account, action.right(), namespace).await
            }
            (Principal::Account(_), ..) => false,
            // Keys are the gateway's own: what they deploy has one place.
            (_, Some(cluster), Some(namespace)) => action.is_for(principal, namespace == &*cluster.deploy_namespace),
            _ => action.is_for(principal, true),
        }
    }

    /// Those of the servers with which the caller may do `action`.
    pub async fn visible(&self, who: &Who, action: Action, table: &RouteTable) -> Vec<Arc<Route>> {
        let namespaces: BTreeSet<Option<&str>> = table.all().map(|route| route.namespace.as_deref()).collect();
        let asked = namespaces.into_iter().map(async |it| (it, self.may(who, action, it).await));
        let open: BTreeSet<_> = join_all(asked).await.into_iter().filter_map(|(it, may)| may.then_some(it)).collect();
        table.all().filter(|route| open.contains(&route.namespace.as_deref())).cloned().collect()
    }

    /// The namespace that a caller deploys into unless it says otherwise; `None` on one machine.
    pub fn home(&self, who: &Who) -> Option<Arc<str>> {
        let cluster = self.0.cluster.as_ref()?;
        Some(who.namespace().map_or_else(|| Arc::clone(&cluster.deploy_namespace), Into::into))
    }

    /// The principals whose credentials are good now, or were not long ago.
    pub fn principals(&self) -> Vec<PrincipalHash> {
        let accounts = self.0.cluster.iter().flat_map(|cluster| cluster.accounts.principals());
        accounts.chain(self.0.keys.load().principals(now())).chain([Principal::Anonymous.hash()]).collect()
    }

    /// Whether the caller may reach every server that is among all of them.
    async fn may_reach_all(&self, who: &Who) -> bool {
        let (Some(Principal::Account(_)), Some(cluster)) = (&who.principal, &self.0.cluster) else { return true };
        let table = cluster.routes.now();
        let merged = table.iter().filter(|route| route.spec.route.aggregate);
        let namespaces: BTreeSet<&str> = merged.filter_map(|route| route.namespace.as_deref()).collect();
        for namespace in namespaces {
            if !self.may(who, Action::Call, Some(namespace)).await {
                return false;
            }
        }
        true
    }

    /// Asks the cluster about a token that is no key.
    async fn review(&self, headers: &HeaderMap) -> Verdict {
        let token = bearer(headers).filter(|token| !token.is_empty());
        let (Some(token), Some(cluster)) = (token, &self.0.cluster) else { return Verdict::Invalid };
        match cluster.accounts.authenticate(token).await {
            Ok(Some(account)) => Verdict::Known(Principal::Account(account)),
            Ok(None) => Verdict::Invalid,
            Err(_) => Verdict::Unknown,
        }
    }

    /// Puts other keys in force.
    pub fn set_keys(&self, keys: Arc<Keys>) {
        self.0.keys.store(keys);
    }

    /// Finds out who calls, and notes it in the request.
    ///
    /// # Errors
    /// When it brought no credential that is good.
    pub async fn identify(&self, request: &mut Request) -> Result<(), Refusal> {
        let verdict = match self.judge(request) {
            Verdict::Invalid => self.review(request.headers()).await,
            verdict => verdict,
        };
        match verdict {
            Verdict::Known(principal) => admit(request, principal),
            Verdict::ByQuery(principal) => {
                admit(request, principal);
                request.extensions_mut().insert(NeedsPass);
            }
            Verdict::Pass(hash) => {
                request.extensions_mut().insert(Caller(hash.to_string().into()));
            }
            Verdict::Nothing | Verdict::Invalid if !self.0.required => admit(request, Principal::Anonymous),
            Verdict::Unknown => return Err(Refusal::Unknown),
            Verdict::Nothing => return Err(Refusal::NoKey),
            Verdict::Invalid => return Err(Refusal::InvalidKey),
        }
        Ok(())
    }

    /// Asks for what a route demands. A pass, which is no principal, is good for posting messages only, and those routes
    /// demand [`Scope::Call`]. What an account of the cluster may is asked where the namespace is known.
    ///
    /// # Errors
    /// When the caller may not.
    pub fn demand(&self, demand: Demand, request: &Request) -> Result<(), Refusal> {
        let Demand::Scope(scope) = demand else { return Ok(()) };
        let allowed = match request.extensions().get::<Principal>() {
            Some(principal) => principal.may(scope),
            None => scope == Scope::Call && request.extensions().get::<Caller>().is_some(),
        };
        if allowed { Ok(()) } else { Err(Refusal::Scope(scope)) }
    }

    fn judge<B>(&self, request: &http::Request<B>) -> Verdict {
        let headers = request.headers();
        let key = || headers.get("x-api-key").map(|value| value.to_str().unwrap_or_default());
        if let Some(presented) = bearer(headers).or_else(key) {
            return self.verify(presented).map_or(Verdict::Invalid, Verdict::Known);
        }
        let query = request.uri().query().unwrap_or_default();
        if let Some(key) = parameter(query, "api_key").filter(|_| self.0.query_keys && is_stream(request)) {
            let principal = self.verify(&key).filter(|principal| principal.may(Scope::Call));
            return principal.map_or(Verdict::Invalid, Verdict::ByQuery);
        }
        let session = parameter(query, "sessionId").filter(|_| request.method() == Method::POST);
        let pass = session.and_then(|session| self.0.sealer.open(&session)).filter(|it| it.kind == Kind::SsePass);
        // The key may have been revoked since.
        let is_good = |handle: &Handle| self.0.keys.load().principals(now()).any(|it| it == handle.principal);
        match pass.filter(|handle| !self.0.required || is_good(handle)) {
            Some(handle) if request.uri().path().ends_with("/message") => Verdict::Pass(handle.principal),
            _ => Verdict::Nothing,
        }
    }

    fn verify(&self, presented: &str) -> Option<Principal> {
        self.0.keys.load().verify(presented, now())
    }
}

/// The token of an `Authorization` header; empty when that holds something else.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().unwrap_or_default();
    let (scheme, token) = value.split_once(' ').unwrap_or_default();
    Some(if scheme.eq_ignore_ascii_case("bearer") { token.trim() } else { "" })
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// Whether the request opens an event stream of HTTP+SSE.
fn is_stream<B>(request: &http::Request<B>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD) && request.uri().path().ends_with("/sse")
}

/// A parameter of a query, decoded.
pub fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(key, _)| *key == name)?;
    Some(percent_encoding::percent_decode_str(value).decode_utf8().ok()?.into_owned())
}

fn admit(request: &mut Request, principal: Principal) {
    request.extensions_mut().insert(Caller(principal.hash().to_string().into()));
    request.extensions_mut().insert(principal);
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It brought no credential, and one is demanded.
    NoKey,
    /// It brought one that is not good.
    InvalidKey,
    /// Its caller has not this scope.
    Scope(Scope),
    /// It brought what may be a token of the cluster, which cannot be asked.
    Unknown,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let text = match self {
            Self::NoKey => "a key is needed: send it as `Authorization: Bearer KEY`",
            Self::InvalidKey => "the key is unknown, expired or revoked",
            Self::Scope(scope) => {
                let text = format!("the key has not the scope `{}` that this needs", scope.as_str());
                return ApiError::new(StatusCode::FORBIDDEN, text).into_response();
            }
            Self::Unknown => {
                let text = "the API server cannot be asked about the token now; try again";
                return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, text).retry_after(2).into_response();
            }
        };
        let mut response = ApiError::new(StatusCode::UNAUTHORIZED, text).into_response();
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"mcp-gateway\""));
        response
    }
}

/// The layer before all servers as one: they are for those who may reach each of them.
pub async fn require_all(State(access): State<Access>, who: Who, request: Request, next: Next) -> Response {
    if access.may_reach_all(&who).await {
        return next.run(request).await;
    }
    let text = "this address has servers of namespaces in which you may not `get mcpservers`; \
                use those of single servers, /NAMESPACE/NAME/mcp";
    ApiError::new(StatusCode::FORBIDDEN, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::KeyFile;
    use crate::store::Uid;

    fn parts(method: Method, uri: &str, headers: &[(&str, &str)]) -> http::Request<()> {
        let request = Request::builder().method(method).uri(uri);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap()
    }

    fn access(required: bool) -> (Access, String, Sealer) {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::new(directory.path());
        let (_, key) = file.create("test", "call".parse().unwrap(), now(), None).unwrap();
        let keys = Arc::new(file.list().unwrap().into_iter().collect());
        let sealer = Sealer::new(&[7; 32], None);
        (Access::new(required, true, keys, sealer.clone()), key.reveal().to_owned(), sealer)
    }

    #[test]
    fn a_key_is_taken_from_headers_and_on_streams_from_the_query() {
        let (access, key, _) = access(true);
        let known = |request: &http::Request<()>| matches!(access.judge(request), Verdict::Known(_));
        assert!(known(&parts(Method::POST, "/mcp", &[("authorization", &format!("bearer {key}"))])));
        assert!(known(&parts(Method::POST, "/mcp", &[("x-api-key", &key)])));
        let by_query = |uri: &str| access.judge(&parts(Method::GET, uri, &[]));
        assert!(matches!(by_query(&format!("/x/sse?api_key={key}")), Verdict::ByQuery(_)));
        assert_eq!(by_query(&format!("/servers?api_key={key}")), Verdict::Nothing);
        assert_eq!(by_query("/sse?api_key=wrong"), Verdict::Invalid);
        assert_eq!(access.judge(&parts(Method::GET, "/sse", &[("authorization", "Basic x")])), Verdict::Invalid);
    }

    #[test]
    fn a_pass_is_good_for_posting_messages_of_a_known_key_only() {
        let (access, key, sealer) = access(true);
        let principal = access.verify(&key).unwrap().hash();
        let seal = |kind, principal| {
            let (server, instance, session) = ("s".to_owned(), Uid::from_bytes([1; 16]), "x".to_owned());
            sealer.seal(&Handle { kind, server, instance, session, principal })
        };
        let judge =
            |method, path: &str, handle: &str| access.judge(&parts(method, &format!("{path}?sessionId={handle}"), &[]));
        let pass = seal(Kind::SsePass, principal);
        assert_eq!(judge(Method::POST, "/s/message", &pass), Verdict::Pass(principal));
        assert_eq!(judge(Method::POST, "/deploy", &pass), Verdict::Nothing);
        assert_eq!(judge(Method::GET, "/s/sse", &pass), Verdict::Nothing);
        assert_eq!(judge(Method::POST, "/s/message", &seal(Kind::Sse, principal)), Verdict::Nothing);
        let revoked = seal(Kind::SsePass, PrincipalHash::from_bytes([9; 16]));
        assert_eq!(judge(Method::POST, "/s/message", &revoked), Verdict::Nothing);
    }
}
