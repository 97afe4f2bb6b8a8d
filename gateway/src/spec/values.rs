//! The values of an entry: text that becomes a program, a URL, a header or a variable.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, Uri};

use super::{
    ProcessMode, Transport,
    fields::{Fault, map, text},
    node::{Node, Value},
};

pub(super) fn mode(node: &Node) -> Result<ProcessMode, Fault> {
    match text(node)? {
        "auto" => Ok(ProcessMode::Auto),
        "shared" => Ok(ProcessMode::Shared),
        "perSession" => Ok(ProcessMode::PerSession),
        _ => Err(Fault::new(node, "must be `auto`, `shared` or `perSession`")),
    }
}

pub(super) fn transport(node: &Node) -> Result<Transport, Fault> {
    match text(node)? {
        "auto" => Ok(Transport::Auto),
        "sse" => Ok(Transport::Sse),
        "http" | "streamable-http" | "streamableHttp" | "streamable_http" => Ok(Transport::StreamableHttp),
        _ => Err(Fault::new(node, "must be `streamable-http`, `sse` or `auto` for a server with a `url`")),
    }
}

pub(super) fn program(node: &Node) -> Result<String, Fault> {
    let program = without_nul(node, filled(node)?)?;
    if program.trim() != program {
        return Err(Fault::new(node, "must not begin or end with a space"));
    }
    // A path may hold spaces; a name that does is a command line. It is not repeated: it may hold a secret.
    match program.split_once(char::is_whitespace) {
        Some((first, _)) if !first.contains(['/', '\\']) => Err(Fault::new(
            node,
            r#"must be the program alone: split it, as in "command": "uvx", "args": ["mcp-server-time"]"#,
        )),
        _ => Ok(program.to_owned()),
    }
}

pub(super) fn argument(node: &Node) -> Result<String, Fault> {
    Ok(without_nul(node, text(node)?)?.to_owned())
}

pub(super) fn variable(name: &str, node: &Node) -> Result<String, Fault> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(Fault::new(node, "is no name of a variable: it must not be empty nor hold `=` or NUL"));
    }
    let value = scalar(node)?;
    without_nul(node, &value)?;
    Ok(value)
}

pub(super) fn url(node: &Node) -> Result<String, Fault> {
    let written = text(node)?;
    let absolute = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    };
    match written.parse::<Uri>() {
        Ok(uri) if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) => {
            Err(Fault::new(node, "must not hold a user name or a password: send them in `headers`, as `Authorization`"))
        }
        Ok(uri) if absolute(&uri) => Ok(written.to_owned()),
        _ => Err(Fault::new(node, "must be an absolute http or https URL such as `https://host/mcp`")),
    }
}

/// Headers that the transport itself writes, often shown in documentation: taken out without a word.
const OWN_HEADERS: [&str; 2] = ["accept", "content-type"];

/// Headers that would break the transport.
const RESERVED_HEADERS: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
    "te",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn headers(node: &Node) -> Result<BTreeMap<String, String>, Fault> {
    let written = map(header)(node)?;
    let count = written.len();
    let mut headers: BTreeMap<_, _> =
        written.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    if headers.len() < count {
        return Err(Fault::new(node, "must name each header once: upper and lower case are the same"));
    }
    headers.retain(|name, _| !OWN_HEADERS.contains(&name.as_str()));
    Ok(headers)
}

fn header(name: &str, node: &Node) -> Result<String, Fault> {
    let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
        return Err(Fault::new(node, "is no name of a header"));
    };
    if RESERVED_HEADERS.contains(&header.as_str()) {
        return Err(Fault::new(node, "is set by the gateway itself: leave it out"));
    }
    let value = scalar(node)?;
    HeaderValue::from_str(&value)
        .map_err(|_| Fault::new(node, "must be a header value: printable ASCII on one line"))?;
    Ok(value)
}

/// Numbers and booleans stand for their text, as every client takes them.
pub(super) fn scalar(node: &Node) -> Result<String, Fault> {
    match &node.value {
        Value::Text(text) | Value::Number(text) => Ok(text.clone()),
        Value::Bool(value) => Ok(value.to_string()),
        other => Err(Fault::new(node, format!("must be a string, not {other}"))),
    }
}

pub(super) fn filled(node: &Node) -> Result<&str, Fault> {
    let text = text(node)?;
    if text.trim().is_empty() { Err(Fault::new(node, "must not be empty")) } else { Ok(text) }
}

/// No program can be given a NUL: it ends a string in the calls that start programs.
fn without_nul<'t>(node: &Node, text: &'t str) -> Result<&'t str, Fault> {
    if text.contains('\0') { Err(Fault::new(node, "must not hold a NUL character")) } else { Ok(text) }
}
