//! Each rule of CEL, with what it lets pass and what it refuses: `rules.yaml`.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Value, json};

use super::check::{named, problems};
use super::{each, schema};

/// A rule, known by how its message begins; specs that it accepts, and specs that it refuses.
#[derive(Deserialize)]
struct Rule {
    message: String,
    accepts: Vec<Value>,
    refuses: Vec<Value>,
}

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| serde_saphyr::from_str(include_str!("rules.yaml")).unwrap());

#[test]
fn each_rule_accepts_what_is_right_and_says_what_is_wrong() {
    for rule in RULES.iter() {
        for spec in &rule.accepts {
            assert_eq!(problems(&named("time", spec)), Vec::<String>::new(), "{spec}");
        }
        for spec in &rule.refuses {
            let problems = problems(&named("time", spec));
            assert!(problems.iter().any(|problem| problem.contains(&rule.message)), "{spec}: {problems:?}");
        }
    }
}

#[test]
fn a_name_is_a_short_label_that_can_be_routed() {
    let spec = json!({"command": "a"});
    let routed = json!({"command": "a", "route": {"name": "a"}});
    let unnamed = json!({"command": "a", "route": {"name": "", "aggregate": false}});
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
            if !path.is_empty() && !RULES.iter().any(|tested| message.starts_with(&tested.message)) {
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
