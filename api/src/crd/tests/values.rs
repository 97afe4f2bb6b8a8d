//! What single values may be, where the type alone says it.

use super::check::{problems, server};

/// A spec with a hole, what fits into it, and what does not.
struct Values {
    spec: &'static str,
    good: &'static [&'static str],
    bad: &'static [&'static str],
}

const VALUES: &[Values] = &[
    Values {
        spec: "{url: HOLE}",
        good: &["http://host", "https://host:8443/mcp?a=b", "https://host?a=b", "'https://[::1]:80/mcp'"],
        bad: &[
            "''",
            "host/mcp",
            "ftp://host",
            "https://user:pass@host/",
            "https:///mcp",
            "'https://host/a b'",
            "'https://h/#a'",
        ],
    },
    Values { spec: "{command: HOLE}", good: &["uvx", "./run", "/a b/c"], bad: &["''", "' uvx'", "'uvx '", "1"] },
    Values {
        spec: "{command: a, process: {idleTimeout: HOLE}}",
        good: &["10m", "1h30m", "500ms", "30d"],
        bad: &["10", "'10'", "0s", "1.5s", "-1s", "1w", "''"],
    },
    Values {
        spec: "{command: a, process: {mode: HOLE}}",
        good: &["auto", "shared", "perSession"],
        bad: &["pool", "persession"],
    },
    Values { spec: "{command: a, process: {maxProcesses: HOLE}}", good: &["1", "10000"], bad: &["0", "10001", "many"] },
    Values {
        spec: "{url: 'http://a', transport: HOLE}",
        good: &["auto", "sse", "streamable-http"],
        bad: &["stdio", "http"],
    },
    Values { spec: "{command: a, replicas: HOLE}", good: &["0", "3"], bad: &["-1", "1001", "'3'"] },
    Values {
        spec: "{command: a, env: [{name: HOLE}]}",
        good: &["KEY", "my.key", "a b"],
        bad: &["''", "a=b", r#""a\nb""#, "1"],
    },
    Values {
        spec: "{url: 'http://a', headers: [{name: HOLE, value: a}]}",
        good: &["Authorization", "X-Api-Key"],
        bad: &["''", "'a b'", "'a:'", "ü"],
    },
    Values {
        spec: "{url: 'http://a', headers: [{name: A, value: HOLE}]}",
        good: &["''", "Bearer x"],
        bad: &[r#""a\r\nb: c""#, "ü"],
    },
    Values {
        spec: "{command: a, resources: {limits: {memory: HOLE}}}",
        good: &["256Mi", "1", "'1'", "'0.5'", "'1e3'", "500m"],
        bad: &["256MB", "0.5", "lots", "''", "1 Gi"],
    },
    Values { spec: "{command: a, packages: {cache: {sizeLimit: HOLE}}}", good: &["2Gi"], bad: &["2 GB", "big"] },
    Values {
        spec: "{command: a, packages: {index: HOLE}}",
        good: &["https://pypi.example.com/simple/"],
        bad: &["pypi.example.com", "https://user:token@pypi.example.com/simple"],
    },
    Values {
        spec: "{command: a, packages: {credentialsRef: {name: HOLE}}}",
        good: &["a.b-c"],
        bad: &["''", "A", "a/b", "-a"],
    },
    Values {
        spec: "{command: a, route: {name: HOLE}}",
        good: &["GitHub", "my_server", "''"],
        bad: &["a/b", "-a", "a b", "ü"],
    },
    Values { spec: "{command: a, volumes: [{name: HOLE, emptyDir: {}}]}", good: &["a-1"], bad: &["A", "''", "a.b"] },
    Values { spec: "{command: a, tools: {allow: [HOLE]}}", good: &["get_*", "'*'"], bad: &["''", "1"] },
    Values { spec: "{command: a, volumes: [{name: a, HOLE: {}}]}", good: &["emptyDir"], bad: &["hostPath", "nfs"] },
    Values { spec: "{command: a, imagePullPolicy: HOLE}", good: &["Always"], bad: &["always"] },
];

#[test]
fn values_are_judged_by_the_schema_alone() {
    for Values { spec, good, bad } in VALUES {
        for value in *good {
            let spec = spec.replace("HOLE", value);
            assert_eq!(problems(&server(&spec)), Vec::<String>::new(), "{spec}");
        }
        for value in *bad {
            let spec = spec.replace("HOLE", value);
            assert!(!problems(&server(&spec)).is_empty(), "{spec}");
        }
    }
}

#[test]
fn what_is_too_long_is_refused() {
    for (spec, limit) in [
        ("{command: a, route: {name: HOLE}}", 63),
        ("{command: a, args: [HOLE]}", 32_768),
        ("{command: a, env: [{name: A, value: HOLE}]}", 32_768),
        ("{command: a, serviceAccountName: HOLE}", 253),
        ("{command: a, nodeSelector: {a: HOLE}}", 63),
    ] {
        let of = |length| problems(&server(&spec.replace("HOLE", &"a".repeat(length))));
        assert_eq!(of(limit), Vec::<String>::new(), "{spec}");
        assert!(of(limit + 1)[0].ends_with("maxLength"), "{spec}");
    }
}
