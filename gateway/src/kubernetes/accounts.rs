//! Who is known to the cluster, and what they may: its API server is asked, and its answers are kept for a while.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::cache::{Cache, Keep};
use crate::access::Right;
use crate::keys::{Account, Principal, PrincipalHash};

/// Both kinds of answers, and how long one stands in for an API server that is away.
const KEEP: Keep = Keep { yes: Duration::from_secs(10), no: Duration::from_secs(2), outage: Duration::from_secs(300) };
/// How long an account counts as here after its last request: its streams end then.
const SEEN: Duration = Duration::from_secs(3600);
/// The longest token that is asked about.
const MAX_TOKEN: usize = 16 << 10;
/// How long the API server may take.
const LIMIT: Duration = Duration::from_secs(5);
/// So many questions are asked at a time: callers that nobody knows must not keep the API server busy.
const AT_A_TIME: usize = 16;

/// The API server cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Away;

/// See the [module](self). Clones share what is kept.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

/// What somebody may, and in which namespace.
type Asked = (Arc<Account>, Right, Arc<str>);

struct Inner {
    client: Client,
    audience: String,
    asking: Semaphore,
    tokens: Mutex<Cache<[u8; 32], Option<Arc<Account>>>>,
    rights: Mutex<Cache<Asked, bool>>,
    seen: Mutex<Cache<PrincipalHash, bool>>,
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").field("audience", &self.0.audience).finish_non_exhaustive()
    }
}

impl Accounts {
    /// Tokens must be made for `audience`: one that is for the API server, or for somebody else, is good for nothing here.
    /// Without an audience nobody is asked, and no token is good.
    pub fn new(client: Client, audience: String) -> Self {
        let (tokens, rights, seen) = (Mutex::default(), Mutex::default(), Mutex::default());
        let asking = Semaphore::new(AT_A_TIME);
        Self(Arc::new(Inner { client, audience, asking, tokens, rights, seen }))
    }

    /// Whose token it is; `None` when it is nobody's.
    pub async fn authenticate(&self, token: &str) -> Result<Option<Arc<Account>>, Away> {
        if self.0.audience.is_empty() || token.len() > MAX_TOKEN || !is_made_for(token, &self.0.audience) {
            return Ok(None);
        }
        let key: [u8; 32] = Sha256::digest(token).into();
        let account = kept(&self.0.tokens, key, Option::is_some, self.review(token)).await?;
        if let Some(account) = &account {
            let hash = Principal::Account(Arc::clone(account)).hash();
            let keep = Keep { yes: SEEN, no: SEEN, outage: SEEN };
            self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).put(hash, true, keep, true, Instant::now());
        }
        Ok(account)
    }

    /// Whether an account has a right in a namespace. It has not where nobody can be asked.
    pub async fn may(&self, account: &Arc<Account>, right: Right, namespace: &str) -> bool {
        let key = (Arc::clone(account), right, namespace.into());
        kept(&self.0.rights, key, |may| *may, self.ask(account, right, namespace)).await.unwrap_or(false)
    }

    /// Those that were here not long ago.
    pub fn principals(&self) -> Vec<PrincipalHash> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).keys(Instant::now())
    }

    async fn review(&self, token: &str) -> Result<Option<Arc<Account>>, kube::Error> {
        let spec = TokenReviewSpec { token: token.to_owned(), audiences: Some(vec![self.0.audience.clone()]) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let answer = self.put(&review).await?;
        Ok(answer.status.and_then(|status| account(status, &self.0.audience)).map(Arc::new))
    }

    async fn ask(&self, account: &Account, right: Right, namespace: &str) -> Result<bool, kube::Error> {
        let review =
            SubjectAccessReview { spec: question(account, right, namespace), ..SubjectAccessReview::default() };
        let answer = self.put(&review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed && status.denied != Some(true)))
    }

    /// Asks a question when it is its turn.
    async fn put<K>(&self, question: &K) -> Result<K, kube::Error>
    where
        K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
    {
        // It is never closed.
        let _turn = self.0.asking.acquire().await;
        Api::all(self.0.client.clone()).create(&PostParams::default(), question).await
    }
}

/// Whether a token says of itself that it is for `audience` (RFC 7519, 4.1.3). Whether that is true only the API server
/// can tell; of one that does not even say so it need not be asked.
fn is_made_for(token: &str, audience: &str) -> bool {
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok();
    let claims: Option<Value> = claims.and_then(|claims| serde_json::from_slice(&claims).ok());
    match claims.as_ref().and_then(|claims| claims.get("aud")) {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(several)) => several.iter().any(|it| it == audience),
        _ => false,
    }
}

/// The answer that is kept, or else the one that `ask` brings.
async fn kept<K: std::hash::Hash + Eq, V: Clone>(
    cache: &Mutex<Cache<K, V>>,
    key: K,
    is_yes: impl Fn(&V) -> bool,
    ask: impl Future<Output = Result<V, kube::Error>>,
) -> Result<V, Away> {
    let lock = || cache.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = lock().fresh(&key, Instant::now()) {
        return Ok(known);
    }
    let asked = tokio::time::timeout(LIMIT, ask).await;
    let now = Instant::now();
    match asked {
        Ok(Ok(answer)) => {
            let yes = is_yes(&answer);
            lock().put(key, answer.clone(), KEEP, yes, now);
            Ok(answer)
        }
        failed => {
            let error = failed.map_or_else(
                |_| "it does not answer".to_owned(),
                |it| it.err().map_or_else(String::new, |it| it.to_string()),
            );
            tracing::warn!(error, "the API server cannot be asked who may call");
            lock().stale(&key, KEEP.no, now).ok_or(Away)
        }
    }
}

/// Whom a review names. The audience is checked a second time: an API server that knows none answers for its own.
fn account(status: TokenReviewStatus, audience: &str) -> Option<Account> {
    let for_us = status.audiences.iter().flatten().any(|it| it == audience);
    let user = status.user.filter(|_| status.authenticated == Some(true) && for_us)?;
    Some(Account {
        name: user.username.filter(|name| !name.is_empty())?,
        uid: user.uid,
        groups: user.groups.unwrap_or_default(),
        extra: user.extra.unwrap_or_default(),
    })
}

fn question(account: &Account, right: Right, namespace: &str) -> SubjectAccessReviewSpec {
    SubjectAccessReviewSpec {
        user: Some(account.name.clone()),
        uid: account.uid.clone(),
        groups: Some(account.groups.clone()),
        extra: Some(account.extra.clone()),
        resource_attributes: Some(ResourceAttributes {
            group: Some(right.group.to_owned()),
            resource: Some(right.resource.to_owned()),
            subresource: right.subresource.map(ToOwned::to_owned),
            verb: Some(right.verb.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ResourceAttributes::default()
        }),
        non_resource_attributes: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Action;

    fn status(json: &str) -> TokenReviewStatus {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_token_that_is_not_even_said_to_be_for_this_gateway_is_not_asked_about() {
        let token = |claims: &str| format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims));
        assert!(is_made_for(&token(r#"{"aud":["a","mcp-gateway"]}"#), "mcp-gateway"));
        assert!(is_made_for(&token(r#"{"aud":"mcp-gateway"}"#), "mcp-gateway"));
        for other in [r#"{"aud":["a"]}"#, r#"{"aud":"mcp"}"#, "{}", "no JSON"] {
            assert!(!is_made_for(&token(other), "mcp-gateway"), "{other}");
        }
        assert!(!is_made_for("mgw_key", "mcp-gateway") && !is_made_for("a.b", "mcp-gateway"));
    }

    #[tokio::test]
    async fn without_an_audience_no_token_is_good_and_nobody_is_asked() {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        // Where nobody listens: to ask would fail.
        let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let accounts = Accounts::new(Client::try_from(nowhere).unwrap(), String::new());
        let token = format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(r#"{"aud":""}"#));
        assert_eq!(accounts.authenticate(&token).await, Ok(None));
    }

    #[test]
    fn only_a_token_that_is_good_and_made_for_this_gateway_is_somebodys() {
        let user =
            r#""user":{"username":"system:serviceaccount:team:bot","uid":"1","groups":["g"],"extra":{"k":["v"]}}"#;
        let of = |rest: &str| account(status(&format!("{{{rest}{user}}}")), "mcp-gateway");
        let bot = of(r#""authenticated":true,"audiences":["mcp-gateway"],"#).unwrap();
        assert_eq!((bot.name.as_str(), bot.namespace()), ("system:serviceaccount:team:bot", Some("team")));
        assert_eq!((bot.groups, bot.extra["k"].clone()), (vec!["g".to_owned()], vec!["v".to_owned()]));
        for bad in [
            r#""authenticated":false,"audiences":["mcp-gateway"],"#,
            r#""authenticated":true,"audiences":["https://kubernetes.default.svc"],"#,
            r#""authenticated":true,"#,
            r#""audiences":["mcp-gateway"],"#,
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(account(status(r#"{"authenticated":true,"audiences":["a"],"user":{"username":""}}"#), "a"), None);
    }

    #[test]
    fn the_cluster_is_asked_whether_somebody_has_a_right_in_a_namespace() {
        let account = Account { name: "jane".into(), groups: vec!["devs".into()], ..Account::default() };
        let asked = [Action::Delete, Action::ReadLog].map(|action| question(&account, action.right(), "team"));
        insta::assert_json_snapshot!(asked[0], @r#"
        {
          "extra": {},
          "groups": [
            "devs"
          ],
          "resourceAttributes": {
            "group": "mcpgateway.dev",
            "namespace": "team",
            "resource": "mcpservers",
            "verb": "delete"
          },
          "user": "jane"
        }
        "#);
        let log = asked[1].resource_attributes.as_ref().unwrap();
        assert_eq!((log.resource.as_deref(), log.subresource.as_deref()), (Some("pods"), Some("log")));
        assert_eq!((log.group.as_deref(), log.verb.as_deref()), (Some(""), Some("get")));
    }
}
