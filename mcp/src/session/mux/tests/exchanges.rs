//! A connection to a server of 2026-07-28.

use super::*;

const LISTEN: &str = r#"{"jsonrpc":"2.0","id":"l","method":"subscriptions/listen","params":{"notifications":{}}}"#;

/// A connection that is up.
fn bench() -> Bench {
    let mut bench = Bench::new(Sharing::Exchanges);
    bench.mux.connected(bench.now);
    bench
}

fn enter(bench: &mut Bench, session: u64, text: &str) -> SessionKey {
    enter_as(bench, "me", session, text)
}

fn enter_as(bench: &mut Bench, owner: &str, session: u64, text: &str) -> SessionKey {
    let key = SessionKey(session);
    bench.mux.enter(key, owner.into());
    bench.client(key, text);
    key
}

fn call(meta: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t","_meta":{{{meta}}}}}}}"#)
}

#[test]
fn there_is_no_handshake_and_equal_ids_of_two_requests_never_meet() {
    let mut bench = bench();
    assert!(bench.outs().is_empty() && !bench.mux.wants_server());
    enter(&mut bench, 7, &call(r#""progressToken":"p""#));
    enter(&mut bench, 8, &call(r#""progressToken":"p""#));
    assert_eq!(
        bench.outs(),
        [
            r#"> {"id":1,"method":"tools/call","params":{"name":"t","_meta":{"progressToken":1}}}"#,
            r#"> {"id":2,"method":"tools/call","params":{"name":"t","_meta":{"progressToken":2}}}"#,
        ]
    );
    bench.server(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":2,"progress":1}}"#);
    bench.server(r#"{"jsonrpc":"2.0","id":2,"result":{"resultType":"x-unknown","_meta":{"a":1.0}}}"#);
    assert_eq!(
        bench.outs(),
        [
            r#"8 during {"method":"notifications/progress","params":{"progressToken":"p","progress":1}}"#,
            r#"8 answer {"id":1,"result":{"resultType":"x-unknown","_meta":{"a":1.0}}}"#,
        ]
    );
}

#[test]
fn a_request_whose_client_has_gone_is_cancelled_and_its_late_answer_dropped() {
    let mut bench = bench();
    let key = enter(&mut bench, 7, &call(""));
    bench.outs();
    bench.mux.detach(key);
    assert!(bench.outs()[0].starts_with(r#"> {"method":"notifications/cancelled","params":{"requestId":1,"#));
    bench.server(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    assert!(bench.outs().is_empty());
}

#[test]
fn what_comes_on_a_stream_goes_to_its_client_under_the_id_the_client_gave_it() {
    let mut bench = bench();
    enter(&mut bench, 7, LISTEN);
    enter(&mut bench, 8, LISTEN);
    bench.outs();
    let changed = |id: &str| {
        let meta = format!(r#"{{"io.modelcontextprotocol/subscriptionId":{id}}}"#);
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{{"_meta":{meta}}}}}"#)
    };
    bench.server(&changed("2"));
    bench.server(&changed("3"));
    bench.server(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    let expected = r#"8 during {"method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"l"}}}"#;
    assert_eq!(bench.outs(), [expected]);
    bench.server(r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{"io.modelcontextprotocol/subscriptionId":1}}}"#);
    let expected = r#"7 answer {"id":"l","result":{"_meta":{"io.modelcontextprotocol/subscriptionId":"l"}}}"#;
    assert_eq!(bench.outs(), [expected]);
}

#[test]
fn a_stream_that_the_server_cancels_or_this_program_ends_ends_with_a_result() {
    let mut bench = bench();
    enter(&mut bench, 7, LISTEN);
    let key = enter(&mut bench, 8, LISTEN);
    let busy = enter(&mut bench, 9, &call(""));
    bench.outs();
    bench.server(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    // No other request is the server's to cancel.
    bench.server(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}"#);
    let end = r#"answer {"id":"l","result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":"l"}}}"#;
    assert_eq!(bench.outs(), [format!("7 {end}")]);
    assert!(!bench.mux.is_busy(key) && bench.mux.is_busy(busy));
    bench.mux.stop_listening(key);
    let outs = bench.outs();
    assert!(outs[0].contains("notifications/cancelled") && outs[1] == format!("8 {end}"), "{outs:?}");
}

#[test]
fn a_stream_has_no_deadline_and_a_call_has() {
    let mut bench = bench();
    enter(&mut bench, 7, LISTEN);
    enter(&mut bench, 8, &call(""));
    bench.outs();
    bench.mux.expire(3600 * SECOND);
    let outs = bench.outs();
    assert!(outs.len() == 2 && outs[1].starts_with(r#"8 answer {"id":1,"error":{"code":-32001"#), "{outs:?}");
}

#[test]
fn a_log_line_goes_to_the_one_request_that_asked_for_any_and_else_to_nobody() {
    let mut bench = bench();
    let line = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1.0}}"#;
    enter(&mut bench, 7, &call(""));
    bench.outs();
    bench.server(line);
    assert!(bench.outs().is_empty());
    let logs = call(r#""io.modelcontextprotocol/logLevel":"info""#);
    enter(&mut bench, 8, &logs);
    bench.outs();
    bench.server(line);
    assert_eq!(bench.outs(), [r#"8 during {"method":"notifications/message","params":{"level":"info","data":1.0}}"#]);
    enter(&mut bench, 9, &logs);
    bench.outs();
    bench.server(line);
    assert!(bench.outs().is_empty());
}

#[test]
fn a_server_may_not_ask_and_one_that_ends_fails_what_it_had() {
    let mut bench = bench();
    enter(&mut bench, 7, LISTEN);
    enter(&mut bench, 8, &call(""));
    bench.outs();
    bench.server(r#"{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{}}"#);
    assert!(bench.outs()[0].starts_with(r#"> {"id":"q","error":{"code":-32601"#));
    bench.mux.disconnected(&Loss { message: "gone".to_owned(), data: None });
    let outs = bench.outs();
    assert!(outs[0].starts_with("7 answer") && outs[1].starts_with("8 answer") && outs[1].contains("gone"));
    enter(&mut bench, 9, &call(""));
    assert!(bench.outs().is_empty() && bench.mux.wants_server());
    bench.mux.connected(bench.now);
    assert_eq!(bench.outs().len(), 1);
}

#[test]
fn a_task_is_its_owners_alone_and_ends_with_its_server() {
    let mut bench = bench();
    let capabilities =
        r#""io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
    enter_as(&mut bench, "ann", 1, &call(capabilities));
    bench.server(r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"task","taskId":"7","status":"working"}}"#);
    bench.outs();
    let request = |method: &str, params: &str, meta: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":9,"method":"{method}","params":{{{params},"_meta":{{{meta}}}}}}}"#)
    };
    let get = request("tasks/get", r#""taskId":"7""#, capabilities);
    let listen = request("subscriptions/listen", r#""notifications":{"taskIds":["7"]}"#, capabilities);
    for (at, text) in [(10, &get), (20, &listen)] {
        enter_as(&mut bench, "bob", at, text);
        let outs = bench.outs();
        assert!(outs.len() == 1 && outs[0].contains(r#"answer {"id":9,"error":{"code":-32602"#), "{outs:?}");
        enter_as(&mut bench, "ann", at + 1, text);
        assert!(bench.outs()[0].starts_with("> "));
    }
    bench.mux.disconnected(&Loss { message: "gone".to_owned(), data: None });
    bench.mux.connected(bench.now);
    bench.outs();
    enter_as(&mut bench, "ann", 30, &get);
    assert!(bench.outs()[0].contains("-32602"));
    enter_as(&mut bench, "ann", 31, &request("tasks/get", r#""taskId":"7""#, ""));
    let refused = &bench.outs()[0];
    let data = r#""data":{"requiredCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}"#;
    assert!(refused.contains("-32021") && refused.contains(data), "{refused}");
}
