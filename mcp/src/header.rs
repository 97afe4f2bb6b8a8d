//! Names and value coding of the HTTP headers that MCP and the hop between gateway and sidecar use.
//!
//! The values of `Mcp-Name` and `Mcp-Param-*` mirror strings of the body, which may hold any text, whereas a header
//! value may not. Such text travels as `=?base64?…?=` (MCP 2026-07-28, Streamable HTTP, "Value Encoding"); whoever
//! compares header and body decodes first.

use std::borrow::Cow;

use base64::prelude::{BASE64_STANDARD, Engine};

/// The session of a Streamable HTTP connection, from 2025-03-26 to 2025-11-25.
pub const MCP_SESSION_ID: &str = "mcp-session-id";
/// The revision that a request speaks, from 2025-06-18 on.
pub const MCP_PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// The body's `method`, from 2026-07-28 on.
pub const MCP_METHOD: &str = "mcp-method";
/// The body's `params.name`, `params.uri` or `params.taskId`, by method, from 2026-07-28 on. Coded.
pub const MCP_NAME: &str = "mcp-name";
/// What the names of headers begin with that mirror an argument marked `x-mcp-header`, from 2026-07-28 on. Coded.
pub const MCP_PARAM_PREFIX: &str = "mcp-param-";
/// The last event that a client has seen of the stream it resumes (WHATWG HTML, "Server-sent events").
pub const LAST_EVENT_ID: &str = "last-event-id";
/// The version of the hop between gateway and sidecar.
pub const HOP_VERSION: &str = "mcp-gateway-hop";
/// On the hop: a hash that stands for the caller, and keys what may not be shared between callers.
pub const HOP_PRINCIPAL: &str = "mcp-gateway-principal";
/// On the hop, in a cluster: the gateway's short-lived token for this one server.
pub const HOP_TOKEN: &str = "mcp-gateway-token";

const MARK: &str = "=?base64?";
const END: &str = "?=";

/// Why a header's value could not be decoded. To the client it is a HeaderMismatch, JSON-RPC -32020 with HTTP 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A byte that no header value may hold.
    #[error("the header value has a character other than visible ASCII, space and tab; send it as =?base64?…?=")]
    Character,
    /// Between the marks stands no Base64.
    #[error("the header value is marked =?base64?…?= but holds no padded standard Base64")]
    Base64,
    /// The Base64 holds no text.
    #[error("the header value is marked =?base64?…?= but the bytes it holds are not UTF-8")]
    Utf8,
}

/// The header value that stands for `text`, borrowed where the text can stand for itself.
///
/// A tab would be legal inside a value; it is encoded because not every HTTP library lets it through.
pub fn encode(text: &str) -> Cow<'_, str> {
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && text.trim_matches(' ').len() == text.len()
        && !(text.starts_with(MARK) && text.ends_with(END));
    if plain { Cow::Borrowed(text) } else { Cow::Owned(format!("{MARK}{}{END}", BASE64_STANDARD.encode(text))) }
}

/// The text that a header value stands for. Spaces and tabs around the value are no part of it (RFC 9110 §5.5).
pub fn decode(value: &str) -> Result<Cow<'_, str>, DecodeError> {
    let value = value.trim_matches([' ', '\t']);
    if !value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        return Err(DecodeError::Character);
    }
    let Some(encoded) = encoded_part(value) else { return Ok(Cow::Borrowed(value)) };
    let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| DecodeError::Base64)?;
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| DecodeError::Utf8)
}

/// What stands between the marks, when both are there. They are case-sensitive.
fn encoded_part(value: &str) -> Option<&str> {
    value.strip_prefix(MARK)?.strip_suffix(END)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_specifications_examples_encode_as_printed() {
        for (text, value) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ] {
            assert_eq!(encode(text), value);
            assert_eq!(decode(value).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_safe_stays_as_it_is() {
        for text in ["", "a b", "file:///x?y=~", "=?base64?", "?=", "=?BASE64?YQ==?=", "=?base64!?="] {
            assert!(matches!(encode(text), Cow::Borrowed(same) if same == text), "{text}");
            assert_eq!(decode(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn marks_that_share_a_question_mark_are_text_but_are_not_sent_as_such() {
        assert_eq!(decode("=?base64?=").as_deref(), Ok("=?base64?="));
        assert_eq!(encode("=?base64?="), "=?base64?PT9iYXNlNjQ/PQ==?=");
    }

    #[test]
    fn a_value_that_is_no_value_is_refused() {
        for (value, error) in [
            ("caf\u{e9}", DecodeError::Character),
            ("a\u{7f}b", DecodeError::Character),
            ("a\nb", DecodeError::Character),
            ("=?base64?YQ?=", DecodeError::Base64),
            ("=?base64?YQ=?=", DecodeError::Base64),
            ("=?base64?YR==?=", DecodeError::Base64),
            ("=?base64?!!!!?=", DecodeError::Base64),
            ("=?base64?/w==?=", DecodeError::Utf8),
        ] {
            assert_eq!(decode(value), Err(error), "{value}");
        }
    }

    #[test]
    fn surrounding_whitespace_is_not_part_of_a_value() {
        assert_eq!(decode(" \ta b\t ").as_deref(), Ok("a b"));
        assert_eq!(decode("a\tb").as_deref(), Ok("a\tb"));
    }

    #[test]
    fn corpus_replays() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/header_decode");
        for file in std::fs::read_dir(corpus).unwrap() {
            check(&String::from_utf8_lossy(&std::fs::read(file.unwrap().path()).unwrap()));
        }
    }

    /// What must hold for any value: decoding it never panics, and what it says survives the way back.
    fn check(value: &str) {
        if let Ok(text) = decode(value) {
            assert_eq!(decode(&encode(&text)).as_ref(), Ok(&text));
        }
    }

    proptest! {
        #[test]
        fn every_text_survives_the_round_trip(text in any::<String>()) {
            let value = encode(&text);
            prop_assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            prop_assert_eq!(decode(&value), Ok(text.as_str().into()));
        }

        #[test]
        fn decoding_is_total(value in any::<String>(), base64 in "[A-Za-z0-9+/=]{0,12}") {
            check(&value);
            check(&format!("{MARK}{base64}{END}"));
        }
    }
}
