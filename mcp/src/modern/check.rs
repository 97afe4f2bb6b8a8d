//! What a request that came by HTTP must say of itself, in its headers and in its envelope (2026-07-28, Streamable HTTP,
//! "Server Validation"), and the HTTP statuses of errors.

use std::borrow::Cow;

use super::{code, meta};
use crate::envelope::{self, Message};
use crate::header::{self, MCP_METHOD, MCP_NAME, MCP_PROTOCOL_VERSION};
use crate::json;
use crate::version::{Era, Version};

/// A header of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// It is not there.
    Absent,
    /// It is there once.
    One(&'a str),
    /// It is there more than once, or holds what is no text: two readers may understand it in two ways.
    Unclear,
}

/// A request that is refused before it reaches a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The JSON-RPC code.
    pub code: i32,
    /// What is wrong, and what to do.
    pub text: String,
    /// The `data` of the error, raw JSON.
    pub data: Option<String>,
}

impl Refusal {
    fn new(status: u16, code: i32, text: impl Into<String>) -> Self {
        Self { status, code, text: text.into(), data: None }
    }

    fn mismatch(text: impl Into<String>) -> Self {
        Self::new(400, code::HEADER_MISMATCH, text)
    }
}

/// Methods of older revisions, which this one has done away with. They are refused here, because a server that speaks
/// both eras may answer them.
const REMOVED: [&str; 7] = [
    "initialize",
    "ping",
    "logging/setLevel",
    "resources/subscribe",
    "resources/unsubscribe",
    "tasks/list",
    "tasks/result",
];

/// The era of a message that came by HTTP. `version` is the header `MCP-Protocol-Version`.
pub fn era(message: &Message, version: Field<'_>) -> Era {
    let says = |key| !message.is_response() && matches!(message.at(&["_meta", key]), Some(value) if value != "null");
    let modern = matches!(version, Field::One(text) if Version::is_modern(text))
        || says(meta::PROTOCOL_VERSION)
        || says(meta::CLIENT_CAPABILITIES);
    if modern { Era::Modern } else { Era::Legacy }
}

/// Checks a request of the new era: its envelope, its revision, its method, and that its headers say what its body says.
/// `header` gives the headers by name, in lower case.
///
/// # Errors
/// With the first that is wrong, as the client is to be told.
pub fn check<'a>(request: &Message, header: impl Fn(&str) -> Field<'a>) -> Result<(), Refusal> {
    let version = version(request)?;
    same(header(MCP_PROTOCOL_VERSION), "MCP-Protocol-Version", &version)?;
    if !Version::is_modern(&version) {
        return Err(unsupported(&version));
    }
    if REMOVED.contains(&request.method()) {
        let text = format!("Method not found: {} is not part of protocol version {version}", request.method());
        return Err(Refusal::new(404, envelope::code::METHOD_NOT_FOUND, text));
    }
    same(header(MCP_METHOD), "Mcp-Method", request.method())?;
    let Some(key) = named_by(request.method()) else { return Ok(()) };
    match (request.str_at(&[key]), header(MCP_NAME)) {
        (Some(name), field) => same_coded(field, "Mcp-Name", &name),
        // The server says what is wrong with the body.
        (None, Field::Absent) => Ok(()),
        (None, _) => Err(missing("Mcp-Name", &format!("params.{key}"))),
    }
}

/// The revision of the envelope, which must be complete.
fn version(request: &Message) -> Result<Cow<'_, str>, Refusal> {
    let missing = |what: &str| {
        let text = format!("`params._meta` must hold `{what}`");
        Refusal::new(400, envelope::code::INVALID_PARAMS, text)
    };
    let version = request.str_at(&["_meta", meta::PROTOCOL_VERSION]);
    let version = version.ok_or_else(|| missing(meta::PROTOCOL_VERSION))?;
    let capabilities = request.at(&["_meta", meta::CLIENT_CAPABILITIES]);
    if !capabilities.is_some_and(|raw| raw.starts_with('{')) {
        return Err(missing(meta::CLIENT_CAPABILITIES));
    }
    Ok(version)
}

fn unsupported(version: &str) -> Refusal {
    let newer: Vec<_> = Version::ALL.iter().filter(|version| version.era() == Era::Modern).collect();
    let supported: Vec<_> = newer.iter().map(|version| json::quote(version.as_str())).collect();
    let data = format!(r#"{{"supported":[{}],"requested":{}}}"#, supported.join(","), json::quote(version));
    let text = format!("Unsupported protocol version: {version}; see `data.supported`");
    Refusal { data: Some(data), ..Refusal::new(400, code::UNSUPPORTED_VERSION, text) }
}

/// The member of `params` that `Mcp-Name` repeats, for a request of that method.
pub(super) fn named_by(method: &str) -> Option<&'static str> {
    match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" => Some("uri"),
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some("taskId"),
        _ => None,
    }
}

fn same(field: Field<'_>, name: &str, body: &str) -> Result<(), Refusal> {
    same_value(field, name, |value| value == body)
}

/// Checks a header's value, without the space around it.
pub(super) fn same_value(field: Field<'_>, name: &str, is: impl Fn(&str) -> bool) -> Result<(), Refusal> {
    if is(one(field, name)?.trim_matches([' ', '\t'])) { Ok(()) } else { Err(differs(name)) }
}

/// The body lacks what a header says.
pub(super) fn missing(name: &str, what: &str) -> Refusal {
    Refusal::mismatch(format!("the header `{name}` is there, but the body has no `{what}`"))
}

/// The same for a value that may be coded; see [`crate::header`].
pub(super) fn same_coded(field: Field<'_>, name: &str, body: &str) -> Result<(), Refusal> {
    let value = header::decode(one(field, name)?).map_err(|error| Refusal::mismatch(format!("`{name}`: {error}")))?;
    if value == body { Ok(()) } else { Err(differs(name)) }
}

fn one<'a>(field: Field<'a>, name: &str) -> Result<&'a str, Refusal> {
    match field {
        Field::One(value) => Ok(value),
        Field::Absent => Err(Refusal::mismatch(format!("the header `{name}` is missing"))),
        Field::Unclear => Err(Refusal::mismatch(format!("the header `{name}` must be there once, as visible ASCII"))),
    }
}

fn differs(name: &str) -> Refusal {
    Refusal::mismatch(format!("the header `{name}` says something else than the body"))
}

/// The HTTP status of an error that a server answers with.
pub fn status(code: i64) -> u16 {
    let is = |known: i32| code == i64::from(known);
    match code {
        _ if is(envelope::code::METHOD_NOT_FOUND) => 404,
        _ if is(envelope::code::PARSE_ERROR) || is(envelope::code::INVALID_REQUEST) => 400,
        _ if is(code::HEADER_MISMATCH) || is(code::MISSING_CAPABILITY) || is(code::UNSUPPORTED_VERSION) => 400,
        _ => 200,
    }
}

#[cfg(test)]
mod tests;
