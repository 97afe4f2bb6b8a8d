//! A client of 2026-07-28: each request is a POST of its own, which says of itself in headers and in `_meta` what it must.

use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use serde::Deserialize;

use super::Streamable;
use crate::envelope::{Envelope, splice};
use crate::era::MODERN;

/// A connection, and what all its requests say.
#[derive(Debug)]
pub(crate) struct Modern {
    posts: Streamable,
    /// JSON.
    meta: String,
}

impl Modern {
    pub(super) async fn open(addr: SocketAddr, path: &'static str, capabilities: &str) -> anyhow::Result<Self> {
        let posts = Streamable::open(addr, path, MODERN).await?;
        let meta = format!(
            r#"{{"io.modelcontextprotocol/protocolVersion":"{MODERN}","io.modelcontextprotocol/clientCapabilities":{capabilities},"io.modelcontextprotocol/clientInfo":{{"name":"bench","version":"1"}}}}"#
        );
        Ok(Self { posts, meta })
    }

    /// Sends a request of the older era as one of this.
    pub(super) async fn request(&mut self, id: u64, message: &[u8]) -> anyhow::Result<Bytes> {
        let (body, fields) = dressed(message, &self.meta)?;
        self.posts.say(fields);
        let answer = self.posts.request(id, &body).await?;
        ensure!(!self.posts.has_session(), "the target gave a session to a request that stands alone");
        Ok(answer)
    }

    pub(super) fn strays(&self) -> u64 {
        self.posts.strays
    }
}

/// A request with `meta` in its params, and the header fields that repeat what it says; names need no escape.
fn dressed(message: &[u8], meta: &str) -> anyhow::Result<(Vec<u8>, String)> {
    #[derive(Deserialize)]
    struct Params<'a> {
        #[serde(borrow)]
        name: Option<&'a str>,
    }
    let Envelope { method, params, .. } = Envelope::parse(message).context("the request is not JSON-RPC")?;
    let (method, params) = method.zip(params).context("a request needs a method and params")?;
    let Params { name } = serde_json::from_str(params.get()).context("params must be an object, and a name text")?;
    let members = params.get().trim_start_matches('{').trim_start();
    let comma = if members == "}" { "" } else { "," };
    let body = splice(message, params, format!(r#"{{"_meta":{meta}{comma}{members}"#).as_bytes(), b"");
    let method = method.get().trim_matches('"');
    let mut fields = format!("MCP-Protocol-Version: {MODERN}\r\nMcp-Method: {method}\r\n");
    if let Some(name) = name {
        write!(fields, "Mcp-Name: {name}\r\n")?;
    }
    Ok((body, fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_in_headers_what_its_body_says() {
        let call =
            br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"a"}}}"#;
        let (body, fields) = dressed(call, r#"{"k":1}"#).unwrap();
        let expected = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"k":1},"name":"echo","arguments":{"text":"a"}}}"#;
        assert_eq!(String::from_utf8(body).unwrap(), expected);
        assert_eq!(fields, "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: echo\r\n");
    }

    #[test]
    fn a_request_without_a_name_has_no_header_for_it() {
        let (body, fields) = dressed(br#"{"id":1,"method":"tools/list","params":{}}"#, "{}").unwrap();
        assert_eq!(body, br#"{"id":1,"method":"tools/list","params":{"_meta":{}}}"#);
        assert!(fields.ends_with("Mcp-Method: tools/list\r\n"));
        assert!(dressed(br#"{"id":1,"method":"tools/list"}"#, "{}").is_err());
    }
}
