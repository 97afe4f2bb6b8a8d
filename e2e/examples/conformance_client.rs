//! The client that the conformance suite starts: it has a gateway use the server of the suite, and uses that.
//!
//! What the suite judges so is the sidecar in between, as a client of servers elsewhere.

use std::borrow::Cow;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use e2e::client::{Client, HttpClient};
use e2e::fixture::MODERN;
use e2e::http::http;
use e2e::modern::{ModernClient, coded};
use serde_json::{Map, Value, json};

/// A client for the conformance suite.
#[derive(Debug, Parser)]
struct Cli {
    /// Revision that is spoken to the gateway
    #[arg(long)]
    speak: String,
    /// Which scenario it is
    #[arg(long, env = "MCP_CONFORMANCE_SCENARIO")]
    scenario: String,
    /// What the scenario wants to see
    #[arg(long, env = "MCP_CONFORMANCE_CONTEXT", default_value = "{}")]
    context: String,
    /// Origin of the gateway
    gateway: String,
    /// URL of the suite's server
    url: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let name = format!("{}-by-{}", cli.scenario.replace('_', "-"), cli.speak);
    let servers = json!({"mcpServers": {&name: {"url": cli.url}}}).to_string();
    let deploy = format!("{}/deploy?wait=20s", cli.gateway);
    http("POST", &deploy, &[("content-type", "application/json")], servers).await?.expect(200)?;
    let used = async {
        let front = Front::open(&format!("{}/{name}/mcp", cli.gateway), &cli.speak).await?;
        use_it(&front, &serde_json::from_str(&cli.context)?).await
    };
    let used = used.await;
    // The suite waits until its server has no connections.
    http("DELETE", &format!("{}/servers/{name}", cli.gateway), &[], "").await?.expect(200)?;
    used
}

/// Lists everything, and takes one of each.
async fn use_it(front: &Front, context: &Value) -> Result<()> {
    let tools = front.list("tools/list", "tools").await?;
    let called = context["toolCalls"].as_array().cloned().unwrap_or_else(|| {
        let arguments = json!({"a": 5, "b": 3});
        tools.iter().map(|tool| json!({"name": tool["name"], "arguments": arguments})).collect()
    });
    for call in called {
        let tool =
            tools.iter().find(|tool| tool["name"] == call["name"]).context("a tool is to be called that is none")?;
        front.call("tools/call", call.clone(), mirrored(tool, &call["arguments"])).await?;
    }
    for (list, key, take, name) in
        [("resources/list", "resources", "resources/read", "uri"), ("prompts/list", "prompts", "prompts/get", "name")]
    {
        // Few servers of the suite have them.
        for item in front.list(list, key).await.unwrap_or_default() {
            front.call(take, json!({name: item[name]}), Vec::new()).await?;
        }
    }
    Ok(())
}

/// The arguments that are repeated in headers.
fn mirrored(tool: &Value, arguments: &Value) -> Vec<(String, String)> {
    let properties = tool["inputSchema"]["properties"].as_object();
    let headers = properties.into_iter().flatten().filter_map(|(name, schema)| {
        let header = schema["x-mcp-header"].as_str()?;
        let value: Cow<'_, str> = match &arguments[name] {
            Value::Null => return None,
            Value::String(text) => text.into(),
            other => other.to_string().into(),
        };
        Some((format!("mcp-param-{header}"), coded(&value).into_owned()))
    });
    headers.collect()
}

/// The gateway, as one revision has it.
enum Front {
    Older(HttpClient),
    Newest(String),
}

impl Front {
    async fn open(url: &str, version: &str) -> Result<Self> {
        Ok(match version {
            MODERN => Self::Newest(url.to_owned()),
            _ => Self::Older(HttpClient::connect(url, version).await?),
        })
    }

    async fn list(&self, method: &str, key: &str) -> Result<Vec<Value>> {
        let mut result = self.call(method, Value::from(Map::new()), Vec::new()).await?;
        serde_json::from_value(result[key].take()).with_context(|| format!("{method} has no {key}"))
    }

    async fn call(&self, method: &str, params: Value, headers: Vec<(String, String)>) -> Result<Value> {
        match self {
            Self::Older(client) => client.call(method, params).await,
            Self::Newest(url) => {
                let client = ModernClient::new(url.as_str());
                let client = headers.iter().fold(client, |client, (name, value)| client.header(name, value));
                let result = client.result(method, params).await?;
                ensure!(result["resultType"] == "complete", "{method} is not complete: {result}");
                Ok(result)
            }
        }
    }
}
