use bytes::Bytes;

use super::*;
use crate::envelope::{self, Incoming, Kind, Message};
use crate::session::Clock;

const SECOND: Duration = Duration::from_secs(1);

/// A connection with its outputs as texts: `> …` to the server, `KEY relation …` to a client.
struct Bench {
    mux: Mux,
    now: Clock,
}

fn message(text: &str) -> Message {
    match envelope::parse(Bytes::copy_from_slice(text.as_bytes()), 1 << 20).unwrap() {
        Incoming::Single(message) => message,
        Incoming::Batch(_) => panic!("a batch"),
    }
}

fn text(rope: Rope) -> String {
    let text = String::from_utf8(rope.into_bytes().to_vec()).unwrap();
    text.replacen(r#""jsonrpc":"2.0","#, "", 1)
}

impl Bench {
    fn new(sharing: Sharing) -> Self {
        let tools = ToolFilter::new(Vec::new(), vec!["secret".to_owned()]);
        let (request_timeout, startup_timeout) = (60 * SECOND, 60 * SECOND);
        let config = Config { sharing, request_timeout, startup_timeout, tools, server: "s".to_owned() };
        Self { mux: Mux::new(config), now: Clock::ZERO }
    }

    /// An exclusive connection that is up, and its session.
    fn exclusive() -> (Self, SessionKey) {
        let mut bench = Self::new(Sharing::Exclusive);
        let session = bench.mux.attach();
        bench.mux.connected(bench.now);
        bench.client(session, r#"{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"capabilities":{}}}"#);
        bench.server(r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18"}}"#);
        bench.client(session, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        bench.outs();
        (bench, session)
    }

    /// A shared connection that is up, and two sessions.
    fn common() -> (Self, SessionKey, SessionKey) {
        let mut bench = Self::new(Sharing::Common);
        let (a, b) = (bench.mux.attach(), bench.mux.attach());
        bench.mux.connected(bench.now);
        bench.server(r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","x":1.0}}"#);
        bench.outs();
        (bench, a, b)
    }

    fn client(&mut self, session: SessionKey, text: &str) {
        self.mux.from_client(session, message(text), self.now);
    }

    fn server(&mut self, text: &str) {
        self.mux.from_server(message(text), self.now);
    }

    fn outs(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.mux.poll())
            .map(|out| match out {
                Out::ToServer(rope) => format!("> {}", text(rope)),
                Out::ToClient { session, relation, message } => {
                    let relation = match relation {
                        Relation::Answer(_) => "answer",
                        Relation::During(_) => "during",
                        Relation::Abandoned(_) => "abandoned",
                        Relation::None => "none",
                    };
                    format!("{} {relation} {}", session.0, text(message))
                }
                Out::Hopeless(loss) => format!("hopeless: {}", loss.message),
            })
            .collect()
    }
}

#[test]
fn equal_ids_of_two_sessions_never_meet() {
    let (mut bench, a, b) = Bench::common();
    bench.client(a, r#"{"jsonrpc":"2.0","id":1.0,"method":"tools/call","params":{"name":"t"}}"#);
    bench.client(b, r#"{"jsonrpc":"2.0","id":1.0,"method":"tools/call","params":{"name":"t"}}"#);
    assert_eq!(
        bench.outs(),
        [
            r#"> {"id":2,"method":"tools/call","params":{"name":"t"}}"#,
            r#"> {"id":3,"method":"tools/call","params":{"name":"t"}}"#
        ]
    );
    bench.server(r#"{"jsonrpc":"2.0","id":3,"result":"for b"}"#);
    bench.server(r#"{"jsonrpc":"2.0","id":2,"result":"for a"}"#);
    bench.server(r#"{"jsonrpc":"2.0","id":2,"result":"twice"}"#);
    bench.server(r#"{"jsonrpc":"2.0","id":99,"result":"to nobody"}"#);
    assert_eq!(bench.outs(), [r#"2 answer {"id":1.0,"result":"for b"}"#, r#"1 answer {"id":1.0,"result":"for a"}"#]);
    assert_eq!(bench.mux.dropped(), 2);
}

#[test]
fn a_shared_server_is_greeted_once_and_every_initialize_is_answered_from_that() {
    let mut bench = Bench::new(Sharing::Common);
    let a = bench.mux.attach();
    bench.client(a, r#"{"jsonrpc":"2.0","id":"x","method":"initialize","params":{"protocolVersion":"2024-11-05"}}"#);
    assert!(bench.outs().is_empty() && bench.mux.wants_server());
    bench.mux.connected(bench.now);
    let greeting = bench.outs().concat();
    assert!(greeting.contains(r#""id":1,"method":"initialize""#) && greeting.contains(r#""capabilities":{}"#));
    bench.server(r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","serverInfo":{"x":1.0}}}"#);
    assert_eq!(
        bench.outs(),
        [
            r#"> {"method":"notifications/initialized"}"#,
            r#"1 answer {"id":"x","result":{"protocolVersion":"2024-11-05","serverInfo":{"x":1.0}}}"#,
        ]
    );
    bench.client(a, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    assert!(bench.outs().is_empty());
    assert_eq!(bench.mux.version(a), Some(Version::V2024_11_05));
}

#[test]
fn a_shared_server_that_does_not_shake_hands_is_given_up() {
    let mut bench = Bench::new(Sharing::Common);
    bench.mux.connected(bench.now);
    bench.outs();
    bench.mux.expire(61 * SECOND);
    assert!(bench.outs()[0].starts_with("hopeless: server `s` did not answer initialize within 60 s"));
    bench.mux.connected(bench.now);
    bench.outs();
    bench.server(r#"{"jsonrpc":"2.0","id":2,"error":{"code":-1,"message":"not today"}}"#);
    assert_eq!(bench.outs(), ["hopeless: server `s` refused to initialize: not today"]);
}

#[test]
fn what_waits_is_answered_when_the_server_ends_before_it_has_shaken_hands() {
    let mut bench = Bench::new(Sharing::Common);
    let a = bench.mux.attach();
    bench.client(a, r#"{"jsonrpc":"2.0","id":"x","method":"initialize"}"#);
    bench.mux.connected(bench.now);
    bench.outs();
    bench.mux.disconnected(&Loss { message: "exited with code 7".to_owned(), data: None });
    assert_eq!(bench.outs(), [r#"1 answer {"id":"x","error":{"code":-32603,"message":"exited with code 7"}}"#]);
}

#[test]
fn a_handshake_that_cannot_be_read_is_hopeless() {
    let mut bench = Bench::new(Sharing::Common);
    bench.mux.connected(bench.now);
    bench.outs();
    bench.mux.unreadable_answer(1, "nests too deep");
    assert_eq!(bench.outs(), ["hopeless: nests too deep"]);
}

#[test]
fn progress_goes_to_its_request_with_the_token_the_client_wrote() {
    let (mut bench, _, b) = Bench::common();
    let call =
        r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"t","_meta":{"progressToken":"t\u0031"}}}"#;
    bench.client(b, call);
    assert_eq!(bench.outs(), [r#"> {"id":2,"method":"tools/call","params":{"name":"t","_meta":{"progressToken":2}}}"#]);
    bench.server(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":2,"progress":1}}"#);
    let expected = r#"2 during {"method":"notifications/progress","params":{"progressToken":"t\u0031","progress":1}}"#;
    assert_eq!(bench.outs(), [expected]);
    bench.server(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#);
    bench.server(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":2,"progress":2}}"#);
    assert_eq!(bench.outs().len(), 1, "progress after the answer is dropped");
}

#[test]
fn a_cancelled_request_is_not_answered() {
    let (mut bench, session) = Bench::exclusive();
    bench.client(session, r#"{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"t"}}"#);
    bench.outs();
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"c","reason":"r"}}"#;
    bench.client(session, cancel);
    bench.server(r#"{"jsonrpc":"2.0","id":2,"result":"late"}"#);
    assert_eq!(
        bench.outs(),
        [r#"> {"method":"notifications/cancelled","params":{"requestId":2,"reason":"r"}}"#, "1 abandoned ",]
    );
    bench.client(session, cancel);
    assert!(bench.outs().is_empty(), "a second cancel is nobody's");
}

#[test]
fn a_question_of_the_server_goes_to_its_session_and_the_answer_back_with_its_id() {
    let (mut bench, session) = Bench::exclusive();
    bench.client(session, r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"t"}}"#);
    bench.server(r#"{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{}}"#);
    bench.server(r#"{"jsonrpc":"2.0","id":0,"method":"ping"}"#);
    assert_eq!(
        bench.outs()[1..],
        [r#"1 during {"id":3,"method":"sampling/createMessage","params":{}}"#, r#"> {"id":0,"result":{}}"#,]
    );
    bench.client(session, r#"{"jsonrpc":"2.0","id":77,"result":"forged"}"#);
    bench.client(session, r#"{"jsonrpc":"2.0","id":3,"result":"r"}"#);
    bench.client(session, r#"{"jsonrpc":"2.0","id":3,"result":"again"}"#);
    assert_eq!(bench.outs(), [r#"> {"id":"q","result":"r"}"#]);
}

#[test]
fn nobody_is_asked_through_a_shared_connection() {
    let (mut bench, ..) = Bench::common();
    bench.server(r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#);
    assert!(bench.outs()[0].starts_with(r#"> {"id":1,"error":{"code":-32601"#));
}

#[test]
fn an_answer_from_another_session_is_not_accepted() {
    let mut bench = Bench::new(Sharing::Exclusive);
    let (a, b) = (bench.mux.attach(), bench.mux.attach());
    bench.mux.connected(bench.now);
    bench.server(r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#);
    bench.outs();
    bench.client(b, r#"{"jsonrpc":"2.0","id":1,"result":"forged"}"#);
    assert!(bench.outs().is_empty());
    bench.client(a, r#"{"jsonrpc":"2.0","id":1,"result":"right"}"#);
    assert_eq!(bench.outs(), [r#"> {"id":"q","result":"right"}"#]);
}

#[test]
fn a_lost_server_fails_what_it_was_given_and_the_next_one_gets_what_waited() {
    let (mut bench, session) = Bench::exclusive();
    bench.client(session, r#"{"jsonrpc":"2.0","id":"l","method":"logging/setLevel","params":{"level":"info"}}"#);
    bench.client(session, r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"t"}}"#);
    bench.server(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#);
    bench.server(r#"{"jsonrpc":"2.0","id":8,"method":"roots/list"}"#);
    bench.outs();
    let loss = Loss { message: "exited with code 3".to_owned(), data: Some(r#"{"exitCode":3}"#.to_owned()) };
    bench.mux.disconnected(&loss);
    bench.client(session, r#"{"jsonrpc":"2.0","id":"b","method":"tools/call","params":{"name":"t"}}"#);
    assert_eq!(
        bench.outs(),
        [
            r#"1 during {"method":"notifications/cancelled","params":{"requestId":4,"reason":"the server has ended"}}"#,
            r#"1 answer {"id":"a","error":{"code":-32603,"message":"exited with code 3","data":{"exitCode":3}}}"#,
        ]
    );
    assert!(bench.mux.wants_server());
    bench.mux.connected(bench.now);
    assert_eq!(bench.outs(), [r#"> {"id":5,"method":"initialize","params":{"capabilities":{}}}"#]);
    bench.server(r#"{"jsonrpc":"2.0","id":5,"result":{}}"#);
    assert_eq!(
        bench.outs(),
        [
            r#"> {"method":"notifications/initialized"}"#,
            r#"> {"id":6,"method":"logging/setLevel","params":{"level":"info"}}"#,
            r#"> {"id":7,"method":"tools/call","params":{"name":"t"}}"#,
        ]
    );
}

#[test]
fn when_no_server_will_come_what_waits_is_answered() {
    let mut bench = Bench::new(Sharing::Exclusive);
    let session = bench.mux.attach();
    bench.client(session, r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#);
    bench.mux.unavailable(&Loss { message: "no such program".to_owned(), data: None });
    assert_eq!(bench.outs(), [r#"1 answer {"id":1,"error":{"code":-32603,"message":"no such program"}}"#]);
    assert!(!bench.mux.wants_server());
}

#[test]
fn a_request_without_answer_times_out_unless_it_reports_progress_or_waits_for_the_client() {
    let (mut bench, session) = Bench::exclusive();
    bench.client(
        session,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{"progressToken":1}}}"#,
    );
    bench.now = 50 * SECOND;
    bench.server(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":2}}"#);
    bench.now = 100 * SECOND;
    bench.server(r#"{"jsonrpc":"2.0","id":8,"method":"elicitation/create"}"#);
    bench.outs();
    bench.mux.expire(300 * SECOND);
    assert!(bench.outs().is_empty());
    bench.client(session, r#"{"jsonrpc":"2.0","id":3,"result":{}}"#);
    bench.mux.expire(bench.mux.deadline().unwrap());
    let outs = bench.outs();
    assert!(outs[1].contains("notifications/cancelled"), "{outs:?}");
    assert!(outs[2].contains("-32001") && outs[2].contains("within 60 s"), "{outs:?}");
}

#[test]
fn a_hidden_tool_is_neither_listed_nor_called() {
    let (mut bench, session) = Bench::exclusive();
    bench.client(session, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"secret"}}"#);
    assert!(bench.outs()[0].contains("-32602"));
    bench.client(session, r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#);
    bench.server(r#"{"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"secret"},{"name":"open"}]}}"#);
    assert_eq!(bench.outs()[1], r#"1 answer {"id":2,"result":{"tools":[{"name":"open"}]}}"#);
}

#[test]
fn updates_of_a_shared_server_go_to_those_who_subscribed_and_the_last_one_unsubscribes() {
    let (mut bench, a, b) = Bench::common();
    let request =
        |method: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"uri":"f:///x"}}}}"#);
    let updated = r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"f:///x"}}"#;
    bench.client(a, &request("resources/subscribe"));
    bench.client(b, &request("resources/subscribe"));
    bench.outs();
    bench.client(a, &request("resources/unsubscribe"));
    assert_eq!(bench.outs(), [r#"1 answer {"id":1,"result":{}}"#]);
    bench.server(updated);
    assert_eq!(bench.outs().len(), 1);
    bench.mux.detach(b);
    let outs = bench.outs();
    assert!(outs.iter().any(|out| out.contains("resources/unsubscribe")), "{outs:?}");
    bench.server(updated);
    assert!(bench.outs().is_empty());
}

#[test]
fn a_log_line_of_a_shared_server_is_delivered_only_when_one_session_can_have_caused_it() {
    let (mut bench, a, b) = Bench::common();
    let log = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}"#;
    bench.server(log);
    assert!(bench.outs().is_empty());
    bench.client(a, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#);
    bench.server(log);
    assert!(bench.outs()[1].starts_with("1 during"));
    bench.client(b, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#);
    bench.server(log);
    assert_eq!(bench.outs().len(), 1, "only the request of b");
}

#[test]
fn the_end_of_a_session_cancels_its_calls_and_answers_its_questions() {
    let (mut bench, session) = Bench::exclusive();
    bench.client(session, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#);
    bench.server(r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#);
    bench.outs();
    assert!(bench.mux.is_busy(session));
    bench.mux.detach(session);
    let outs = bench.outs();
    assert!(outs[0].contains(r#""requestId":2"#) && outs[1].starts_with(r#"> {"id":"q","error""#), "{outs:?}");
    assert_eq!(message(r#"{"jsonrpc":"2.0","id":1,"result":1}"#).kind(), Kind::Result);
}
