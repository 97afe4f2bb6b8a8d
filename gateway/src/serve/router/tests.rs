use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response};
use mcp::names::Style;
use runtime::shutdown::Drain;
use tower::ServiceExt as _;
use wire::client::{AddressPolicy, HttpClient};

use super::*;
use crate::backend::Backend;
use crate::keys::{KeyRecord, Keys, NewKey};
use crate::local;
use crate::routes::Routes;
use crate::seal::Sealer;
use crate::store::{Timestamp, Uid};

const CALL: Demand = Demand::Scope(Scope::Call);
const DEPLOY: Demand = Demand::Scope(Scope::Deploy);

/// Every route, an address of it and who may use it, a second time: one that is new, or changes hands, fails here.
const ROUTES: [(&str, &str, Demand); 20] = [
    ("/sse", "/sse", CALL),
    ("/message", "/message", CALL),
    ("/mcp", "/mcp", CALL),
    ("/stream", "/stream", CALL),
    ("/{name}/sse", "/x/sse", CALL),
    ("/{name}/sse/sse", "/x/sse/sse", CALL),
    ("/{name}/message", "/x/message", CALL),
    ("/{name}/mcp", "/x/mcp", CALL),
    ("/{name}/stream", "/x/stream", CALL),
    ("/{namespace}/{name}/sse", "/n/x/sse", CALL),
    ("/{namespace}/{name}/message", "/n/x/message", CALL),
    ("/{namespace}/{name}/mcp", "/n/x/mcp", CALL),
    ("/{namespace}/{name}/stream", "/n/x/stream", CALL),
    ("/deploy", "/deploy", DEPLOY),
    ("/delete", "/delete", DEPLOY),
    ("/servers", "/servers", DEPLOY),
    ("/services", "/services", DEPLOY),
    ("/servers/{name}", "/servers/x", DEPLOY),
    ("/servers/{name}/logs", "/servers/x/logs", DEPLOY),
    ("/openapi.json", "/openapi.json", Demand::Admitted),
];

const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// A gateway that demands keys.
struct Door {
    router: Router,
    caller: NewKey,
    deployer: NewKey,
    expired: NewKey,
    revoked: NewKey,
}

fn door(cors: bool) -> Door {
    let key = |scopes: &str, end: Option<u64>| {
        KeyRecord::generate("test", scopes.parse().unwrap(), Timestamp::from_unix(0), end.map(Timestamp::from_unix))
    };
    let [caller, deployer, expired] = [key("call", None), key("deploy", None), key("call,deploy", Some(1))];
    let (_, revoked) = key("call,deploy", None);
    let keys: Keys = [caller.0, deployer.0, expired.0].into_iter().collect();
    let sealer = Sealer::new(&[1; 32], None);
    let access = Access::new(true, true, Arc::new(keys), sealer.clone());
    let lists = Guard::new(true, Vec::new(), vec!["https://app.example".to_owned()]);
    let gates = Gates { access, streams: Streams::new(None), lists, traffic: Traffic::default(), peers: None, cors };
    let router = router(routes(sealer, gates.access.clone()), gates, &Readiness::new(Drain::default()));
    Door { router, caller: caller.1, deployer: deployer.1, expired: expired.1, revoked }
}

fn routes(sealer: Sealer, access: Access) -> Table {
    let (routes, client) = (Routes::default(), HttpClient::new(AddressPolicy::Any));
    let instance = Uid::from_bytes([1; 16]);
    let aggregate =
        Aggregate::new((routes.clone(), client.clone()), sealer.clone(), instance, access.clone(), Style::Prefixed);
    let proxy = Proxy { routes: routes.clone(), sealer, client: client.clone(), access: access.clone() };
    let (local, _) = local::channel();
    table(
        &aggregate,
        &proxy,
        &Api { backend: Backend::Local(local), access, routes, client, path: None, max_body: 1 << 10 },
        1 << 10,
    )
}

impl Door {
    async fn send(&self, method: &Method, uri: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let request = Request::builder().method(method).uri(uri).header("host", "localhost");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    /// What is good for nothing, by name.
    fn bad_credentials(&self) -> [(&'static str, &'static str, String); 9] {
        let (key, expired) = (self.caller.reveal(), self.expired.reveal());
        [
            ("none", "x-nothing", String::new()),
            ("empty", "authorization", "Bearer ".to_owned()),
            ("garbage", "authorization", "Bearer garbage".to_owned()),
            ("garbage", "x-api-key", "garbage".to_owned()),
            ("tampered", "authorization", format!("Bearer {key}x")),
            ("wrong scheme", "authorization", format!("Basic {key}")),
            ("no scheme", "authorization", key.to_owned()),
            ("expired", "authorization", format!("Bearer {expired}")),
            ("revoked", "x-api-key", self.revoked.reveal().to_owned()),
        ]
    }
}

/// Whether the caller was let in, whatever became of the request then.
fn admitted(status: StatusCode) -> bool {
    !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

#[tokio::test]
async fn every_route_is_known_to_this_test() {
    let row = |path: &str, demand: Demand| format!("{path} {demand:?}");
    let sealer = Sealer::new(&[1; 32], None);
    let access = Access::new(true, true, Arc::default(), sealer.clone());
    let served = routes(sealer, access).iter().map(|(path, demand, _)| row(path, *demand)).collect();
    assert_eq!(ROUTES.iter().map(|(path, _, demand)| row(path, *demand)).collect::<BTreeSet<_>>(), served);
}

#[tokio::test]
async fn nothing_but_health_is_served_without_a_good_key() {
    let door = door(false);
    for path in ROUTES.iter().map(|(_, path, _)| *path).chain(["/", "/x", "/metrics", "/x/y/z", "//sse", "/SSE"]) {
        for method in &METHODS {
            for (what, name, value) in door.bad_credentials() {
                let status = door.send(method, path, &[(name, &value)]).await.status();
                assert_eq!(status, StatusCode::UNAUTHORIZED, "{what}: {method} {path}");
            }
        }
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(door.send(&Method::GET, path, &[]).await.status(), StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_key_opens_the_routes_of_its_scopes_only() {
    let door = door(false);
    for (_, path, demand) in ROUTES {
        for method in &METHODS {
            for (key, scope) in [(&door.caller, CALL), (&door.deployer, DEPLOY)] {
                let bearer = format!("bearer {}", key.reveal());
                for header in [("authorization", bearer.as_str()), ("x-api-key", key.reveal())] {
                    let status = door.send(method, path, &[header]).await.status();
                    let may = demand == scope || demand == Demand::Admitted;
                    assert_eq!(admitted(status), may, "{scope:?}: {method} {path}: {status}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_key_in_the_query_opens_streams_of_http_with_sse_and_nothing_else() {
    let door = door(false);
    for (_, path, _) in ROUTES {
        for method in &METHODS {
            let stream = path.ends_with("/sse") && matches!(*method, Method::GET | Method::HEAD);
            let keys =
                [(&door.caller, stream), (&door.deployer, false), (&door.expired, false), (&door.revoked, false)];
            for (key, may) in keys {
                let status = door.send(method, &format!("{path}?api_key={}", key.reveal()), &[]).await.status();
                assert_eq!(admitted(status), may, "{method} {path}: {status}");
            }
        }
    }
}

#[tokio::test]
async fn the_api_is_served_as_it_is_described() {
    let door = door(false);
    let key = [("x-api-key", door.deployer.reveal())];
    let answer = door.send(&Method::GET, "/openapi.json", &key).await;
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    let description: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let described = description["paths"].as_object().unwrap();
    for (path, operations) in described {
        for (method, operation) in operations.as_object().unwrap() {
            let method = method.to_uppercase().parse().unwrap();
            let status = door.send(&method, &path.replace("{name}", "x"), &key).await.status();
            assert!(operation["responses"][status.as_str()].is_object(), "{method} {path}: {status} is not described");
        }
    }
    let api = ROUTES.iter().filter(|(_, _, demand)| *demand == DEPLOY).map(|(path, _, _)| *path);
    assert_eq!(api.collect::<BTreeSet<_>>(), described.keys().map(String::as_str).collect());
}

#[tokio::test]
async fn a_preflight_of_an_admitted_origin_needs_no_key() {
    for (cors, origin, status, allowed) in [
        (true, "https://app.example", StatusCode::OK, true),
        (true, "http://localhost:6274", StatusCode::OK, true),
        (true, "https://evil.example", StatusCode::FORBIDDEN, false),
        (true, "null", StatusCode::FORBIDDEN, false),
        (false, "https://app.example", StatusCode::UNAUTHORIZED, false),
    ] {
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        let answer = door(cors).send(&Method::OPTIONS, "/mcp", &headers).await;
        assert_eq!(answer.status(), status, "{origin}");
        let header = answer.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap());
        assert_eq!(header, allowed.then_some(origin));
    }
}

#[tokio::test]
async fn pages_may_read_the_session_and_the_version() {
    let door = door(true);
    let headers = [("origin", "https://app.example"), ("x-api-key", door.caller.reveal())];
    let answer = door.send(&Method::GET, "/mcp", &headers).await;
    assert_eq!(answer.headers()["access-control-expose-headers"], "mcp-session-id,mcp-protocol-version");
}
