//! The rules of the definition, as the API server of a real cluster judges by them: what `rules.yaml` says is refused is
//! refused with that message, and the rest is taken.

use std::collections::HashMap;

use anyhow::{Context, Result};
use e2e::cluster::{Namespace, kubectl_with};
use serde::Deserialize;
use serde_json::{Value, json};

/// Read by the unit tests of `api`, too.
const RULES: &str = include_str!("../../api/src/crd/tests/rules.yaml");

#[derive(Deserialize)]
struct Rule {
    message: String,
    accepts: Vec<Value>,
    refuses: Vec<Value>,
}

/// Has the API server judge servers with these specs, which are named after their places, all by one call.
async fn judge(place: &Namespace, specs: &[&Value]) -> Result<String> {
    let server = |(index, spec): (usize, &&Value)| json!({"apiVersion": "mcpgateway.dev/v1alpha1", "kind": "McpServer", "metadata": {"name": format!("case-{index}")}, "spec": spec});
    let list =
        json!({"apiVersion": "v1", "kind": "List", "items": specs.iter().enumerate().map(server).collect::<Vec<_>>()});
    kubectl_with(&["--namespace", place.name(), "create", "--dry-run=server", "-f", "-"], &list.to_string()).await
}

/// What is said of each server that is refused, by its place in the list.
fn refusals(told: &str) -> HashMap<usize, &str> {
    let parts = told.split("\"case-").filter_map(|part| part.split_once('"'));
    parts.filter_map(|(index, said)| Some((index.parse().ok()?, said))).collect()
}

#[tokio::test]
async fn each_rule_accepts_and_refuses_what_is_written_down_for_it() {
    let rules: Vec<Rule> = serde_saphyr::from_str(RULES).unwrap();
    let place = Namespace::new("rules").await.unwrap();
    let accepted: Vec<_> = rules.iter().flat_map(|rule| &rule.accepts).collect();
    let taken = judge(&place, &accepted).await.unwrap();
    assert_eq!(taken.lines().count(), accepted.len(), "{taken}");

    let refused: Vec<_> = rules.iter().flat_map(|rule| rule.refuses.iter().map(|spec| (&rule.message, spec))).collect();
    let specs: Vec<_> = refused.iter().map(|(_, spec)| *spec).collect();
    let told = format!("{:#}", judge(&place, &specs).await.err().context("all were taken").unwrap());
    let told = refusals(&told);
    for (index, (message, spec)) in refused.iter().enumerate() {
        let said = told.get(&index).copied().unwrap_or("nothing");
        assert!(said.contains(message.as_str()), "{spec} is to be refused with `{message}`; said is: {said}");
    }
}
