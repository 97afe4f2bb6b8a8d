//! The examples are resources that a cluster takes.

use std::fs;

use serde_json::Value;

use super::{check::problems, repository};
use crate::McpServer;

/// Everything that a spec can say.
const FULL: &str = include_str!("full.yaml");

#[test]
fn every_example_is_accepted_and_comes_back_as_it_was_written() {
    let mut seen = 0;
    for file in repository().join("examples/kubernetes").read_dir().unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        for document in documents.iter().filter(|document| document["kind"] == "McpServer") {
            assert_eq!(problems(document), Vec::<String>::new(), "{}", path.display());
            round_trip(document);
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen} examples were found");
}

#[test]
fn a_spec_that_says_everything_comes_back_as_it_was_written() {
    let document: Value = serde_saphyr::from_str(FULL).unwrap();
    assert_eq!(problems(&document), Vec::<String>::new());
    round_trip(&document);
    let said = document["spec"].as_object().unwrap();
    let schema = super::field("spec");
    let silent: Vec<_> =
        schema["properties"].as_object().unwrap().keys().filter(|key| !said.contains_key(*key)).collect();
    assert_eq!(silent, ["caRef", "headers", "transport", "url"], "these are for the other kind of server");
}

#[test]
fn a_status_comes_back_as_it_was_written() {
    let status = serde_json::json!({
        "observedGeneration": 3, "url": "https://mcp.example.com/time", "replicas": 2, "readyReplicas": 1,
        "selector": "app.kubernetes.io/name=mcp-server", "serverInfo": {"name": "mcp-time", "version": "1.26.0"},
        "protocolVersion": "2025-11-25", "transport": "stdio", "tools": 2, "resources": 0, "prompts": 0, "restarts": 1,
        "lastExit": {"code": 137, "outOfMemory": true, "time": "2026-11-27T00:00:00Z", "stderrTail": ["Traceback", "KeyError: TOKEN"]},
        "packages": {
            "requested": "sha256:0", "installed": ["mcp-server-time==2026.1.26"], "count": 30,
            "configMap": "time-lock", "resolvedTime": "2026-11-27T00:00:00Z",
        },
        "lastVerifiedTime": "2026-11-27T00:00:00Z",
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Working", "message": "", "observedGeneration": 3,
            "lastTransitionTime": "2026-11-27T00:00:00Z",
        }],
    });
    let mut document = super::check::server("{command: uvx}");
    document["status"] = status.clone();
    assert_eq!(problems(&document), Vec::<String>::new());
    round_trip(&document);
    let schema = super::field("status");
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(names(&schema["properties"]), names(&status));
}

#[test]
fn secrets_are_not_in_the_debug_output() {
    let document = super::check::server(
        "{command: uvx, args: [--token=hunter2], env: [{name: A, value: hunter2}], headers: [{name: A, value: hunter2}]}",
    );
    let server: McpServer = serde_json::from_value(document).unwrap();
    let text = format!("{server:?} {:?} {:?}", server.spec.env, server.spec.headers);
    assert!(text.contains("uvx") && !text.contains("hunter2"), "{text}");
}

fn round_trip(document: &Value) {
    let server: McpServer = serde_json::from_value(document.clone()).unwrap();
    assert_eq!(&serde_json::to_value(&server).unwrap(), document);
}
