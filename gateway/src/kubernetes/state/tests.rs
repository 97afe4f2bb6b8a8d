use std::fmt::Write as _;

use super::*;

/// A resource as it is in a cluster, made so many seconds after the beginning of 1970, its route named like itself.
pub(in super::super) fn server(namespace: &str, name: &str, created: u8) -> Server {
    named(namespace, name, "", created)
}

fn named(namespace: &str, name: &str, route: &str, created: u8) -> Server {
    let uid = Uid::from_bytes([created; 16]);
    let text = format!(
        r#"{{"apiVersion":"mcpgateway.dev/v1alpha1","kind":"McpServer","metadata":{{"name":"{name}","namespace":"{namespace}",
            "uid":"{uid}","generation":1,"resourceVersion":"{created}","creationTimestamp":"1970-01-01T00:00:{created:02}Z"}},
            "spec":{{"command":"uvx","args":["x"],"env":[{{"name":"A","value":"$$1"}}],"route":{{"name":"{route}"}}}}}}"#
    );
    Server::of(&serde_json::from_str(&text).unwrap()).unwrap()
}

fn key(namespace: &str, name: &str) -> Key {
    Key { namespace: namespace.into(), name: name.into() }
}

/// Pods of a server: which, and whether it is ready.
fn slice(namespace: &str, name: &str, pods: &[(u8, bool)]) -> Change {
    let endpoint = |(pod, ready): &(u8, bool)| Endpoint {
        instance: Uid::from_bytes([*pod; 16]),
        address: wire::client::Endpoint::tcp(&format!("http://10.0.0.{pod}:8080").parse().unwrap()).unwrap(),
        draining: !ready,
        leaving: false,
    };
    let key = |suffix: &str| key(namespace, &format!("{name}{suffix}"));
    Change::Slice(Slice { key: key("-abc"), service: key(""), endpoints: pods.iter().map(endpoint).collect() })
}

fn status(namespace: &str, name: &str, pod: u8, phase: Phase, message: &str) -> Change {
    let status = Status { phase, message: message.to_owned(), ..Status::default() };
    Change::Status(key(namespace, name), Uid::from_bytes([pod; 16]), Arc::new(status))
}

/// Type, status, reason and message.
type ConditionText = (&'static str, &'static str, &'static str, &'static str);

fn with_conditions(mut server: Server, observed: i64, conditions: &[ConditionText]) -> Server {
    server.status.observed_generation = Some(observed);
    let condition = |(kind, status, reason, message): &ConditionText| {
        let time = "1970-01-01T00:00:00Z";
        let text = format!(
            r#"{{"type":"{kind}","status":"{status}","reason":"{reason}","message":"{message}","lastTransitionTime":"{time}"}}"#
        );
        serde_json::from_str(&text).unwrap()
    };
    server.status.conditions = conditions.iter().map(condition).collect();
    server
}

/// A state and the events that it made, as text.
struct World(State, String);

impl World {
    fn new(short_names: Option<&[&str]>) -> Self {
        let short_names = short_names.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        Self(State::new(short_names, "http://gate".to_owned()), String::new())
    }

    fn apply(&mut self, change: Change) -> String {
        let (events, _) = self.0.apply(change);
        let mut text = String::new();
        for event in events {
            match event {
                Event::Apply(route) => {
                    let pods: Vec<_> = route
                        .endpoints
                        .iter()
                        .map(|it| format!("{}{}", if it.draining { "-" } else { "+" }, it.address))
                        .collect();
                    let phase = route.status.phase.as_str();
                    writeln!(
                        text,
                        "{} at /{} {} {phase}: {}",
                        route.id(),
                        route.address(),
                        pods.join(" "),
                        route.status.message
                    )
                    .unwrap();
                }
                Event::Delete(id) => writeln!(text, "{id} gone").unwrap(),
                Event::Reset(_) => unreachable!("not used"),
            }
        }
        self.1 += &text;
        text
    }

    fn put(&mut self, server: Server) -> String {
        self.apply(Change::Server(Box::new(server)))
    }

    fn reason(&self, namespace: &str, name: &str) -> (bool, &'static str, String) {
        let routable = self.0.routable(&key(namespace, name)).unwrap();
        (routable.ok, routable.reason, routable.url)
    }
}

#[test]
fn the_oldest_claim_has_the_name_alone_and_the_next_inherits_it() {
    let mut world = World::new(None);
    world.put(server("two", "time", 2));
    world.put(server("three", "time", 3));
    // It comes late and is older.
    world.put(server("one", "time", 1));
    world.apply(Change::NoServer(key("one", "time")));
    insta::assert_snapshot!(world.1, @r"
    two/time at /time  starting: the operator has not taken it up yet
    three/time at /three/time  starting: the operator has not taken it up yet
    one/time at /time  starting: the operator has not taken it up yet
    two/time at /two/time  starting: the operator has not taken it up yet
    one/time gone
    two/time at /time  starting: the operator has not taken it up yet
    ");
}

#[test]
fn only_the_namespaces_that_may_claim_names_alone_do() {
    let mut world = World::new(Some(&["two"]));
    world.put(server("one", "time", 1));
    world.put(server("two", "time", 2));
    for namespace in ["one", "two"] {
        world.apply(slice(namespace, "time", &[(1, true)]));
    }
    assert_eq!(
        world.reason("one", "time"),
        (true, routable::SHORT_NAME_NOT_ALLOWED, "http://gate/one/time".to_owned())
    );
    assert_eq!(world.reason("two", "time"), (true, routable::ROUTED, "http://gate/time".to_owned()));
}

#[test]
fn among_all_servers_a_name_that_is_an_older_ones_has_its_namespace_before_it() {
    let mut state = State::new(Some(["one", "two"].map(ToOwned::to_owned).into()), String::new());
    let mut names = |change| {
        let (events, _) = state.apply(change);
        let name = |event| match event {
            Event::Apply(route) => Some(format!("{}: {:?}", route.id(), route.shared_name)),
            Event::Delete(_) | Event::Reset(_) => None,
        };
        events.into_iter().filter_map(name).collect::<Vec<_>>()
    };
    let put = |namespace, created| Change::Server(Box::new(server(namespace, "time", created)));
    assert_eq!(names(put("one", 1)), [r#"one/time: Some("time")"#]);
    assert_eq!(names(put("two", 2)), [r#"two/time: Some("two_time")"#]);
    assert_eq!(names(put("three", 3)), ["three/time: None"], "its servers are not to be called by names alone");
    assert_eq!(names(Change::NoServer(key("one", "time"))), [r#"two/time: Some("time")"#]);
}

#[test]
fn two_resources_of_a_namespace_do_not_share_a_name() {
    let mut world = World::new(None);
    world.put(named("one", "a", "Git", 1));
    assert_eq!(world.put(named("one", "b", "Git", 2)), "");
    assert_eq!(world.reason("one", "b").1, routable::NAME_TAKEN);
    assert_eq!(world.reason("one", "a"), (false, routable::NO_ENDPOINTS, "http://gate/Git".to_owned()));
    // The older one takes another name.
    let renamed = Server { version: 9, ..named("one", "a", "Hub", 1) };
    insta::assert_snapshot!(world.put(renamed), @r"
    one/Hub at /Hub  starting: the operator has not taken it up yet
    one/Git at /Git  starting: the operator has not taken it up yet
    ");
    world.put(Server { route_name: None, ..server("one", "c", 3) });
    assert_eq!(world.reason("one", "c").1, routable::INVALID_NAME);
}

#[test]
fn pods_come_and_go_and_their_last_word_is_kept() {
    let mut world = World::new(None);
    // Slices may be told of before their server.
    assert_eq!(world.apply(slice("one", "time", &[(1, true)])), "");
    let ready = [("Ready", "True", "Working", "")];
    world.put(with_conditions(server("one", "time", 1), 1, &ready));
    world.apply(status("one", "time", 1, Phase::Ready, "3 tools"));
    assert_eq!(world.0.watched(&key("one", "time")).len(), 1);
    world.apply(slice("one", "time", &[(1, false), (2, true)]));
    world.apply(status("one", "time", 2, Phase::Ready, "4 tools"));
    // What a pod says that takes no new sessions does not count.
    assert_eq!(world.apply(status("one", "time", 1, Phase::Failing, "ending")), "");
    let down = [("Available", "False", "CrashLoop", "it ends")];
    world.apply(slice("one", "time", &[]));
    world.put(Server { version: 2, ..with_conditions(server("one", "time", 1), 1, &down) });
    insta::assert_snapshot!(world.1, @r"
    one/time at /time +http://10.0.0.1:8080 ready: ready
    one/time at /time +http://10.0.0.1:8080 ready: 3 tools
    one/time at /time +http://10.0.0.2:8080 -http://10.0.0.1:8080 ready: ready
    one/time at /time +http://10.0.0.2:8080 -http://10.0.0.1:8080 ready: 4 tools
    one/time at /time  ready: ready
    one/time at /time  failing: it ends
    ");
}

#[test]
fn what_changes_nothing_for_clients_changes_no_route() {
    let mut world = World::new(None);
    world.put(server("one", "time", 1));
    assert_eq!(world.put(server("one", "time", 1)), "");
    // An event that was on its way when the gateway itself wrote a newer version.
    assert_eq!(world.put(Server { version: 0, ..named("one", "time", "Old", 1) }), "");
    assert_eq!(world.apply(Change::NoServer(key("one", "other"))), "");
    assert_eq!(world.apply(slice("one", "other", &[(1, true)])), "");
}

#[test]
fn a_name_that_is_used_again_is_another_server() {
    let mut world = World::new(None);
    world.put(server("one", "time", 1));
    world.put(server("two", "time", 2));
    // The deletion was missed: the watch was interrupted.
    let again = world.put(server("one", "time", 3));
    insta::assert_snapshot!(again, @r"
    one/time at /one/time  starting: the operator has not taken it up yet
    two/time at /time  starting: the operator has not taken it up yet
    ");
}

#[test]
fn what_was_told_of_a_server_is_not_told_of_the_next_of_its_name() {
    let mut world = World::new(None);
    let ready = [("Ready", "True", "Working", "")];
    world.put(with_conditions(server("one", "time", 1), 1, &ready));
    world.apply(slice("one", "time", &[(1, true)]));
    world.apply(status("one", "time", 1, Phase::Ready, "3 tools"));
    let again = world.put(server("one", "time", 2));
    insta::assert_snapshot!(again, @"one/time at /time +http://10.0.0.1:8080 starting: the operator has not taken it up yet");
}

#[test]
fn conditions_tell_those_who_wait_when_it_is_over() {
    let cases: [(i64, &[ConditionText], Phase, &str); 9] = [
        (0, &[("Ready", "True", "Working", "")], Phase::Starting, "the operator has not taken it up yet"),
        (1, &[], Phase::Starting, "the operator has not told how it is yet"),
        (1, &[("Ready", "True", "Working", "")], Phase::Ready, "ready"),
        (1, &[("Accepted", "False", "Invalid", "bad")], Phase::Failing, "bad"),
        (1, &[("ResolvedRefs", "False", "SecretNotFound", "")], Phase::Failing, "SecretNotFound"),
        (1, &[("Available", "False", "Installing", "x 1.0")], Phase::Installing, "x 1.0"),
        (1, &[("Available", "False", "Progressing", "soon")], Phase::Starting, "soon"),
        (1, &[("Available", "False", "ImagePullFailed", "no image")], Phase::Failing, "no image"),
        (
            1,
            &[("Available", "True", "PodsReady", ""), ("Verified", "False", "Timeout", "slow")],
            Phase::Failing,
            "slow",
        ),
    ];
    for (observed, conditions, phase, message) in cases {
        let server = with_conditions(server("one", "time", 1), observed, conditions);
        assert_eq!(verdict(&server), (phase, message.to_owned()), "{conditions:?}");
    }
}

#[test]
fn a_spec_is_shown_as_the_deploy_api_takes_it() {
    let shown = serde_json::to_string(&*server("one", "time", 1).spec).unwrap();
    assert_eq!(shown, r#"{"command":"uvx","args":["x"],"env":{"A":"$1"}}"#);
}
