//! Each rule of CEL, with what it lets pass and what it refuses.

use std::collections::BTreeSet;

use serde_json::Value;

use super::check::{named, problems, server};
use super::{each, schema};

/// A rule, known by a piece of its message; specs that it accepts, and specs that it refuses.
struct Rule {
    message: &'static str,
    accepts: &'static [&'static str],
    refuses: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule {
        message: "set exactly one of command (a program to start) and url",
        accepts: &["{command: uvx}", "{url: 'https://host/mcp'}"],
        refuses: &["{}", "{suspend: true}", "{command: uvx, url: 'https://host/mcp'}"],
    },
    Rule {
        message: "headers are for a server with a url",
        accepts: &["{url: 'http://host', headers: [{name: A, value: b}]}", "{command: uvx, headers: []}"],
        refuses: &["{command: uvx, headers: [{name: A, value: b}]}"],
    },
    Rule {
        message: "transport is for a server with a url",
        accepts: &["{url: 'http://host', transport: sse}", "{command: uvx, transport: auto}"],
        refuses: &["{command: uvx, transport: sse}", "{command: uvx, transport: streamable-http}"],
    },
    Rule {
        message: "args, env and envFrom are for a server with a command",
        accepts: &[
            "{command: uvx, args: [a], env: [{name: A}], envFrom: [{secretRef: {name: a}}]}",
            "{url: 'http://host', args: [], env: [], envFrom: []}",
        ],
        refuses: &[
            "{url: 'http://host', args: [a]}",
            "{url: 'http://host', env: [{name: A}]}",
            "{url: 'http://host', envFrom: [{secretRef: {name: a}}]}",
        ],
    },
    Rule {
        message: "image, packages, resources, securityContext, volumes and volumeMounts are for a server with a command",
        accepts: &[
            "{command: uvx, image: i, packages: {}, resources: {}, securityContext: {}}",
            "{url: 'http://host', image: '', volumes: [], volumeMounts: [], sidecar: {resources: {}}}",
        ],
        refuses: &[
            "{url: 'http://host', image: i}",
            "{url: 'http://host', packages: {}}",
            "{url: 'http://host', resources: {}}",
            "{url: 'http://host', securityContext: {}}",
            "{url: 'http://host', volumes: [{name: a, emptyDir: {}}]}",
        ],
    },
    Rule {
        message: "each volumeMount must name one of the volumes",
        accepts: &["{command: a, volumes: [{name: a, emptyDir: {}}], volumeMounts: [{name: a, mountPath: /a}]}"],
        refuses: &[
            "{command: a, volumes: [{name: a, emptyDir: {}}], volumeMounts: [{name: b, mountPath: /a}]}",
            "{command: a, volumeMounts: [{name: b, mountPath: /a}]}",
        ],
    },
    Rule {
        message: "command is the program alone",
        accepts: &["{command: uvx}", "{command: /opt/my server/run}"],
        refuses: &["{command: uvx mcp-server-time}", r#"{command: "uvx\tx"}"#, "{command: sh -c /bin/x}"],
    },
    Rule {
        message: "name each header once",
        accepts: &["{url: 'http://host', headers: [{name: A, value: b}, {name: B, value: b}]}"],
        refuses: &["{url: 'http://host', headers: [{name: Key, value: b}, {name: kEY, value: c}]}"],
    },
    Rule {
        message: "a header has exactly one of value and valueFrom",
        accepts: &[
            "{url: 'http://host', headers: [{name: A, value: ''}, {name: B, valueFrom: {secretKeyRef: {name: a, key: b}}}]}",
        ],
        refuses: &[
            "{url: 'http://host', headers: [{name: A}]}",
            "{url: 'http://host', headers: [{name: A, value: b, valueFrom: {secretKeyRef: {name: a, key: b}}}]}",
        ],
    },
    Rule {
        message: "this header is set by the transport itself",
        accepts: &["{url: 'http://host', headers: [{name: Authorization, value: b}]}"],
        refuses: &["{url: 'http://host', headers: [{name: Mcp-Session-Id, value: b}]}"],
    },
    Rule {
        message: "set exactly one of secretKeyRef and configMapKeyRef",
        accepts: &["{url: 'http://host', headers: [{name: A, valueFrom: {configMapKeyRef: {name: a, key: b}}}]}"],
        refuses: &[
            "{url: 'http://host', headers: [{name: A, valueFrom: {}}]}",
            "{url: 'http://host', headers: [{name: A, valueFrom: {configMapKeyRef: {name: a, key: b}, secretKeyRef: {name: a, key: b}}}]}",
        ],
    },
    Rule {
        message: "each mountPath must be an absolute path",
        accepts: &["{command: a, volumes: [{name: a, emptyDir: {}}], volumeMounts: [{name: a, mountPath: /a/..b}]}"],
        refuses: &[
            "{command: a, volumes: [{name: a, emptyDir: {}}], volumeMounts: [{name: a, mountPath: a}]}",
            "{command: a, volumes: [{name: a, emptyDir: {}}], volumeMounts: [{name: a, mountPath: /a/../b}]}",
            "{command: a, volumes: [{name: a, emptyDir: {}}], volumeMounts: [{name: a, mountPath: '/a:b'}]}",
        ],
    },
    Rule {
        message: "a variable has value or valueFrom, not both",
        accepts: &[
            "{command: a, env: [{name: A}, {name: B, value: b}, {name: C, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}",
        ],
        refuses: &["{command: a, env: [{name: A, value: b, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}"],
    },
    Rule {
        message: "set exactly one of secretKeyRef, configMapKeyRef, fieldRef and resourceFieldRef",
        accepts: &[
            "{command: a, env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}]}",
        ],
        refuses: &[
            "{command: a, env: [{name: A, valueFrom: {}}]}",
            "{command: a, env: [{name: A, valueFrom: {fieldRef: {fieldPath: a}, secretKeyRef: {name: a, key: b}}}]}",
        ],
    },
    Rule {
        message: "set exactly one of secretRef and configMapRef",
        accepts: &["{command: a, envFrom: [{configMapRef: {name: a, optional: true}, prefix: P_}]}"],
        refuses: &[
            "{command: a, envFrom: [{prefix: P_}]}",
            "{command: a, envFrom: [{configMapRef: {name: a}, secretRef: {name: a}}]}",
        ],
    },
    Rule {
        message: "warmSpares must be at most maxProcesses",
        accepts: &[
            "{command: a, process: {warmSpares: 64}}",
            "{command: a, process: {warmSpares: 2, maxProcesses: 2}}",
        ],
        refuses: &[
            "{command: a, process: {warmSpares: 65}}",
            "{command: a, process: {warmSpares: 3, maxProcesses: 2}}",
        ],
    },
    Rule {
        message: "size, storageClassName, accessModes and claimName need medium: PersistentVolumeClaim",
        accepts: &[
            "{command: a, packages: {cache: {medium: PersistentVolumeClaim, size: 1Gi, storageClassName: s, accessModes: [ReadWriteMany]}}}",
            "{command: a, packages: {cache: {sizeLimit: 1Gi, accessModes: []}}}",
        ],
        refuses: &[
            "{command: a, packages: {cache: {size: 1Gi}}}",
            "{command: a, packages: {cache: {medium: EmptyDir, claimName: a}}}",
            "{command: a, packages: {cache: {storageClassName: a}}}",
            "{command: a, packages: {cache: {accessModes: [ReadWriteOnce]}}}",
        ],
    },
    Rule {
        message: "sizeLimit is for medium: EmptyDir",
        accepts: &[
            "{command: a, packages: {cache: {sizeLimit: 1Gi}}}",
            "{command: a, packages: {cache: {medium: EmptyDir, sizeLimit: 1Gi}}}",
        ],
        refuses: &["{command: a, packages: {cache: {medium: PersistentVolumeClaim, sizeLimit: 1Gi}}}"],
    },
    Rule {
        message: "a claim that exists (claimName) has size",
        accepts: &["{command: a, packages: {cache: {medium: PersistentVolumeClaim, claimName: a}}}"],
        refuses: &["{command: a, packages: {cache: {medium: PersistentVolumeClaim, claimName: a, size: 1Gi}}}"],
    },
    Rule {
        message: "labels of mcpgateway.dev, and app.kubernetes.io/name",
        accepts: &["{command: a, podMetadata: {labels: {team: a, app.kubernetes.io/version: '1'}}}"],
        refuses: &[
            "{command: a, podMetadata: {labels: {mcpgateway.dev/server: a}}}",
            "{command: a, podMetadata: {labels: {app.kubernetes.io/instance: a}}}",
        ],
    },
    Rule {
        message: "annotations of mcpgateway.dev are the operator's",
        accepts: &["{command: a, podMetadata: {annotations: {a/b: c}}}"],
        refuses: &["{command: a, podMetadata: {annotations: {mcpgateway.dev/references-digest: a}}}"],
    },
    Rule {
        message: "set exactly one of configMap, csi, downwardAPI",
        accepts: &[
            "{command: a, volumes: [{name: a, configMap: {name: a}}, {name: b, secret: {secretName: a}}, {name: c, emptyDir: {}}]}",
            "{command: a, volumes: [{name: a, persistentVolumeClaim: {claimName: a}}, {name: b, image: {reference: a}}]}",
        ],
        // What is unknown, the API server takes out before it asks the rules.
        refuses: &[
            "{command: a, volumes: [{name: a}]}",
            "{command: a, volumes: [{name: a, emptyDir: {}, secret: {}}]}",
        ],
    },
    Rule {
        message: "names that begin with mcpgateway- are the operator's",
        accepts: &["{command: a, volumes: [{name: my-mcpgateway-home, emptyDir: {}}]}"],
        refuses: &["{command: a, volumes: [{name: mcpgateway-home, emptyDir: {}}]}"],
    },
    Rule {
        message: "the name is one of the gateway's own addresses: choose another",
        accepts: &["{command: a, route: {name: My_Server.2}}", "{command: a, route: {name: ''}}"],
        refuses: &["{command: a, route: {name: deploy}}", "{command: a, route: {name: Mcp}}"],
    },
];

#[test]
fn each_rule_accepts_what_is_right_and_says_what_is_wrong() {
    for rule in RULES {
        for spec in rule.accepts {
            assert_eq!(problems(&server(spec)), Vec::<String>::new(), "{spec}");
        }
        for spec in rule.refuses {
            let problems = problems(&server(spec));
            assert!(problems.iter().any(|problem| problem.contains(rule.message)), "{spec}: {problems:?}");
        }
    }
}

#[test]
fn a_name_is_a_short_label_that_can_be_routed() {
    let spec: Value = serde_saphyr::from_str("{command: a}").unwrap();
    let routed: Value = serde_saphyr::from_str("{command: a, route: {name: a}}").unwrap();
    let unnamed: Value = serde_saphyr::from_str("{command: a, route: {name: '', aggregate: false}}").unwrap();
    let longest = "a".repeat(52);
    for (name, spec) in [("time", &spec), ("2fa", &spec), (longest.as_str(), &spec), ("deploy", &routed)] {
        assert_eq!(problems(&named(name, spec)), Vec::<String>::new(), "{name}");
    }
    for name in ["a.b", "-a", "a-", "A", &"a".repeat(53)] {
        let problems = problems(&named(name, &spec));
        assert!(problems[0].contains("must be a DNS label of at most 52 characters"), "{name}: {problems:?}");
    }
    for (name, spec) in [("deploy", &spec), ("sse", &unnamed), ("well-known", &spec)] {
        let problems = problems(&named(name, spec));
        assert!(problems[0].contains("set spec.route.name"), "{name}: {problems:?}");
    }
}

#[test]
fn no_rule_is_without_a_test() {
    let mut untested = BTreeSet::new();
    each(|path, schema| {
        for rule in schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
            let message = rule["message"].as_str().unwrap();
            if !path.is_empty() && !RULES.iter().any(|tested| message.starts_with(tested.message)) {
                untested.insert(message.to_owned());
            }
        }
    });
    assert_eq!(untested, BTreeSet::new());
    let root = schema()["x-kubernetes-validations"].as_array().unwrap().len();
    assert_eq!(root, 2, "the rules on names have a test of their own");
}

#[test]
fn a_rule_says_what_is_wrong_in_its_own_words() {
    each(|path, schema| {
        for rule in schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
            let message = rule["message"].as_str().unwrap_or_default();
            assert!(message.len() > 20 && !message.contains('\n'), "{path}: {rule}");
        }
    });
}
