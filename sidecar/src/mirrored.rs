//! Keeps in mind which arguments of the server's tools clients of 2026-07-28 repeat in headers.

use std::time::Duration;

use mcp::modern::mirrored::Mirrored;
use serde_json::value::RawValue;
use wire::internal::{CallError, Changes, Looker, list};
use wire::session::Exchanges;

/// All that a client may declare: tools are looked at that others are not offered, and nobody is asked anything.
const EVERYTHING: &str = r#"{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{}}"#;
/// How long clients wait for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a server is left alone that tells of no changes.
const INTERVAL: Duration = Duration::from_secs(30);

/// Looks at the tools. What then tells of changes.
pub async fn look(exchanges: &Exchanges, limit: Duration) -> Result<Changes, CallError> {
    let mut looker = Looker::new(exchanges.clone(), EVERYTHING);
    // Before the list, so that no change is missed.
    let changes = looker.changes().await?;
    read(exchanges, &mut looker, limit).await;
    Ok(changes)
}

/// Looks again whenever they have changed, until the server's task has ended.
pub async fn follow(exchanges: Exchanges, mut changes: Changes, limit: Duration) {
    let mut looker = Looker::new(exchanges.clone(), EVERYTHING);
    loop {
        if changes.next().await.is_some() {
            read(&exchanges, &mut looker, limit).await;
            continue;
        }
        tokio::time::sleep(INTERVAL).await;
        match look(&exchanges, limit).await {
            Ok(newer) => changes = newer,
            Err(_) => return,
        }
    }
}

/// Looks at the tools, and no more.
pub async fn glance(exchanges: &Exchanges, limit: Duration) {
    read(exchanges, &mut Looker::new(exchanges.clone(), "{}"), limit).await;
}

/// A server that does not list its tools has none. Clients wait for this.
async fn read(exchanges: &Exchanges, looker: &mut Looker, limit: Duration) {
    let tools = list(looker, "tools/list", "tools", limit.min(PATIENCE)).await.unwrap_or_default();
    exchanges.set_mirrored(Mirrored::of_tools(tools.iter().map(|tool| RawValue::get(tool))));
}
