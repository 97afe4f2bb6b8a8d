//! Who may reach the pods of a release, by the policies of the chart.

use e2e::chart::{FULL, of_kind, render};
use e2e::policy::{End, may_reach};
use serde_json::{Value, json};

const SYSTEM: &str = "mcp-system";
const HTTP: (&str, u16) = ("http", 8080);
const ADMIN: (&str, u16) = ("admin", 8081);
const OTHER: (&str, u16) = ("other", 9999);

/// The policies, and the pods of a release.
struct Rendered {
    policies: Vec<Value>,
    gateway: End,
    operator: End,
    test: End,
}

fn rendered(arguments: &[&str]) -> Rendered {
    let objects = render(arguments);
    let pod = |kind: &str, part: &str| {
        let all = of_kind(&objects, kind).into_iter();
        let own = |it: &&Value| it["metadata"]["labels"]["app.kubernetes.io/name"] == format!("mcp-{part}");
        let object = all.into_iter().find(own).expect("the part is rendered");
        let labels = if kind == "Pod" { &object["metadata"] } else { &object["spec"]["template"]["metadata"] };
        End::new(SYSTEM, &labels["labels"])
    };
    Rendered {
        policies: of_kind(&objects, "NetworkPolicy").into_iter().cloned().collect(),
        gateway: pod("Deployment", "gateway"),
        operator: pod("Deployment", "operator"),
        test: pod("Pod", "test"),
    }
}

fn stranger() -> End {
    End::new("team", &json!({"app": "stranger"}))
}

/// Who, whom, where, and whether they may; both ends with their names.
type Question<'a> = (&'a str, &'a End, &'a str, &'a End, (&'a str, u16), bool);

/// Asks all questions, and shows those with another answer.
fn check(policies: &[Value], table: &[Question<'_>]) {
    let wrong = table.iter().filter(|(_, from, _, to, port, may)| may_reach(policies, from, to, *port) != *may);
    let wrong: Vec<_> =
        wrong.map(|(from, _, to, _, port, may)| format!("{from} -> {to} {port:?}: not {may}")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn by_default_everybody_reaches_the_gateway_and_figures_and_nothing_else() {
    let Rendered { policies, gateway, operator, test } = rendered(&[]);
    let stranger = stranger();
    check(
        &policies,
        &[
            ("stranger", &stranger, "gateway", &gateway, HTTP, true),
            ("stranger", &stranger, "gateway", &gateway, ADMIN, true),
            ("stranger", &stranger, "gateway", &gateway, OTHER, false),
            ("stranger", &stranger, "operator", &operator, ADMIN, true),
            ("stranger", &stranger, "operator", &operator, HTTP, false),
            ("gateway", &gateway, "gateway", &gateway, HTTP, true),
            ("test", &test, "gateway", &gateway, HTTP, true),
            ("gateway", &gateway, "stranger", &stranger, OTHER, true),
            ("operator", &operator, "stranger", &stranger, OTHER, true),
        ],
    );
}

#[test]
fn who_is_named_reaches_what_is_named_and_replicas_and_the_test_always_do() {
    let Rendered { policies, gateway, operator, test } = rendered(&["--values", FULL]);
    let client = End::new("tools", &json!({})).in_namespace_with("mcp", "yes");
    let monitoring = End::new("monitoring", &json!({"app": "prometheus"}));
    let stranger = stranger();
    check(
        &policies,
        &[
            ("client", &client, "gateway", &gateway, HTTP, true),
            ("client", &client, "gateway", &gateway, ADMIN, false),
            ("monitoring", &monitoring, "gateway", &gateway, ADMIN, true),
            ("monitoring", &monitoring, "gateway", &gateway, HTTP, false),
            ("monitoring", &monitoring, "operator", &operator, ADMIN, true),
            ("stranger", &stranger, "gateway", &gateway, HTTP, false),
            ("stranger", &stranger, "gateway", &gateway, ADMIN, false),
            ("stranger", &stranger, "operator", &operator, ADMIN, false),
            ("gateway", &gateway, "gateway", &gateway, HTTP, true),
            ("gateway", &gateway, "operator", &operator, ADMIN, false),
            ("operator", &operator, "gateway", &gateway, HTTP, false),
            ("test", &test, "gateway", &gateway, HTTP, true),
            ("test", &test, "operator", &operator, ADMIN, false),
        ],
    );
}

#[test]
fn without_policies_all_is_open() {
    let Rendered { policies, operator, .. } = rendered(&["--set", "networkPolicy.enabled=false"]);
    assert!(policies.is_empty() && may_reach(&policies, &stranger(), &operator, OTHER));
}

#[test]
fn the_operator_is_told_labels_that_the_pods_have() {
    for arguments in [&[][..], &["--values", FULL]] {
        let objects = render(arguments);
        let template = |part: &str| {
            let all = of_kind(&objects, "Deployment").into_iter();
            let own = |it: &&Value| it["metadata"]["labels"]["app.kubernetes.io/component"] == part;
            &all.into_iter().find(own).expect("it is rendered")["spec"]["template"]
        };
        let env = template("operator")["spec"]["containers"][0]["env"].as_array().unwrap();
        for (variable, part) in [("MCP_GATEWAY_LABELS", "gateway"), ("MCP_OPERATOR_LABELS", "operator")] {
            let labels = env.iter().find(|it| it["name"] == variable).unwrap()["value"].as_str().unwrap();
            for (name, value) in labels.split(',').map(|label| label.split_once('=').unwrap()) {
                assert_eq!(template(part)["metadata"]["labels"][name], value, "{variable}");
            }
        }
    }
}
