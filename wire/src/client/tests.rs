//! The client against a server on a unix socket that speaks HTTP/1.1 and HTTP/2, as sidecars do.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::net::UnixListener;
use tokio::task::JoinSet;

use super::*;

struct Server {
    endpoint: Endpoint,
    connections: Arc<AtomicUsize>,
    _directory: tempfile::TempDir,
    _tasks: JoinSet<()>,
}

fn start() -> Server {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("server.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let (count, mut tasks) = (Arc::clone(&connections), JoinSet::new());
    tasks.spawn(async move {
        let mut served = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            served.spawn(async move {
                let mut builder = auto::Builder::new(TokioExecutor::new());
                builder.http2().max_concurrent_streams(10_000);
                // The client closes connections as it likes.
                let _ = builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            });
        }
    });
    Server { endpoint: Endpoint::unix(&path).unwrap(), connections, _directory: directory, _tasks: tasks }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (version, path) = (request.version(), request.uri().path().to_owned());
    let host = request.headers().get("host").cloned();
    let token = request.headers().get(HOP_TOKEN).cloned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut response = match path.as_str() {
        // Its first word, and then silence.
        "/quiet" => Response::new(words(1, b"hello")),
        // More than anybody's window holds.
        "/flood" => Response::new(words(1000, &[b'x'; 16 << 10])),
        "/moved" => Response::builder().status(307).header("location", "http://a.example/").body(empty()).unwrap(),
        _ => Response::new(full(body)),
    };
    response.headers_mut().extend(host.map(|host| (HeaderName::from_static("x-host"), host)));
    response.headers_mut().extend(token.map(|token| (HeaderName::from_static("x-token"), token)));
    *response.version_mut() = version;
    Ok(response)
}

fn words(count: usize, word: &[u8]) -> Body {
    let word = Bytes::copy_from_slice(word);
    let words = futures::stream::iter((0..count).map(move |_| Ok::<_, Infallible>(Frame::data(word.clone()))));
    streamed(StreamBody::new(words.chain(futures::stream::pending())))
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(empty()).unwrap()
}

async fn first_word(response: &mut Response<Incoming>) -> Bytes {
    response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test]
async fn calls_follow_each_other_on_one_connection() {
    let (server, client) = (start(), HttpClient::new(AddressPolicy::PublicOnly));
    for n in 0..20 {
        let request = Request::post("/echo?n").body(full(n.to_string())).unwrap();
        let response = client.request(&server.endpoint, request).await.unwrap();
        assert_eq!(
            (response.version(), &response.headers()["x-host"]),
            (Version::HTTP_11, &"localhost".parse().unwrap())
        );
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), n.to_string());
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn long_streams_share_one_connection_and_none_that_is_not_read_stops_another() {
    let (server, client) = (start(), HttpClient::new(AddressPolicy::Any).long_streams());
    let mut unread = Vec::new();
    for _ in 0..200 {
        unread.push(client.request(&server.endpoint, get("/flood")).await.unwrap());
    }
    for _ in 0..200 {
        let mut quiet = client.request(&server.endpoint, get("/quiet")).await.unwrap();
        assert_eq!((quiet.version(), first_word(&mut quiet).await), (Version::HTTP_2, "hello".into()));
        unread.push(quiet);
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_request_that_came_by_another_version_is_passed_on() {
    let (server, client) = (start(), HttpClient::new(AddressPolicy::Any));
    let mut request = get("/echo");
    *request.version_mut() = Version::HTTP_2;
    assert_eq!(client.request(&server.endpoint, request).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn errors_name_the_place_and_the_cause() {
    let (server, client) = (start(), HttpClient::new(AddressPolicy::Any));
    let error = client.request(&server.endpoint, get("/moved")).await.unwrap_err();
    assert!(matches!(&error, ClientError::Redirect { target, .. } if target == "http://a.example/"), "{error}");
    let nowhere = Endpoint::unix("/nowhere/x.sock".as_ref()).unwrap();
    let error = client.request(&nowhere, get("/")).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }));
    assert!(error.to_string().starts_with("cannot connect to unix:/nowhere/x.sock: No such file"), "{error}");
    let inside = Endpoint::tcp(&"http://127.0.0.1:1/".parse().unwrap()).unwrap();
    let error = HttpClient::new(AddressPolicy::PublicOnly).request(&inside, get("/")).await.unwrap_err();
    assert!(error.to_string().contains("its address 127.0.0.1 is not a public one"), "{error}");
}

#[test]
fn a_redirects_target_is_named_without_what_may_be_secret() {
    for (location, name) in [
        ("https://b.example:8443/other?token=x", "https://b.example:8443/other"),
        ("https://me:pass@b.example/other", "https://b.example/other"),
        ("https://b.example/s3cret/mcp", "https://b.example and the same path, without a slash at its end"),
        ("/s3cret/mcp/", "the same path, with a slash at its end"),
        ("/login?next=s3cret", "/login"),
        ("::", "an address that cannot be read"),
    ] {
        let (location, path) = (HeaderValue::from_static(location), PathAndQuery::from_static("/s3cret/mcp?key=x"));
        assert_eq!(describe_target(&location, &path), name);
    }
}

#[tokio::test]
async fn requests_to_a_server_carry_a_token_for_it_once_there_is_a_key() {
    let server = start();
    let signer = Arc::new(Signer::new(hop::Issuer::Gateway, hop::KeyRing::generate().unwrap()));
    let plain = HttpClient::new(AddressPolicy::Any);
    let token = async |client: HttpClient| {
        let request = Request::get("/").header(HOP_TOKEN, "a client's own").body(empty()).unwrap();
        client.request(&server.endpoint, request).await.unwrap().headers()["x-token"].to_str().unwrap().to_owned()
    };
    assert_eq!(token(plain.for_server("a")).await, "a client's own");
    assert_eq!(token(plain.signing(Arc::clone(&signer))).await, "a client's own");
    let made = token(plain.signing(Arc::clone(&signer)).for_server("a")).await;
    assert_eq!(made, &*signer.token("a", hop::now()).unwrap());
}
