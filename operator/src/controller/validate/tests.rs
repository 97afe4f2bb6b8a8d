use super::*;
use crate::fixtures::{server, settings};

fn problems(spec: &str) -> Vec<String> {
    validate(&server(spec), &settings()).err().map(|invalid| invalid.0).unwrap_or_default()
}

#[test]
fn good_specs_are_accepted() {
    for spec in [
        "{command: uvx, args: [mcp-server-time]}",
        "{url: 'https://mcp.example.com/mcp'}",
        "{command: a, resources: {requests: {cpu: 0.5}, limits: {cpu: 500m}}}",
        "{command: a, volumes: [{name: d, emptyDir: {}}], volumeMounts: [{name: d, mountPath: /home/mcp}]}",
    ] {
        assert_eq!(problems(spec), Vec::<String>::new(), "{spec}");
    }
}

#[test]
fn each_mistake_is_named_with_its_field() {
    for (spec, expected) in [
        ("{}", "spec: set exactly one"),
        ("{command: a, url: 'https://b'}", "spec: set exactly one"),
        ("{url: 'https://b', env: [{name: A}]}", "spec: args, env and envFrom"),
        ("{command: a, env: [{name: A}, {name: A}]}", "spec.env: `A` is there twice"),
        ("{command: a, resources: {limits: {memory: lots}}}", "spec.resources.limits.memory: `lots`"),
        (
            "{command: a, resources: {requests: {cpu: '2'}, limits: {cpu: 500m}}}",
            "spec.resources.requests.cpu: is more",
        ),
        ("{command: a, sidecar: {resources: {limits: {cpu: -1}}}}", "spec.sidecar.resources.limits.cpu"),
        ("{command: a, packages: {cache: {sizeLimit: '0'}}}", "spec.packages.cache.sizeLimit"),
        ("{command: a, volumeMounts: [{name: x, mountPath: /x}]}", "spec.volumeMounts: there is no volume `x`"),
        (
            "{command: a, volumes: [{name: x, emptyDir: {}}], volumeMounts: [{name: x, mountPath: /mcp/}]}",
            "spec.volumeMounts: `/mcp` is in /mcp",
        ),
        ("{command: a, volumes: [{name: mcpgateway-x, emptyDir: {}}]}", "spec.volumes: names like"),
    ] {
        let found = problems(spec);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{spec}: {found:?}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let spec = "{command: a, env: [{name: A}, {name: A}], replicas: -1, resources: {limits: {memory: lots}}}";
    assert_eq!(problems(spec).len(), 3);
}

#[test]
fn a_package_without_a_version_floats() {
    for (command, floating) in [
        ("uvx mcp-server-time", Some("mcp-server-time")),
        ("uvx mcp-server-time==1.0", None),
        ("uvx mcp-server-time@1.0", None),
        ("uvx mcp-server-time@latest", Some("mcp-server-time@latest")),
        ("uvx --from mcp-server-time==1 serve", None),
        ("uvx --python 3.12 --from mcp serve", Some("mcp")),
        ("npx -y @scope/server", Some("@scope/server")),
        ("npx -y @scope/server@1.2.3", None),
        ("npx server@latest", Some("server@latest")),
    ] {
        let command: Vec<_> = command.split(' ').map(ToOwned::to_owned).collect();
        assert_eq!(Runner::of(&command).unwrap().floating(&command[1..]), floating, "{command:?}");
    }
}
