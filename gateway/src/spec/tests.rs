use super::*;

fn parse(text: &str) -> Parsed {
    parse_servers(text, 1 << 20).unwrap()
}

/// The outcome of the entry `time` with this text.
pub(super) fn outcome(entry: &str) -> Result<Accepted, EntryError> {
    let parsed = parse(&format!("{{\"mcpServers\": {{\"time\": {entry}}}}}"));
    parsed.entries.into_iter().next().unwrap().outcome
}

pub(super) fn spec(entry: &str) -> ServerSpec {
    outcome(entry).unwrap().spec
}

pub(super) fn command(entry: &str) -> Command {
    match spec(entry).target {
        Target::Command(command) => command,
        Target::Remote(remote) => panic!("a command, not {remote:?}"),
    }
}

fn remote(entry: &str) -> Remote {
    match spec(entry).target {
        Target::Remote(remote) => remote,
        Target::Command(command) => panic!("a remote server, not {command:?}"),
    }
}

fn complaint(entry: &str) -> String {
    outcome(entry).unwrap_err().to_string()
}

pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

mod documents {
    use super::*;

    #[test]
    fn the_documented_deploy_body_is_read() {
        let parsed = parse(
            r#"{"mcpServers": {"time": {"command": "uvx",
                "args": ["mcp-server-time", "--local-timezone=America/New_York"], "env": {"KEY1": "VALUE1"}}}}"#,
        );
        let entry = parsed.entries.into_iter().next().unwrap();
        assert_eq!(entry.name, "time");
        let Target::Command(command) = entry.outcome.unwrap().spec.target else { panic!("a command") };
        assert_eq!(command.command, "uvx");
        assert_eq!(command.args, ["mcp-server-time", "--local-timezone=America/New_York"]);
        assert_eq!(command.env, BTreeMap::from([("KEY1".into(), "VALUE1".into())]));
    }

    #[test]
    fn comments_trailing_commas_and_a_byte_order_mark_are_read() {
        let parsed = parse("\u{feff}{ // how to\n \"mcpServers\": { /* all */ \"a\": {\"command\": \"x\",}, }, }");
        assert!(parsed.entries[0].outcome.is_ok());
    }

    #[test]
    fn the_form_of_editors_is_read_and_their_inputs_are_ignored() {
        let parsed = parse(r#"{"inputs": [], "servers": {"a": {"type": "stdio", "command": "x"}}}"#);
        assert!(parsed.entries[0].outcome.is_ok());
        assert_eq!(parsed.warnings, ["`inputs` is ignored: only `mcpServers` is read"]);
    }

    #[test]
    fn entries_keep_their_order_and_each_is_judged_by_itself() {
        let parsed = parse(r#"{"mcpServers": {"z": {"command": "x"}, "b": {}, "a": {"url": "http://h"}}}"#);
        let outcomes: Vec<_> =
            parsed.entries.iter().map(|entry| (entry.name.as_str(), entry.outcome.is_ok())).collect();
        assert_eq!(outcomes, [("z", true), ("b", false), ("a", true)]);
    }

    #[test]
    fn a_bad_name_is_reported_with_the_other_problems_of_its_entry() {
        let parsed = parse(r#"{"mcpServers": {"a b": {"command": 1}}}"#);
        assert_eq!(parsed.entries[0].outcome.as_ref().unwrap_err().problems.len(), 2);
    }

    #[test]
    fn a_document_that_cannot_be_read_is_refused_with_line_and_column() {
        let deep = format!("{{\"mcpServers\": {}{}}}", "[".repeat(64), "]".repeat(64));
        let deepest = "[".repeat(100_000);
        let documents = [
            "",
            "{\"mcpServers\":\n  {\"a\": }}",
            "{\"mcpServers\": {\"é\": {}\n, \"é\": {}}}",
            "{'mcpServers': {}}",
            "{\"mcpServers\": {}} {}",
            "{mcpServers: {}}",
            "{\"mcpServers\": {\"a\": {\"command\": \"x",
            "{\"a\": {\"command\": \"x\"}}",
            "{\"mcpServers\": []}",
            "{\"mcpServers\": {}, \"servers\": {}}",
            "[]",
            "null",
            &deep,
            &deepest,
        ];
        let complaints = documents.map(|text| parse_servers(text, 1 << 20).unwrap_err().to_string());
        insta::assert_snapshot!(complaints.join("\n"), @r#"
        line 1, column 1: the document is empty
        line 2, column 9: unexpected close brace
        line 2, column 3: `é` stands twice, first on line 1: keep one
        line 1, column 2: single-quoted strings are not allowed
        line 1, column 20: text cannot contain more than one JSON value
        line 1, column 2: expected string for object property
        line 1, column 34: unterminated string literal
        line 1, column 1: the servers must stand under `mcpServers`: {"mcpServers": {"name": {"command": "…"}}}
        line 1, column 16: `mcpServers` must be an object of servers by name, not an array
        line 1, column 20: `mcpServers` and `servers` are the same: keep one
        line 1, column 1: it must be an object, not an array
        line 1, column 1: it must be an object, not null
        line 1, column 79: values are nested deeper than 64 levels
        line 1, column 513: values are nested deeper than 64 levels
        "#);
    }

    #[test]
    fn a_document_above_the_limit_is_refused_unread() {
        let error = parse_servers("{{{{", 3).unwrap_err();
        assert_eq!(error.text, "the document has 4 bytes, the limit is 3");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_document_or_a_problem_within_it(text in "[{}\\[\\],:\"\\\\/*a1é \n-]{0,80}") {
            let documents = [text.clone(), format!("{{\"mcpServers\": {{\"a\": {text}}}}}")];
            for document in documents {
                if let Err(problem) = parse_servers(&document, 1024) {
                    proptest::prop_assert!(problem.at.line <= document.lines().count().max(1) + 1);
                }
            }
        }
    }

    #[test]
    fn positions_are_right_on_long_lines_with_wide_characters() {
        let entries: Vec<_> = (0..20_000).map(|index| format!("\"é{index}\": 0")).collect();
        let parsed = parse(&format!("{{\"mcpServers\": {{\n{}}}}}", entries.join(", ")));
        let last = parsed.entries.last().unwrap();
        let column = entries[..19_999].iter().map(|entry| entry.chars().count() + 2).sum::<usize>() + 1;
        assert_eq!(last.at, Position { line: 2, column });
    }
}

mod entries {
    use super::*;

    #[test]
    fn everything_that_can_be_set_is_read_and_written_back() {
        let entries = [
            r#"{"command":"npx","args":["-y","p"],"env":{"A":"1"},"process":{"mode":"perSession","maxProcesses":3,"warmSpares":2,"idleTimeout":"1h","installTimeout":"20m","startupTimeout":"90s","requestTimeout":"500ms"},"tools":{"allow":["a"],"deny":["b"]},"route":{"aggregate":false},"suspend":true}"#,
            r#"{"url":"https://h:1/mcp","transport":"streamable-http","headers":{"authorization":"Bearer x"}}"#,
            r#"{"command":"uvx"}"#,
        ];
        for entry in entries {
            assert_eq!(json(&spec(entry)), entry);
        }
    }

    #[test]
    fn numbers_and_booleans_in_env_and_headers_stand_for_their_text() {
        let command = command(r#"{"command": "x", "env": {"A": 8080, "B": true, "C": 3.10}}"#);
        assert_eq!(command.env.into_values().collect::<Vec<_>>(), ["8080", "true", "3.10"]);
    }

    #[test]
    fn the_declared_type_of_a_remote_server_is_honoured_in_every_spelling() {
        let transports = [
            ("\"type\": \"sse\"", Transport::Sse),
            ("\"type\": \"http\"", Transport::StreamableHttp),
            ("\"type\": \"streamable-http\"", Transport::StreamableHttp),
            ("\"type\": \"streamableHttp\"", Transport::StreamableHttp),
            ("\"transport\": \"sse\", \"type\": \"sse\"", Transport::Sse),
            ("\"transport\": \"auto\"", Transport::Auto),
        ];
        for (declared, expected) in transports {
            let remote = remote(&format!("{{\"url\": \"http://h/x\", {declared}}}"));
            assert_eq!(remote.transport, expected, "{declared}");
        }
    }

    #[test]
    fn a_server_that_a_client_switched_off_is_suspended() {
        for off in ["\"disabled\": true", "\"suspend\": true", "\"enabled\": false", "\"isActive\": false"] {
            assert!(spec(&format!("{{\"command\": \"x\", {off}}}")).suspend, "{off}");
        }
        for on in ["\"disabled\": false", "\"enabled\": true", "\"isActive\": true"] {
            assert!(!spec(&format!("{{\"command\": \"x\", {on}}}")).suspend, "{on}");
        }
    }

    #[test]
    fn settings_of_clients_are_ignored_with_a_warning() {
        let accepted = outcome(r#"{"command": "x", "autoApprove": ["t"], "timeout": 60, "description": "d"}"#).unwrap();
        insta::assert_snapshot!(accepted.warnings.join("\n"), @r#"
        `autoApprove` is ignored: it is a setting of clients
        `timeout` is ignored: its unit differs between clients; write `process.requestTimeout`
        `description` is ignored: it is a setting of clients
        "#);
    }

    #[test]
    fn headers_are_lower_case_and_those_of_the_transport_are_left_out() {
        let entry = r#"{"url": "http://h", "headers": {"X-Key": "1", "Accept": "text/event-stream"}}"#;
        assert_eq!(remote(entry).headers, BTreeMap::from([("x-key".into(), "1".into())]));
    }

    #[test]
    fn arguments_reach_the_spec_untouched_whatever_a_shell_would_do_with_them() {
        let hostile =
            ["-c", "--call", "$(id)", "`id`", "a\nb", "; rm -rf /", "--node-options=x", "‐‐dash", "", " ", "\\", "\"'"];
        let command = command(&format!("{{\"command\": \"npx\", \"args\": {}}}", json(&hostile)));
        assert_eq!(command.args, hostile);
    }

    #[test]
    fn each_mistake_is_explained() {
        let entries = [
            "{}",
            r#"{"command": "x", "url": "http://h"}"#,
            "3",
            r#"{"command": ""}"#,
            r#"{"command": null}"#,
            r#"{"command": "uvx mcp-server-time"}"#,
            r#"{"command": " uvx"}"#,
            r#"{"command": "a\u0000b"}"#,
            r#"{"command": "x", "args": "y"}"#,
            r#"{"command": "x", "args": ["y", 1]}"#,
            r#"{"command": "x", "args": ["\u0000"]}"#,
            r#"{"command": "x", "env": ["A=1"]}"#,
            r#"{"command": "x", "env": {"A": null}}"#,
            r#"{"command": "x", "env": {"A=B": "1"}}"#,
            r#"{"command": "x", "env": {"A": "\u0000"}}"#,
            r#"{"command": "x", "headers": {"a": "b"}}"#,
            r#"{"command": "x", "type": "sse"}"#,
            r#"{"url": "ftp://h"}"#,
            r#"{"url": "h/mcp"}"#,
            r#"{"url": "http://"}"#,
            r#"{"url": "http://h", "args": ["a"]}"#,
            r#"{"url": "http://h", "type": "stdio"}"#,
            r#"{"url": "http://h", "type": "sse", "transport": "http"}"#,
            r#"{"url": "http://h", "headers": {"a b": "c"}}"#,
            r#"{"url": "http://h", "headers": {"A": "b\nc"}}"#,
            r#"{"url": "http://h", "headers": {"A": "1", "a": "2"}}"#,
            r#"{"url": "http://h", "headers": {"Host": "x"}}"#,
            r#"{"comand": "x"}"#,
            r#"{"command": "x", "max_processes": 1}"#,
            r#"{"command": "x", "process": {"max_processes": 1, "zzz": 1}}"#,
            r#"{"command": "x", "process": {"mode": "fork", "maxProcesses": 0, "warmSpares": -1, "idleTimeout": 5}}"#,
            r#"{"command": "x", "process": {"maxProcesses": 1, "warmSpares": 2}}"#,
            r#"{"command": "x", "tools": ["*"]}"#,
            r#"{"command": "x", "tools": {"allow": [""]}}"#,
            r#"{"command": "x", "disabled": "yes"}"#,
            r#"{"command": "x", "cwd": "/", "serverUrl": "", "excludeTools": [], "replicas": 2}"#,
        ];
        insta::assert_snapshot!(entries.map(complaint).join("\n"), @r#"
        it needs `command` (a program to start) or `url` (a server elsewhere)
        `command` and `url` exclude each other: keep one
        it must be an object, not a number
        `command` must not be empty
        `command` must be a string, not null
        `command` must be the program alone: split it, as in "command": "uvx", "args": ["mcp-server-time"]
        `command` must not begin or end with a space
        `command` must not hold a NUL character
        `args` must be an array of strings, not a string
        `args[1]` must be a string, not a number
        `args[0]` must not hold a NUL character
        `env` must be an object of strings, not an array
        `env.A` must be a string, not null
        `env.A=B` is no name of a variable: it must not be empty nor hold `=` or NUL
        `env.A` must not hold a NUL character
        `headers` is for a server with a `url`; a program gets its secrets in `env`
        `type` must be `stdio`, or left out, for a server with a `command`
        `url` must be an absolute http or https URL such as `https://host/mcp`
        `url` must be an absolute http or https URL such as `https://host/mcp`
        `url` must be an absolute http or https URL such as `https://host/mcp`
        `args` is for a server with a `command`; a server with a `url` takes `headers`
        `type` must be `streamable-http`, `sse` or `auto` for a server with a `url`
        `type` and `transport` contradict each other: keep one
        `headers.a b` is no name of a header
        `headers.A` must be a header value: printable ASCII on one line
        `headers` must name each header once: upper and lower case are the same
        `headers.Host` is set by the gateway itself: leave it out
        it needs `command` (a program to start) or `url` (a server elsewhere); unknown field `comand`: did you mean `command`?
        unknown field `max_processes`: known are command, url, args, env, headers, type, transport, process, tools, route, suspend, disabled, enabled, isActive
        unknown field `process.max_processes`: did you mean `process.maxProcesses`?; unknown field `process.zzz`: known are mode, maxProcesses, warmSpares, idleTimeout, installTimeout, startupTimeout, requestTimeout
        `process.mode` must be `auto`, `shared` or `perSession`; `process.maxProcesses` must be a whole number of at least 1; `process.warmSpares` must be a whole number of at least 0; `process.idleTimeout` must be a length of time above zero such as `500ms`, `90s`, `10m`, `1h30m` or `30d`
        `process.warmSpares` must be at most `process.maxProcesses`, 1
        `tools` must be an object, not an array
        `tools.allow[0]` must not be empty
        `disabled` must be true or false, not a string
        `cwd` is not supported: servers run in a directory of their own; write absolute paths in `args`; `serverUrl` is not supported: write `url`; `excludeTools` is not supported: write `tools.deny`; `replicas` is not supported: it belongs to the McpServer resource of Kubernetes
        "#);
    }

    #[test]
    fn empty_fields_of_the_other_kind_of_server_are_let_pass() {
        assert_eq!(spec(r#"{"url": "http://h", "args": [], "env": {}}"#), spec(r#"{"url": "http://h"}"#));
        assert_eq!(spec(r#"{"command": "x", "headers": {}}"#), spec(r#"{"command": "x"}"#));
    }

    #[test]
    fn a_path_with_spaces_is_a_program() {
        assert!(outcome(r#"{"command": "/opt/my server/run"}"#).is_ok());
    }

    #[test]
    fn complaints_never_repeat_a_value_that_may_be_secret() {
        let entries = [
            r#"{"command": "uvx --token=hunter2"}"#,
            r#"{"command": "TOKEN=hunter2 uvx"}"#,
            r#"{"command": "x", "env": {"A": "hunter2\u0000"}}"#,
            r#"{"url": "hunter2"}"#,
            r#"{"url": "ws://hunter2@h"}"#,
            r#"{"url": "http://u:hunter2@h"}"#,
            r#"{"url": "http://h", "headers": {"A": "hunter2\n"}, "type": "hunter2"}"#,
            r#"{"command": "x", "args": "hunter2", "suspend": "hunter2", "process": {"idleTimeout": "hunter2"}}"#,
        ];
        for entry in entries {
            let complaint = complaint(entry);
            assert!(!complaint.contains("hunter2"), "{complaint}");
        }
    }
}

mod digests {
    use super::*;

    #[test]
    fn order_of_fields_and_variables_and_written_defaults_make_no_difference() {
        let one = spec(r#"{"command": "x", "env": {"A": "1", "B": "2"}}"#);
        let other = spec(
            r#"{"env": {"B": "2", "A": 1}, "route": {"aggregate": true}, "disabled": false, "command": "x", "name": "n"}"#,
        );
        assert_eq!(one.digest(), other.digest());
    }

    #[test]
    fn every_setting_makes_a_difference() {
        let entries = [
            r#"{"command": "x"}"#,
            r#"{"command": "y"}"#,
            r#"{"command": "x", "args": ["a", "b"]}"#,
            r#"{"command": "x", "args": ["b", "a"]}"#,
            r#"{"command": "x", "env": {"A": "1"}}"#,
            r#"{"command": "x", "process": {"warmSpares": 0}}"#,
            r#"{"command": "x", "process": {"requestTimeout": "1s"}}"#,
            r#"{"command": "x", "tools": {"deny": ["a"]}}"#,
            r#"{"command": "x", "route": {"aggregate": false}}"#,
            r#"{"command": "x", "suspend": true}"#,
            r#"{"url": "http://h"}"#,
            r#"{"url": "http://h", "transport": "sse"}"#,
            r#"{"url": "http://h", "headers": {"a": "1"}}"#,
        ];
        let digests: std::collections::HashSet<_> = entries.iter().map(|entry| spec(entry).digest()).collect();
        assert_eq!(digests.len(), entries.len());
    }

    /// A changed digest would restart every server at an upgrade.
    #[test]
    fn digests_are_the_same_in_every_release() {
        let entry =
            r#"{"command": "uvx", "args": ["a"], "env": {"K": "v"}, "process": {"mode": "shared"}, "suspend": true}"#;
        let digest = spec(entry).digest();
        insta::assert_snapshot!(format!("{digest:02x?}"), @"[e9, 49, 9f, f0, 83, eb, b0, ea, f2, 09, 39, 0d, a9, f3, c8, f7, 71, 1f, 71, 8e, 0a, 81, 07, e2, 08, 5b, 76, ae, 7d, 60, 75, b7]");
    }
}
