//! Clients of older revisions before a server of 2026-07-28.

use super::*;

pub(super) const CAPABILITIES: &str =
    r#"{"tools":{"listChanged":true},"resources":{"subscribe":true,"listChanged":false},"logging":{}}"#;

/// A connection that is up, and a session that is about to shake hands.
pub(super) fn bench() -> (Bench, SessionKey) {
    let mut bench = Bench::new(Sharing::Exchanges);
    let session = bench.mux.attach();
    bench.mux.connected(bench.now);
    (bench, session)
}

pub(super) fn hello(bench: &mut Bench, session: SessionKey, version: &str, capabilities: &str) {
    let params = format!(r#"{{"protocolVersion":"{version}","capabilities":{capabilities}}}"#);
    bench.client(session, &format!(r#"{{"jsonrpc":"2.0","id":"i","method":"initialize","params":{params}}}"#));
}

/// The number of the last request that went to the server.
pub(super) fn asked(outs: &[String]) -> u64 {
    let last = outs.iter().rev().find_map(|out| out.strip_prefix(r#"> {"id":"#)).expect("the server was asked");
    last.split(',').next().unwrap().parse().unwrap()
}

pub(super) fn greet_with(bench: &mut Bench, session: SessionKey, capabilities: (&str, &str)) {
    hello(bench, session, "2025-11-25", capabilities.0);
    let id = asked(&bench.outs());
    let found = format!(r#"{{"supportedVersions":["2026-07-28"],"capabilities":{}}}"#, capabilities.1);
    bench.server(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{found}}}"#));
}

/// A session that has shaken hands, with a server that tells nothing unasked.
pub(super) fn greeted(capabilities: &str) -> (Bench, SessionKey) {
    let (mut bench, session) = bench();
    greet_with(&mut bench, session, (capabilities, r#"{"tools":{},"logging":{}}"#));
    bench.outs();
    (bench, session)
}

fn stamp(capabilities: &str) -> String {
    format!(
        r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{capabilities}"#
    )
}

#[test]
fn a_handshake_is_answered_from_what_the_server_discovers_to_that_client() {
    let (mut bench, session) = bench();
    hello(&mut bench, session, "2025-06-18", r#"{"elicitation":{}}"#);
    let expected = format!(
        r#"> {{"id":1,"method":"server/discover","params":{{"_meta":{{{}}}}}}}"#,
        stamp(r#"{"elicitation":{"form":{}}}"#)
    );
    assert_eq!(bench.outs(), [expected]);
    bench.server(r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}}"#);
    assert_eq!(
        bench.outs(),
        [
            r#"1 answer {"id":"i","result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"unknown"}}}"#
        ]
    );
    assert_eq!(bench.mux.version(session), Some(Version::V2025_06_18));
    bench.client(session, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    bench.client(session, r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#);
    assert_eq!(bench.outs(), [r#"1 answer {"id":2,"result":{}}"#]);
}

#[test]
fn a_server_that_speaks_no_known_revision_or_does_not_say_what_it_is_is_told_to_the_client() {
    for answer in [
        r#""result":{"supportedVersions":["2099-01-01"],"capabilities":{}}"#,
        r#""error":{"code":-32022,"message":"no","data":{}}"#,
    ] {
        let (mut bench, session) = bench();
        hello(&mut bench, session, "2025-06-18", "{}");
        bench.server(&format!(r#"{{"jsonrpc":"2.0","id":1,{answer}}}"#));
        let outs = bench.outs();
        assert!(outs.last().unwrap().starts_with(r#"1 answer {"id":"i","error":{"code":-32603"#), "{outs:?}");
        assert_eq!(bench.mux.version(session), None);
    }
}

#[test]
fn a_request_is_stamped_and_its_answer_is_of_the_clients_revision() {
    let (mut bench, session) = greeted("{}");
    let call = r#"{"jsonrpc":"2.0","id":1.0,"method":"tools/call","params":{"name":"t","_meta":{"progressToken":"p"},"requestState":"forged"}}"#;
    bench.client(session, call);
    let stamp = stamp("{}");
    assert_eq!(
        bench.outs(),
        [format!(
            r#"> {{"id":2,"method":"tools/call","params":{{"_meta":{{{stamp},"progressToken":2}},"name":"t"}}}}"#
        )]
    );
    bench.server(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":2,"progress":1}}"#);
    bench.server(r#"{"jsonrpc":"2.0","id":2,"result":{"resultType":"complete","content":[],"structuredContent":[1]}}"#);
    assert_eq!(
        bench.outs(),
        [
            r#"1 during {"method":"notifications/progress","params":{"progressToken":"p","progress":1}}"#,
            r#"1 answer {"id":1.0,"result":{"content":[]}}"#,
        ]
    );
    bench.client(session, r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#);
    assert_eq!(bench.outs(), [format!(r#"> {{"id":3,"method":"tools/list","params":{{"_meta":{{{stamp}}}}}}}"#)]);
    bench.server(r#"{"jsonrpc":"2.0","id":3,"result":{"tools":[{"name":"secret"},{"name":"a"}],"ttlMs":0}}"#);
    assert_eq!(bench.outs(), [r#"1 answer {"id":2,"result":{"tools":[{"name":"a"}]}}"#]);
}

#[test]
fn what_older_revisions_do_not_have_does_not_reach_the_server() {
    let (mut bench, session) = greeted("{}");
    for (method, params, code) in [
        ("server/discover", "{}", -32601),
        ("subscriptions/listen", "{}", -32601),
        ("tasks/get", r#"{"taskId":"1"}"#, -32601),
        ("resources/subscribe", r#"{"uri":"a:1"}"#, -32601),
        ("logging/setLevel", r#"{"level":"loud"}"#, -32602),
        ("tools/call", r#"{"name":"secret"}"#, -32602),
        ("x/y", "[]", -32602),
        ("x/y", r#"{"_meta":1}"#, -32602),
    ] {
        bench.client(session, &format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#));
        let outs = bench.outs();
        let expected = format!(r#"1 answer {{"id":1,"error":{{"code":{code},"#);
        assert!(outs.len() == 1 && outs[0].starts_with(&expected), "{method}: {outs:?}");
    }
    bench.client(session, r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#);
    assert!(bench.outs().is_empty());
    assert_eq!(bench.mux.load().calls, 0);
}

#[test]
fn a_result_that_no_older_client_can_have_is_an_error() {
    let (mut bench, session) = greeted("{}");
    bench.client(session, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#);
    bench.outs();
    bench.server(r#"{"jsonrpc":"2.0","id":2,"result":{"resultType":"task","taskId":"1"}}"#);
    assert!(bench.outs()[0].starts_with(r#"1 answer {"id":1,"error":{"code":-32603"#));
}

#[test]
fn each_request_says_the_level_of_its_session_and_lines_go_to_the_only_one_that_wants_any() {
    let (mut bench, a) = greeted("{}");
    let b = bench.mux.attach();
    bench.client(a, r#"{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"warning"}}"#);
    assert_eq!(bench.outs(), [r#"1 answer {"id":1,"result":{}}"#]);
    let call = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"t"}}"#;
    bench.client(a, call);
    bench.client(b, call);
    let outs = bench.outs();
    assert!(outs[0].contains(r#""io.modelcontextprotocol/logLevel":"warning""#) && !outs[1].contains("logLevel"));
    let line = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":1.0}}"#;
    bench.server(line);
    bench.server(&line.replace("error", "info"));
    assert_eq!(bench.outs(), [r#"1 during {"method":"notifications/message","params":{"level":"error","data":1.0}}"#]);
    bench.client(b, r#"{"jsonrpc":"2.0","id":3,"method":"logging/setLevel","params":{"level":"debug"}}"#);
    bench.client(b, &call.replace(r#""id":2"#, r#""id":4"#));
    bench.outs();
    bench.server(line);
    assert!(bench.outs().is_empty(), "either may have caused it");
}

#[test]
fn a_cancellation_goes_to_the_server_under_its_own_id() {
    let (mut bench, session) = greeted("{}");
    bench.client(session, r#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"t"}}"#);
    bench.outs();
    bench.client(session, r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"x"}}"#);
    assert_eq!(bench.outs(), [r#"> {"method":"notifications/cancelled","params":{"requestId":2}}"#, "1 abandoned "]);
}

#[test]
fn a_request_of_the_server_is_refused() {
    let (mut bench, _) = greeted(r#"{"sampling":{}}"#);
    bench.server(r#"{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{}}"#);
    assert!(bench.outs()[0].starts_with(r#"> {"id":"q","error":{"code":-32601"#));
}

#[test]
fn single_requests_of_the_newer_revision_share_the_connection() {
    let (mut bench, session) = greeted("{}");
    let modern = SessionKey(1 << 63);
    bench.mux.enter(modern, "me".into());
    bench.client(modern, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{}}}"#);
    bench.client(session, r#"{"jsonrpc":"2.0","id":1,"method":"x/y"}"#);
    bench.outs();
    bench.server(r#"{"jsonrpc":"2.0","id":2,"result":{"resultType":"input_required"}}"#);
    bench.server(r#"{"jsonrpc":"2.0","id":3,"result":{"resultType":"complete"}}"#);
    assert_eq!(
        bench.outs(),
        [
            &format!(r#"{} answer {{"id":1,"result":{{"resultType":"input_required"}}}}"#, modern.0),
            r#"1 answer {"id":1,"result":{}}"#,
        ]
    );
}

#[test]
fn a_server_that_does_not_shake_hands_or_over_the_newer_revision_is_used_as_one_of_that() {
    for answer in [
        r#""error":{"code":-32022,"message":"m","data":{"supported":["2026-07-28"]}}"#,
        r#""error":{"code":-32601,"message":"m"}"#,
        r#""result":{"protocolVersion":"2026-07-28","capabilities":{}}"#,
    ] {
        let mut bench = Bench::new(Sharing::Exclusive);
        let session = bench.mux.attach();
        bench.mux.may_turn();
        bench.mux.connected(bench.now);
        hello(&mut bench, session, "2025-06-18", r#"{"roots":{}}"#);
        bench.client(session, r#"{"jsonrpc":"2.0","id":"early","method":"tools/list"}"#);
        bench.outs();
        bench.server(&format!(r#"{{"jsonrpc":"2.0","id":1,{answer}}}"#));
        let outs = bench.outs();
        assert!(outs[0].starts_with(r#"1 answer {"id":"early","error":"#), "{outs:?}");
        assert_eq!((outs.len(), outs[1].as_str()), (2, "turned"));
        assert!(bench.mux.wants_server());
        bench.mux.connected(bench.now);
        let outs = bench.outs();
        assert!(
            outs.len() == 1 && outs[0].contains("server/discover") && outs[0].contains(r#""roots":{}"#),
            "{outs:?}"
        );
    }
}

#[test]
fn a_shared_server_that_does_so_is_used_as_one_of_that_by_all_sessions() {
    let mut bench = Bench::new(Sharing::Common);
    let (a, b) = (bench.mux.attach(), bench.mux.attach());
    bench.mux.may_turn();
    hello(&mut bench, a, "2025-06-18", "{}");
    bench.mux.connected(bench.now);
    hello(&mut bench, b, "2025-11-25", "{}");
    bench.server(
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"m","data":{"supported":["2026-07-28"]}}}"#,
    );
    assert_eq!(bench.outs().last().unwrap(), "turned");
    bench.mux.connected(bench.now);
    let outs = bench.outs();
    assert_eq!(outs.iter().filter(|out| out.contains("server/discover")).count(), 2, "{outs:?}");
}

#[test]
fn any_other_refusal_goes_to_the_client_and_so_does_this_one_where_the_connection_cannot_turn() {
    let newer = r#"{"code":-32022,"message":"m","data":{"supported":["2026-07-28"]}}"#;
    for (may_turn, refusal) in [
        (false, newer),
        (true, r#"{"code":-32602,"message":"m","data":{"supported":["2024-11-05"]}}"#),
        (true, r#"{"code":-32022,"message":"m","data":{"supported":["2099-01-01"]}}"#),
    ] {
        let mut bench = Bench::new(Sharing::Exclusive);
        let session = bench.mux.attach();
        if may_turn {
            bench.mux.may_turn();
        }
        bench.mux.connected(bench.now);
        hello(&mut bench, session, "2025-06-18", "{}");
        bench.outs();
        bench.server(&format!(r#"{{"jsonrpc":"2.0","id":1,"error":{refusal}}}"#));
        assert_eq!(bench.outs(), [format!(r#"1 answer {{"id":"i","error":{refusal}}}"#)]);
    }
}

#[test]
fn a_server_that_ends_is_wanted_again_by_who_has_shaken_hands() {
    let (mut bench, session) = bench();
    assert!(!bench.mux.wants_server());
    greet_with(&mut bench, session, ("{}", "{}"));
    assert!(bench.mux.wants_server());
    let loss = Loss { message: "gone".to_owned(), data: None };
    bench.client(session, r#"{"jsonrpc":"2.0","id":1,"method":"x/y"}"#);
    bench.outs();
    bench.mux.disconnected(&loss);
    assert_eq!(bench.outs(), [r#"1 answer {"id":1,"error":{"code":-32603,"message":"gone"}}"#]);
    bench.client(session, r#"{"jsonrpc":"2.0","id":2,"method":"x/y"}"#);
    bench.mux.connected(bench.now);
    assert!(bench.outs()[0].contains("x/y"), "without another handshake");
    bench.mux.detach(session);
    bench.mux.disconnected(&loss);
    assert!(!bench.mux.wants_server());
}
