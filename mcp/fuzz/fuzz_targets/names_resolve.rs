//! Every line of the input is a server and its items; every item is reachable under the name it is shown under, and
//! every line means at most one resource URI.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp::names::{Names, Resolution, Style, expose_uri, resolve_uri};

fuzz_target!(|text: &str| {
    for style in [Style::Prefixed, Style::PrefixedOrBare, Style::Bare] {
        let servers = text.lines().map(|line| line.split_once(' ').unwrap_or((line, "")));
        let names = Names::build(servers.map(|(server, items)| (server, items.split(' '))), style);
        for (shown, server, item) in names.iter() {
            assert_eq!(names.resolve(shown), Resolution::Found { server, item });
            assert_eq!(names.exposed(server, item), Some(shown));
        }
        names.resolve(text);
    }
    for uri in text.lines() {
        if let Some((server, original)) = resolve_uri(uri, |_| true) {
            assert_eq!(expose_uri(&server, &original), uri);
        }
        let exposed = expose_uri("My_server", uri);
        assert_eq!(resolve_uri(&exposed, |server| server == "My_server"), Some(("My_server".into(), uri.into())));
    }
});
