//! Streams of changes of all servers together for clients of 2026-07-28, and tasks, of whose changes they tell.

use std::collections::BTreeSet;

use e2e::PATIENCE;
use e2e::harness::{Gateway, fixture};
use e2e::http::http;
use e2e::modern::{listen, message, names, of_all, text};
use rustix::process::{Signal, kill_process};
use serde_json::json;

const SUBSCRIPTION_KEY: &str = "io.modelcontextprotocol/subscriptionId";

async fn gateway() -> Gateway {
    Gateway::of_both_eras().await.expect("both become ready")
}

#[tokio::test]
async fn a_stream_tells_when_servers_come_and_go() {
    let gateway = gateway().await;
    let modern = of_all(&gateway);
    let wanted = json!({"toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true});
    let (mut events, agreed) = listen(&modern, wanted.clone()).await.unwrap();
    assert_eq!((&agreed["notifications"], &agreed["_meta"][SUBSCRIPTION_KEY]), (&wanted, &json!(1)));
    let mut told = async || {
        let mut methods = BTreeSet::new();
        while methods.len() < 3 {
            let changed = message(&mut events).await.unwrap();
            assert_eq!(changed["params"]["_meta"][SUBSCRIPTION_KEY], 1, "{changed}");
            methods.insert(changed["method"].as_str().unwrap().to_owned());
        }
        assert!(methods.iter().all(|method| method.ends_with("/list_changed")), "{methods:?}");
    };
    gateway.deploy(&json!({"late": fixture(&[])})).await.unwrap().expect(200).unwrap();
    told().await;
    assert!(names(&modern, "tools/list", "tools").await.unwrap().contains("late-echo"));
    http("DELETE", &gateway.url("/servers/late"), &[], "").await.unwrap().expect(200).unwrap();
    told().await;
    assert!(!names(&modern, "tools/list", "tools").await.unwrap().contains("late-echo"));
}

#[tokio::test]
async fn one_stream_tells_of_resources_of_several_servers() {
    let gateway = gateway().await;
    let modern = of_all(&gateway);
    let watched = ["old+fixture://watched", "new+fixture://watched"];
    let wanted = json!({"resourceSubscriptions": ["none+x://y", watched[0], watched[1], "x://y"]});
    let (mut events, agreed) = listen(&modern, wanted).await.unwrap();
    assert_eq!(agreed["notifications"], json!({"resourceSubscriptions": watched}));
    for (server, uri) in [("old", watched[0]), ("new", watched[1])] {
        modern.tool(&format!("{server}-touch"), json!({"uri": "fixture://watched"})).await.unwrap();
        let updated = message(&mut events).await.unwrap();
        assert_eq!(updated["method"], "notifications/resources/updated");
        assert_eq!(
            (&updated["params"]["uri"], &updated["params"]["_meta"][SUBSCRIPTION_KEY]),
            (&json!(uri), &json!(1))
        );
    }
}

#[tokio::test]
async fn a_stream_goes_on_when_a_server_is_replaced_and_tells_that_something_may_have_changed() {
    let gateway = gateway().await;
    let modern = of_all(&gateway);
    let (mut events, _) = listen(&modern, json!({"resourceSubscriptions": ["new+fixture://watched"]})).await.unwrap();
    let pid: i32 = text(&modern.tool("new-pid", json!({})).await.unwrap()).parse().unwrap();
    kill_process(gateway.sidecar_of(pid), Signal::KILL).unwrap();
    let updated = message(&mut events).await.unwrap();
    assert_eq!(
        (&updated["method"], &updated["params"]["uri"]),
        (&json!("notifications/resources/updated"), &json!("new+fixture://watched"),)
    );
    assert_eq!(updated["params"]["_meta"][SUBSCRIPTION_KEY], 1);
    assert_eq!(text(&modern.tool("new-touch", json!({"uri": "fixture://watched"})).await.unwrap()), "told 1");
    assert_eq!(message(&mut events).await.unwrap()["params"]["uri"], "new+fixture://watched");
}

#[tokio::test]
async fn a_stream_ends_in_order_when_the_gateway_stops() {
    let mut gateway = gateway().await;
    let (mut events, _) = listen(&of_all(&gateway), json!({"toolsListChanged": true})).await.unwrap();
    gateway.signal(Signal::TERM).unwrap();
    let end = message(&mut events).await.unwrap();
    assert_eq!((&end["id"], &end["result"]["resultType"]), (&json!(1), &json!("complete")));
    assert_eq!(end["result"]["_meta"][SUBSCRIPTION_KEY], 1);
    assert!(gateway.wait(PATIENCE).await.unwrap().success());
}

#[tokio::test]
async fn tasks_are_found_again_by_ids_that_say_whose_they_are() {
    let gateway = gateway().await;
    let modern = of_all(&gateway).capabilities(json!({"extensions": {"io.modelcontextprotocol/tasks": {}}}));
    let task = modern.tool("new-later", json!({})).await.unwrap();
    assert_eq!((&task["resultType"], &task["status"]), (&json!("task"), &json!("working")));
    let id = task["taskId"].clone();
    assert_ne!(id, "task 1");
    let wanted =
        json!({"taskIds": ["new+none", "old+task 1", "none"], "resourceSubscriptions": ["new+fixture://text"]});
    let (_, agreed) = listen(&modern, wanted).await.unwrap();
    assert_eq!(agreed["notifications"], json!({"resourceSubscriptions": ["new+fixture://text"]}));
    let (mut events, agreed) = listen(&modern, json!({"taskIds": [id, "none"]})).await.unwrap();
    assert_eq!(agreed["notifications"], json!({"taskIds": [id]}));
    let got = modern.result("tasks/get", json!({"taskId": id})).await.unwrap();
    assert_eq!((&got["taskId"], &got["status"]), (&id, &json!("completed")));
    assert_eq!(got["result"]["content"][0]["uri"], "new+fixture://text");
    modern.result("tasks/update", json!({"taskId": id, "inputResponses": {}})).await.unwrap();
    modern.result("tasks/cancel", json!({"taskId": id})).await.unwrap();
    let told = message(&mut events).await.unwrap();
    assert_eq!((&told["method"], &told["params"]["taskId"]), (&json!("notifications/tasks"), &id));
    for unknown in ["task 1", "new+none", "old+task 1"] {
        let answer = modern.post("tasks/get", json!({"taskId": unknown})).await.unwrap();
        assert!(answer.json().unwrap()["error"].is_object(), "{unknown}: {answer:?}");
    }
}
