use super::*;

pub(crate) fn route(name: &str, draining: &[bool]) -> Route {
    let accepted = crate::spec::parse_servers(r#"{"mcpServers":{"x":{"command":"y"}}}"#, 1000).unwrap();
    let spec = accepted.entries.into_iter().next().unwrap().outcome.unwrap().spec;
    let endpoint = |(n, draining): (usize, &bool)| Endpoint {
        instance: Uid::from_bytes([u8::try_from(n).unwrap(); 16]),
        address: Address::unix("/x".as_ref()).unwrap(),
        draining: *draining,
        leaving: *draining,
    };
    Route {
        name: ServerName::parse(name).unwrap(),
        namespace: None,
        resource: None,
        short: true,
        shared_name: Some(name.into()),
        pending: false,
        uid: Uid::from_bytes([0; 16]),
        created_at: Timestamp::from_unix(0),
        spec: Arc::new(spec),
        origin: Origin::Deployed,
        endpoints: draining.iter().enumerate().map(endpoint).collect(),
        status: Arc::default(),
    }
}

#[test]
fn a_change_makes_a_new_table_and_leaves_the_old_one_alone() {
    let empty = RouteTable::default();
    let one = empty.after(Event::Apply(Box::new(route("a", &[]))));
    let two = one.after(Event::Reset(vec![route("b", &[]), route("c", &[])]));
    assert_eq!([empty.names(), one.names(), two.names()].map(|it| it.join(",")), ["", "a", "b,c"]);
    assert_eq!(two.after(Event::Delete("b".to_owned())).names(), ["c"]);
}

#[test]
fn a_draining_endpoint_keeps_its_sessions_and_takes_no_new_ones() {
    let route = route("a", &[true, false]);
    assert_eq!(route.for_new_sessions().unwrap().instance, Uid::from_bytes([1; 16]));
    assert!(route.instance(Uid::from_bytes([0; 16])).is_some());
    assert!(route.instance(Uid::from_bytes([7; 16])).is_none());
}

#[test]
fn new_sessions_go_to_each_open_endpoint_in_its_turn() {
    let route = route("a", &[false, true, false]);
    let taken: Vec<_> = (0..4).filter_map(|_| route.next_for_new_sessions()).map(|it| it.instance).collect();
    assert!(taken[0] == taken[2] && taken[1] == taken[3] && taken[0] != taken[1], "{taken:?}");
    assert!(!taken.contains(&Uid::from_bytes([1; 16])), "{taken:?}");
}

#[test]
fn a_principal_without_a_session_stays_where_it_is_and_moves_only_when_that_goes() {
    let all = route("a", &[false; 8]);
    let principals: Vec<_> = (0..64).map(|n| PrincipalHash::from_bytes([n; 16])).collect();
    let homes: Vec<_> = principals.iter().map(|one| all.home_of(one).unwrap().instance).collect();
    let used: std::collections::HashSet<_> = homes.iter().collect();
    assert!(used.len() > 4, "{used:?}");
    let mut less = all.clone();
    less.endpoints[3].draining = true;
    let gone = all.endpoints[3].instance;
    for (principal, home) in principals.iter().zip(&homes) {
        let now = less.home_of(principal).unwrap().instance;
        assert!(now != gone && (now == *home || *home == gone));
    }
    assert!(route("a", &[true]).home_of(&principals[0]).is_none());
}

#[test]
fn what_an_endpoint_that_is_gone_did_not_get_goes_to_another_one_of_the_same_server() {
    let routes = Routes::default();
    let [first, draining, last] = [0, 1, 2].map(|n| Uid::from_bytes([n; 16]));
    routes.change(Event::Apply(Box::new(route("a", &[false, true, false]))));
    let before = routes.shared("a").unwrap();
    assert_eq!(routes.another(&before, &[first]).map(|it| it.instance), Some(last));
    assert_eq!(routes.another(&before, &[first, last]), None, "{draining} takes nothing new");
    routes.change(Event::Apply(Box::new(Route { uid: last, ..route("a", &[false]) })));
    assert_eq!(routes.another(&before, &[]), None, "it is another server now");
}

#[tokio::test]
async fn an_instance_is_gone_with_its_endpoint() {
    use futures::FutureExt as _;
    let routes = Routes::default();
    routes.change(Event::Apply(Box::new(route("a", &[false, false]))));
    let last = Uid::from_bytes([1; 16]);
    let mut gone = Box::pin(routes.gone("a", last));
    assert!(gone.as_mut().now_or_never().is_none());
    routes.change(Event::Apply(Box::new(route("a", &[false]))));
    assert!(gone.now_or_never().is_some() && routes.gone("b", last).now_or_never().is_some());
}

#[test]
fn a_name_alone_means_one_server_and_with_its_namespace_each() {
    let of = |namespace: &str, short| Route { namespace: Some(namespace.into()), short, ..route("a", &[]) };
    let table = RouteTable::default().after(Event::Reset(vec![of("one", false), of("two", true)]));
    let found = |namespace, name| table.find(namespace, name).map(|route| route.id());
    assert_eq!(found(None, "a").as_deref(), Some("two/a"));
    assert_eq!(found(Some("one"), "a").as_deref(), Some("one/a"));
    assert_eq!(found(Some("three"), "a"), None);
    assert_eq!(table.names(), ["one/a", "a"]);
    assert_eq!(table.after(Event::Delete("two/a".to_owned())).get("a").map(|it| it.id()), None);
}

#[test]
fn who_would_get_the_name_of_an_older_server_among_all_is_not_among_them() {
    let of = |name: &str, namespace: &str, shared: &str, created| Route {
        namespace: Some(namespace.into()),
        shared_name: Some(shared.into()),
        created_at: Timestamp::from_unix(created),
        ..route(name, &[])
    };
    let names = |all: [Route; 3]| {
        let table = RouteTable::default().after(Event::Reset(all.into()));
        table.shared().map(|(name, route)| format!("{name}: {}", route.id())).collect::<Vec<_>>()
    };
    let time = of("time", "one", "time", 1);
    let second = of("time", "two", "two_time", 2);
    assert_eq!(
        names([of("two_time", "evil", "two_time", 3), second.clone(), time.clone()]),
        ["time: one/time", "two_time: two/time"]
    );
    assert_eq!(
        names([of("two_time", "old", "two_time", 0), second, time]),
        ["time: one/time", "two_time: old/two_time"]
    );
}
