//! The child's tools.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Outcome;
use crate::era::{Era, MODERN};

/// A name, the name of its argument, and the type of that.
type Tool = (&'static str, &'static str, &'static str);

const LEGACY_TOOLS: &[Tool] =
    &[("echo", "text", "string"), ("blob", "bytes", "integer"), ("stall", "text", "string"), ("ask", "text", "string")];

/// The same but the last: a server of the newer era asks by its answer, which then waits nowhere.
const MODERN_TOOLS: &[Tool] = LEGACY_TOOLS.split_at(3).0;

/// How many tools there are at least, in either era.
pub(super) const LEAST: u16 = 4;

/// Calls a tool. Of what a request of the newer era must say of itself only this is checked, as only this is measured.
pub(super) fn call(params: &str, era: Era) -> Outcome {
    #[derive(Deserialize)]
    struct Params<'a> {
        #[serde(borrow)]
        name: &'a str,
        #[serde(borrow)]
        arguments: Arguments<'a>,
        #[serde(borrow, rename = "_meta")]
        meta: Option<Meta<'a>>,
    }
    #[derive(Deserialize)]
    struct Arguments<'a> {
        #[serde(borrow)]
        text: Option<&'a RawValue>,
        bytes: Option<usize>,
    }
    #[derive(Deserialize)]
    struct Meta<'a> {
        #[serde(borrow, rename = "io.modelcontextprotocol/protocolVersion")]
        revision: Option<&'a str>,
        #[serde(borrow, rename = "io.modelcontextprotocol/clientCapabilities")]
        capabilities: Option<&'a RawValue>,
    }
    let Ok(Params { name, arguments, meta }) = serde_json::from_str(params) else {
        return Outcome::Refused(-32602, "params need name and arguments");
    };
    let says_enough = |meta: Meta<'_>| meta.revision == Some(MODERN) && meta.capabilities.is_some();
    if era == Era::Modern && !meta.is_some_and(says_enough) {
        return Outcome::Refused(-32602, "_meta needs protocolVersion and clientCapabilities");
    }
    match (name, arguments) {
        ("echo", Arguments { text: Some(text), .. }) => Outcome::Result(text_content(text.get())),
        ("blob", Arguments { bytes: Some(bytes), .. }) => {
            Outcome::Result(text_content(&format!("\"{}\"", "x".repeat(bytes))))
        }
        ("stall", _) => Outcome::Silence,
        ("ask", _) if era == Era::Legacy => Outcome::Question,
        _ => Outcome::Refused(-32602, "no such tool, or its argument is missing"),
    }
}

/// The members of a result whose only content is `text`, which is JSON already.
fn text_content(text: &str) -> String {
    [r#""content":[{"type":"text","text":"#, text, "}]"].concat()
}

/// The members of a list of so many tools: those above, and fillers of the size that tools of real servers have.
pub(super) fn list(count: u16, era: Era) -> String {
    let (tools, cached) = match era {
        Era::Legacy => (LEGACY_TOOLS, ""),
        Era::Modern => (MODERN_TOOLS, r#","ttlMs":3600000,"cacheScope":"public""#),
    };
    let mut list = String::from(r#""tools":["#);
    for number in 0..count {
        let filler = format!("tool_{number:03}");
        let (name, property, kind) =
            tools.get(usize::from(number)).copied().unwrap_or((filler.as_str(), "text", "string"));
        let comma = if number == 0 { "" } else { "," };
        write!(
            list,
            r#"{comma}{{"name":"{name}","description":"Returns what it was asked for, at once and unchanged, so that only the way there and back is measured.","inputSchema":{{"type":"object","properties":{{"{property}":{{"type":"{kind}","description":"What to return"}}}},"required":["{property}"]}}}}"#
        )
        .expect("a String takes every write");
    }
    list.push(']');
    list.push_str(cached);
    list
}
