//! What waits, and how that ends.

use super::*;

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

#[test]
fn what_has_been_answered_has_no_deadline() {
    let (mut bench, session) = Bench::exclusive();
    for id in 2..1000 {
        bench.client(session, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
        bench.server(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
    }
    assert_eq!((bench.mux.deadline(), bench.mux.load().calls), (None, 0));
}

#[test]
fn when_the_client_has_answered_the_server_gets_its_time_anew() {
    let (mut bench, session) = Bench::exclusive();
    bench.client(session, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    bench.server(r#"{"jsonrpc":"2.0","id":8,"method":"elicitation/create"}"#);
    bench.now = 59 * SECOND;
    bench.client(session, r#"{"jsonrpc":"2.0","id":3,"result":{}}"#);
    assert_eq!(bench.mux.deadline(), Some(119 * SECOND));
}

#[test]
fn nothing_waits_for_ever_whatever_is_reported_and_asked() {
    let (mut bench, session) = Bench::exclusive();
    bench.client(session, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"progressToken":1}}}"#);
    bench.server(r#"{"jsonrpc":"2.0","id":"q","method":"elicitation/create"}"#);
    bench.outs();
    while let Some(deadline) = bench.mux.deadline() {
        bench.now = deadline;
        bench.server(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":2}}"#);
        bench.mux.expire(bench.now);
    }
    assert_eq!(bench.now, 3600 * SECOND);
    let outs = bench.outs();
    let reason = "the client did not answer in time";
    assert!(outs.iter().any(|out| out.contains("did not answer tools/list within 3600 s")), "{outs:?}");
    assert!(outs.contains(&format!(r#"> {{"id":"q","error":{{"code":-32001,"message":"{reason}"}}}}"#)), "{outs:?}");
    assert_eq!(bench.mux.load(), Load { sessions: 1, ..Load::default() });
}

#[test]
fn initialize_is_never_cancelled() {
    let mut bench = Bench::new(Sharing::Exclusive);
    let session = bench.mux.attach();
    bench.mux.connected(bench.now);
    bench.client(session, r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#);
    bench.client(session, r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    bench.mux.detach(session);
    assert_eq!(bench.outs(), [r#"> {"id":1,"method":"initialize"}"#]);
}

#[test]
fn a_server_cannot_ask_without_end() {
    let (mut bench, session) = Bench::exclusive();
    for id in 0..300 {
        bench.server(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"roots/list"}}"#));
    }
    assert_eq!((bench.mux.load().questions, bench.mux.is_busy(session)), (MAX_QUESTIONS, false));
    assert_eq!(bench.outs().iter().filter(|out| out.contains("-32603")).count(), 300 - MAX_QUESTIONS);
}

#[test]
fn a_question_that_nobody_reads_is_answered_and_other_messages_are_not() {
    let (mut bench, session) = Bench::exclusive();
    bench.client(session, r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"t"}}"#);
    bench.outs();
    bench.server(r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#);
    let Some(Out::ToClient { message, .. }) = bench.mux.poll() else { panic!("the question is delivered") };
    assert!(bench.mux.refuse_unheard(&message));
    let text = "the client cannot be asked: it takes no event stream";
    assert_eq!(bench.outs(), [format!(r#"> {{"id":"q","error":{{"code":-32603,"message":"{text}"}}}}"#)]);
    assert_eq!(bench.mux.load().questions, 0);
    bench.server(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#);
    let Some(Out::ToClient { message, .. }) = bench.mux.poll() else { panic!("the log line is delivered") };
    assert!(!bench.mux.refuse_unheard(&message) && bench.outs().is_empty());
}
