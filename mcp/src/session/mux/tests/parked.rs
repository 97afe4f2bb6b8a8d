//! Calls in which a server of an older revision asks a client of 2026-07-28.

use super::*;
use crate::modern::parked::Key;

const CAPABILITIES: &str = r#"{"elicitation":{"form":{},"url":{}},"roots":{},"sampling":{}}"#;
const MINUTE: Clock = Clock::from_secs(60);

/// A server that has been greeted, and a client's calls of one tool.
struct Table {
    bench: Bench,
    sessions: u64,
}

/// What a client got that is asked something.
struct Told {
    requests: Value,
    state: String,
}

impl Table {
    fn new() -> Self {
        let asking = Asking { capabilities: CAPABILITIES.into(), pod: "p".into(), place: 3, key: Key([7; 32]) };
        let mut bench = Bench::asking(Sharing::Adapted, Some(asking));
        bench.mux.connected(bench.now);
        let hello = bench.outs().remove(0);
        assert!(hello.contains(&format!(r#""capabilities":{CAPABILITIES}"#)), "{hello}");
        bench.server(r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{}}}"#);
        bench.outs();
        Self { bench, sessions: 100 }
    }

    fn send(&mut self, who: &str, method: &str, more: &str) -> SessionKey {
        self.sessions += 1;
        let session = SessionKey(self.sessions);
        self.bench.mux.enter(session, who.into());
        let (id, meta) = (self.sessions, r#""_meta":{"io.modelcontextprotocol/clientCapabilities":{}}"#);
        self.bench.client(
            session,
            &format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{"name":"t",{meta}{more}}}}}"#),
        );
        session
    }

    fn call(&mut self, more: &str) -> SessionKey {
        self.send("me", "tools/call", more)
    }

    fn again(&mut self, told: &Told, answers: &str) -> SessionKey {
        self.call(&format!(r#","inputResponses":{answers},"requestState":"{}""#, told.state))
    }

    fn ask(&mut self, id: &str, method: &str) {
        self.bench
            .server(&format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"{method}","params":{{"message":"m"}}}}"#));
    }

    /// Lets what is asked gather, and reads what the client is told.
    fn told(&mut self) -> Told {
        self.bench.now = self.bench.mux.deadline().unwrap();
        self.bench.mux.expire(self.bench.now);
        self.required()
    }

    fn required(&mut self) -> Told {
        let [out] = &self.bench.outs()[..] else { panic!("one answer") };
        let (_, json) = out.split_once(" answer ").unwrap();
        let mut json: Value = serde_json::from_str(json).unwrap();
        assert_eq!(json["result"]["resultType"], "input_required", "{json}");
        let state = json["result"]["requestState"].as_str().unwrap().to_owned();
        assert!(state.starts_with("mgw1.p.3."));
        Told { requests: json["result"]["inputRequests"].take(), state }
    }

    fn refused(&mut self, code: i32) {
        let outs = self.bench.outs();
        assert!(outs.len() == 1 && outs[0].contains(&format!(r#""error":{{"code":{code}"#)), "{outs:?}");
    }
}

#[test]
fn a_question_ends_the_request_and_its_answer_goes_on_with_the_call() {
    let mut table = Table::new();
    table.call("");
    assert_eq!(table.bench.outs(), [r#"> {"id":2,"method":"tools/call","params":{"name":"t","_meta":{}}}"#]);
    table.ask("q", "elicitation/create");
    table.ask("r", "roots/list");
    assert!(table.bench.outs().is_empty(), "more may be asked at once");
    let told = table.told();
    assert_eq!(told.requests["3"]["method"], "elicitation/create");
    assert_eq!(told.requests["4"], serde_json::json!({"method": "roots/list", "params": {"message": "m"}}));
    assert!(table.bench.mux.is_lent());
    table.again(&told, r#"{"3":{"action":"accept"},"4":{"roots":[]},"9":{}}"#);
    let answers = [r#"> {"id":"q","result":{"action":"accept"}}"#, r#"> {"id":"r","result":{"roots":[]}}"#];
    assert_eq!(table.bench.outs(), answers);
    table.bench.server(r#"{"jsonrpc":"2.0","id":2,"result":{"content":[]}}"#);
    assert_eq!(table.bench.outs(), [r#"102 answer {"id":102,"result":{"resultType":"complete","content":[]}}"#]);
    assert!(!table.bench.mux.is_lent());
}

#[test]
fn what_is_not_answered_is_asked_again_by_a_new_name() {
    let mut table = Table::new();
    table.call("");
    table.ask("q", "elicitation/create");
    table.ask("r", "sampling/createMessage");
    table.bench.outs();
    let first = table.told();
    table.again(&first, r#"{"4":{"role":"assistant"}}"#);
    assert_eq!(table.bench.outs().remove(0), r#"> {"id":"r","result":{"role":"assistant"}}"#);
    let mut table = Table::new();
    table.call("");
    table.ask("q", "elicitation/create");
    table.bench.outs();
    let first = table.told();
    table.again(&first, "{}");
    let second = table.required();
    assert!(second.requests == first.requests && second.state != first.state);
    table.again(&first, r#"{"3":{"action":"accept"}}"#);
    table.refused(-32602);
    table.again(&second, r#"{"3":{"action":"accept"}}"#);
    assert_eq!(table.bench.outs().len(), 1);
}

#[test]
fn a_state_is_good_for_its_client_its_call_and_once() {
    let mut table = Table::new();
    table.call("");
    table.ask("q", "elicitation/create");
    table.bench.outs();
    let told = table.told();
    let more = format!(r#","inputResponses":{{"3":{{}}}},"requestState":"{}""#, told.state);
    table.send("somebody else", "tools/call", &more);
    table.refused(-32602);
    table.send("me", "prompts/get", &more);
    table.refused(-32602);
    table.call(&format!(r#"{more},"arguments":{{}}"#));
    table.refused(-32602);
    table.call(&more.replace(&told.state, "mgw1.p.3.0123456789abcdef0123456789abcdef"));
    table.refused(-32602);
    table.call(&more.replace(r#"{"3":{}}"#, r#"{"3":7}"#));
    table.refused(-32602);
    table.again(&told, r#"{"3":{"action":"decline"}}"#);
    assert_eq!(table.bench.outs(), [r#"> {"id":"q","result":{"action":"decline"}}"#]);
    table.again(&told, r#"{"3":{"action":"accept"}}"#);
    table.refused(-32602);
}

#[test]
fn a_call_that_nobody_comes_back_for_is_given_up() {
    let mut table = Table::new();
    table.call("");
    table.ask("q", "elicitation/create");
    table.ask("r", "roots/list");
    table.bench.outs();
    let told = table.told();
    let asked_at = table.bench.now;
    while let Some(deadline) = table.bench.mux.deadline() {
        table.bench.now = deadline;
        table.bench.mux.expire(deadline);
    }
    assert_eq!(table.bench.now.checked_sub(asked_at), Some(10 * MINUTE));
    assert_eq!(
        table.bench.outs(),
        [
            r#"> {"id":"q","result":{"action":"cancel"}}"#,
            r#"> {"id":"r","error":{"code":-32001,"message":"the client did not answer in time"}}"#,
            r#"> {"method":"notifications/cancelled","params":{"requestId":2,"reason":"the client did not come back in time"}}"#,
        ]
    );
    assert!(!table.bench.mux.is_lent());
    table.again(&told, r#"{"3":{"action":"accept"}}"#);
    table.refused(-32602);
}

#[test]
fn an_answer_that_comes_while_nobody_waits_is_kept_for_whom_it_is() {
    let loss = Loss { message: "killed".to_owned(), data: None };
    for killed in [false, true] {
        let mut table = Table::new();
        table.call("");
        table.ask("q", "elicitation/create");
        table.bench.outs();
        let told = table.told();
        if killed {
            table.bench.mux.disconnected(&loss);
        } else {
            table.bench.server(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#);
        }
        let outs = table.bench.outs();
        assert_eq!(outs.len(), usize::from(!killed), "what was asked is answered where somebody listens: {outs:?}");
        assert!(!table.bench.mux.is_lent());
        if killed {
            table.bench.mux.connected(table.bench.now);
            let id = table.bench.mux.next_id;
            table.bench.server(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"capabilities":{{}}}}}}"#));
            table.bench.outs();
        }
        table.again(&told, r#"{"3":{"action":"accept"}}"#);
        let expected = if killed {
            r#"102 answer {"id":102,"error":{"code":-32603,"message":"killed"}}"#
        } else {
            r#"102 answer {"id":102,"result":{"resultType":"complete"}}"#
        };
        assert_eq!(table.bench.outs(), [expected]);
        table.again(&told, "{}");
        table.refused(-32602);
    }
}

#[test]
fn a_question_is_refused_outside_of_a_call_and_when_its_client_cannot_be_asked_it() {
    let mut table = Table::new();
    table.ask("q", "roots/list");
    table.bench.outs();
    table.send("me", "tools/list", "");
    table.ask("r", "roots/list");
    let outs = table.bench.outs();
    assert!(outs[1].starts_with(r#"> {"id":"r","error":{"code":-32601"#), "{outs:?}");
    table.call("");
    table.ask("s", "tasks/list");
    assert!(table.bench.outs()[1].starts_with(r#"> {"id":"s","error":{"code":-32601"#));
}

#[test]
fn a_client_that_goes_before_it_is_told_has_cancelled() {
    let mut table = Table::new();
    let session = table.call("");
    table.ask("q", "roots/list");
    table.bench.outs();
    table.bench.mux.detach(session);
    assert!(table.bench.outs()[0].contains("notifications/cancelled"));
    assert!(!table.bench.mux.is_lent());
    table.bench.mux.expire(MINUTE);
    let outs = table.bench.outs();
    assert!(outs.len() == 1 && outs[0].starts_with(r#"> {"id":"q","error""#), "nobody else will answer it: {outs:?}");
}

#[test]
fn what_is_asked_as_the_call_ends_is_answered_from_here() {
    for park in [false, true] {
        let mut table = Table::new();
        table.call("");
        table.ask("q", "elicitation/create");
        table.bench.outs();
        if park {
            table.told();
        }
        table.bench.server(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#);
        table.bench.mux.expire(MINUTE);
        let outs = table.bench.outs();
        assert_eq!(outs.last().unwrap(), r#"> {"id":"q","result":{"action":"cancel"}}"#, "{outs:?}");
    }
}

#[test]
fn a_question_that_is_taken_back_is_not_asked() {
    let mut table = Table::new();
    table.call("");
    table.ask("q", "roots/list");
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q"}}"#;
    table.bench.server(cancel);
    table.bench.outs();
    table.bench.mux.expire(Clock::from_secs(1));
    assert!(table.bench.outs().is_empty());
    table.ask("r", "roots/list");
    table.bench.now = Clock::from_secs(1);
    let told = table.told();
    table.bench.server(&cancel.replace("\"q\"", "\"r\""));
    table.again(&told, "{}");
    table.bench.server(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#);
    assert!(table.bench.outs()[0].starts_with("102 answer"));
}

#[test]
fn a_call_that_needs_a_url_visited_first_is_made_again_once_the_client_has_agreed() {
    let refusal = r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32042,"message":"x","data":{"elicitations":[{"mode":"url","elicitationId":"e","url":"https://a","message":"m"}]}}}"#;
    let mut table = Table::new();
    table.call("");
    table.bench.outs();
    table.bench.server(refusal);
    let told = table.required();
    assert_eq!(told.requests["3"]["params"], serde_json::json!({"mode": "url", "url": "https://a", "message": "m"}));
    assert!(table.bench.mux.is_lent());
    table.again(&told, r#"{"3":{"action":"accept"}}"#);
    assert_eq!(table.bench.outs(), [r#"> {"id":4,"method":"tools/call","params":{"name":"t","_meta":{}}}"#]);

    let mut table = Table::new();
    table.call("");
    table.bench.outs();
    table.bench.server(refusal);
    let told = table.required();
    table.again(&told, r#"{"3":{"action":"decline"}}"#);
    table.refused(-32603);
    assert!(!table.bench.mux.is_lent());
}

#[test]
fn a_client_that_visits_no_urls_is_told_what_it_would_have_to_declare() {
    let mut bench = Bench::new(Sharing::Adapted);
    bench.mux.connected(bench.now);
    bench.server(r#"{"jsonrpc":"2.0","id":1,"result":{"capabilities":{}}}"#);
    bench.mux.enter(SessionKey(9), "me".into());
    bench.client(SessionKey(9), r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#);
    bench.outs();
    bench.server(r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32042,"message":"x","data":{"elicitations":[{}]}}}"#);
    let answer = bench.outs().remove(0);
    assert!(
        answer.contains(r#""code":-32021"#)
            && answer.contains(r#"{"requiredCapabilities":{"elicitation":{"url":{}}}}"#)
    );
}
