//! The chart mcp-gateway, rendered: what it lets its programs do, and what it refuses.

use e2e::chart::{FULL, chart, helm, of_kind, render, strings};
use serde_json::Value;

/// The two ends of what can be rendered, and a release that is limited in between.
fn renderings() -> [Vec<Value>; 3] {
    [render(&[]), render(&["--values", FULL]), render(&["--set", "namespaces={team-a},admissionPolicy.enabled=true"])]
}

/// What a pod may be made of, with where it was found.
fn pods(objects: &[Value]) -> Vec<(String, &Value)> {
    let named = |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]);
    let pods = objects.iter().filter_map(|object| match object["kind"].as_str() {
        Some("Pod") => Some((named(object), &object["spec"])),
        Some("Deployment" | "StatefulSet" | "DaemonSet" | "Job") => {
            Some((named(object), &object["spec"]["template"]["spec"]))
        }
        _ => None,
    });
    pods.collect()
}

#[test]
fn helm_finds_nothing_to_complain_of() {
    for values in [None, Some(FULL)] {
        let mut arguments = vec!["lint", ".", "--strict"];
        arguments.extend(values.map(|_| "--values"));
        arguments.extend(values);
        let output = helm(&arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn values_that_nobody_reads_are_refused() {
    let wrong = [
        "unknown=1",
        "gateway.unknown=1",
        "operator.podDisruptionBudget.unknown=1",
        "images.gateway.unknown=1",
        "packages.caRef.unknown=1",
        "gateway.replicas=-1",
        "gateway.service.type=Elsewhere",
        "images.operator.digest=latest",
        "packages.index=https://user:password@pypi.example.com/simple",
        "namespaces={Not_A_Name}",
        "servers.imagePullSecrets={registry}",
        "admissionPolicy.enabled=perhaps",
    ];
    for value in wrong {
        let output = helm(&["template", "release", ".", "--set", value]);
        assert!(!output.status.success(), "{value} was taken");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("schema"), "{value}: {told}");
    }
}

#[test]
fn no_role_has_a_star_and_no_secrets_of_the_cluster_are_listed() {
    for objects in renderings() {
        let roles = [of_kind(&objects, "ClusterRole"), of_kind(&objects, "Role")].concat();
        assert!(!roles.is_empty());
        for role in roles {
            for rule in role["rules"].as_array().unwrap() {
                let all = [&rule["apiGroups"], &rule["resources"], &rule["verbs"]].map(strings).concat();
                assert!(!all.iter().any(|word| word.contains('*')), "{role}");
                for verb in ["escalate", "bind", "impersonate", "deletecollection"] {
                    assert!(!all.contains(&verb), "{role}");
                }
                let verbs = strings(&rule["verbs"]);
                if strings(&rule["resources"]).contains(&"secrets") && rule["resourceNames"].is_null() {
                    assert!(!verbs.contains(&"list") && !verbs.contains(&"watch"), "{role}");
                }
            }
        }
    }
}

#[test]
fn the_gateway_reads_no_secrets_but_its_keys_and_never_the_first_key() {
    for objects in renderings() {
        let of_gateway = |role: &&Value| role["metadata"]["labels"]["app.kubernetes.io/component"] == "gateway";
        let roles = [of_kind(&objects, "ClusterRole"), of_kind(&objects, "Role")].concat();
        for role in roles.into_iter().filter(of_gateway) {
            for rule in role["rules"].as_array().unwrap() {
                let reads = strings(&rule["verbs"]).iter().any(|verb| ["get", "list", "watch"].contains(verb));
                if strings(&rule["resources"]).contains(&"secrets") && reads {
                    let names = strings(&rule["resourceNames"]);
                    assert_eq!(names.len(), 2, "{role}");
                    assert!(names.iter().all(|name| name.ends_with("-keys") && !name.contains("first")), "{role}");
                }
            }
        }
    }
}

#[test]
fn a_release_for_some_namespaces_has_roles_only() {
    let only = "namespaces={team-a,team-b},gateway.serviceAccountTokens.enabled=false";
    let objects = render(&["--set", only]);
    for kind in ["ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy"] {
        assert!(of_kind(&objects, kind).is_empty(), "{kind}");
    }
    let places: Vec<_> = of_kind(&objects, "Role").iter().map(|role| role["metadata"]["namespace"].clone()).collect();
    for place in ["team-a", "team-b", "mcp-system"] {
        assert_eq!(places.iter().filter(|it| *it == place).count(), 2, "{place}");
    }
}

#[test]
fn every_role_is_bound_to_a_service_account_of_the_release() {
    for objects in renderings() {
        let accounts: Vec<_> = of_kind(&objects, "ServiceAccount").iter().map(|it| &it["metadata"]["name"]).collect();
        for (role, binding) in [("Role", "RoleBinding"), ("ClusterRole", "ClusterRoleBinding")] {
            let (roles, bindings) = (of_kind(&objects, role), of_kind(&objects, binding));
            assert_eq!(roles.len(), bindings.len());
            for (role, binding) in roles.iter().zip(bindings) {
                assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
                assert_eq!(binding["metadata"]["namespace"], role["metadata"]["namespace"]);
                assert_eq!(binding["subjects"][0]["namespace"], "mcp-system");
                assert!(accounts.contains(&&binding["subjects"][0]["name"]), "{binding}");
            }
        }
    }
}

/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>, and resources.
fn check_pod(name: &str, spec: &Value) {
    let context = &spec["securityContext"];
    assert_eq!(context["runAsNonRoot"], true, "{name}");
    assert_eq!(context["runAsUser"], 65532, "{name}");
    assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault", "{name}");
    for host in ["hostNetwork", "hostPID", "hostIPC", "hostUsers"] {
        assert!(spec[host].is_null(), "{name}: {host}");
    }
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        assert!(volume["hostPath"].is_null(), "{name}: {volume}");
    }
    let containers = [&spec["containers"], &spec["initContainers"]].map(|list| list.as_array().into_iter().flatten());
    for container in containers.into_iter().flatten() {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(context["capabilities"], serde_json::json!({"drop": ["ALL"]}), "{name}");
        assert!(context["privileged"].is_null(), "{name}");
        assert!(container["resources"]["limits"]["memory"].is_string(), "{name}");
        assert!(container["resources"]["requests"]["cpu"].is_string(), "{name}");
        for port in container["ports"].as_array().into_iter().flatten() {
            assert!(port["hostPort"].is_null(), "{name}");
        }
    }
}

#[test]
fn every_pod_passes_the_restricted_standard_on_a_read_only_root() {
    for objects in renderings() {
        let pods = pods(&objects);
        assert_eq!(pods.len(), 3);
        for (name, spec) in pods {
            check_pod(&name, spec);
        }
    }
}

#[test]
fn each_part_has_probes_replicas_that_spread_and_a_budget() {
    for objects in renderings() {
        let deployments = of_kind(&objects, "Deployment");
        assert_eq!(deployments.len(), 2);
        for deployment in deployments {
            let template = &deployment["spec"]["template"];
            let selector = &deployment["spec"]["selector"]["matchLabels"];
            for (name, value) in selector.as_object().unwrap() {
                assert_eq!(template["metadata"]["labels"][name], *value);
            }
            assert_eq!(deployment["spec"]["replicas"], 2);
            let container = &template["spec"]["containers"][0];
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                assert!(container[probe].is_object(), "{probe}");
            }
            assert!(template["spec"]["topologySpreadConstraints"][0].is_object());
            let has_budget = |budget: &&Value| budget["spec"]["selector"]["matchLabels"] == *selector;
            assert_eq!(of_kind(&objects, "PodDisruptionBudget").into_iter().filter(has_budget).count(), 1);
        }
    }
}

#[test]
fn an_image_is_named_by_its_digest_where_there_is_one() {
    let objects = render(&["--values", FULL]);
    let images: Vec<_> = pods(&objects).iter().map(|(_, spec)| spec["containers"][0]["image"].clone()).collect();
    let digest =
        "registry.example.com/operator@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    assert!(images.iter().any(|image| image == digest), "{images:?}");
    assert!(images.iter().any(|image| image == "registry.example.com/runner:7"), "{images:?}");
}

#[test]
fn the_operator_is_told_with_which_secrets_images_of_servers_are_pulled() {
    let told = |objects: &[Value]| {
        let pods = pods(objects);
        let all = pods.iter().flat_map(|(_, spec)| spec["containers"][0]["env"].as_array().into_iter().flatten());
        let named: Vec<_> = all.filter(|it| it["name"] == "MCP_IMAGE_PULL_SECRETS").map(|it| &it["value"]).collect();
        serde_json::json!(named)
    };
    let [nothing, full, _] = renderings().map(|objects| told(&objects));
    assert_eq!((nothing, full), (serde_json::json!([]), serde_json::json!(["registry,mirror"])));
}

#[test]
fn the_chart_makes_no_secrets_and_puts_none_into_a_variable() {
    for objects in renderings() {
        assert!(of_kind(&objects, "Secret").is_empty());
        for (name, spec) in pods(&objects) {
            let all = spec["containers"][0]["env"].as_array().into_iter().flatten();
            assert!(all.clone().all(|variable| variable["valueFrom"]["secretKeyRef"].is_null()), "{name}");
        }
    }
}

#[test]
fn readme_and_schema_name_every_value() {
    let readme = std::fs::read_to_string(chart().join("README.md")).unwrap();
    let values: Value = serde_saphyr::from_str(&std::fs::read_to_string(chart().join("values.yaml")).unwrap()).unwrap();
    let schema: Value = serde_json::from_slice(&std::fs::read(chart().join("values.schema.json")).unwrap()).unwrap();
    for (group, values) in values.as_object().unwrap() {
        let properties = &schema["properties"][group];
        assert!(properties.is_object(), "the schema has no {group}");
        for name in values.as_object().into_iter().flatten().map(|(name, _)| name) {
            assert!(readme.contains(name.as_str()), "README.md says nothing of {group}.{name}");
            let known = properties["properties"][name].is_object() || group == "commonLabels";
            assert!(known, "the schema has no {group}.{name}");
        }
    }
}
