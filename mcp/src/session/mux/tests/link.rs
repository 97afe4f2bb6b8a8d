//! The connection coming and going.

use super::*;

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
fn what_is_cancelled_while_it_waits_makes_room() {
    let mut bench = Bench::new(Sharing::Exclusive);
    let session = bench.mux.attach();
    bench.client(session, r#"{"jsonrpc":"2.0","id":"i","method":"initialize"}"#);
    let before = bench.mux.queued_bytes;
    bench.client(session, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    bench.client(session, r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    assert_eq!((bench.outs(), bench.mux.queued_bytes), (vec!["1 abandoned ".to_owned()], before));
    bench.client(session, r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"i"}}"#);
    assert!(bench.outs().is_empty() && bench.mux.load().queued == 1, "`initialize` is never cancelled");
}

#[test]
fn only_requests_and_what_follows_them_wait_for_a_server() {
    let mut bench = Bench::new(Sharing::Exclusive);
    let session = bench.mux.attach();
    bench.client(session, r#"{"jsonrpc":"2.0","id":3,"result":{}}"#);
    bench.client(session, r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    assert_eq!((bench.mux.wants_server(), bench.mux.is_busy(session), bench.mux.dropped()), (false, false, 2));
}

#[test]
fn a_server_is_told_once_that_the_handshake_is_over() {
    let (mut bench, session) = Bench::exclusive();
    bench.mux.disconnected(&Loss { message: String::new(), data: None });
    bench.client(session, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    bench.mux.connected(bench.now);
    bench.server(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#);
    assert_eq!(bench.outs()[1..], [r#"> {"method":"notifications/initialized"}"#]);
}

#[test]
fn a_handshake_that_is_refused_does_not_replace_the_one_that_was_accepted() {
    let (mut bench, session) = Bench::exclusive();
    bench.client(session, r#"{"jsonrpc":"2.0","id":"j","method":"initialize","params":{"capabilities":{"x":{}}}}"#);
    bench.server(r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32600,"message":"again?"}}"#);
    bench.mux.disconnected(&Loss { message: String::new(), data: None });
    bench.outs();
    bench.mux.connected(bench.now);
    assert_eq!(bench.outs(), [r#"> {"id":3,"method":"initialize","params":{"capabilities":{}}}"#]);
}

#[test]
fn what_several_sessions_set_is_put_back_once() {
    let (mut bench, a, b) = Bench::common();
    let subscribe =
        |uri: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{{"uri":"{uri}"}}}}"#);
    for (session, uri) in [(a, "f:///x"), (a, "f:///y"), (b, "f:\\/\\/\\/x")] {
        bench.client(session, &subscribe(uri));
    }
    bench.mux.disconnected(&Loss { message: String::new(), data: None });
    bench.mux.connected(bench.now);
    bench.outs();
    bench.server(r#"{"jsonrpc":"2.0","id":5,"result":{}}"#);
    assert_eq!(
        bench.outs()[1..],
        [
            r#"> {"id":6,"method":"resources/subscribe","params":{"uri":"f:///x"}}"#,
            r#"> {"id":7,"method":"resources/subscribe","params":{"uri":"f:///y"}}"#,
        ]
    );
}

#[test]
fn what_waits_for_a_server_that_never_comes_up_is_answered_at_last() {
    let mut bench = Bench::new(Sharing::Exclusive);
    let session = bench.mux.attach();
    bench.client(session, r#"{"jsonrpc":"2.0","id":"i","method":"initialize","params":{}}"#);
    bench.now = 10 * SECOND;
    bench.client(session, r#"{"jsonrpc":"2.0","id":"l","method":"tools/list"}"#);
    assert_eq!(bench.mux.deadline(), Some(90 * SECOND));
    bench.mux.expire(90 * SECOND);
    let text = "server `s` has not come up within 90 s; see its log";
    assert_eq!(bench.outs(), [format!(r#"1 answer {{"id":"i","error":{{"code":-32001,"message":"{text}"}}}}"#)]);
    bench.mux.expire(100 * SECOND);
    assert_eq!(bench.outs().len(), 1);
    assert_eq!((bench.mux.deadline(), bench.mux.load().queued), (None, 0));
}

#[test]
fn the_longest_times_are_no_reason_to_fail() {
    let mut bench = Bench::new(Sharing::Exclusive);
    let config = &mut bench.mux.config;
    (config.request_timeout, config.startup_timeout, config.connect_timeout) = (Clock::MAX, Clock::MAX, Clock::MAX);
    bench.now = SECOND;
    let session = bench.mux.attach();
    bench.client(session, r#"{"jsonrpc":"2.0","id":"i","method":"initialize","params":{}}"#);
    bench.mux.connected(bench.now);
    bench.server(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    bench.client(session, r#"{"jsonrpc":"2.0","id":"a","method":"x","params":{"_meta":{"progressToken":1}}}"#);
    bench.server(r#"{"jsonrpc":"2.0","id":7,"method":"roots/list"}"#);
    bench.server(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":2,"progress":1}}"#);
    bench.mux.expire(2 * SECOND);
    assert_eq!(bench.mux.load().calls, 1);
}
