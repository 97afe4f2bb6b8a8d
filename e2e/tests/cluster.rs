//! What a user can do with a cluster that has the charts: apply servers, wait for them, connect every client, deploy.

use anyhow::Result;
use e2e::client::{Client, HttpClient, SseClient};
use e2e::cluster::{Cluster, Cut, Namespace, example, kubectl};
use e2e::{PATIENCE, eventually};
use serde_json::{Value, json};

/// The tools that a client sees, by name.
async fn tools(client: &dyn Client) -> Result<Vec<String>> {
    let tools = client.list("tools/list", "tools").await?;
    Ok(tools.iter().filter_map(|tool| tool["name"].as_str()).map(ToOwned::to_owned).collect())
}

#[tokio::test]
async fn the_examples_get_ready_and_every_client_reaches_them() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::existing("default", &["time", "everything"]);
    for file in ["time.yaml", "everything.yaml"] {
        place.apply(&example(file).unwrap()).await.unwrap();
    }
    for name in ["time", "everything"] {
        place.wait_ready(name).await.unwrap();
    }
    let table = place.kubectl(&["get", "mcps"]).await.unwrap();
    let rows = table.rows();
    assert_eq!(rows[0], ["NAME", "READY", "TRANSPORT", "TOOLS", "RESTARTS", "URL", "AGE"]);
    let time = rows.iter().find(|row| row[0] == "time").unwrap();
    assert_eq!(time[1..5], ["True", "stdio", "2", "0"], "{table}");

    // One server, by both transports and the short address.
    let url = |path: &str| cluster.url(path);
    let client = SseClient::connect_with(&url("/time/sse"), cluster.client("2024-11-05")).await.unwrap();
    let now = client.tool_text("get_current_time", json!({"timezone": "Europe/Berlin"})).await.unwrap();
    assert!(now.contains("Europe/Berlin"), "{now}");
    let client = HttpClient::connect_with(&url("/everything/mcp"), cluster.client("2025-11-25")).await.unwrap();
    let echo = client.tool_text("echo", json!({"message": "hello"})).await.unwrap();
    assert!(echo.contains("hello"), "{echo}");
    let client = HttpClient::connect_with(&url("/default/time/mcp"), cluster.client("2025-06-18")).await.unwrap();
    assert_eq!(tools(&client).await.unwrap().len(), 2);

    // All of them together.
    let all = HttpClient::connect_with(&url("/mcp"), cluster.client("2025-11-25")).await.unwrap();
    let old = SseClient::connect_with(&url("/sse"), cluster.client("2024-11-05")).await.unwrap();
    for client in [&all as &dyn Client, &old] {
        let names = tools(client).await.unwrap();
        for name in ["time-get_current_time", "everything-echo"] {
            assert!(names.iter().any(|it| it == name), "{name} is not in {names:?}");
        }
        let echo = client.tool_text("everything-echo", json!({"message": "all"})).await.unwrap();
        assert!(echo.contains("all"), "{echo}");
    }
}

#[tokio::test]
async fn what_the_resource_takes_is_explained() {
    let told = kubectl(&["explain", "mcpserver.spec.process.mode"]).await.unwrap();
    assert!(told.contains("perSession"), "{told}");
}

#[tokio::test]
async fn a_document_is_deployed_and_removed_over_http() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::existing(&cluster.system, &["clock"]);
    let servers =
        json!({"mcpServers": {"clock": {"command": "uvx", "args": ["mcp-server-time"], "env": {"PLAIN": "1"}}}});
    let answer = cluster.request("POST", "/deploy?wait=5s", &servers).await.unwrap().expect(200).unwrap();
    assert_eq!(answer.json().unwrap()["results"]["clock"]["status"], "deployed");
    place.wait_ready("clock").await.unwrap();
    let client = HttpClient::connect_with(&cluster.url("/clock/mcp"), cluster.client("2025-11-25")).await.unwrap();
    assert_eq!(tools(&client).await.unwrap().len(), 2);
    let one = cluster.request("GET", "/servers/clock", &Value::Null).await.unwrap().expect(200).unwrap();
    assert_eq!(one.json().unwrap()["status"], "ready");
    cluster.request("DELETE", "/servers/clock", &Value::Null).await.unwrap().expect(200).unwrap();
    let gone = async || {
        place.list(&["mcpservers"]).await.ok()?.iter().all(|it| it["metadata"]["name"] != "clock").then_some(())
    };
    eventually(PATIENCE, "the resource to go", gone).await.unwrap();
    let asked = async || (cluster.request("POST", "/clock/mcp", &json!({})).await.ok()?.status == 404).then_some(());
    eventually(PATIENCE, "the route to go", asked).await.unwrap();
}

#[tokio::test]
async fn nobody_is_served_without_a_key() {
    let cluster = Cluster::get().unwrap();
    let bare = Cluster { key: "mgw_wrong".to_owned(), ..cluster };
    for (method, path) in [("GET", "/servers"), ("POST", "/mcp"), ("POST", "/default/time/mcp"), ("POST", "/deploy")] {
        let answer = bare.request(method, path, &json!({})).await.unwrap();
        assert_eq!(answer.status, 401, "{method} {path}");
    }
}
