//! A server that many sessions share.

use super::*;

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
fn nobody_is_asked_through_a_shared_connection() {
    let (mut bench, ..) = Bench::common();
    bench.server(r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#);
    assert!(bench.outs()[0].starts_with(r#"> {"id":1,"error":{"code":-32601"#));
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
fn what_a_shared_server_says_of_a_call_that_was_given_up_reaches_nobody_else() {
    let (mut bench, a, b) = Bench::common();
    bench.client(a, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#);
    bench.mux.detach(a);
    bench.client(b, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#);
    bench.outs();
    bench.server(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"of a"}}"#);
    bench.server(r#"{"jsonrpc":"2.0","method":"notifications/of/its/own","params":{"data":"of a"}}"#);
    assert!(bench.outs().is_empty());
    assert_eq!(bench.mux.dropped(), 2);
}

#[test]
fn changes_of_a_shared_server_are_told_to_those_who_have_shaken_hands() {
    let (mut bench, _, b) = Bench::common();
    bench.client(b, r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#);
    bench.outs();
    bench.server(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    assert_eq!(bench.outs(), [r#"2 none {"method":"notifications/tools/list_changed"}"#]);
}

#[test]
fn a_task_of_a_shared_server_is_its_owners_alone() {
    let (mut bench, a, b) = Bench::common();
    let task = r#""name":"t","task":{},"_meta":{"progressToken":"p"}"#;
    bench.client(a, &format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{task}}}}}"#));
    bench.server(r#"{"jsonrpc":"2.0","id":2,"result":{"task":{"taskId":"T"}}}"#);
    bench.outs();
    let get = r#"{"jsonrpc":"2.0","id":2,"method":"tasks/result","params":{"taskId":"T"}}"#;
    bench.client(b, get);
    assert!(bench.outs()[0].starts_with(r#"2 answer {"id":2,"error":{"code":-32602"#));
    bench.client(a, get);
    assert_eq!(bench.outs(), [r#"> {"id":3,"method":"tasks/result","params":{"taskId":"T"}}"#]);
    bench.client(b, r#"{"jsonrpc":"2.0","id":3,"method":"tasks/list"}"#);
    bench.server(r#"{"jsonrpc":"2.0","id":4,"result":{"tasks":[{"taskId":"T"}],"x":1.0}}"#);
    assert_eq!(bench.outs()[1], r#"2 answer {"id":3,"result":{"tasks":[],"x":1.0}}"#);
    bench.server(r#"{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"T"}}"#);
    bench.server(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":2}}"#);
    assert_eq!(
        bench.outs(),
        [
            r#"1 none {"method":"notifications/tasks/status","params":{"taskId":"T"}}"#,
            r#"1 none {"method":"notifications/progress","params":{"progressToken":"p"}}"#,
        ]
    );
}

#[test]
fn an_update_reaches_the_subscribers_of_the_resource_and_of_what_it_is_a_part_of() {
    let (mut bench, a, _) = Bench::common();
    let subscribe = r#"{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"f:///x"}}"#;
    bench.client(a, subscribe);
    bench.outs();
    for (uri, heard) in [("f:///x", 1), ("f:///x/y", 1), ("f:///x#y", 1), ("f:///xy", 0), ("f:///x.y", 0), ("f:///", 0)]
    {
        bench.server(&format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"uri":"{uri}"}}}}"#
        ));
        assert_eq!(bench.outs().len(), heard, "{uri}");
    }
}

#[test]
fn what_a_session_is_subscribed_to_has_a_bound() {
    let (mut bench, a, _) = Bench::common();
    let long = "x".repeat(100_000);
    let answers: Vec<_> = (0..3)
        .map(|n| {
            let uri = format!("f:///{n}{long}");
            let params = format!(r#"{{"uri":"{uri}"}}"#);
            bench.client(
                a,
                &format!(r#"{{"jsonrpc":"2.0","id":{n},"method":"resources/subscribe","params":{params}}}"#),
            );
            bench.outs().concat().contains("subscribed to too much")
        })
        .collect();
    assert_eq!(answers, [false, false, true]);
}
