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
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{self, HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;
use futures::future::join_all;
use tokio::sync::watch;
use wire::front::NeedsPass;
use wire::session::Caller;

use crate::keys::{Account, Keys, Principal, PrincipalHash, Scope};
use crate::routes::{Route, RouteTable};
use crate::seal::{Handle, Kind, Sealer};
use crate::store::Timestamp;

mod action;
mod cluster;
mod refusal;
mod views;

pub use action::{Action, Right};
pub use cluster::ClusterRules;
pub use refusal::Refusal;
pub use views::View;

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
    /// What those see who see every server.
    all: watch::Sender<Arc<View>>,
    /// What those see who are nobody any more.
    nothing: watch::Sender<Arc<View>>,
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
        Self::with(required, query_keys, keys, sealer, None)
    }

    /// In a cluster, with no keys yet.
    pub fn in_cluster(required: bool, query_keys: bool, sealer: Sealer, cluster: ClusterRules) -> Self {
        Self::with(required, query_keys, Arc::default(), sealer, Some(cluster))
    }

    fn with(required: bool, query_keys: bool, keys: Arc<Keys>, sealer: Sealer, cluster: Option<ClusterRules>) -> Self {
        let [all, nothing] = [View::All, View::nothing()].map(|view| watch::Sender::new(Arc::new(view)));
        Self(Arc::new(Rules { required, query_keys, keys: ArcSwap::new(keys), sealer, cluster, all, nothing }))
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

/// The layer before all servers as one: what the caller sees of them is known before its request is served.
pub async fn look(State(access): State<Access>, who: Who, request: Request, next: Next) -> Response {
    access.look(&who).await;
    next.run(request).await
}

#[cfg(test)]
mod tests;
