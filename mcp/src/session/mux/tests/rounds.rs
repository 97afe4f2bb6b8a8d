//! What a server of 2026-07-28 asks clients of older revisions by its results.

use super::unrolled::{asked, greet_with, greeted};
use super::*;

const ALL: &str = r#"{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{}}"#;
const ELICIT: &str = r#""e":{"method":"elicitation/create","params":{"message":"m"}}"#;
const SAMPLE: &str = r#""s":{"method":"sampling/createMessage","params":{"messages":[]}}"#;

/// A session whose call `c` is under way as the server's request 2.
fn calling() -> (Bench, SessionKey) {
    let (mut bench, session) = greeted(ALL);
    bench.client(session, r#"{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"t"}}"#);
    bench.outs();
    (bench, session)
}

fn asks(bench: &mut Bench, id: u64, requests: &str) -> Vec<String> {
    let result =
        format!(r#"{{"resultType":"input_required","inputRequests":{{{requests}}},"requestState":"s\u00e9"}}"#);
    bench.server(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#));
    bench.outs()
}

#[test]
fn a_question_goes_to_the_client_beside_its_call_and_the_call_is_made_again_with_the_answers() {
    let (mut bench, session) = calling();
    assert_eq!(
        asks(&mut bench, 2, &format!("{ELICIT},{SAMPLE}")),
        [
            r#"1 during {"id":3,"method":"elicitation/create","params":{"message":"m"}}"#,
            r#"1 during {"id":4,"method":"sampling/createMessage","params":{"messages":[]}}"#,
        ]
    );
    assert!(bench.mux.is_busy(session) && bench.mux.load().questions == 2);
    bench.client(session, r#"{"jsonrpc":"2.0","id":4,"result":{"model":1.0}}"#);
    assert!(bench.outs().is_empty());
    bench.client(session, r#"{"jsonrpc":"2.0","id":4,"result":"twice"}"#);
    bench.client(session, r#"{"jsonrpc":"2.0","id":3,"result":{"action":"accept"}}"#);
    let outs = bench.outs();
    let rest = r#","inputResponses":{"e":{"action":"accept"},"s":{"model":1.0}},"requestState":"s\u00e9","name":"t"}}"#;
    assert!(outs.len() == 1 && outs[0].starts_with(r#"> {"id":5,"method":"tools/call""#), "{outs:?}");
    assert!(outs[0].ends_with(rest), "{outs:?}");
    bench.server(r#"{"jsonrpc":"2.0","id":5,"result":{"resultType":"complete","content":[]}}"#);
    assert_eq!(bench.outs(), [r#"1 answer {"id":"c","result":{"content":[]}}"#]);
    assert_eq!(bench.mux.load().calls, 0);
}

#[test]
fn progress_reaches_the_client_in_every_round() {
    let (mut bench, session) = greeted(ALL);
    let call = r#"{"jsonrpc":"2.0","id":"c","method":"prompts/get","params":{"_meta":{"progressToken":"p"}}}"#;
    bench.client(session, call);
    bench.outs();
    asks(&mut bench, 2, ELICIT);
    bench.client(session, r#"{"jsonrpc":"2.0","id":3,"result":{}}"#);
    assert!(bench.outs()[0].contains(r#""progressToken":4"#));
    bench.server(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":4}}"#);
    assert_eq!(bench.outs(), [r#"1 during {"method":"notifications/progress","params":{"progressToken":"p"}}"#]);
}

#[test]
fn a_result_with_a_state_alone_is_answered_at_once() {
    let (mut bench, _) = calling();
    bench.server(r#"{"jsonrpc":"2.0","id":2,"result":{"resultType":"input_required","requestState":"s"}}"#);
    let outs = bench.outs();
    assert!(outs.len() == 1 && outs[0].starts_with(r#"> {"id":3,"#) && outs[0].contains(r#""requestState":"s""#));
    assert!(!outs[0].contains("inputResponses"));
}

#[test]
fn a_server_that_asks_again_and_again_is_not_asked_for_ever() {
    let (mut bench, _) = calling();
    let mut id = 2;
    let outs = loop {
        bench.server(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"input_required","requestState":"s"}}}}"#
        ));
        let outs = bench.outs();
        if outs[0].starts_with("1 answer") {
            break outs;
        }
        id = asked(&outs);
    };
    assert_eq!(id, 2 + 32);
    assert!(outs[0].contains(r#""id":"c","error":{"code":-32603"#), "{outs:?}");
}

#[test]
fn no_answer_to_an_elicitation_is_one_and_an_error_to_anything_else_ends_the_call() {
    let (mut bench, session) = calling();
    asks(&mut bench, 2, ELICIT);
    bench.client(session, r#"{"jsonrpc":"2.0","id":3,"error":{"code":-1,"message":"no"}}"#);
    let outs = bench.outs();
    assert!(outs[0].contains(r#""inputResponses":{"e":{"action":"cancel"}}"#), "{outs:?}");
    asks(&mut bench, 4, &format!("{ELICIT},{SAMPLE}"));
    bench.client(session, r#"{"jsonrpc":"2.0","id":6,"error":{"code":-1,"message":"no"}}"#);
    assert_eq!(
        bench.outs(),
        [
            r#"1 during {"method":"notifications/cancelled","params":{"requestId":5,"reason":"another question was not answered"}}"#,
            r#"1 answer {"id":"c","error":{"code":-1,"message":"no"}}"#,
        ]
    );
    assert_eq!((bench.mux.load().calls, bench.mux.load().questions), (0, 0));
}

#[test]
fn what_a_client_has_not_declared_it_is_not_asked() {
    let (mut bench, session) = greeted(r#"{"elicitation":{}}"#);
    for (method, requests) in
        [("prompts/get", SAMPLE), ("tools/list", ELICIT), ("resources/read", r#""x":{"method":"ping"}"#)]
    {
        bench.client(session, &format!(r#"{{"jsonrpc":"2.0","id":"c","method":"{method}"}}"#));
        let id = asked(&bench.outs());
        let outs = asks(&mut bench, id, requests);
        assert!(outs.len() == 1 && outs[0].starts_with(r#"1 answer {"id":"c","error":{"code":-32603"#), "{outs:?}");
    }
}

#[test]
fn an_answer_of_another_session_counts_for_nothing() {
    let (mut bench, session) = calling();
    let other = bench.mux.attach();
    greet_with(&mut bench, other, (ALL, "{}"));
    bench.outs();
    let outs = asks(&mut bench, 2, ELICIT);
    let id: u64 = outs[0].split(r#""id":"#).nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    bench.client(other, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"accept"}}}}"#));
    assert!(bench.outs().is_empty());
    bench.client(session, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"decline"}}}}"#));
    assert!(bench.outs()[0].contains("decline"));
}

#[test]
fn a_call_that_is_cancelled_between_two_requests_is_no_business_of_the_servers() {
    let (mut bench, session) = calling();
    asks(&mut bench, 2, ELICIT);
    bench.client(session, r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"c"}}"#);
    assert_eq!(
        bench.outs(),
        [
            r#"1 during {"method":"notifications/cancelled","params":{"requestId":3,"reason":"the request was cancelled"}}"#,
            "1 abandoned ",
        ]
    );
    bench.client(session, r#"{"jsonrpc":"2.0","id":3,"result":{}}"#);
    assert!(bench.outs().is_empty());
}

#[test]
fn a_session_that_ends_leaves_nothing_behind() {
    let (mut bench, session) = calling();
    asks(&mut bench, 2, ELICIT);
    bench.mux.detach(session);
    assert!(bench.outs().is_empty());
    let load = bench.mux.load();
    assert_eq!((load.calls, load.questions), (0, 0));
}

#[test]
fn a_client_may_take_its_time_but_not_for_ever() {
    let (mut bench, _) = calling();
    asks(&mut bench, 2, SAMPLE);
    bench.now += 30 * 60 * SECOND;
    bench.mux.expire(bench.now);
    assert!(bench.outs().is_empty());
    bench.now += 31 * 60 * SECOND;
    bench.mux.expire(bench.now);
    let outs = bench.outs();
    assert!(outs[0].contains("notifications/cancelled") && outs[1].contains(r#""id":"c","error":{"code":-32001"#));
    assert_eq!((outs.len(), bench.mux.deadline()), (2, None));
}

#[test]
fn a_client_that_has_no_ears_for_a_question_has_not_answered_it() {
    let (mut bench, _) = calling();
    let question = |outs: &[String]| message(&outs[0].replacen("1 during {", r#"{"jsonrpc":"2.0","#, 1)).into();
    let outs = asks(&mut bench, 2, ELICIT);
    assert!(bench.mux.refuse_unheard(&question(&outs)));
    bench.outs();
    bench.mux.expire(bench.now);
    assert!(bench.outs()[0].contains(r#""inputResponses":{"e":{"action":"cancel"}}"#));
    let outs = asks(&mut bench, 4, SAMPLE);
    assert!(bench.mux.refuse_unheard(&question(&outs)));
    assert!(bench.outs()[1].contains("takes no event stream"));
}

#[test]
fn the_successor_of_a_server_that_ended_is_given_the_answers() {
    let (mut bench, session) = calling();
    asks(&mut bench, 2, ELICIT);
    bench.mux.disconnected(&Loss { message: "gone".to_owned(), data: None });
    assert!(bench.outs().is_empty());
    bench.client(session, r#"{"jsonrpc":"2.0","id":3,"result":{"action":"accept"}}"#);
    assert!(bench.outs().is_empty());
    bench.mux.connected(bench.now);
    assert!(bench.outs()[0].contains(r#""inputResponses":{"e":{"action":"accept"}},"requestState":"s\u00e9""#));
}

#[test]
fn when_no_successor_comes_the_call_fails_once_it_is_answered() {
    let (mut bench, session) = calling();
    asks(&mut bench, 2, ELICIT);
    let loss = Loss { message: "gone".to_owned(), data: None };
    bench.mux.disconnected(&loss);
    bench.client(session, r#"{"jsonrpc":"2.0","id":3,"result":{"action":"accept"}}"#);
    bench.mux.unavailable(&loss);
    assert_eq!(bench.outs(), [r#"1 answer {"id":"c","error":{"code":-32603,"message":"gone"}}"#]);
}

#[test]
fn large_requests_are_kept_only_as_long_as_there_is_room() {
    let (mut bench, session) = greeted(ALL);
    let long = "x".repeat(17 << 20);
    for id in ["a", "b"] {
        let request = message_of(id, &long);
        bench.mux.from_client(session, request, bench.now);
    }
    drop(bench.outs());
    assert!(asks(&mut bench, 3, ELICIT)[0].contains("cannot be made again"));
    assert!(asks(&mut bench, 2, ELICIT)[0].contains("elicitation/create"));
}

fn message_of(id: &str, long: &str) -> Message {
    let text = format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"tools/call","params":{{"name":"{long}"}}}}"#);
    match envelope::parse(Bytes::from(text), usize::MAX).unwrap() {
        Incoming::Single(message) => message,
        Incoming::Batch(_) => panic!("a batch"),
    }
}
