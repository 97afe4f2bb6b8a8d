//! Keys and the cluster's own accounts: who reaches what, and who may change it.

use anyhow::Result;
use e2e::client::{Client, HttpClient};
use e2e::cluster::{Account, Cluster, Namespace};
use e2e::{PATIENCE, eventually};
use serde_json::{Value, json};

/// Two namespaces with a server each, which the whole cluster knows by its name.
struct Two {
    one: Namespace,
    two: Namespace,
    first: String,
    second: String,
}

impl Two {
    async fn new(cluster: &Cluster, prefix: &str) -> Result<Self> {
        let (one, two) = tokio::try_join!(Namespace::new(prefix), Namespace::new(prefix))?;
        let (first, second) = (format!("{}-a", one.name()), format!("{}-b", two.name()));
        let (nothing, also) = (json!({}), json!({}));
        tokio::try_join!(one.serve(cluster, &first, &nothing), two.serve(cluster, &second, &also))?;
        for (place, name) in [(&one, &first), (&two, &second)] {
            cluster.session(place, name).await?;
        }
        Ok(Self { one, two, first, second })
    }
}

/// The servers whose tools a client of all sees.
async fn servers(client: &HttpClient) -> Result<Vec<String>> {
    let tools = client.list("tools/list", "tools").await?;
    let echoes = tools.iter().filter_map(|tool| tool["name"].as_str()?.strip_suffix("-echo").map(ToOwned::to_owned));
    Ok(echoes.collect())
}

async fn echo(client: &HttpClient, server: &str) -> Result<String> {
    client.tool_text(&format!("{server}-echo"), json!({"text": "hello"})).await
}

/// Waits until the client sees these servers and no others; it is told that there is something new to see.
async fn sees(client: &HttpClient, expected: &[&String]) -> Result<()> {
    while servers(client).await?.iter().ne(expected.iter().copied()) {
        client.expect_event("notifications/tools/list_changed").await?;
    }
    Ok(())
}

fn deployment(name: &str, argument: &str) -> Value {
    json!({"mcpServers": {name: {"command": "uvx", "args": [argument], "disabled": true}}})
}

#[tokio::test]
async fn each_account_sees_the_servers_that_it_may_reach_as_one_and_no_others() {
    let cluster = Cluster::get().unwrap();
    let there = Two::new(&cluster, "view").await.unwrap();
    let Two { one, two, first, second } = &there;
    let (few, both) = (Account::new(one, "few").await.unwrap(), Account::new(one, "both").await.unwrap());
    few.allow(one, &["get"]).await.unwrap();
    for place in [one, two] {
        both.allow(place, &["get"]).await.unwrap();
    }
    let url = cluster.url("/mcp");
    let limited = HttpClient::connect_with(&url, few.client("2025-11-25")).await.unwrap();
    let sampling = json!({"sampling": {}});
    let wide = HttpClient::connect_with(&url, both.client("2025-11-25").capabilities(sampling)).await.unwrap();
    sees(&limited, &[first]).await.unwrap();
    sees(&wide, &[first, second]).await.unwrap();
    assert_eq!(echo(&limited, first).await.unwrap(), "hello");
    assert_eq!(echo(&wide, second).await.unwrap(), "hello");

    // Whatever names something of another server names nothing.
    let error = format!("{:#}", echo(&limited, second).await.unwrap_err());
    assert!(error.contains("Unknown tool"), "{error}");
    let uri = format!("{second}+test://static");
    for method in ["resources/read", "resources/subscribe"] {
        let error = format!("{:#}", limited.call(method, json!({"uri": uri})).await.unwrap_err());
        assert!(error.contains("not found"), "{method}: {error}");
    }
    let error = limited.call("prompts/get", json!({"name": format!("{second}-greeting")})).await.unwrap_err();
    assert!(format!("{error:#}").contains("Unknown prompt"), "{error:#}");
    let alone = format!("/{}/{second}/mcp", two.name());
    cluster.request_as(&few.token, "POST", &alone, &json!({})).await.unwrap().expect(404).unwrap();

    // What is given and taken reaches sessions that are open.
    few.allow(two, &["get"]).await.unwrap();
    sees(&limited, &[first, second]).await.unwrap();
    assert_eq!(echo(&limited, second).await.unwrap(), "hello");
    few.forbid(two).await.unwrap();
    sees(&limited, &[first]).await.unwrap();
    assert!(echo(&limited, second).await.is_err());
    sees(&wide, &[first, second]).await.unwrap();

    // A session belongs to who opened it.
    let session = wide.session().unwrap();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let bearer = format!("Bearer {}", few.token);
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-session-id", session.as_str()),
    ];
    e2e::http::http("POST", &url, &headers, body).await.unwrap().expect(404).unwrap();
}

#[tokio::test]
async fn an_account_changes_what_its_own_rights_let_it_change() {
    let cluster = Cluster::get().unwrap();
    let (one, two) = tokio::try_join!(Namespace::new("own"), Namespace::new("other")).unwrap();
    let account = Account::new(&one, "deployer").await.unwrap();
    let (name, other) = ("mine", format!("?namespace={}", two.name()));
    let ask = async |method: &str, path: &str, body: &Value| {
        cluster.request_as(&account.token, method, path, body).await.unwrap()
    };
    // Rights that were asked for are known for some seconds.
    let refused = async |method: &str, path: &str, body: &Value, verb: &str| {
        let right = format!("{verb} mcpservers.mcpgateway.dev");
        let told = async || {
            let answer = ask(method, path, body).await;
            let text = answer.text();
            (answer.status == 403 && text.contains(&right) && text.contains(&account.full_name())).then_some(())
        };
        eventually(PATIENCE, format!("{method} {path} to be refused for `{verb}`"), told).await.unwrap();
    };
    let done = async |method: &str, path: &str, body: &Value| {
        let told = async || ask(method, path, body).await.expect(200).ok();
        eventually(PATIENCE, format!("{method} {path} to be done"), told).await.unwrap()
    };
    let path = format!("/servers/{name}");
    refused("POST", "/deploy", &deployment(name, "a"), "create").await;
    refused("DELETE", &path, &Value::Null, "delete").await;

    account.allow(&one, &["create", "get", "list"]).await.unwrap();
    done("POST", "/deploy", &deployment(name, "a")).await;
    assert_eq!(one.get(&["mcpserver", name]).await.unwrap()["spec"]["args"], json!(["a"]));
    refused("POST", "/deploy", &deployment(name, "b"), "patch").await;
    assert_eq!(one.get(&["mcpserver", name]).await.unwrap()["spec"]["args"], json!(["a"]));
    refused("DELETE", &path, &Value::Null, "delete").await;
    refused("POST", &format!("/deploy{other}"), &deployment(name, "a"), "create").await;
    let seen = done("GET", "/servers", &Value::Null).await.json().unwrap();
    let seen: Vec<_> = seen.as_array().unwrap().iter().map(|it| it["namespace"].as_str().unwrap().to_owned()).collect();
    assert_eq!(seen, [one.name()]);

    account.allow(&one, &["create", "get", "list", "patch", "delete"]).await.unwrap();
    account.allow(&two, &["create"]).await.unwrap();
    done("POST", "/deploy", &deployment(name, "b")).await;
    done("POST", &format!("/deploy{other}"), &deployment(name, "c")).await;
    assert_eq!(two.get(&["mcpserver", name]).await.unwrap()["spec"]["args"], json!(["c"]));
    done("DELETE", &path, &Value::Null).await;
    refused("DELETE", &format!("/servers/{name}{other}"), &Value::Null, "delete").await;
    refused("DELETE", &format!("/delete{other}&name={name}"), &Value::Null, "delete").await;
    assert_eq!(two.get(&["mcpserver", name]).await.unwrap()["spec"]["args"], json!(["c"]));
    assert!(one.get(&["mcpserver", name]).await.is_err(), "it is still there");
}

#[tokio::test]
async fn keys_deploy_into_their_own_namespace_only() {
    let cluster = Cluster::get().unwrap();
    let other = Namespace::new("elsewhere").await.unwrap();
    let name = format!("key-{}", std::process::id());
    let place = Namespace::existing(&cluster.system, &[&name]);
    let deploy =
        async |query: &str| cluster.request("POST", &format!("/deploy{query}"), &deployment(&name, "a")).await.unwrap();
    deploy(&format!("?namespace={}", other.name())).await.expect(403).unwrap();
    deploy("?namespace=No-Such").await.expect(400).unwrap();
    deploy(&format!("?namespace={}", cluster.system)).await.expect(200).unwrap();
    assert_eq!(deploy("").await.expect(200).unwrap().json().unwrap()["results"][&name]["status"], "existed");
    place.get(&["mcpserver", &name]).await.unwrap();
    assert!(other.list(&["mcpservers"]).await.unwrap().is_empty());
    let delete = format!("/servers/{name}?namespace={}", other.name());
    cluster.request("DELETE", &delete, &Value::Null).await.unwrap().expect(403).unwrap();
}

#[tokio::test]
async fn a_token_that_is_for_somebody_else_is_none() {
    let cluster = Cluster::get().unwrap();
    let place = Namespace::new("token").await.unwrap();
    let account = Account::new(&place, "anybody").await.unwrap();
    account.allow(&place, &["get", "list", "create"]).await.unwrap();
    let token = place.kubectl(&["create", "token", "anybody"]).await.unwrap();
    cluster.request_as(token.trim(), "GET", "/servers", &Value::Null).await.unwrap().expect(401).unwrap();
    cluster.request_as(&account.token, "GET", "/servers", &Value::Null).await.unwrap().expect(200).unwrap();
}
