//! Clients of 2026-07-28 before a server of an older revision.

use super::*;

const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;

/// A connection that is up.
fn bench() -> Bench {
    let mut bench = Bench::new(Sharing::Adapted);
    bench.mux.connected(bench.now);
    let capabilities = r#"{"tools":{"listChanged":true},"resources":{"subscribe":true},"logging":{},"tasks":{}}"#;
    bench.server(&format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"protocolVersion":"2025-11-25","capabilities":{capabilities}}}}}"#
    ));
    assert!(bench.outs()[1].contains("notifications/initialized"));
    bench
}

fn enter(bench: &mut Bench, session: u64, method: &str, params: &str, meta: &str) -> SessionKey {
    let key = SessionKey(session);
    bench.mux.enter(key, "me".into());
    let version =
        r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}"#;
    let params = format!(r#"{{{params}"_meta":{{{version}{meta}}}}}"#);
    bench.client(key, &format!(r#"{{"jsonrpc":"2.0","id":"r","method":"{method}","params":{params}}}"#));
    key
}

#[test]
fn a_request_goes_to_the_server_in_its_own_revision_and_its_answer_comes_back_in_the_clients() {
    let mut bench = bench();
    enter(&mut bench, 7, "tools/call", r#""name":"t","#, r#","progressToken":"p","x":1.0"#);
    let expected = r#"> {"id":2,"method":"tools/call","params":{"name":"t","_meta":{"progressToken":2,"x":1.0}}}"#;
    assert_eq!(bench.outs(), [expected]);
    bench.server(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":2,"progress":1}}"#);
    bench.server(r#"{"jsonrpc":"2.0","id":2,"result":{"content":[]}}"#);
    assert_eq!(
        bench.outs(),
        [
            r#"7 during {"method":"notifications/progress","params":{"progressToken":"p","progress":1}}"#,
            r#"7 answer {"id":"r","result":{"resultType":"complete","content":[]}}"#,
        ]
    );
    enter(&mut bench, 8, "tools/list", "", "");
    bench.server(r#"{"jsonrpc":"2.0","id":3,"result":{"tools":[{"name":"secret"},{"name":"a","execution":{}}]}}"#);
    assert_eq!(
        bench.outs()[1],
        r#"8 answer {"id":"r","result":{"resultType":"complete","ttlMs":0,"cacheScope":"private","tools":[{"name":"a"}]}}"#
    );
}

#[test]
fn what_the_server_is_comes_from_its_handshake_and_it_has_no_tasks() {
    let mut bench = bench();
    enter(&mut bench, 7, "server/discover", "", "");
    let outs = bench.outs();
    assert!(outs.len() == 1 && outs[0].contains(r#""supportedVersions":["2026-07-28"]"#), "{outs:?}");
    assert!(outs[0].contains(r#""logging":{}"#) && !outs[0].contains("tasks"), "{outs:?}");
    enter(&mut bench, 8, "tasks/get", r#""taskId":"1","#, "");
    assert!(bench.outs()[0].contains("-32601"));
    enter(&mut bench, 9, "tools/call", r#""name":"secret","#, "");
    assert!(bench.outs()[0].contains("-32602"));
}

#[test]
fn a_stream_of_changes_is_made_of_what_the_server_tells_everybody() {
    let mut bench = bench();
    let wanted = r#""notifications":{"toolsListChanged":true,"promptsListChanged":true},"#;
    enter(&mut bench, 7, "subscriptions/listen", wanted, "");
    let outs = bench.outs();
    assert!(outs.len() == 1 && outs[0].ends_with(r#""notifications":{"toolsListChanged":true}}}"#), "{outs:?}");
    enter(&mut bench, 8, "subscriptions/listen", r#""notifications":{},"#, "");
    bench.outs();
    bench.server(CHANGED);
    let expected = r#"7 during {"method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"r"}}}"#;
    assert_eq!(bench.outs(), [expected]);
    bench.mux.detach(SessionKey(7));
    bench.server(CHANGED);
    assert!(bench.outs().is_empty());
    bench.mux.stop_listening(SessionKey(8));
    assert!(bench.outs()[0].starts_with(r#"8 answer {"id":"r","result":{"resultType":"complete""#));
}

#[test]
fn a_resource_is_watched_at_the_server_as_long_as_somebody_listens_to_it() {
    let mut bench = bench();
    let wanted = r#""notifications":{"resourceSubscriptions":["a:1"]},"#;
    enter(&mut bench, 7, "subscriptions/listen", wanted, "");
    enter(&mut bench, 8, "subscriptions/listen", wanted, "");
    let asked: Vec<_> = bench.outs().into_iter().filter(|out| out.starts_with('>')).collect();
    assert_eq!(asked, [r#"> {"id":3,"method":"resources/subscribe","params":{"uri":"a:1"}}"#]);
    bench.server(r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:1"}}"#);
    assert_eq!(bench.outs().len(), 2);
    bench.mux.detach(SessionKey(7));
    assert!(bench.outs().is_empty());
    bench.mux.detach(SessionKey(8));
    assert!(bench.outs()[0].contains("resources/unsubscribe"));
}

#[test]
fn the_server_logs_as_much_as_any_request_wants_and_its_lines_go_to_the_only_one() {
    let mut bench = bench();
    let line = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1.0}}"#;
    enter(&mut bench, 7, "tools/call", r#""name":"t","#, r#","io.modelcontextprotocol/logLevel":"info""#);
    assert!(bench.outs()[0].ends_with(r#""method":"logging/setLevel","params":{"level":"info"}}"#));
    bench.server(line);
    assert_eq!(bench.outs(), [r#"7 during {"method":"notifications/message","params":{"level":"info","data":1.0}}"#]);
    bench.server(&line.replace("info", "debug"));
    assert!(bench.outs().is_empty());
    bench.mux.detach(SessionKey(7));
    bench.outs();
    enter(&mut bench, 8, "tools/call", r#""name":"t","#, "");
    bench.outs();
    bench.server(line);
    assert!(bench.outs().is_empty());
}

#[test]
fn a_log_line_is_not_told_where_it_may_speak_of_somebody_else() {
    let line = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"secret"}}"#;
    for (other, told) in [("me", 1), ("somebody else", 0)] {
        let mut bench = bench();
        enter(&mut bench, 7, "tools/call", r#""name":"t","#, r#","io.modelcontextprotocol/logLevel":"info""#);
        bench.mux.enter(SessionKey(8), other.into());
        bench.client(SessionKey(8), r#"{"jsonrpc":"2.0","id":"r","method":"tools/call","params":{"name":"t"}}"#);
        bench.outs();
        bench.server(line);
        assert_eq!(bench.outs().len(), told, "{other}");
    }
}

#[test]
fn nobody_is_asked_and_a_client_that_goes_has_cancelled() {
    let mut bench = bench();
    let key = enter(&mut bench, 7, "tools/call", r#""name":"t","#, "");
    bench.outs();
    bench.server(r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#);
    assert!(bench.outs()[0].starts_with(r#"> {"id":"q","error":{"code":-32601"#));
    bench.mux.detach(key);
    assert!(bench.outs()[0].contains("notifications/cancelled"));
}

#[test]
fn a_meta_that_cannot_be_taken_apart_is_refused_and_none_of_it_reaches_the_server() {
    let mut bench = bench();
    let many = (0..100).map(|n| format!(r#","x{n}":1"#)).collect::<Vec<_>>().concat();
    enter(&mut bench, 7, "tools/list", "", &format!(r#","progressToken":1{many}"#));
    let outs = bench.outs();
    assert!(outs.len() == 1 && outs[0].contains(r#"answer {"id":"r","error":{"code":-32602"#), "{outs:?}");
    assert_eq!(bench.mux.load().calls, 0);
}
