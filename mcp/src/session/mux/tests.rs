use bytes::Bytes;
use serde_json::Value;

use super::*;
use crate::envelope::{self, Incoming, Kind, Message};
use crate::session::Clock;

mod adapted;
mod calls;
mod chance;
mod exchanges;
mod folded;
mod link;
mod parked;
mod rounds;
mod shared;
mod unrolled;

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
        Self::asking(sharing, None)
    }

    fn asking(sharing: Sharing, asking: Option<Asking>) -> Self {
        let tools = ToolFilter::new(Vec::new(), vec!["secret".to_owned()]);
        let (request_timeout, startup_timeout, connect_timeout) = (60 * SECOND, 60 * SECOND, 90 * SECOND);
        let server = "s".to_owned();
        let config = Config { sharing, request_timeout, startup_timeout, connect_timeout, asking, tools, server };
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
                Out::Turned => "turned".to_owned(),
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
fn a_hidden_tool_is_neither_listed_nor_called() {
    let (mut bench, session) = Bench::exclusive();
    bench.client(session, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"secret"}}"#);
    assert!(bench.outs()[0].contains("-32602"));
    bench.client(session, r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#);
    bench.server(r#"{"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"secret"},{"name":"open"}]}}"#);
    assert_eq!(bench.outs()[1], r#"1 answer {"id":2,"result":{"tools":[{"name":"open"}]}}"#);
}

#[test]
fn a_server_may_write_ids_and_tokens_as_strings() {
    let (mut bench, session) = Bench::exclusive();
    bench.client(session, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"progressToken":1.0}}}"#);
    bench.server(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"2"}}"#);
    bench.server(r#"{"jsonrpc":"2.0","id":"2","result":{}}"#);
    assert_eq!(
        bench.outs()[1..],
        [
            r#"1 during {"method":"notifications/progress","params":{"progressToken":1.0}}"#,
            r#"1 answer {"id":1,"result":{}}"#,
        ]
    );
}

#[test]
fn a_token_is_the_connections_own_however_it_is_spelled_and_refused_when_it_is_given_twice() {
    let (mut bench, session) = Bench::exclusive();
    let list = |meta: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{meta}}}}}"#);
    bench.client(session, &list(r#"{"progress\u0054oken":7}"#));
    assert_eq!(bench.outs(), [r#"> {"id":2,"method":"tools/list","params":{"_meta":{"progress\u0054oken":2}}}"#]);
    bench.client(session, &list(r#"{"progressToken":7,"progressToken":8}"#));
    bench.client(session, &list(r#"{"progressToken":7},"_meta":{}"#));
    assert!(bench.outs().iter().all(|out| out.starts_with(r#"1 answer {"id":1,"error":{"code":-32602"#)));
}

#[test]
fn a_tool_that_could_be_understood_as_another_is_not_called() {
    let (mut bench, session) = Bench::exclusive();
    for params in [r#""name":"open","name":"secret""#, r#""name":"open","n\u0061me":"secret""#, r#""Name":"secret""#] {
        bench.client(session, &format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{params}}}}}"#));
        assert!(bench.outs()[0].starts_with("1 answer"), "{params}");
    }
}

#[test]
fn what_is_kept_of_a_large_message_does_not_hold_it_in_memory() {
    let (mut bench, session) = Bench::exclusive();
    let long = "x".repeat(10_000);
    let meta = format!(r#"{{"progressToken":"t","x":"{long}"}}"#);
    let request =
        message(&format!(r#"{{"jsonrpc":"2.0","id":"a","method":"tools/list","params":{{"_meta":{meta}}}}}"#));
    let bytes = request.raw().clone();
    bench.mux.from_client(session, request, bench.now);
    bench.outs();
    assert!(bytes.is_unique());
}
