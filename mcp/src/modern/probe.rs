//! Whether a server on standard input and output speaks the new era (2026-07-28, "Versioning").
//!
//! It is asked once, as the first thing that its process ever reads: some servers are of the era of their first message
//! for life. Only a clear yes counts. A server of older revisions answers with any error, or with none, or ends.

use super::{DISCOVER, code, meta};
use crate::envelope::{Kind, Message, RequestId};
use crate::json;
use crate::version::Version;

/// The `_meta` of a request of this program's own: the revision, `capabilities` (raw JSON), and who asks.
pub fn own_meta(capabilities: &str) -> String {
    format!(
        r#"{{"{}":"{}","{}":{capabilities},"{}":{{"name":"mcp-gateway","version":"{}"}}}}"#,
        meta::PROTOCOL_VERSION,
        Version::V2026_07_28,
        meta::CLIENT_CAPABILITIES,
        meta::CLIENT_INFO,
        env!("CARGO_PKG_VERSION"),
    )
}

/// The question.
pub fn request(id: &RequestId) -> Message {
    Message::call(Some(id), DISCOVER, Some(&format!(r#"{{"_meta":{}}}"#, own_meta("{}"))))
}

/// Whether the answer says that a revision of the new era is spoken which this program speaks, too.
pub fn is_yes(answer: &Message) -> bool {
    let versions = match answer.kind() {
        Kind::Result => answer.at(&["supportedVersions"]),
        Kind::Error if answer.at(&["code"]) == Some(&code::UNSUPPORTED_VERSION.to_string()) => {
            answer.at(&["data", "supported"])
        }
        Kind::Error | Kind::Request | Kind::Notification => None,
    };
    let elements = versions.and_then(json::elements).unwrap_or_default();
    elements.into_iter().filter_map(json::string).any(|text| Version::is_modern(&text))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::envelope::{self, Incoming};

    #[test]
    fn only_a_clear_yes_counts() {
        for (answer, expected) in [
            (r#""result":{"supportedVersions":["2026-07-28"],"capabilities":{}}"#, true),
            (r#""result":{"supportedVersions":["2024-11-05","2026-07-28","2099-01-01"]}"#, true),
            (r#""error":{"code":-32022,"message":"x","data":{"supported":["2026-07-28"]}}"#, true),
            (r#""error":{"code":-32022,"message":"x","data":{"supported":["2099-01-01"]}}"#, false),
            (r#""error":{"code":-32022,"message":"x"}"#, false),
            (r#""error":{"code":-32602,"message":"x","data":{"supported":["2026-07-28"]}}"#, false),
            (r#""error":{"code":-32601,"message":"x"}"#, false),
            (r#""result":{"supportedVersions":["2025-11-25"]}"#, false),
            (r#""result":{"supportedVersions":"2026-07-28"}"#, false),
            (r#""result":{}"#, false),
            (r#""result":[]"#, false),
        ] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,{answer}}}"#);
            let Ok(Incoming::Single(message)) = envelope::parse(Bytes::from(text), 1 << 20) else { panic!("{answer}") };
            assert_eq!(is_yes(&message), expected, "{answer}");
        }
    }

    #[test]
    fn the_question_is_a_whole_request_of_the_new_era() {
        let request = request(&RequestId::from(1));
        let field = |name: &str| match name {
            crate::header::MCP_METHOD => super::super::check::Field::One("server/discover"),
            _ => super::super::check::Field::One("2026-07-28"),
        };
        assert_eq!(super::super::check::check(&request, field), Ok(()));
    }
}
