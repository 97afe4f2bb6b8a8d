use std::{future::pending, net::SocketAddr};

use axum::{Extension, Router, body::Body as AxumBody, routing::get};
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpStream, UnixStream},
    sync::{Notify, Semaphore, mpsc},
    task::JoinHandle,
    time::Instant,
};

use super::*;
use crate::{
    listen::{ListenAddr, Peer},
    shutdown::Shutdown,
};

const CALL: &[u8] = b"GET /call HTTP/1.1\r\nhost: test\r\n\r\n";

/// A server on a port of its own, and what stops it.
struct Running {
    addr: SocketAddr,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl Running {
    fn start(router: Router) -> Self {
        Self::start_with(|server| server, |_| router)
    }

    fn start_with(configure: impl FnOnce(Server) -> Server, router: impl FnOnce(Drain) -> Router) -> Self {
        let shutdown = Shutdown::new();
        let addr: ListenAddr = "127.0.0.1:0".parse().unwrap();
        let listener = addr.bind("--listen").unwrap();
        let ListenAddr::Tcp(addr) = listener.local_addr().unwrap() else {
            panic!("bound to TCP");
        };
        let server = configure(Server::new(listener));
        let router = router(shutdown.drain());
        Self { addr, task: tokio::spawn(server.serve(router, shutdown.drain())), shutdown }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    async fn connect_h2(&self) -> http2::SendRequest<Empty<Bytes>> {
        let io = TokioIo::new(self.connect().await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

/// A router whose `/call` says that it was entered, and answers when told to.
#[derive(Clone, Default)]
struct Gate {
    entered: Arc<Notify>,
    open: Arc<Notify>,
}

impl Gate {
    fn router(&self) -> Router {
        let gate = self.clone();
        let call = async move || {
            gate.entered.notify_one();
            gate.open.notified().await;
            "answer"
        };
        Router::new().route("/call", get(call))
    }
}

/// A stream that never ends but by the drain.
fn sse(drain: Drain) -> Router {
    let events = async move || {
        let event = stream::once(async { Ok::<_, Infallible>("data: hello\n\n") });
        AxumBody::from_stream(event.chain(stream::pending()).take_until(drain.started()))
    };
    Router::new().route("/call", get(events))
}

async fn send(connection: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    connection.write_all(bytes).await.unwrap();
}

async fn read_until(connection: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        assert_ne!(connection.read_buf(&mut text).await.unwrap(), 0);
    }
    String::from_utf8(text).unwrap()
}

async fn read_to_end(connection: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    connection.read_to_string(&mut text).await.unwrap();
    text
}

fn request() -> Request<Empty<Bytes>> {
    let request = Request::get("http://test/call");
    request.body(Empty::new()).unwrap()
}

#[tokio::test]
async fn the_drain_ends_at_once_although_a_stream_is_open() {
    let server = Running::start_with(|server| server, sse);
    let mut client = server.connect().await;
    send(&mut client, CALL).await;
    read_until(&mut client, "data: hello\n\n\r\n").await;
    server.shutdown.begin("test");
    assert_eq!(read_to_end(&mut client).await, "0\r\n\r\n");
    server.task.await.unwrap();
}

#[tokio::test]
async fn a_call_in_flight_is_answered_during_the_drain() {
    let gate = Gate::default();
    let server = Running::start(gate.router());
    let mut client = server.connect().await;
    send(&mut client, CALL).await;
    gate.entered.notified().await;
    server.shutdown.begin("test");
    while TcpStream::connect(server.addr).await.is_ok() {} // until nothing is accepted any more
    assert!(!server.task.is_finished());
    gate.open.notify_one();
    let answer = read_to_end(&mut client).await;
    assert!(answer.contains("connection: close") && answer.ends_with("answer"));
    server.task.await.unwrap();
}

#[tokio::test]
async fn a_request_right_after_an_answer_that_ends_with_the_drain_is_the_last_one() {
    let server = Running::start_with(|server| server, sse);
    let mut client = server.connect().await;
    send(&mut client, CALL).await;
    read_until(&mut client, "data: hello\n\n\r\n").await;
    server.shutdown.begin("test");
    read_until(&mut client, "0\r\n\r\n").await;
    send(&mut client, CALL).await;
    assert!(read_to_end(&mut client).await.contains("connection: close"));
    server.task.await.unwrap();
}

#[tokio::test]
async fn a_forced_stop_cuts_calls_in_flight() {
    let gate = Gate::default();
    let server = Running::start(gate.router());
    let mut client = server.connect().await;
    send(&mut client, CALL).await;
    gate.entered.notified().await;
    server.shutdown.force();
    server.task.await.unwrap();
    assert_eq!(read_to_end(&mut client).await, "");
}

#[tokio::test]
async fn the_drain_closes_idle_connections() {
    let server = Running::start(Router::new());
    let mut fresh = server.connect().await;
    let mut used = server.connect().await;
    send(&mut used, CALL).await;
    read_until(&mut used, "\r\n\r\n").await;
    server.shutdown.begin("test");
    assert_eq!(read_to_end(&mut used).await, "");
    assert_eq!(read_to_end(&mut fresh).await, "");
    server.task.await.unwrap();
}

#[tokio::test]
async fn a_handler_that_panics_ends_its_own_connection_only() {
    async fn handler() {
        panic!("on purpose");
    }
    let server = Running::start(Router::new().route("/call", get(handler)));
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    send(&mut first, CALL).await;
    assert_eq!(read_to_end(&mut first).await, "");
    send(&mut second, b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    read_until(&mut second, "\r\n\r\n").await;
}

#[tokio::test]
async fn http2_with_prior_knowledge_shares_the_port() {
    let server = Running::start(Router::new().route("/call", get(async || "answer")));
    let mut client = server.connect_h2().await;
    let answer = client.send_request(request()).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "answer");
}

#[tokio::test]
async fn a_stream_of_http2_ends_with_the_drain() {
    let server = Running::start_with(|server| server, sse);
    let mut client = server.connect_h2().await;
    let answer = client.send_request(request()).await.unwrap();
    server.shutdown.begin("test");
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "data: hello\n\n");
    server.task.await.unwrap();
}

#[tokio::test]
async fn a_forced_stop_ends_handlers_of_http2() {
    let (alive, mut ended) = mpsc::channel::<()>(1);
    let entered = Arc::new(Notify::new());
    let notify = Arc::clone(&entered);
    let call = async move || {
        let _alive = alive.clone();
        notify.notify_one();
        pending::<()>().await;
    };
    let server = Running::start(Router::new().route("/call", get(call)));
    let mut client = server.connect_h2().await;
    let call = tokio::spawn(client.send_request(request()));
    entered.notified().await;
    server.shutdown.force();
    server.task.await.unwrap();
    assert!(call.await.unwrap().is_err());
    assert_eq!(ended.recv().await, None); // every sender is dropped: the handler, too
}

#[tokio::test]
async fn dropping_the_server_ends_its_connections() {
    let gate = Gate::default();
    let server = Running::start(gate.router());
    let mut client = server.connect().await;
    send(&mut client, CALL).await;
    gate.entered.notified().await;
    server.task.abort();
    assert_eq!(read_to_end(&mut client).await, "");
}

#[tokio::test]
async fn connections_above_the_limit_wait_for_one_to_close() {
    let server = Running::start_with(|server| server.max_connections(1), |_| Router::new());
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    send(&mut second, CALL).await;
    send(&mut first, CALL).await;
    read_until(&mut first, "\r\n\r\n").await;
    assert!(second.try_read(&mut [0]).is_err(), "nothing to read yet");
    drop(first);
    read_until(&mut second, "\r\n\r\n").await;
}

#[tokio::test]
async fn handlers_know_the_peer() {
    let whoami = async |Extension(peer): Extension<Peer>| format!("{peer:?}\n");
    let router = Router::new().route("/call", get(whoami));
    let server = Running::start(router.clone());
    let mut client = server.connect().await;
    send(&mut client, CALL).await;
    let peer = client.local_addr().unwrap();
    read_until(&mut client, &format!("Tcp({peer})\n")).await;

    let directory = TempDir::new().unwrap();
    let path = directory.path().join("s");
    let listener = ListenAddr::Unix(path.clone()).bind("--listen").unwrap();
    tokio::spawn(Server::new(listener).serve(router, Drain::default()));
    let mut client = UnixStream::connect(path).await.unwrap();
    send(&mut client, CALL).await;
    read_until(&mut client, "Unix\n").await;
}

#[tokio::test]
async fn a_client_that_sends_too_much_reads_why() {
    let refuse = async || http::StatusCode::PAYLOAD_TOO_LARGE;
    let server = Running::start(Router::new().route("/call", axum::routing::post(refuse)));
    let mut client = server.connect().await;
    let body = vec![b' '; 20 << 20];
    let head = "POST /call HTTP/1.1\r\nhost: test\r\ncontent-length: 20971520\r\n\r\n";
    send(&mut client, head.as_bytes()).await;
    send(&mut client, &body).await;
    let answer = read_to_end(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

/// A connection in memory, for the paused clock.
fn connection(router: Router) -> (DuplexStream, impl Future<Output = ()>) {
    let (client, server) = duplex(4096);
    let http = http(Streams(TaskTracker::new()), 1);
    let connections = Arc::new(Connections::new(http, Drain::default(), router));
    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    (client, connections.run(server, Peer::Unix, permit))
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_first_request_is_closed() {
    for partial in ["", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nhost:"] {
        let begun = Instant::now();
        let (mut client, task) = connection(Router::new());
        send(&mut client, partial.as_bytes()).await;
        task.await;
        assert_eq!(begun.elapsed(), FIRST_REQUEST, "{partial}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_next_request_is_closed_later() {
    let (mut client, task) = connection(Router::new());
    let task = tokio::spawn(task);
    send(&mut client, CALL).await;
    read_until(&mut client, "\r\n\r\n").await;
    let answered = Instant::now();
    send(&mut client, b"GET / HTTP/1.1\r\nhost:").await;
    task.await.unwrap();
    assert!(answered.elapsed() >= KEEP_ALIVE);
}

#[tokio::test(start_paused = true)]
async fn a_call_may_take_longer_than_any_limit_between_calls() {
    let slow = async || {
        tokio::time::sleep(KEEP_ALIVE * 10).await;
        "answer"
    };
    let (mut client, task) = connection(Router::new().route("/call", get(slow)));
    tokio::spawn(task);
    send(&mut client, CALL).await;
    read_until(&mut client, "answer").await;
}

#[tokio::test]
async fn a_connection_costs_little_memory() {
    let (_client, task) = connection(Router::new());
    let size = size_of_val(&task);
    assert!(size <= 3072, "{size} bytes");
}
