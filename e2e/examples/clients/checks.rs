//! The checks, as `e2e/clients` makes them with the other SDKs. Each tells what it saw.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use e2e::{eventually, within};
use serde_json::{Value, json};

use crate::host::{FIRST_ROOT, MODEL, NAME, Peer, SAMPLE, Watch};

/// How long something may take that is not an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a call may take whose connection is lost.
const RESUMPTION: Duration = Duration::from_secs(20);

/// A check; see `e2e/compatibility/expected.yaml`.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Check {
    List,
    Call,
    Progress,
    Log,
    Cancel,
    Sampling,
    Elicitation,
    ElicitationUrl,
    Roots,
    Subscribe,
    ListChanged,
    Huge,
    Resume,
}

/// The server lacks it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Skip(String);

impl Check {
    pub(crate) async fn make(self, peer: &impl Peer, prefix: &str) -> Result<String> {
        let at = At { peer, prefix };
        match self {
            Self::List => at.list().await,
            Self::Call => at.call().await,
            Self::Progress => at.progress().await,
            Self::Log => at.log().await,
            Self::Cancel => at.cancel().await,
            Self::Sampling => at.sampling().await,
            Self::Elicitation => at.elicitation().await,
            Self::ElicitationUrl => at.elicitation_url().await,
            Self::Roots => at.roots().await,
            Self::Subscribe => at.subscribe().await,
            Self::ListChanged => at.list_changed().await,
            Self::Huge => at.huge().await,
            Self::Resume => at.resume().await,
        }
    }
}

/// One server, as a client finds it.
struct At<'a, P> {
    peer: &'a P,
    /// Before names.
    prefix: &'a str,
}

impl<P: Peer> At<'_, P> {
    async fn list(&self) -> Result<String> {
        let mut tools = self.all("tools/list", "tools").await?;
        // On the aggregate, what a server has for clients that can do certain things comes when it was asked for that.
        let last = format!("{}get-roots-list", self.prefix);
        while !self.prefix.is_empty() && tools.iter().all(|tool| tool["name"] != last.as_str()) {
            tokio::time::sleep(Duration::from_millis(200)).await;
            tools = self.all("tools/list", "tools").await?;
        }
        let names: BTreeSet<_> = tools.iter().filter_map(|tool| tool["name"].as_str()).collect();
        ensure!(names.iter().any(|name| name.starts_with(self.prefix)), "no tool begins with {}", self.prefix);
        ensure!(names.len() == tools.len(), "a name is there twice");
        ensure!(tools.iter().all(|tool| tool["inputSchema"]["type"] == "object"), "a tool has no schema");
        Ok(format!("{} tools", names.len()))
    }

    async fn call(&self) -> Result<String> {
        let echo = self.text("echo", json!({"message": "héllo"})).await?;
        ensure!(echo == "Echo: héllo", "{echo}");
        let sum = self.text("get-sum", json!({"a": 2, "b": 40})).await?;
        ensure!(sum == "The sum of 2 and 40 is 42.", "{sum}");
        Ok("echo, get-sum".into())
    }

    async fn progress(&self) -> Result<String> {
        let mark = self.peer.heard().len();
        let meta = json!({"progressToken": "of the check"});
        self.tool("trigger-long-running-operation", json!({"duration": 1, "steps": 4}), meta).await?;
        let heard = self.peer.heard().split_off(mark);
        let reports = heard.iter().filter(|it| it["method"] == "notifications/progress").map(|it| &it["params"]);
        let reports: Vec<_> = reports.map(|it| (it["progress"].as_f64(), it["total"].as_f64())).collect();
        let expected: Vec<_> = [1.0, 2.0, 3.0, 4.0].map(|step| (Some(step), Some(4.0))).into();
        ensure!(reports == expected, "{reports:?}");
        Ok("4 steps in order, then the answer".into())
    }

    async fn log(&self) -> Result<String> {
        let meta = self.peer.log_all().await?;
        let mark = self.peer.heard().len();
        self.tool("toggle-simulated-logging", json!({}), meta.clone()).await?;
        let simulated = |params: &Value| {
            let text = params["data"].to_string().to_lowercase();
            text.contains("level") && text.contains("message")
        };
        let entry = self.heard("notifications/message", mark, simulated).await;
        self.tool("toggle-simulated-logging", json!({}), meta).await?;
        entry.map(|entry| entry["data"].to_string())
    }

    async fn cancel(&self) -> Result<String> {
        let name = self.named("trigger-long-running-operation").await?;
        self.peer.take_back(&name, json!({"duration": 2, "steps": 8})).await?;
        let echo = self.text("echo", json!({"message": "on"})).await?;
        ensure!(echo == "Echo: on", "{echo}");
        Ok("not answered, and everything goes on".into())
    }

    async fn sampling(&self) -> Result<String> {
        let mark = self.peer.heard().len();
        let arguments = json!({"prompt": "prompt of the check", "maxTokens": 17});
        let answer = self.text("trigger-sampling-request", arguments).await?;
        let prompts = |params: &Value| params["messages"].to_string().contains("prompt of the check");
        let asked = self.heard("sampling/createMessage", mark, prompts).await?;
        ensure!(asked["maxTokens"] == 17, "{asked}");
        ensure!(answer.contains(SAMPLE) && answer.contains(MODEL), "the sample did not come back: {answer}");
        Ok("the sample came back".into())
    }

    async fn elicitation(&self) -> Result<String> {
        let mark = self.peer.heard().len();
        let answer = self.text("trigger-elicitation-request", json!({})).await?;
        let schema = |params: &Value| params["requestedSchema"]["properties"].get("name").is_some();
        self.heard("elicitation/create", mark, schema).await?;
        ensure!(answer.contains(NAME), "the answer did not come back: {answer}");
        Ok("the answer came back".into())
    }

    async fn elicitation_url(&self) -> Result<String> {
        let mark = self.peer.heard().len();
        let url = "https://example.com/visit";
        let answer = self.text("trigger-url-elicitation", json!({"url": url})).await?;
        self.heard("elicitation/create", mark, |params| params["mode"] == "url" && params["url"] == url).await?;
        let accepted = ["accept", "User completed"].iter().any(|word| answer.contains(word));
        ensure!(accepted, "the answer did not come back: {answer}");
        Ok("the answer came back".into())
    }

    async fn roots(&self) -> Result<String> {
        self.shown(FIRST_ROOT).await?;
        let later = "file:///home/user/later";
        if !self.peer.add_root(later).await? {
            return Ok("one root; that revision has no list_changed".into());
        }
        self.shown(later).await?;
        Ok("two roots, the last after list_changed".into())
    }

    /// Some servers ask by themselves, some time after the handshake or a change.
    async fn shown(&self, root: &str) -> Result<()> {
        let name = self.named("get-roots-list").await?;
        let mut last = String::new();
        let look = async || {
            let params = json!({"name": name, "arguments": {}});
            last = self.peer.request("tools/call", params).await.map_or_else(|e| format!("{e:#}"), |it| it.to_string());
            last.contains(root).then_some(())
        };
        let shown = eventually(PATIENCE, format!("the root {root}"), look).await;
        shown.with_context(|| format!("it says {last}"))
    }

    async fn subscribe(&self) -> Result<String> {
        let toggle = self.named("toggle-subscriber-updates").await?;
        let toggle = json!({"name": toggle, "arguments": {}});
        let templates = self.all("resources/templates/list", "resourceTemplates").await?;
        let templates = templates.iter().filter_map(|it| it["uriTemplate"].as_str());
        let mut templates = templates.filter(|template| template.starts_with(&self.address()));
        let template = templates.find_map(|template| template.strip_suffix("text/{resourceId}"));
        let template = template.context("no template of texts is listed")?;
        let uri = format!("{template}text/1");
        self.peer.watch(&Watch::Resource(uri.clone())).await?;
        let mark = self.peer.heard().len();
        self.peer.request("tools/call", toggle.clone()).await?;
        let updated = self.heard("notifications/resources/updated", mark, |params| params["uri"] == uri.as_str()).await;
        self.peer.request("tools/call", toggle).await?;
        updated.map(|_| format!("updated {uri}"))
    }

    /// What addresses of resources begin with.
    fn address(&self) -> String {
        self.prefix.strip_suffix('-').map(|server| format!("{server}+")).unwrap_or_default()
    }

    async fn list_changed(&self) -> Result<String> {
        self.peer.watch(&Watch::Resources).await?;
        let mark = self.peer.heard().len();
        let name = format!("{}.gz", std::process::id());
        let data = "data:text/plain;base64,bWFkZSBieSBhIGNoZWNr";
        let arguments = json!({"name": name, "data": data, "outputType": "resourceLink"});
        self.tool("gzip-file-as-resource", arguments, json!({})).await?;
        self.heard("notifications/resources/list_changed", mark, |_| true).await?;
        let uri = eventually(PATIENCE, "the resource to be listed", async || {
            let all = self.all("resources/list", "resources").await.ok()?;
            let uris = all.iter().filter_map(|it| it["uri"].as_str());
            uris.filter(|uri| uri.starts_with(&self.address())).find(|uri| uri.ends_with(&name)).map(str::to_owned)
        });
        let uri = uri.await?;
        let content = self.peer.request("resources/read", json!({"uri": uri})).await?;
        let blob = content["contents"][0]["blob"].as_str().unwrap_or_default();
        // The magic number of gzip.
        ensure!(blob.starts_with("H4sI"), "another content: {content}");
        Ok(format!("told, listed and read {uri}"))
    }

    async fn huge(&self) -> Result<String> {
        let message = "größe ".repeat(1_250_000);
        let bytes = message.len();
        let echo = self.text("echo", json!({"message": message})).await?;
        ensure!(echo.len() == bytes + "Echo: ".len(), "{} bytes came back of {bytes}", echo.len());
        Ok(format!("{bytes} bytes there and back"))
    }

    /// The network breaks at the first step of a call of seven.
    async fn resume(&self) -> Result<String> {
        let call = self.tool(
            "trigger-long-running-operation",
            json!({"duration": 2, "steps": 7}),
            json!({"progressToken": "of a broken stream"}),
        );
        within(RESUMPTION, "the answer of a call whose connection broke", call).await?;
        Ok("answered".into())
    }

    async fn all(&self, method: &str, key: &str) -> Result<Vec<Value>> {
        let (mut all, mut params) = (Vec::new(), json!({}));
        loop {
            let mut page = self.peer.request(method, params).await?;
            let Value::Array(found) = page[key].take() else { anyhow::bail!("{method} has no {key}: {page}") };
            all.extend(found);
            match page["nextCursor"].take() {
                Value::Null => return Ok(all),
                cursor => params = json!({"cursor": cursor}),
            }
        }
    }

    /// The name of a tool here.
    async fn named(&self, name: &str) -> Result<String> {
        let name = format!("{}{name}", self.prefix);
        let listed = self.all("tools/list", "tools").await?.iter().any(|tool| tool["name"] == name.as_str());
        if listed { Ok(name) } else { Err(Skip(format!("no tool {name}")).into()) }
    }

    async fn tool(&self, name: &str, arguments: Value, meta: Value) -> Result<Value> {
        let name = self.named(name).await?;
        let params = json!({"name": name, "arguments": arguments, "_meta": meta});
        let result = self.peer.request("tools/call", params).await?;
        ensure!(result["isError"] != true, "the tool failed: {}", result["content"]);
        Ok(result)
    }

    async fn text(&self, name: &str, arguments: Value) -> Result<String> {
        let mut result = self.tool(name, arguments, json!({})).await?;
        let Value::Array(blocks) = result["content"].take() else { anyhow::bail!("{name} has no content") };
        Ok(blocks.iter().filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().join("\n"))
    }

    /// Waits for such a notification, or question, after the mark.
    async fn heard(&self, method: &str, mark: usize, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let look = async || {
            let heard = self.peer.heard().split_off(mark);
            let found = heard.into_iter().find(|it| it["method"] == method && wanted(&it["params"]));
            found.map(|mut found| found["params"].take())
        };
        eventually(PATIENCE, method, look).await
    }
}
