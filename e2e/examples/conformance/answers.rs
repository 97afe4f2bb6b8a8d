//! What tools do that ask nothing.
#![expect(deprecated, reason = "logging and sampling are, and are asked for by the suite")]

use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{
    ClientCapabilities, ErrorData, LoggingLevel, LoggingMessageNotificationParam, ProgressNotificationParam,
};
use rmcp::service::RequestContext;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::ask::{internal, is_modern, refusal};
use crate::content;
use crate::server::{Changed, Server};

/// Between two notifications of a tool, so that they are seen one by one.
const PAUSE: Duration = Duration::from_millis(50);

/// A tool that asks nothing.
pub(crate) async fn answer(
    server: &Server,
    name: &str,
    context: &RequestContext<RoleServer>,
) -> Result<Value, ErrorData> {
    match name {
        "test_tool_with_logging" => {
            for line in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
                log(context, line).await;
                sleep(PAUSE).await;
            }
        }
        "test_logging_tool" => log(context, "it may have been asked for").await,
        "test_tool_with_progress" => progress(context).await,
        "test_error_handling" => {
            return Ok(json!({"content": [content::text("It fails, as it should")], "isError": true}));
        }
        "test_missing_capability" => needs_sampling(context)?,
        "test_reconnection" => sleep(2 * PAUSE).await,
        "test_trigger_tool_change" => server.tell(Changed::Tools, context).await,
        "test_trigger_prompt_change" => server.tell(Changed::Prompts, context).await,
        _ => {
            let content = content::of_tool(name).ok_or_else(|| refusal(format!("no tool is named {name}")))?;
            return Ok(json!({"content": content}));
        }
    }
    Ok(json!({"content": [content::text(&format!("{name} has done what it does"))]}))
}

/// Says so to a client that wants to hear it: one of an older revision has a whole connection to say that on, and this
/// server does not look.
async fn log(context: &RequestContext<RoleServer>, line: &str) {
    let wanted = if is_modern(context) { context.meta.log_level() } else { Some(LoggingLevel::Info) };
    let Some(level) = wanted else { return };
    let param = LoggingMessageNotificationParam::new(level, json!(line)).with_logger("conformance");
    // The client may have gone.
    let _ = context.peer.notify_logging_message(param).await;
}

async fn progress(context: &RequestContext<RoleServer>) {
    for percent in [0.0, 50.0, 100.0] {
        if let Some(token) = context.meta.get_progress_token() {
            let param = ProgressNotificationParam::new(token, percent).with_total(100.0);
            let _ = context.peer.notify_progress(param).await;
        }
        sleep(PAUSE).await;
    }
}

/// Older revisions have no error for it.
fn needs_sampling(context: &RequestContext<RoleServer>) -> Result<(), ErrorData> {
    if context.client_capabilities().is_some_and(|client| client.sampling.is_some()) {
        return Ok(());
    }
    if is_modern(context) {
        let needed = ClientCapabilities::builder().enable_sampling().build();
        return Err(ErrorData::missing_required_client_capability(needed));
    }
    Err(internal("the client has no sampling"))
}
