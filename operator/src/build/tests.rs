//! What is built for servers of every kind, as manifests.

use super::*;
use crate::controller::validate::validate;
use crate::fixtures::{server, settings};
use crate::settings::PackageDefaults;

fn built(spec: &str, settings: &Settings, around: &Surroundings) -> Resources {
    build(&validate(&server(spec), settings).unwrap(), settings, around)
}

fn around() -> Surroundings {
    Surroundings {
        jwks: r#"{"keys":[]}"#.to_owned(),
        references: "0123456789abcdef".to_owned(),
        ..Surroundings::default()
    }
}

/// All objects as one list, in the order of their kinds.
fn manifests(resources: &Resources) -> Vec<serde_json::Value> {
    let Resources {
        service_account,
        hop,
        certificates,
        lock,
        cache,
        network_policy,
        service,
        disruption_budget,
        deployment,
    } = resources;
    let mut list = Vec::new();
    list.extend(service_account.as_ref().map(value));
    list.push(value(hop));
    list.extend([certificates, lock].into_iter().flatten().map(value));
    list.extend(cache.as_ref().map(value));
    list.push(value(network_policy));
    list.push(value(service));
    list.extend(disruption_budget.as_ref().map(value));
    list.push(value(deployment));
    list
}

fn value(object: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(object).unwrap()
}

const EVERYTHING: &str = include_str!("tests/everything.yaml");

#[test]
fn a_python_package() {
    let resources = built("{command: uvx, args: [mcp-server-time, --local-timezone=UTC]}", &settings(), &around());
    insta::assert_yaml_snapshot!(manifests(&resources));
}

#[test]
fn an_npm_package_with_registries_and_certificates_of_the_operator() {
    let packages = PackageDefaults {
        index: Some("https://pypi.example.com/simple".to_owned()),
        extra_indexes: vec!["https://one.example.com/simple".to_owned(), "https://two.example.com/simple".to_owned()],
        npm_registry: Some("https://npm.example.com".to_owned()),
        certificates: Some("-----BEGIN CERTIFICATE-----\n".to_owned()),
        credentials: Some("registries".to_owned()),
    };
    let resources =
        built("{command: npx, args: [-y, server-everything]}", &Settings { packages, ..settings() }, &around());
    insta::assert_yaml_snapshot!(manifests(&resources));
}

#[test]
fn an_image_with_a_plain_command() {
    let resources =
        built("{command: /usr/bin/server, args: ['$(HOME)'], image: 'example.com/own:2'}", &settings(), &around());
    insta::assert_yaml_snapshot!(manifests(&resources));
}

#[test]
fn a_server_elsewhere_with_a_header_of_a_secret() {
    let spec = "{url: 'https://mcp.example.com/mcp', headers: [{name: Authorization, valueFrom: {secretKeyRef: {name: remote, key: authorization}}}]}";
    insta::assert_yaml_snapshot!(manifests(&built(spec, &settings(), &around())));
}

#[test]
fn a_server_elsewhere_with_an_authority_of_ones_own_or_the_operators() {
    let packages = PackageDefaults { certificates: Some("pem".to_owned()), ..PackageDefaults::default() };
    let settings = Settings { packages, ..settings() };
    let own = built("{url: 'https://mcp.example.com', caRef: {name: authorities, key: all.pem}}", &settings, &around());
    assert!(own.certificates.is_none());
    insta::assert_yaml_snapshot!(own.deployment.spec.unwrap().template.spec);
    let copied = built("{url: 'https://mcp.example.com'}", &settings, &around());
    assert_eq!(copied.certificates.unwrap().data.unwrap()[CA_FILE], "pem");
    let volumes = copied.deployment.spec.unwrap().template.spec.unwrap().volumes.unwrap();
    assert_eq!(volumes[1].config_map.as_ref().unwrap().name, "time-ca");
}

#[test]
fn every_field_is_set() {
    let lock = Some(r#"{"key":"k","content":"mcp-server-time==1"}"#.to_owned());
    let resources = built(EVERYTHING, &settings(), &Surroundings { lock, ..around() });
    insta::assert_yaml_snapshot!(manifests(&resources));
}

#[test]
fn children_have_the_labels_and_annotations_of_the_spec_and_the_operators_go_before() {
    // As of an object that was stored under other rules.
    let spec = "{command: a, childMetadata: {serviceAccount: {labels: {team: a, app.kubernetes.io/instance: other}, annotations: {role: reader}}}}";
    let account = built(spec, &settings(), &around()).service_account.unwrap().metadata;
    let given = account.labels.unwrap();
    assert_eq!((given["team"].as_str(), given[labels::INSTANCE].as_str()), ("a", "time"));
    assert_eq!(account.annotations.unwrap(), [("role".to_owned(), "reader".to_owned())].into());
    let plain = built("{command: a, childMetadata: {service: {}}}", &settings(), &around());
    assert_eq!(plain, built("{command: a}", &settings(), &around()));
}

#[test]
fn images_are_pulled_with_the_secrets_of_the_spec_and_with_the_operators() {
    let secrets = |spec: &str, operators: &[&str]| {
        let image_pull_secrets = operators.iter().map(ToString::to_string).collect();
        let built = built(spec, &Settings { image_pull_secrets, ..settings() }, &around());
        let secrets = built.deployment.spec.unwrap().template.spec.unwrap().image_pull_secrets;
        secrets.map(|secrets| secrets.into_iter().map(|secret| secret.name).collect::<Vec<_>>().join(" "))
    };
    let own = "{command: a, imagePullSecrets: [{name: own}, {name: shared}]}";
    assert_eq!(secrets("{command: a}", &[]), None);
    assert_eq!(secrets("{command: a}", &["shared", "mirror"]).as_deref(), Some("shared mirror"));
    assert_eq!(secrets("{url: 'https://a'}", &["shared"]).as_deref(), Some("shared"));
    assert_eq!(secrets(own, &["shared", "mirror"]).as_deref(), Some("own shared mirror"));
}

#[test]
fn a_cache_on_a_volume_is_claimed_and_pods_follow_one_another() {
    let spec = "{command: uvx, args: [mcp-server-time], packages: {cache: {medium: PersistentVolumeClaim, size: 5Gi, storageClassName: fast}}}";
    let resources = built(spec, &settings(), &around());
    let strategy = resources.deployment.spec.unwrap().strategy.unwrap();
    assert_eq!(strategy.type_.as_deref(), Some("Recreate"));
    insta::assert_yaml_snapshot!(resources.cache);
}

#[test]
fn what_a_volume_holds_serves_the_same_request_only() {
    let update = |more: &str, cache: &str| {
        let spec = format!("{{command: uvx, args: [a], {more} packages: {{cache: {{medium: {cache}}}, update: '1'}}}}");
        let pod = built(&spec, &settings(), &around()).deployment.spec.unwrap().template.spec.unwrap();
        let args = pod.init_containers.unwrap().remove(1).args.unwrap();
        args.iter().position(|arg| arg == "--package-update").map(|at| args[at + 1].clone())
    };
    let first = update("", "PersistentVolumeClaim");
    assert!(first.is_some());
    assert_eq!(update("replicas: 2,", "PersistentVolumeClaim"), first);
    assert_ne!(update("image: 'example.com/python:3',", "PersistentVolumeClaim"), first);
    assert_eq!(update("", "EmptyDir"), None);
}

#[test]
fn a_server_whose_name_begins_with_a_digit_has_a_service_that_does_not() {
    let mut server = server("{command: a}");
    server.metadata.name = Some("2fa".to_owned());
    let built = build(&validate(&server, &settings()).unwrap(), &settings(), &around());
    let names = |metadata: &ObjectMeta| {
        (metadata.name.clone().unwrap(), metadata.labels.clone().unwrap()[labels::SERVER].clone())
    };
    assert_eq!(names(&built.service.metadata), ("mcp-2fa".to_owned(), "2fa".to_owned()));
    assert_eq!(names(&built.deployment.metadata), ("2fa".to_owned(), "2fa".to_owned()));
}

#[test]
fn a_second_replica_waits_for_the_lock() {
    let replicas = |lock: Option<&str>, current| {
        let around = Surroundings { lock: lock.map(ToOwned::to_owned), replicas: current, ..around() };
        let built = built("{command: uvx, args: [a], replicas: 2}", &settings(), &around);
        (built.deployment.spec.unwrap().replicas, built.disruption_budget.is_some())
    };
    assert_eq!(replicas(None, None), (Some(1), true));
    assert_eq!(replicas(Some("{}"), Some(1)), (Some(2), true));
    // Pods that are there are not taken away when the spec changes.
    assert_eq!(replicas(None, Some(2)), (Some(2), true));
    // A command line that is left to the runner as it stands has no lock to wait for.
    let unresolved = Surroundings { unresolved: true, replicas: Some(1), ..around() };
    let built_so = built("{command: npx, args: [user/repo], replicas: 2}", &settings(), &unresolved);
    assert_eq!(built_so.deployment.spec.unwrap().replicas, Some(2));
    let plain = built("{command: server, replicas: 2}", &settings(), &around());
    assert_eq!(plain.deployment.spec.unwrap().replicas, Some(2));
}

#[test]
fn replicas_are_not_owned_unless_given_and_suspended_servers_have_none() {
    let replicas = |spec: &str| built(spec, &settings(), &around()).deployment.spec.unwrap().replicas;
    assert_eq!(replicas("{command: server}"), None);
    assert_eq!(replicas("{command: server, replicas: 3, suspend: true}"), Some(0));
}

#[test]
fn the_same_server_is_built_the_same() {
    let build = || serde_json::to_string(&manifests(&built(EVERYTHING, &settings(), &around()))).unwrap();
    assert_eq!(build(), build());
}
