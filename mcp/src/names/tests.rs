use std::collections::HashSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn table<'a>(servers: &[(&'a str, &[&'a str])], style: Style) -> Names {
    Names::build(servers.iter().map(|(server, items)| (*server, items.iter().copied())), style)
}

fn found<'a>(server: &'a str, item: &'a str) -> Resolution<'a> {
    Resolution::Found { server, item }
}

#[test]
fn an_item_is_shown_with_its_server_and_called_with_any_separator() {
    let names = table(&[("time", &["now", "_x"]), ("my_server", &["get-all"])], Style::Prefixed);
    assert_eq!(names.exposed("time", "now"), Some("time-now"));
    for name in ["time-now", "time_now", "time__now"] {
        assert_eq!(names.resolve(name), found("time", "now"), "{name}");
    }
    for name in ["my_server-get-all", "my_server_get-all", "my_server__get-all"] {
        assert_eq!(names.resolve(name), found("my_server", "get-all"), "{name}");
    }
    for name in ["now", "time", "time-", "time---now", "time-now-", "Time-now", "-now", "", "_", "é-now"] {
        assert_eq!(names.resolve(name), Resolution::Unknown, "{name}");
    }
    assert_eq!(names.exposed("time", "then"), None);
    assert_eq!(names.exposed("space", "now"), None);
}

#[test]
fn the_order_is_by_server_then_as_listed() {
    let names = table(&[("b", &["z", "a", "z"]), ("a", &["y"])], Style::Prefixed);
    assert_eq!(names.iter().collect::<Vec<_>>(), [("a-y", "a", "y"), ("b-z", "b", "z"), ("b-a", "b", "a")]);
}

#[test]
fn items_whose_names_collide_all_take_the_hashed_form() {
    let names = table(&[("a", &["b-c"]), ("a-b", &["c"])], Style::Prefixed);
    assert_eq!(names.exposed("a", "b-c"), Some("a-b-c_ajsuuxam"));
    assert_eq!(names.exposed("a-b", "c"), Some("a-b-c_nfjhj5vy"));
    assert_eq!(names.resolve("a-b-c_ajsuuxam"), found("a", "b-c"));
    assert_eq!(names.resolve("a-b-c_nfjhj5vy"), found("a-b", "c"));
    assert_eq!(names.resolve("a-b-c"), Resolution::Ambiguous(vec!["a-b-c_ajsuuxam", "a-b-c_nfjhj5vy"]));
    assert_eq!(names.resolve("a_b-c"), found("a", "b-c"));
    assert_eq!(names.resolve("a-b__c"), found("a-b", "c"));
}

#[test]
fn a_hashed_name_outlives_the_collision_it_came_from() {
    let names = table(&[("a", &["b-c"])], Style::Prefixed);
    assert_eq!(names.exposed("a", "b-c"), Some("a-b-c"));
    assert_eq!(names.resolve("a-b-c_ajsuuxam"), found("a", "b-c"));
    assert_eq!(names.resolve("a-b-c_nfjhj5vy"), Resolution::Unknown);
}

#[test]
fn a_short_form_that_is_the_hashed_form_of_another_gives_way() {
    let names = table(&[("a", &["b-c", "b-c_ajsuuxam"]), ("a-b", &["c"])], Style::Prefixed);
    assert_eq!(names.resolve("a-b-c_ajsuuxam"), found("a", "b-c"));
    let moved = names.exposed("a", "b-c_ajsuuxam").unwrap();
    assert!(moved.starts_with("a-b-c_ajsuuxam_"), "{moved}");
    assert_eq!(names.resolve(moved), found("a", "b-c_ajsuuxam"));
}

#[test]
fn a_name_that_is_shown_wins_over_other_readings_of_it() {
    let names = table(&[("a", &["x_c"]), ("a-x", &["c"])], Style::Prefixed);
    assert_eq!(names.resolve("a-x_c"), found("a", "x_c"));
    assert_eq!(names.resolve("a-x-c"), found("a-x", "c"));
}

#[test]
fn an_alias_with_two_readings_is_ambiguous() {
    let names = table(&[("a", &["b", "_b"])], Style::Prefixed);
    assert_eq!(names.resolve("a__b"), Resolution::Ambiguous(vec!["a-_b", "a-b"]));
    assert_eq!(names.resolve("a_b"), found("a", "b"));
    assert_eq!(names.resolve("a___b"), found("a", "_b"));
}

#[test]
fn a_long_name_is_shortened_to_64_characters_and_taken_in_full_as_well() {
    let tool = "t".repeat(60);
    let (fits, over, wide) = (&tool[..59], &tool[..], "ü".repeat(80));
    let names = table(&[("time", &[fits, over, &wide])], Style::Prefixed);
    assert_eq!(names.exposed("time", fits).unwrap().len(), 64);
    let shown = names.exposed("time", over).unwrap();
    assert_eq!(shown, format!("time-{}_k6apkbmd", "t".repeat(50)));
    assert_eq!(names.resolve(shown), found("time", over));
    assert_eq!(names.resolve(&format!("time_{over}")), found("time", over));
    assert_eq!(names.exposed("time", &wide).unwrap().chars().count(), 64);
}

#[test]
fn a_bare_name_is_taken_only_where_allowed_and_only_of_a_single_server() {
    let servers: &[(&str, &[&str])] = &[("a", &["one", "both"]), ("b", &["two", "both", "a-one"])];
    assert_eq!(table(servers, Style::Prefixed).resolve("one"), Resolution::Unknown);
    let names = table(servers, Style::PrefixedOrBare);
    assert_eq!(names.resolve("two"), found("b", "two"));
    assert_eq!(names.resolve("both"), Resolution::Ambiguous(vec!["a-both", "b-both"]));
    assert_eq!(names.resolve("a-one"), found("a", "one"));
}

#[test]
fn bare_style_leaves_names_alone_unless_two_servers_have_them() {
    let long = "x".repeat(100);
    let names = table(&[("a", &["one", "both", &long]), ("b", &["both"])], Style::Bare);
    assert_eq!(names.exposed("a", "one"), Some("one"));
    assert_eq!(names.exposed("a", &long), Some(&*long));
    assert_eq!(names.resolve("a__one"), found("a", "one"));
    let shown = ["a", "b"].map(|server| names.exposed(server, "both").unwrap());
    assert!(shown[0].starts_with("a-both_") && shown[1].starts_with("b-both_"), "{shown:?}");
    assert_eq!(names.resolve("both"), Resolution::Ambiguous(shown.to_vec()));
    assert_eq!(names.resolve("b-both"), found("b", "both"));
}

#[test]
fn a_uri_tells_its_server() {
    for (server, original, exposed) in [
        ("time", "file:///x/README.md", "time+file:///x/README.md"),
        ("a.b-c", "http://EXAMPLE.com:80?q=+#f", "a.b-c+http://EXAMPLE.com:80?q=+#f"),
        ("time", "git+ssh://git@h/x", "time+git+ssh://git@h/x"),
        ("time", "memo:insights", "time+memo:insights"),
        ("my_server", "file:///x", "my+-server+file:///x"),
        ("GitHub", "file:///x", "g+.ith+.ub+file:///x"),
        ("7zip", "file:///x", "x+07zip+file:///x"),
        ("x", "file:///x", "x+file:///x"),
        ("time", "ui://clock/index.html", "ui://time+clock/index.html"),
        ("GitHub", "ui://clock", "ui://g+.ith+.ub+clock"),
        ("ui", "//x", "ui+//x"),
        ("time", "test://{id}/data{?q*}", "time+test://{id}/data{?q*}"),
        ("time", "{+path}", "time+{+path}"),
        ("time", "./x", "time++./x"),
        ("time", "+x", "time+++x"),
        ("time", "", "time+"),
    ] {
        assert_eq!(expose_uri(server, original), exposed);
        let known = |name: &str| name == server;
        assert_eq!(resolve_uri(exposed, known), Some((server.into(), original.into())));
        assert_eq!(resolve_uri(exposed, |_| false), None);
    }
}

#[test]
fn a_uri_that_was_not_made_here_is_nobodys() {
    for uri in [
        "",
        "+",
        "file:///x",
        "file:///a+b",
        "Time+file:///x",
        "time++file:///x",
        "time+ui://x",
        "x+0time+file:///x",
        "y+07zip+file:///x",
        "+.time+file:///x",
        "time+0",
        "t+.+.ime+x:y",
        "ui://time/clock",
        "7zip+file:///x",
    ] {
        let known = |name: &str| ServerName::parse(name).is_ok();
        assert_eq!(resolve_uri(uri, known), None, "{uri}");
    }
}

#[test]
fn server_names_are_what_users_write() {
    for name in ["time", "GitHub", "my_server", "a", "7", "a.b-c_D", &"x".repeat(63), "sse2", "mcp-x"] {
        assert_eq!(ServerName::parse(name).unwrap().as_str(), name);
    }
}

#[test]
fn a_refused_server_name_says_why_and_what_would_do() {
    for (name, error) in [
        ("", r#"the server name "" is empty; a name has 1 to 63 characters; try "server""#),
        (
            "my server",
            r#"the server name "my server" has the character ' '; only letters a-z and A-Z, digits, '.', '_' and '-' are allowed; try "my-server""#,
        ),
        ("-time_", r#"the server name "-time_" must start and end with a letter or digit; try "time""#),
        ("SSE", r#"the server name "SSE" is reserved for the gateway's own addresses; try "SSE-server""#),
        (
            "../x",
            r#"the server name "../x" has the character '/'; only letters a-z and A-Z, digits, '.', '_' and '-' are allowed; try "x""#,
        ),
    ] {
        assert_eq!(ServerName::parse(name).unwrap_err().to_string(), error);
    }
    let long = ServerName::parse(&"x".repeat(10_000)).unwrap_err();
    assert!(long.to_string().len() < 200 && long.suggestion().len() == 63, "{long}");
}

#[test]
fn server_names_pass_through_serde_as_checked_strings() {
    let name: ServerName = serde_json::from_str(r#""GitHub""#).unwrap();
    assert_eq!(serde_json::to_string(&name).unwrap(), r#""GitHub""#);
    let error = serde_json::from_str::<ServerName>(r#""a b""#).unwrap_err();
    assert!(error.to_string().contains(r#"try "a-b""#), "{error}");
}

#[test]
fn corpus_replays() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/names_resolve");
    for file in std::fs::read_dir(corpus).unwrap() {
        let text = String::from_utf8(std::fs::read(file.unwrap().path()).unwrap()).unwrap();
        let servers = text.lines().map(|line| line.split_once(' ').unwrap_or((line, "")));
        let servers: Vec<_> =
            servers.map(|(server, items)| (server.to_owned(), items.split(' ').map(Into::into).collect())).collect();
        check(&servers);
    }
}

type Servers = Vec<(String, Vec<String>)>;

fn build<'a>(servers: impl IntoIterator<Item = &'a (String, Vec<String>)>, style: Style) -> Names {
    Names::build(servers.into_iter().map(|(server, items)| (&**server, items.iter().map(|item| &**item))), style)
}

/// What must hold for any servers: names shown are distinct, short, lead back, and do not depend on the order.
fn check(servers: &Servers) {
    for style in [Style::Prefixed, Style::PrefixedOrBare, Style::Bare] {
        let names = build(servers, style);
        let reversed = build(servers.iter().rev(), style);
        let mut shown = HashSet::new();
        for (server, items) in servers {
            for item in items {
                let name = names.exposed(server, item).expect("no two hashes are equal");
                assert_eq!(names.resolve(name), found(server, item));
                assert_eq!(reversed.exposed(server, item), Some(name));
                assert!(style == Style::Bare || name.chars().count() <= MAX_EXPOSED_CHARS, "{name}");
                shown.insert(name);
                for separator in ["-", "_", "__"] {
                    assert_ne!(names.resolve(&[server, separator, item].concat()), Resolution::Unknown);
                }
            }
        }
        let distinct: HashSet<_> =
            servers.iter().flat_map(|(server, items)| items.iter().map(move |item| (server, item))).collect();
        assert_eq!(shown.len(), distinct.len());
        assert_eq!(names.iter().count(), distinct.len());
    }
}

fn server_names() -> impl Strategy<Value = String> {
    "[A-Za-z0-9]([A-Za-z0-9._-]{0,9}[A-Za-z0-9])?"
}

proptest! {
    #[test]
    fn every_item_is_reachable_under_a_name_of_its_own(
        // Few letters make collisions likely.
        servers in vec(("[ab]([-_ab]{0,3}[ab])?", vec("[-_ab]{0,5}|[ab]{60,66}|[é-]{60,66}", 0..6)), 0..6),
    ) {
        check(&servers);
    }

    #[test]
    fn resolving_is_total(name: String, servers in vec(("[ab]{1,2}", vec("[ab_-]{0,3}", 0..4)), 0..4)) {
        build(&servers, Style::PrefixedOrBare).resolve(&name);
    }

    #[test]
    fn every_uri_survives_the_round_trip(
        server in server_names(),
        original in prop_oneof![any::<String>(), "(ui://)?[.+0-]{0,3}[a-z+:/]{0,6}", "[a-z][a-z0-9+.-]{0,6}:.{0,9}"],
    ) {
        let exposed = expose_uri(&server, &original);
        prop_assert_eq!(resolve_uri(&exposed, |name| name == server), Some((server, original)));
    }

    #[test]
    fn an_exposed_uri_has_a_legal_scheme_in_lower_case(server in server_names(), rest in "[a-z][a-z0-9+.-]{0,6}:") {
        let exposed = expose_uri(&server, &rest);
        let scheme = exposed.strip_suffix(':').unwrap();
        prop_assert!(scheme.starts_with(|first: char| first.is_ascii_lowercase()));
        prop_assert!(scheme.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.')), "{}", scheme);
    }

    #[test]
    fn resolving_a_uri_is_total_and_no_resource_has_two(uri in prop_oneof![any::<String>(), "[ax+.0-]{0,12}(:|//)?"]) {
        if let Some((server, original)) = resolve_uri(&uri, |_| true) {
            prop_assert_eq!(expose_uri(&server, &original), uri);
        }
    }

    #[test]
    fn a_suggested_server_name_is_legal(name in prop_oneof![any::<String>(), "[-._a-z]{0,70}", "[A-Za-z0-9._-]{1,63}"]) {
        if let Err(error) = ServerName::parse(&name) {
            prop_assert!(ServerName::parse(error.suggestion()).is_ok(), "{}", error);
        }
    }
}
