//! Content that a revision does not know: its clients refuse a result that has some.

use std::borrow::Cow;

use crate::json;
use crate::version::Version;

/// A block of content as text, where `version` does not know its type; `None` where it does.
pub(in crate::modern) fn block(block: &str, version: Version) -> Option<String> {
    let part = |key| json::lookup(block, &[key]).and_then(json::string);
    let text = match part("type")?.as_ref() {
        "resource_link" if version < Version::V2025_06_18 => {
            let name = part("title").or_else(|| part("name")).unwrap_or(Cow::Borrowed("resource"));
            format!("{name}: {}", part("uri").unwrap_or_default())
        }
        "audio" if version < Version::V2025_03_26 => {
            format!("(audio of the type {}, which cannot be shown)", part("mimeType").unwrap_or_default())
        }
        _ => return None,
    };
    Some(format!(r#"{{"type":"text","text":{}}}"#, json::quote(&text)))
}
