//! What the specification does not tell anybody to change comes out as it went in, byte for byte, on every path: clients of
//! every kind, one server and all together, servers of every kind.

use anyhow::{Context, Result, ensure};
use e2e::client::{Client, HttpClient, SseClient};
use e2e::fixture::remote::Remote;
use e2e::harness::{Bin, Gateway, Launch, fixture};
use e2e::modern::ModernClient;
use e2e::odd_json::OddJson;
use futures::future::try_join_all;
use serde_json::{Value, json};

/// Messages on all paths together, each there and back.
const MESSAGES: usize = 10_000;

/// A server of every kind, and what those elsewhere are.
async fn servers() -> Result<(Vec<(&'static str, Value)>, Remote, Launched)> {
    let older = Remote::from_flags(&["--remote", "both"]).await?;
    let newer = Launched::start().await?;
    let servers = vec![
        ("legacy", fixture(&[])),
        ("modern", fixture(&["--era", "modern"])),
        ("dual", fixture(&["--era", "first"])),
        ("streamable", json!({"url": older.url("/mcp")})),
        ("events", json!({"url": older.url("/sse")})),
        ("elsewhere", json!({"url": newer.0.url("/mcp")})),
    ];
    Ok((servers, older, newer))
}

/// A sidecar in front of a fixture of 2026-07-28: servers made with an official SDK would lose what this is about.
struct Launched(e2e::harness::Program);

impl Launched {
    async fn start() -> Result<Self> {
        let command = Bin::Fixture.text()?;
        let launch = Launch::new(Bin::Sidecar)?.args(["serve", "--listen", "127.0.0.1:0", "--", &*command]);
        Ok(Self(launch.args(["--era", "modern"]).listen().await?))
    }
}

/// Somebody who sends what is made, and demands it back.
enum Sender {
    Older(Box<dyn Client>),
    Newer(ModernClient),
}

impl Sender {
    /// The answer of the tool `name` to `arguments`.
    async fn answer(&self, id: usize, name: &str, arguments: &str) -> Result<String> {
        match self {
            Self::Newer(client) => client.tool_raw(name, arguments).await,
            Self::Older(client) => {
                let params = format!(r#"{{"name":{},"arguments":{arguments}}}"#, json!(name));
                let raw = format!(r#"{{"jsonrpc":"2.0","id":"odd {id}","method":"tools/call","params":{params}}}"#);
                Ok(client.request_raw(raw).await?.raw().to_owned())
            }
        }
    }

    async fn check(&self, name: &str, seed: u64, messages: usize) -> Result<()> {
        let mut odd = OddJson::new(seed);
        for id in 0..messages {
            let (before, value) = (odd.value(), odd.value());
            let block = format!(r#"{{"x":{value},"type":"text","text":"\u00e9"}}"#);
            let result = format!(r#"{{"x-before":{before} ,"content":[ {block}]}}"#);
            let arguments = format!(r#"{{"y": {before},"result":{result}}}"#);
            let answer = self.answer(id, name, &arguments).await?;
            let kept = &result[1..result.len() - 1];
            ensure!(answer.contains(kept), "sent through {name}: {result}\ncame: {answer}");
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_odd_messages_cross_every_path_unchanged() {
    let (servers, _older, _newer) = servers().await.unwrap();
    let all: Value = servers.iter().map(|(name, server)| ((*name).to_owned(), server.clone())).collect();
    let gateway = Gateway::serving(&all).await.unwrap();
    let mut paths = Vec::new();
    for (name, _) in &servers {
        for (base, tool) in [(format!("/{name}"), "say".to_owned()), (String::new(), format!("{name}-say"))] {
            let url = |end: &str| gateway.url(&format!("{base}/{end}"));
            let sse = SseClient::connect(&url("sse")).await.context("sse").unwrap();
            let http = HttpClient::connect(&url("mcp"), "2025-11-25").await.context("http").unwrap();
            for sender in [
                Sender::Older(Box::new(sse)),
                Sender::Older(Box::new(http)),
                Sender::Newer(ModernClient::new(url("mcp"))),
            ] {
                paths.push((sender, tool.clone()));
            }
        }
    }
    let each = MESSAGES.div_ceil(paths.len());
    let checks = paths.iter().zip(1..).map(|((sender, tool), seed)| sender.check(tool, seed, each));
    try_join_all(checks).await.unwrap();
}
