//! Who may ask, and as whom.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use axum::middleware::Next;
use axum::response::IntoResponse as _;
use mcp::header::{HOP_PRINCIPAL, HOP_TOKEN};
use runtime::listen::Peer;
use subtle::ConstantTimeEq as _;
use wire::front::Problem;
use wire::hop::{self, Issuer, Verifier};
use wire::session::Caller;

/// What the operator may look at.
const OBSERVED: [&str; 2] = ["/status", "/logs"];

/// Who is admitted.
#[derive(Clone, Debug, Default)]
pub enum Access {
    /// Everybody who can connect.
    #[default]
    Open,
    /// Who presents one of these keys, or connects to a Unix socket.
    Keys(Arc<[String]>),
    /// Who presents a token of the hop, in a cluster.
    Hop(Arc<Verifier>),
}

impl Access {
    /// By keys: one in each line; empty lines and lines that begin with `#` are left out. Without any it is open.
    pub fn parse_keys(text: &str) -> Self {
        let keys = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Arc<[String]> = keys.map(ToOwned::to_owned).collect();
        if keys.is_empty() { Self::Open } else { Self::Keys(keys) }
    }

    /// Whether nobody has to present anything.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// Who sends this request.
    fn caller(&self, request: &Request) -> Result<Caller, Problem> {
        let headers = request.headers();
        match self {
            Self::Hop(verifier) => hop(verifier, request),
            _ if matches!(request.extensions().get::<Peer>(), Some(Peer::Unix)) => Ok(principal(headers)),
            Self::Open => Ok(Caller::anonymous()),
            Self::Keys(keys) if admits(keys, headers) => Ok(Caller::anonymous()),
            Self::Keys(_) => {
                let text = "a key is needed: send the header `Authorization: Bearer KEY`";
                Err(Problem::new(StatusCode::UNAUTHORIZED, text))
            }
        }
    }
}

/// By the token of the hop. Who has none that counts is not told why.
fn hop(verifier: &Verifier, request: &Request) -> Result<Caller, Problem> {
    let mut tokens = request.headers().get_all(HOP_TOKEN).iter();
    let (Some(Ok(token)), None) = (tokens.next().map(HeaderValue::to_str), tokens.next()) else {
        return Err(unknown());
    };
    match verifier.verify(token, hop::now()) {
        Ok(Issuer::Gateway) => Ok(principal(request.headers())),
        Ok(Issuer::Operator) if request.method() == Method::GET && OBSERVED.contains(&request.uri().path()) => {
            Ok(Caller::anonymous())
        }
        Ok(Issuer::Operator) => {
            let text = "the operator may ask for /status and /logs only";
            Err(Problem::new(StatusCode::FORBIDDEN, text))
        }
        Err(refused) => {
            tracing::debug!(%refused, "a token is refused");
            Err(unknown())
        }
    }
}

fn unknown() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "this server is reached through the gateway only")
}

/// Whoever the gateway says it calls for.
fn principal(headers: &HeaderMap) -> Caller {
    let principal = headers.get(HOP_PRINCIPAL).and_then(|value| value.to_str().ok());
    principal.map_or_else(Caller::anonymous, |principal| Caller(principal.into()))
}

fn admits(keys: &[String], headers: &HeaderMap) -> bool {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    let presented = bearer.or_else(|| Some(headers.get("x-api-key")?.as_bytes()));
    let equal = |key: &String, presented: &[u8]| bool::from(key.as_bytes().ct_eq(presented));
    presented.is_some_and(|presented| keys.iter().any(|key| equal(key, presented)))
}

/// Finds out who calls: over a unix socket whoever the gateway says, else whoever presents a key; in a cluster whoever
/// presents a token.
pub async fn identify(Shared(access): Shared<Access>, mut request: Request, next: Next) -> Response<Body> {
    match access.caller(&request) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use wire::hop::{JWKS_FILE, KeyRing, Signer, jwks};

    use super::*;

    fn request(method: &str, path: &str, headers: &[(&'static str, &str)]) -> Request {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    fn status(access: &Access, request: &Request) -> u16 {
        access.caller(request).map_or_else(|problem| problem.into_response().status().as_u16(), |_| 200)
    }

    #[test]
    fn only_listed_keys_admit_and_an_empty_list_admits_all() {
        let access = Access::parse_keys("# comment\n\n alpha \nbeta\n");
        let by = |headers: &[(&'static str, &str)]| status(&access, &request("GET", "/mcp", headers));
        assert_eq!((by(&[("authorization", "Bearer alpha")]), by(&[("x-api-key", "beta")])), (200, 200));
        assert_eq!((by(&[]), by(&[("x-api-key", "# comment")]), by(&[("x-api-key", "")])), (401, 401, 401));
        let open = Access::parse_keys("# comment\n");
        assert!(open.is_open());
        assert_eq!(status(&open, &request("GET", "/mcp", &[])), 200);
    }

    #[test]
    fn the_gateways_token_admits_to_all_and_the_operators_to_status_and_logs_only() {
        let [gateway, operator] = [Issuer::Gateway, Issuer::Operator].map(|issuer| {
            let ring = KeyRing::generate().unwrap();
            (ring.public(issuer), Signer::new(issuer, ring))
        });
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(JWKS_FILE), jwks(&[gateway.0, operator.0].concat())).unwrap();
        let access = Access::Hop(Arc::new(Verifier::new(folder.path(), "uid")));
        let [good, foreign] = ["uid", "other"].map(|audience| gateway.1.token(audience, hop::now()).unwrap());
        let operators = operator.1.token("uid", hop::now()).unwrap();
        for (method, path, token, expected) in [
            ("POST", "/mcp", Some(&good), 200),
            ("GET", "/status", Some(&good), 200),
            ("POST", "/mcp", Some(&foreign), 401),
            ("POST", "/mcp", None, 401),
            ("GET", "/status", None, 401),
            ("GET", "/healthz", None, 401),
            ("GET", "/status?watch", Some(&operators), 200),
            ("GET", "/logs", Some(&operators), 200),
            ("POST", "/status", Some(&operators), 403),
            ("GET", "/sse", Some(&operators), 403),
            ("POST", "/mcp", Some(&operators), 403),
        ] {
            let headers: Vec<_> = token.map(|token| (HOP_TOKEN, &**token)).into_iter().collect();
            assert_eq!(status(&access, &request(method, path, &headers)), expected, "{method} {path}");
        }
        let twice = request("POST", "/mcp", &[(HOP_TOKEN, &good), (HOP_TOKEN, &good)]);
        assert_eq!(status(&access, &twice), 401);
        let named = request("POST", "/mcp", &[(HOP_TOKEN, &good), (HOP_PRINCIPAL, "alice")]);
        assert_eq!(access.caller(&named).unwrap(), Caller("alice".into()));
        // A name without a token, even from a socket of this machine.
        let mut unproven = request("POST", "/mcp", &[(HOP_PRINCIPAL, "alice")]);
        unproven.extensions_mut().insert(Peer::Unix);
        assert_eq!(status(&access, &unproven), 401);
    }
}
