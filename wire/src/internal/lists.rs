//! Listing what a server offers.

use std::time::Duration;

use mcp::envelope::Message;
use mcp::json;
use serde_json::value::RawValue;

use super::CallError;
use crate::status::Catalogue;

/// A list may have this many pages; a server that goes on for ever is not followed.
const MAX_PAGES: usize = 1000;

/// Asks a server, in whichever era.
pub trait Asks {
    /// Asks, and waits for the answer. `params` is a raw JSON object.
    fn call(
        &mut self,
        method: &str,
        params: &str,
        limit: Duration,
    ) -> impl Future<Output = Result<Message, CallError>> + Send;
}

/// Lists everything that the capabilities in `catalogue` declare.
pub async fn lists(client: &mut impl Asks, catalogue: &mut Catalogue, limit: Duration) -> Result<(), CallError> {
    let capabilities = catalogue.capabilities.as_deref().map_or("{}", RawValue::get).to_owned();
    let declares = |name: &str| json::lookup(&capabilities, &[name]).is_some();
    if declares("tools") {
        catalogue.tools = list(client, "tools/list", "tools", limit).await?;
    }
    if declares("resources") {
        catalogue.resources = list(client, "resources/list", "resources", limit).await?;
        let templates = list(client, "resources/templates/list", "resourceTemplates", limit).await;
        catalogue.resource_templates = optional(templates)?;
    }
    if declares("prompts") {
        catalogue.prompts = list(client, "prompts/list", "prompts", limit).await?;
    }
    Ok(())
}

/// All pages of a list: the elements of `key` in the answers to `method`.
pub async fn list(
    client: &mut impl Asks,
    method: &str,
    key: &str,
    limit: Duration,
) -> Result<Vec<Box<RawValue>>, CallError> {
    let (mut items, mut params) = (Vec::new(), "{}".to_owned());
    for _ in 0..MAX_PAGES {
        let page = client.call(method, &params, limit).await?;
        let found = page.at(&[key]).and_then(json::elements).unwrap_or_default();
        items.extend(found.into_iter().filter_map(|item| RawValue::from_string(item.to_owned()).ok()));
        match page.at(&["nextCursor"]).filter(|cursor| *cursor != "null") {
            Some(cursor) => params = format!(r#"{{"cursor":{cursor}}}"#),
            None => break,
        }
    }
    Ok(items)
}

/// Many servers declare resources and know nothing of templates.
fn optional(list: Result<Vec<Box<RawValue>>, CallError>) -> Result<Vec<Box<RawValue>>, CallError> {
    match list {
        Err(CallError::Server { .. }) => Ok(Vec::new()),
        other => other,
    }
}
