//! The JSON-RPC envelope as the child, the floor and clients of 2026-07-28 need it: borrowed, with the id kept as it was written.

use serde::Deserialize;
use serde_json::value::RawValue;

/// A message, its values still raw JSON.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelope<'a> {
    /// Absent (or null) on notifications.
    #[serde(borrow)]
    pub(crate) id: Option<&'a RawValue>,
    /// With its quotes; absent on answers.
    #[serde(borrow)]
    pub(crate) method: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) params: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    /// The envelope of one line or body.
    pub(crate) fn parse(message: &'a [u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(message)
    }
}

/// `message` with the raw value `old`, which must borrow from it, replaced by `new`.
pub(crate) fn splice(message: &[u8], old: &RawValue, new: &[u8], tail: &[u8]) -> Vec<u8> {
    let old = old.get();
    let start = old.as_ptr().addr() - message.as_ptr().addr();
    let rest = &message[start + old.len()..];
    let mut spliced = Vec::with_capacity(start + new.len() + rest.len() + tail.len());
    for part in [&message[..start], new, rest, tail] {
        spliced.extend_from_slice(part);
    }
    spliced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splice_replaces_the_id_and_nothing_else() {
        let message = br#"{"x" : 1.50,"id": "a\u0041","method":"m"}"#;
        let id = Envelope::parse(message).unwrap().id.unwrap();
        assert_eq!(splice(message, id, b"7", b"\n"), b"{\"x\" : 1.50,\"id\": 7,\"method\":\"m\"}\n");
    }
}
