//! The plainest bridge from HTTP to a child's stdin and stdout: ids mapped to numbers of its own, JSON answers on
//! `POST /mcp`, and the older pair `GET /sse` with `POST /message`.

mod events;

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use self::events::Events;
use crate::addr::Addr;
use crate::envelope::{Envelope, splice};

type Body = Either<Full<Bytes>, Events>;

/// One child and who waits for what it says.
struct Bridge {
    stdin: tokio::sync::Mutex<ChildStdin>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: u64,
    waiting: HashMap<u64, Waiter>,
    streams: HashMap<u64, mpsc::Sender<Bytes>>,
}

struct Waiter {
    id: Box<RawValue>,
    reply: Reply,
}

enum Reply {
    Body(oneshot::Sender<Bytes>),
    Stream(u64),
}

pub(super) async fn run(listen: Vec<Addr>, command: Vec<String>) -> anyhow::Result<()> {
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", command[0]))?;
    let stdin = child.stdin.take().context("the child has no stdin")?;
    let stdout = child.stdout.take().context("the child has no stdout")?;
    let bridge = Arc::new(Bridge { stdin: tokio::sync::Mutex::new(stdin), state: Mutex::default() });
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(&bridge).read(stdout));
    for addr in listen {
        let bridge = Arc::clone(&bridge);
        tasks.spawn(async move { super::serve(&addr, move |request| Arc::clone(&bridge).handle(request)).await });
    }
    tasks.join_next().await.context("nothing runs")??
}

impl Bridge {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/mcp") => self.post(request, None).await,
            (&Method::POST, "/message") => {
                let stream = request.uri().query().and_then(|query| query.strip_prefix("sessionId=")?.parse().ok());
                self.post(request, stream).await
            }
            (&Method::GET, "/sse") => self.open(),
            _ => empty(StatusCode::METHOD_NOT_ALLOWED),
        }
    }

    async fn post(&self, request: Request<Incoming>, stream: Option<u64>) -> Response<Body> {
        let Ok(body) = request.into_body().collect().await else { return empty(StatusCode::BAD_REQUEST) };
        let body = body.to_bytes();
        let Ok(envelope) = Envelope::parse(&body) else { return empty(StatusCode::BAD_REQUEST) };
        let Some(id) = envelope.id else {
            return self.send(&[&body, &b"\n"[..]].concat()).await;
        };
        let (reply, answer) = if let Some(stream) = stream {
            (Reply::Stream(stream), None)
        } else {
            let (send, answer) = oneshot::channel();
            (Reply::Body(send), Some(answer))
        };
        let number = self.expect(Waiter { id: id.to_owned(), reply });
        let accepted = self.send(&splice(&body, id, number.to_string().as_bytes(), b"\n")).await;
        match answer {
            Some(answer) => answer.await.map_or_else(|_| empty(StatusCode::BAD_GATEWAY), json),
            None => accepted,
        }
    }

    fn expect(&self, waiter: Waiter) -> u64 {
        let mut state = self.state();
        state.last += 1;
        let number = state.last;
        state.waiting.insert(number, waiter);
        number
    }

    async fn send(&self, line: &[u8]) -> Response<Body> {
        match self.stdin.lock().await.write_all(line).await {
            Ok(()) => empty(StatusCode::ACCEPTED),
            Err(_) => empty(StatusCode::BAD_GATEWAY),
        }
    }

    fn open(self: Arc<Self>) -> Response<Body> {
        // The stream's client has one call in flight, so that a few slots are plenty.
        let (events, receive) = mpsc::channel(16);
        let mut state = self.state();
        state.last += 1;
        let stream = state.last;
        let endpoint = format!("event: endpoint\ndata: /message?sessionId={stream}\n\n");
        drop(events.try_send(Bytes::from(endpoint)));
        state.streams.insert(stream, events);
        drop(state);
        let mut response = Response::new(Either::Right(Events::new(receive, stream, self)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        response
    }

    fn close(&self, stream: u64) {
        self.state().streams.remove(&stream);
    }

    async fn read(self: Arc<Self>, stdout: ChildStdout) -> anyhow::Result<()> {
        let mut stdout = BufReader::with_capacity(64 * 1024, stdout);
        let mut line = Vec::new();
        while stdout.read_until(b'\n', &mut line).await? > 0 {
            self.deliver(&line);
            line.clear();
        }
        anyhow::bail!("the child has exited")
    }

    fn deliver(&self, line: &[u8]) -> Option<()> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let id = Envelope::parse(line).ok()?.id?;
        let mut state = self.state();
        let waiter = state.waiting.remove(&id.get().parse().ok()?)?;
        match waiter.reply {
            Reply::Body(reply) => reply.send(splice(line, id, waiter.id.get().as_bytes(), b"").into()).ok(),
            Reply::Stream(stream) => {
                let answer = splice(line, id, waiter.id.get().as_bytes(), b"\n\n");
                let event = [&b"event: message\ndata: "[..], &answer].concat();
                state.streams.get(&stream)?.try_send(event.into()).ok()
            }
        }
    }
}

fn json(answer: Bytes) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::new(answer)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = status;
    response
}
