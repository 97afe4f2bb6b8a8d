use std::collections::VecDeque;

use mcp::envelope::{self, Incoming, Kind, Message};
use mcp::json::Rope;
use mcp::session::filter::ToolFilter;
use mcp::session::streams::Carrier;
use tokio::sync::oneshot;

use super::*;
use crate::session::{Attach, Frame, StreamRx};

const SECOND: Duration = Duration::from_secs(1);

/// A server as the tests need it.
#[derive(Clone, Copy, Debug)]
enum Server {
    /// Cannot be started.
    Broken,
    /// Is never up.
    Hanging,
    /// Answers everything, but `slow` only after three seconds.
    Working,
    /// Refuses to shake hands, and is not to be sent anything over the same link then.
    Newer,
}

#[derive(Default)]
struct Answers {
    due: VecDeque<(Instant, Message)>,
    is_newer: bool,
    refused: bool,
}

impl Connect for Server {
    type Link = Answers;

    const CARRIES_BOTH_ERAS: bool = true;

    async fn connect(&self) -> Result<Answers, Loss> {
        match self {
            Self::Broken => Err(Loss { message: "broken".to_owned(), data: None }),
            Self::Hanging => std::future::pending().await,
            Self::Working => Ok(Answers::default()),
            Self::Newer => Ok(Answers { is_newer: true, ..Answers::default() }),
        }
    }
}

impl Link for Answers {
    fn send(&mut self, message: Rope) {
        let message = parse(message);
        let Some(id) = message.id() else { return };
        assert!(!self.refused, "a process is of one era for life");
        let delay = if message.method() == "slow" { 3 * SECOND } else { Duration::ZERO };
        self.refused = self.is_newer && message.method() == "initialize";
        let known = r#"{"supported":["2026-07-28"]}"#;
        let answer = match (self.refused, message.method()) {
            (true, _) => Message::error(Some(&id), -32022, "no", Some(known)),
            (_, "server/discover") => Message::result(&id, r#"{"supportedVersions":["2026-07-28"],"capabilities":{}}"#),
            _ => Message::result(&id, r#"{"protocolVersion":"2025-06-18"}"#),
        };
        self.due.push_back((Instant::now() + delay, answer));
    }

    async fn next(&mut self) -> Event {
        let Some((at, message)) = self.due.front().cloned() else { return std::future::pending().await };
        tokio::time::sleep_until(at).await;
        self.due.pop_front();
        Event::Message(message)
    }

    async fn stop(self) {}
}

fn parse(message: Rope) -> Message {
    match envelope::parse(message.into_bytes(), usize::MAX).unwrap() {
        Incoming::Single(message) => message,
        Incoming::Batch(_) => panic!("a batch"),
    }
}

fn settings(sharing: Sharing) -> Settings {
    let mux = Config {
        sharing,
        request_timeout: 60 * SECOND,
        startup_timeout: 60 * SECOND,
        connect_timeout: 90 * SECOND,
        asking: None,
        tools: ToolFilter::default(),
        server: "s".to_owned(),
    };
    Settings { mux, idle_timeout: SECOND }
}

/// A session on a hub of its own.
struct Session {
    handle: SessionHandle,
    frames: StreamRx,
    registry: Registry,
    stop: Stop,
    turned: CancellationToken,
}

impl Session {
    async fn new(server: Server, transport: Transport) -> Self {
        let (registry, stop) = (Registry::default(), Stop::default());
        let (mut hub, commands) =
            Hub::new(Arc::new(server), settings(Sharing::Exclusive), registry.clone(), stop.clone());
        let turned = CancellationToken::new();
        hub.may_turn(turned.clone());
        let handle = hub.add(SessionId::random().unwrap(), Caller::anonymous(), transport).unwrap();
        drop(commands);
        tokio::spawn(hub.run());
        let frames = handle.listen(None).await.unwrap();
        Self { handle, frames, registry, stop, turned }
    }

    /// The answer to a request, and how long it took.
    async fn ask(&mut self, method: &str) -> (Message, Duration) {
        let asked = Instant::now();
        let message = Message::call(Some(&1.into()), method, Some("{}"));
        let (stream, mut answers) = self.handle.stream();
        let stream = (self.handle.transport == Transport::Streamable).then_some(stream);
        let frames = if stream.is_some() { &mut answers } else { &mut self.frames };
        self.handle.post(vec![message], stream).await.unwrap();
        let Some(Frame::Message(delivery)) = frames.next().await else { panic!("no answer") };
        (parse(delivery.message), asked.elapsed())
    }

    fn is_open(&self) -> bool {
        self.registry.find(self.handle.id.as_str(), &self.handle.caller).is_some()
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_idle_from_its_last_answer_on() {
    let mut session = Session::new(Server::Working, Transport::Streamable).await;
    session.frames = session.handle.stream().1;
    session.ask("initialize").await;
    let (_, took) = session.ask("slow").await;
    assert!(took >= 3 * SECOND);
    tokio::time::sleep(SECOND / 2).await;
    assert!(session.is_open(), "its call took longer than it may be idle, but it was not");
    tokio::time::sleep(SECOND).await;
    assert!(!session.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_server_of_the_newer_revision_alone_is_gone_on_with_over_another_link() {
    let mut session = Session::new(Server::Newer, Transport::Streamable).await;
    let (hello, _) = session.ask("initialize").await;
    assert_eq!((hello.kind(), hello.str_at(&["protocolVersion"]).as_deref()), (Kind::Result, Some("2025-11-25")));
    assert!(session.turned.is_cancelled());
    let mut session = Session::new(Server::Working, Transport::Streamable).await;
    session.ask("initialize").await;
    assert!(!session.turned.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_before_its_stream_is_noticed_is_gone() {
    // Which of the two the hub notices first is left to chance.
    for _ in 0..32 {
        let Session { handle, frames, registry, .. } = Session::new(Server::Working, Transport::Sse).await;
        drop(frames);
        tokio::time::sleep(SECOND / 2).await;
        assert!(registry.find(handle.id.as_str(), &handle.caller).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_during_a_long_pause_is_told_the_last_failure() {
    let mut session = Session::new(Server::Broken, Transport::Sse).await;
    let mut told = false;
    for _ in 0..8 {
        let (answer, took) = session.ask("initialize").await;
        let text = answer.str_at(&["message"]).unwrap().into_owned();
        assert!(answer.kind() == Kind::Error && text.starts_with("broken"), "{text}");
        assert!(took <= SHORT_WAIT, "it took {took:?}");
        told |= text.contains("; the next attempt is made in ");
        assert!(!told || took.is_zero(), "it took {took:?}");
    }
    assert!(told);
}

#[tokio::test(start_paused = true)]
async fn the_first_message_is_answered_even_if_the_server_never_comes_up() {
    let mut session = Session::new(Server::Hanging, Transport::Sse).await;
    let (answer, took) = session.ask("initialize").await;
    assert_eq!(answer.str_at(&["message"]).unwrap(), "server `s` has not come up within 90 s; see its log");
    assert_eq!(took.as_secs(), 90);
}

#[tokio::test]
async fn a_drain_tells_streams_to_connect_again() {
    let mut session = Session::new(Server::Working, Transport::Sse).await;
    session.ask("initialize").await;
    session.stop.drain.cancel();
    assert!(session.frames.next().await.is_none());
    assert!(session.frames.is_sent_away());
}

#[tokio::test(start_paused = true)]
async fn requests_that_stand_alone_end_with_their_answers_and_their_hub_when_none_has_come_for_long() {
    let (hub, commands) =
        Hub::new(Arc::new(Server::Working), settings(Sharing::Adapted), Registry::default(), Stop::default());
    let exchanges = hub.exchanges(commands);
    let hub = tokio::spawn(hub.run());
    let ask = async |method| {
        let message = Message::call(Some(&1.into()), method, Some("{}"));
        exchanges.send(Caller::anonymous(), message, Carrier::Undecided).await.unwrap()
    };
    for mut frames in [ask("slow").await, ask("fast").await] {
        let Some(Frame::Message(delivery)) = frames.next().await else { panic!("no answer") };
        assert!(delivery.last && parse(delivery.message).id() == Some(1.into()));
        assert!(frames.next().await.is_none());
    }
    tokio::time::sleep(SECOND / 2).await;
    assert!(exchanges.is_open());
    drop(ask("slow").await);
    tokio::time::sleep(2 * SECOND).await;
    assert!(hub.is_finished() && !exchanges.is_open(), "nobody waits for the answer that is still to come");
}

#[tokio::test]
async fn a_session_that_nobody_waited_for_leaves_nothing() {
    let (mut hub, _commands) =
        Hub::new(Arc::new(Server::Working), settings(Sharing::Common), Registry::default(), Stop::default());
    let (reply, asker) = oneshot::channel();
    drop(asker);
    let id = SessionId::random().unwrap();
    hub.command(Command::Attach(Attach { id, caller: Caller::anonymous(), transport: Transport::Sse, reply }));
    assert!(hub.clients.is_empty());
    assert_eq!(hub.mux.load().sessions, 0);
}

#[tokio::test(start_paused = true)]
async fn the_longest_times_are_no_reason_to_fail() {
    let mut settings = settings(Sharing::Exclusive);
    settings.idle_timeout = Duration::MAX;
    settings.mux.request_timeout = Duration::MAX;
    let (mut hub, commands) = Hub::new(Arc::new(Server::Working), settings, Registry::default(), Stop::default());
    let handle = hub.add(SessionId::random().unwrap(), Caller::anonymous(), Transport::Sse).unwrap();
    drop(commands);
    let hub = tokio::spawn(hub.run());
    handle.close().await.unwrap();
    hub.await.unwrap();
}
