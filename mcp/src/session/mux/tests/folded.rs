//! The one stream of changes of all clients of older revisions.

use super::unrolled::{CAPABILITIES, asked, bench, greet_with};
use super::*;

const MARK: &str = "io.modelcontextprotocol/subscriptionId";

/// A session that has shaken hands, and the server's request that opened the stream.
fn listening() -> (Bench, SessionKey, u64) {
    let (mut bench, session) = bench();
    greet_with(&mut bench, session, ("{}", CAPABILITIES));
    let outs = bench.outs();
    assert!(outs[1].ends_with(r#""notifications":{"toolsListChanged":true}}}"#), "{outs:?}");
    let stream = asked(&outs);
    acknowledge(&mut bench, stream, "");
    assert!(bench.outs().is_empty());
    (bench, session, stream)
}

fn tell(bench: &mut Bench, stream: u64, method: &str, more: &str) -> Vec<String> {
    let params = format!(r#"{{{more}"_meta":{{"{MARK}":{stream}}}}}"#);
    bench.server(&format!(r#"{{"jsonrpc":"2.0","method":"notifications/{method}","params":{params}}}"#));
    bench.outs()
}

fn acknowledge(bench: &mut Bench, stream: u64, uris: &str) {
    let agreed = format!(r#""notifications":{{"toolsListChanged":true,"resourceSubscriptions":[{uris}]}},"#);
    let params = format!(r#"{{{agreed}"_meta":{{"{MARK}":{stream}}}}}"#);
    let method = "notifications/subscriptions/acknowledged";
    bench.server(&format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#));
}

fn subscription(bench: &mut Bench, session: SessionKey, method: &str, uri: &str) -> Vec<String> {
    bench.client(
        session,
        &format!(r#"{{"jsonrpc":"2.0","id":"s","method":"resources/{method}","params":{{"uri":"{uri}"}}}}"#),
    );
    bench.outs()
}

fn changed(session: SessionKey) -> String {
    format!(r#"{} none {{"method":"notifications/tools/list_changed","params":{{}}}}"#, session.0)
}

#[test]
fn a_changed_list_is_told_to_all_that_have_shaken_hands() {
    let (mut bench, a, stream) = listening();
    let b = bench.mux.attach();
    assert_eq!(tell(&mut bench, stream, "tools/list_changed", ""), [changed(a)]);
    greet_with(&mut bench, b, ("{}", CAPABILITIES));
    assert_eq!(bench.outs().len(), 1, "one stream is enough");
    assert_eq!(tell(&mut bench, stream, "tools/list_changed", ""), [changed(a), changed(b)]);
    assert!(tell(&mut bench, 99, "tools/list_changed", "").is_empty());
    assert!(tell(&mut bench, stream, "x/y", "").is_empty());
}

#[test]
fn a_subscription_is_answered_when_another_stream_has_taken_the_place_of_the_first() {
    let (mut bench, a, first) = listening();
    let outs = subscription(&mut bench, a, "subscribe", "a:1");
    assert!(
        outs.len() == 1 && outs[0].contains(r#"{"toolsListChanged":true,"resourceSubscriptions":["a:1"]}"#),
        "{outs:?}"
    );
    let second = asked(&outs);
    assert_eq!(tell(&mut bench, first, "tools/list_changed", ""), [changed(a)]);
    acknowledge(&mut bench, second, r#""a:1""#);
    let outs = bench.outs();
    assert_eq!(outs[0], r#"1 answer {"id":"s","result":{}}"#);
    assert!(
        outs.len() == 2 && outs[1].contains(&format!(r#"notifications/cancelled","params":{{"requestId":{first},"#))
    );
    assert!(tell(&mut bench, first, "tools/list_changed", "").is_empty());
    assert_eq!(
        tell(&mut bench, second, "resources/updated", r#""uri":"a:1","#),
        [r#"1 none {"method":"notifications/resources/updated","params":{"uri":"a:1"}}"#]
    );
}

#[test]
fn each_session_is_told_of_its_own_resources_and_the_last_one_ends_the_watching() {
    let (mut bench, a, _) = listening();
    let b = bench.mux.attach();
    greet_with(&mut bench, b, ("{}", CAPABILITIES));
    bench.outs();
    let second = asked(&subscription(&mut bench, a, "subscribe", "a:1"));
    assert!(subscription(&mut bench, b, "subscribe", "b:1").is_empty(), "one at a time");
    acknowledge(&mut bench, second, r#""a:1""#);
    let outs = bench.outs();
    assert!(outs.last().unwrap().contains(r#"["a:1","b:1"]"#), "{outs:?}");
    let third = asked(&outs);
    acknowledge(&mut bench, third, r#""a:1","b:1""#);
    bench.outs();
    assert_eq!(subscription(&mut bench, b, "subscribe", "a:1"), [r#"2 answer {"id":"s","result":{}}"#]);
    assert_eq!(tell(&mut bench, third, "resources/updated", r#""uri":"a:1","#).len(), 2);
    assert_eq!(tell(&mut bench, third, "resources/updated", r#""uri":"b:1#x","#).len(), 1);
    assert_eq!(subscription(&mut bench, b, "unsubscribe", "a:1"), [r#"2 answer {"id":"s","result":{}}"#]);
    assert_eq!(tell(&mut bench, third, "resources/updated", r#""uri":"a:1","#).len(), 1);
    bench.mux.expire(bench.now);
    assert!(bench.outs().is_empty(), "the other still wants it");
    bench.mux.detach(b);
    assert_eq!(bench.mux.deadline(), Some(Clock::ZERO));
    bench.mux.expire(bench.now);
    let outs = bench.outs();
    assert!(outs.len() == 1 && outs[0].contains(r#""resourceSubscriptions":["a:1"]}"#), "{outs:?}");
    acknowledge(&mut bench, asked(&outs), r#""a:1""#);
    bench.outs();
    bench.mux.detach(a);
    bench.mux.expire(bench.now);
    let outs = bench.outs();
    assert!(outs.len() == 1 && outs[0].contains("notifications/cancelled"), "{outs:?}");
    assert_eq!((bench.mux.load().calls, bench.mux.deadline()), (0, None));
}

#[test]
fn a_resource_that_the_server_does_not_watch_cannot_be_subscribed_to() {
    let (mut bench, a, _) = listening();
    let second = asked(&subscription(&mut bench, a, "subscribe", "a:1"));
    acknowledge(&mut bench, second, "");
    let outs = bench.outs();
    assert!(outs[0].starts_with(r#"1 answer {"id":"s","error":{"code":-32602"#), "{outs:?}");
    assert!(outs.last().unwrap().ends_with(r#""notifications":{"toolsListChanged":true}}}"#), "{outs:?}");
}

#[test]
fn a_stream_that_is_not_acknowledged_or_refused_fails_those_that_wait_for_it() {
    let (mut bench, a, _) = listening();
    subscription(&mut bench, a, "subscribe", "a:1");
    bench.now += 61 * SECOND;
    bench.mux.expire(bench.now);
    let outs = bench.outs();
    assert!(
        outs[0].starts_with(r#"1 answer {"id":"s","error":"#) && outs[1].contains("notifications/cancelled"),
        "{outs:?}"
    );
    bench.now += 60 * SECOND;
    let refused = asked(&subscription(&mut bench, a, "subscribe", "a:2"));
    bench.server(&format!(r#"{{"jsonrpc":"2.0","id":{refused},"error":{{"code":-32601,"message":"no"}}}}"#));
    assert!(bench.outs()[0].starts_with(r#"1 answer {"id":"s","error":"#));
    bench.now += 3600 * SECOND;
    bench.mux.expire(bench.now);
    assert!(subscription(&mut bench, a, "subscribe", "a:3")[0].contains("-32601"));
}

#[test]
fn a_stream_that_the_server_ends_is_opened_again_after_a_while_and_what_may_have_changed_is_told() {
    let (mut bench, a, _) = listening();
    let mut stream = asked(&subscription(&mut bench, a, "subscribe", "a:1"));
    acknowledge(&mut bench, stream, r#""a:1""#);
    bench.outs();
    for (end, pause) in [
        (r#"{"jsonrpc":"2.0","id":ID,"result":{"resultType":"complete"}}"#, 1),
        (r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":ID}}"#, 2),
        (r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-1,"message":"x"}}"#, 4),
    ] {
        bench.server(&end.replace("ID", &stream.to_string()));
        assert!(bench.outs().is_empty());
        assert_eq!(bench.mux.deadline(), Some(bench.now + pause * SECOND));
        bench.now += pause * SECOND;
        bench.mux.expire(bench.now);
        stream = asked(&bench.outs());
        acknowledge(&mut bench, stream, r#""a:1""#);
        assert_eq!(
            bench.outs(),
            [&changed(a), r#"1 none {"method":"notifications/resources/updated","params":{"uri":"a:1"}}"#]
        );
    }
}

#[test]
fn the_successor_of_a_server_is_listened_to_as_well() {
    let (mut bench, a, _) = listening();
    bench.mux.disconnected(&Loss { message: "gone".to_owned(), data: None });
    bench.mux.connected(bench.now);
    let next = asked(&bench.outs());
    acknowledge(&mut bench, next, "");
    assert_eq!(bench.outs(), [changed(a)]);
}
