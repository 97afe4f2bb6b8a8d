//! What is told of a server that works: by its status, by columns, by events; and whose a name is.

use anyhow::{Context, Result};
use e2e::client::{Client, HttpClient};
use e2e::cluster::{Cluster, Cut, Namespace, note};
use e2e::{PATIENCE, eventually};
use serde_json::json;

/// A name that no other run has, as names alone mean one server of the whole cluster.
fn unique(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

/// How often each reason was told in events about a server.
async fn events(place: &Namespace, server: &str, reason: &str) -> Result<u64> {
    let all = place.list(&["events.v1.events.k8s.io"]).await?;
    let own = all.iter().filter(|event| event["regarding"]["name"] == server && event["reason"] == reason);
    Ok(own.map(|event| event["series"]["count"].as_u64().unwrap_or(1)).sum())
}

#[tokio::test]
async fn what_is_told_of_a_server_is_what_a_client_finds() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("told").await.unwrap();
    let (name, twin) = (unique("told"), unique("twin"));
    let theirs = Namespace::existing(&cluster.system, &[&twin]);
    let entry = json!({"command": "uvx", "args": ["mcp-server-time"], "env": {"PLAIN": "1"}});
    cluster.request("POST", "/deploy", &json!({"mcpServers": {&twin: entry}})).await.unwrap().expect(200).unwrap();
    let env = json!([{"name": "PLAIN", "value": "1"}]);
    place.server(&name, &json!({"command": "uvx", "args": ["mcp-server-time"], "env": env})).await.unwrap();
    let applied = place.get(&["mcpserver", &name]).await.unwrap();
    let deployed = theirs.get(&["mcpserver", &twin]).await.unwrap();
    assert_eq!(deployed["spec"], applied["spec"]);

    // Its packages are fetched: that is told, with their name.
    let mut seen = Vec::new();
    let ready = async || {
        let mut server = place.get(&["mcpserver", &name]).await.ok()?;
        let conditions = server["status"]["conditions"].take();
        let of = |kind: &str| conditions.as_array()?.iter().find(|it| it["type"] == kind).cloned();
        let available = of("Available")?;
        if seen.last() != Some(&available) {
            seen.push(available);
        }
        (of("Ready")?["status"] == "True").then_some(())
    };
    eventually(10 * PATIENCE, "the server to be ready", ready).await.unwrap();
    let installing = seen.iter().find(|it| it["reason"] == "Installing").map(|it| it["message"].to_string());
    assert!(installing.as_ref().is_some_and(|it| it.contains("mcp-server-time")), "{seen:#?}");
    note(&format!("while packages are fetched: {installing:?}"));

    place.settles(&cluster).await.unwrap();
    place.wait_condition(&name, "Routable", "True", "Routed").await.unwrap();
    let status = place.get(&["mcpserver", &name]).await.unwrap()["status"].take();
    let url = status["url"].as_str().unwrap();
    assert!(url.ends_with(&format!("/{name}")), "{url}");
    assert!(status["lastVerifiedTime"].is_string(), "{status}");
    let table = place.kubectl(&["get", "mcps"]).await.unwrap();
    let row = &table.rows()[1];
    assert_eq!(row[..6], [&name, "True", "stdio", "2", "0", url], "{table}");
    assert!(row[6].ends_with(['s', 'm']), "{table}");
    for reason in ["Ready", "FloatingVersion"] {
        assert_eq!(events(&place, &name, reason).await.unwrap(), 1, "{reason}");
    }
}

/// The address that is told of a server.
async fn url(place: &Namespace, server: &str) -> Result<String> {
    let server = place.get(&["mcpserver", server]).await?;
    Ok(server["status"]["url"].as_str().context("no address is told")?.to_owned())
}

#[tokio::test]
async fn a_name_alone_is_the_oldest_servers_and_the_others_are_told_so() {
    let cluster = Cluster::get().unwrap();
    let (one, two) = tokio::try_join!(Namespace::new("older"), Namespace::new("younger")).unwrap();
    let name = unique("claimed");
    one.serve(&cluster, &name, &json!({})).await.unwrap();
    two.serve(&cluster, &name, &json!({})).await.unwrap();
    let other = json!({"route": {"name": name}, "suspend": true});
    one.server("other", &cluster.program(&other).unwrap()).await.unwrap();

    one.wait_condition(&name, "Routable", "True", "Routed").await.unwrap();
    let told = two.wait_condition(&name, "Routable", "True", "ShortNameTaken").await.unwrap();
    let long_name = format!("{}_{name}", two.name());
    assert!(told.contains("an older McpServer of another namespace") && told.contains(&long_name), "{told}");
    one.told("other", ("Routable", "NameTaken"), &["another, older McpServer", "set spec.route.name"]).await.unwrap();
    let (short, long) = tokio::try_join!(url(&one, &name), url(&two, &name)).unwrap();
    assert!(short.ends_with(&format!("/{name}")) && !short.contains(one.name()), "{short}");
    assert!(long.ends_with(&format!("/{}/{name}", two.name())), "{long}");

    // Among all servers both are there.
    let all = HttpClient::connect_with(&cluster.url("/mcp"), cluster.client("2025-11-25")).await.unwrap();
    let answers = async |server: &str| {
        let tool = format!("{server}-echo");
        let said = async || all.tool_text(&tool, json!({"text": server})).await.ok();
        eventually(PATIENCE, &tool, said).await.unwrap() == server
    };
    assert!(answers(&name).await && answers(&long_name).await);

    // Who was second is first when the first has gone.
    one.kubectl(&["delete", "mcpserver", &name, "other"]).await.unwrap();
    two.wait_condition(&name, "Routable", "True", "Routed").await.unwrap();
    assert_eq!(url(&two, &name).await.unwrap(), short);
    assert!(answers(&name).await, "and in a session that was open before");
    two.settles(&cluster).await.unwrap();
}
