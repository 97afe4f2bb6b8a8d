//! The public conformance suite, in front of a server on an official SDK (`examples/conformance`): by itself, and behind
//! the gateway. What is found shall be the same.
//!
//! Where the server does not speak what the suite speaks, `e2e/conformance` says what is to be found.

use anyhow::{Context, Result};
use e2e::conformance::{Expected, Findings};
use e2e::harness::{Bin, Gateway, Launch, Program};
use futures::future::try_join_all;
use serde_json::{Value, json};

const LEGACY: [&str; 2] = ["--requirements", "2025-11-25"];
const MODERN: [&str; 2] = ["--requirements", "2026-07-28"];
/// Older revisions have no set that is required, but scenarios that fit.
const OLDER: [[&str; 4]; 2] =
    [["--suite", "all", "--spec-version", "2025-03-26"], ["--suite", "all", "--spec-version", "2025-06-18"]];

/// The server as a child process.
fn command(era: &str) -> Result<Value> {
    Ok(json!({"command": Bin::Conformance.text()?, "args": ["--era", era]}))
}

/// The server elsewhere.
async fn elsewhere() -> Result<Program> {
    Launch::new(Bin::Conformance)?.args(["--listen", "127.0.0.1:0"]).listen().await
}

/// The server by itself, and a gateway that has it as a child process and as a server elsewhere.
struct Forms {
    direct: Program,
    gateway: Gateway,
}

impl Forms {
    async fn start() -> Result<Self> {
        let direct = elsewhere().await?;
        let servers = json!({"child": command("dual")?, "elsewhere": {"url": direct.url("/mcp")}});
        Ok(Self { gateway: Gateway::serving(&servers).await?, direct })
    }

    /// Demands the same of these servers as of the one that has no gateway in front, which is given.
    async fn alike(&self, set: &[&str], servers: &[&str]) -> Result<Findings> {
        let direct = self.direct.url("/mcp");
        let urls = servers.iter().map(|server| self.gateway.url(&format!("/{server}/mcp")));
        let runs = [direct].into_iter().chain(urls).map(async |url| Findings::of_server(&url, set).await);
        let mut found = try_join_all(runs).await?.into_iter();
        let direct = found.next().context("one run is of the server by itself")?;
        for (server, found) in servers.iter().zip(found) {
            found.compare(&direct).with_context(|| format!("{set:?} of {server}"))?;
        }
        Ok(direct)
    }
}

#[tokio::test]
async fn a_gateway_changes_nothing_that_a_server_is_found_to_do_in_the_newest_revision() {
    let forms = Forms::start().await.unwrap();
    let found = forms.alike(&MODERN, &["child"]).await.unwrap();
    assert_eq!(found.totals(), (197, 0), "{found:?}");
}

#[tokio::test]
async fn a_gateway_changes_nothing_that_a_server_elsewhere_is_found_to_do_in_the_newest_revision() {
    Forms::start().await.unwrap().alike(&MODERN, &["elsewhere"]).await.unwrap();
}

#[tokio::test]
async fn a_gateway_changes_nothing_that_a_server_is_found_to_do_in_older_revisions() {
    let forms = Forms::start().await.unwrap();
    let found = forms.alike(&LEGACY, &["child", "elsewhere"]).await.unwrap();
    assert_eq!(found.totals(), (83, 0), "{found:?}");
    for set in OLDER {
        forms.alike(&set, &["child", "elsewhere"]).await.unwrap();
    }
}

/// The findings behind a gateway, by a file of what is expected.
async fn as_expected(era: &str, set: [&str; 2], file: &str) -> Result<()> {
    let gateway = Gateway::serving(&json!({"suite": command(era)?})).await?;
    Findings::of_server(&gateway.url("/suite/mcp"), &set).await?.judge(&Expected::read(file)?)
}

#[tokio::test]
async fn a_server_of_older_revisions_is_found_to_do_what_can_be_done_for_clients_of_the_newest() {
    as_expected("legacy", MODERN, "legacy-server").await.unwrap();
}

#[tokio::test]
async fn a_server_of_the_newest_revision_is_found_to_do_what_can_be_done_for_older_clients() {
    as_expected("modern", LEGACY, "modern-server").await.unwrap();
}

/// A sidecar as the client of the suite's servers, which are used through a gateway in `speak`.
async fn as_a_client(scenarios: &[(&str, &str)], speak: &str) -> Result<()> {
    let gateway = Gateway::start(&json!({})).await?;
    let command = format!("{} --speak {speak} {}", Bin::ConformanceClient.text()?, gateway.url(""));
    for (scenario, version) in scenarios {
        let findings = Findings::of_client(&command, scenario, version).await?;
        findings.passed().with_context(|| format!("{scenario} at {version}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_sidecar_is_a_client_of_older_servers_as_the_suite_wants_it() {
    let scenarios = [("tools_call", "2025-06-18"), ("tools_call", "2025-11-25"), ("sse-retry", "2025-11-25")];
    as_a_client(&scenarios, "2025-11-25").await.unwrap();
}

const OF_THE_NEWEST: [(&str, &str); 4] = [
    ("tools_call", "2026-07-28"),
    ("request-metadata", "2026-07-28"),
    ("http-standard-headers", "2026-07-28"),
    ("http-custom-headers", "2026-07-28"),
];

#[tokio::test]
async fn a_sidecar_is_a_client_of_servers_of_the_newest_revision_as_the_suite_wants_it() {
    as_a_client(&OF_THE_NEWEST, "2026-07-28").await.unwrap();
}

#[tokio::test]
async fn a_sidecar_is_such_a_client_for_older_clients_too() {
    // The two others want that `initialize` is never sent; but it has to be found out for such clients who knows it.
    let scenarios = [("tools_call", "2026-07-28"), ("http-custom-headers", "2026-07-28")];
    as_a_client(&scenarios, "2025-11-25").await.unwrap();
}
