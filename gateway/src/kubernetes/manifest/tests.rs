use super::*;
use crate::spec::parse_servers;

const KEY: [u8; 32] = [1; 32];

fn manifest(entry: &str) -> Manifest {
    named("time", "time", entry)
}

fn named(resource: &str, name: &str, entry: &str) -> Manifest {
    let parsed = parse_servers(&format!(r#"{{"mcpServers":{{"{name}":{entry}}}}}"#), 1 << 16).unwrap();
    let accepted = parsed.entries.into_iter().next().unwrap().outcome.unwrap();
    let key = Key { namespace: "team".into(), name: resource.into() };
    Manifest::new(key, &accepted.name, &accepted.spec)
}

fn text(value: &Value) -> String {
    serde_json::to_string(value).unwrap()
}

#[test]
fn an_entry_becomes_the_resource_word_for_word() {
    let entries = [
        ("time", "time", r#"{"command":"uvx","args":["mcp-server-time","--tz=$X"],"env":{"A":"1$B$(C)"}}"#),
        (
            "git-hub",
            "Git_Hub",
            r#"{"command":"npx","disabled":true,"route":{"aggregate":false},"tools":{"deny":["x*"]},
            "process":{"mode":"shared","maxProcesses":3,"warmSpares":0,"idleTimeout":"90s","requestTimeout":"2m"}}"#,
        ),
        ("far", "far", r#"{"url":"https://h/mcp","type":"sse","headers":{"X-Team":"a$"}}"#),
    ];
    let specs = entries.map(|(resource, name, entry)| {
        let resource = named(resource, name, entry).resource(PrincipalHash::from_bytes([7; 16]), None);
        // What the API would not understand is refused here.
        serde_json::from_value::<api::McpServer>(resource.clone()).unwrap();
        text(&resource["spec"])
    });
    insta::assert_snapshot!(specs.join("\n"), @r#"
    {"command":"uvx","args":["mcp-server-time","--tz=$X"],"env":[{"name":"A","value":"1$$B$$(C)"}]}
    {"command":"npx","process":{"mode":"shared","maxProcesses":3,"warmSpares":0,"idleTimeout":"90s","requestTimeout":"2m"},"tools":{"deny":["x*"]},"route":{"name":"Git_Hub","aggregate":false},"suspend":true}
    {"url":"https://h/mcp","transport":"sse","headers":[{"name":"x-team","value":"a$"}]}
    "#);
}

#[test]
fn what_looks_secret_goes_into_a_secret_of_the_servers_own() {
    let env = r#"{"command":"uvx","env":{"API_TOKEN":"hunter2","PLAIN":"1","DB":"postgres://u:hunter3@h/x","odd name key":"h4"}}"#;
    let headers = r#"{"url":"https://h/","headers":{"Authorization":"Bearer hunter5"}}"#;
    for (entry, expected) in [(env, 3), (headers, 1)] {
        let manifest = manifest(entry);
        let digest = manifest.digest(&KEY);
        let resource = text(&manifest.resource(PrincipalHash::from_bytes([7; 16]), Some(&digest)));
        assert!(!resource.contains("hunter") && !resource.contains("h4"), "{resource}");
        assert_eq!(resource.matches(r#""secretKeyRef":{"name":"time-deploy-env""#).count(), expected, "{resource}");
        let secret = manifest.secret(Uid::from_bytes([9; 16]), &digest);
        assert_eq!(secret["data"].as_object().unwrap().len(), expected);
        serde_json::from_value::<k8s_openapi::api::core::v1::Secret>(secret).unwrap();
    }
    let manifest = manifest(env);
    let keys: Vec<_> = manifest.secrets.keys().cloned().collect();
    assert!(keys.contains(&"API_TOKEN".to_owned()) && keys.iter().all(|key| !key.contains(' ')), "{keys:?}");
}

#[test]
fn a_digest_tells_a_change_with_any_key_of_the_ring_and_nothing_without() {
    let one = manifest(r#"{"command":"x","env":{"TOKEN":"a"}}"#);
    let two = manifest(r#"{"command":"x","env":{"TOKEN":"b"}}"#);
    let plain = manifest(r#"{"command":"x"}"#);
    let told = one.digest(&KEY);
    assert!(one.is_same(Some(&told), &[[2; 32], KEY]));
    assert!(!one.is_same(Some(&told), &[[2; 32]]) && !two.is_same(Some(&told), &[KEY]) && !one.is_same(None, &[KEY]));
    assert!(plain.is_same(None, &[KEY]) && !plain.is_same(Some(&told), &[KEY]));
}

#[test]
fn a_secret_that_is_there_is_changed_only_if_it_is_this_servers() {
    let manifest = manifest(r#"{"command":"x","env":{"TOKEN":"a"}}"#);
    let owner = Uid::from_bytes([9; 16]);
    let secret = manifest.secret(owner, "old");
    let patch = manifest.secret_patch(owner, "new");
    for operation in patch.as_array().unwrap().iter().filter(|it| it["op"] == "test") {
        let path = operation["path"].as_str().unwrap();
        assert_eq!(secret.pointer(path), Some(&operation["value"]), "{path}");
    }
    serde_json::from_value::<json_patch_form::Patch>(patch).unwrap();
}

/// The form of RFC 6902, as far as it is used.
mod json_patch_form {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its form is looked at")]
    pub(super) struct Operation {
        op: String,
        path: String,
        value: serde_json::Value,
    }
    pub(super) type Patch = Vec<Operation>;
}

#[test]
fn every_name_has_a_resource_name_that_is_a_short_label_and_its_own() {
    let long = "x".repeat(63);
    let names = ["time", "GitHub", "my_server", "a.b", "1", long.as_str()];
    for name in names {
        let name = ServerName::parse(name).unwrap();
        for taken in [false, true] {
            let resource = resource_name(&name, |_| taken);
            assert!(resource.len() <= 52, "{resource}");
            assert!(
                resource.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-'),
                "{resource}"
            );
            assert!(!resource.starts_with('-') && !resource.ends_with('-'), "{resource}");
        }
    }
    let of = |name: &str, taken: &str| resource_name(&ServerName::parse(name).unwrap(), |it| it == taken);
    assert_eq!((of("GitHub", ""), of("my_server", "")), ("github".to_owned(), "my-server".to_owned()));
    assert_ne!(of("my_server", "my-server"), "my-server");
    assert_ne!(of("my_server", "my-server"), of("My.server", "my-server"));
}

#[test]
fn what_is_in_the_place_of_a_secret_is_told_by_its_labels_without_reading_it() {
    let test = manifest(r#"{"command":"uvx","env":{"TOKEN":"hunter2"}}"#).secret_test();
    insta::assert_snapshot!(text(&test), @r#"[{"op":"test","path":"/metadata/labels/app.kubernetes.io~1managed-by","value":"mcp-gateway"},{"op":"test","path":"/metadata/labels/mcpgateway.dev~1purpose","value":"env"},{"op":"test","path":"/metadata/labels/mcpgateway.dev~1server","value":"time"}]"#);
}
