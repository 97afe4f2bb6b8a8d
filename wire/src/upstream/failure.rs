//! Requests that the server refuses, and what to tell those who wait for them.

use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;
use http::response::Parts;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use mcp::envelope::{self, Incoming as Envelope, Kind, Message};
use mcp::modern::code::UNSUPPORTED_VERSION;
use mcp::session::mux::Loss;

use super::events::Media;

/// What is read of a refusal's body, in bytes, and for how long.
const MAX_BODY: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(5);
/// The code by which servers made with the official SDKs of older revisions refuse what belongs to no session.
const LEGACY_REFUSAL: i32 = -32000;
/// How much of it is quoted, in characters.
const QUOTED: usize = 200;

/// Why a request to the server brought nothing.
#[derive(Debug)]
pub(super) struct Failure {
    /// The status, if there was an answer.
    pub(super) status: Option<StatusCode>,
    /// The JSON-RPC error that was the answer's body, if it was one.
    pub(super) error: Option<Message>,
    /// What happened and what to do, beginning with the server's name.
    pub(super) text: String,
}

impl Failure {
    /// There is no answer, or not one that can be used.
    pub(super) fn new(server: &str, status: Option<StatusCode>, what: impl std::fmt::Display) -> Self {
        Self { status, error: None, text: format!("server `{server}`: {what}") }
    }

    /// The answer is a refusal.
    pub(super) async fn refused(server: &str, head: Parts, body: Incoming) -> Self {
        let body = tokio::time::timeout(PATIENCE, Limited::new(body, MAX_BODY).collect()).await;
        let body = body.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let error = match envelope::parse(body.clone(), MAX_BODY) {
            Ok(Envelope::Single(message)) if message.kind() == Kind::Error => Some(message),
            _ => None,
        };
        let says = match (&error, Media::of(&head.headers)) {
            (Some(error), _) => error.str_at(&["message"]).unwrap_or_default().into_owned(),
            (None, Media::Json) => String::from_utf8_lossy(&body).into_owned(),
            // Mostly a page for people.
            (None, _) => String::new(),
        };
        let after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let text = describe(head.status, &says, after);
        Self { error, ..Self::new(server, Some(head.status), text) }
    }

    /// Whether the server says that there is no such session. It should by 404 (Streamable HTTP, "Session
    /// Management"); servers made after the TypeScript SDK's examples do by 400 and an error that only its text tells
    /// from others.
    pub(super) fn is_no_session(&self) -> bool {
        let says = |error: &Message| {
            let text = error.str_at(&["message"]).unwrap_or_default().to_ascii_lowercase();
            self.has_code(LEGACY_REFUSAL) && text.contains("session")
        };
        match self.status {
            Some(StatusCode::NOT_FOUND) => true,
            Some(StatusCode::BAD_REQUEST) => self.error.as_ref().is_some_and(says),
            _ => false,
        }
    }

    /// Whether the server does not know what it was asked for as a server of 2026-07-28: another may have taken its place.
    pub(super) fn is_not_understood(&self) -> bool {
        let status = [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED, StatusCode::GONE];
        let foreign = self.error.is_none() || self.has_code(UNSUPPORTED_VERSION) || self.has_code(LEGACY_REFUSAL);
        foreign && self.status.is_some_and(|found| status.contains(&found))
    }

    /// Whether the server's own error has this code.
    pub(super) fn has_code(&self, code: i32) -> bool {
        self.error.as_ref().is_some_and(|error| error.at(&["code"]) == Some(&*code.to_string()))
    }

    /// Whether the credentials are at fault.
    pub(super) fn is_access(&self) -> bool {
        matches!(self.status, Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
    }

    /// What it is, for programs: the `data` of an error.
    pub(super) fn data(&self) -> String {
        let kind = match self.status {
            None => crate::status::Failure::Unreachable,
            Some(_) if self.is_access() => crate::status::Failure::Access,
            Some(_) => crate::status::Failure::Handshake,
        };
        serde_json::json!({ crate::status::Failure::KEY: kind }).to_string()
    }

    /// Whether trying again may help: the server could not be reached, or failed itself.
    pub(super) fn is_passing(&self) -> bool {
        self.status.is_none_or(|status| status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS)
    }
}

impl From<Failure> for Loss {
    fn from(failure: Failure) -> Self {
        let data = Some(failure.data());
        Self { message: failure.text, data }
    }
}

fn describe(status: StatusCode, says: &str, retry_after: Option<u64>) -> String {
    let quoted: String = says.chars().map(|c| if c.is_control() { ' ' } else { c }).take(QUOTED).collect();
    let quoted = if quoted.is_empty() { quoted } else { format!(": {quoted}") };
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            format!("it refuses access ({status}); check the credentials in `headers`{quoted}")
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE => {
            format!("its address takes no messages ({status}); check `url` and `transport`{quoted}")
        }
        StatusCode::PAYLOAD_TOO_LARGE => format!("the message is too large for it ({status}){quoted}"),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let after = retry_after.map_or_else(|| "later".to_owned(), |seconds| format!("in {seconds} s"));
            format!("it has too much to do ({status}); try again {after}{quoted}")
        }
        status if status.is_server_error() => format!("it failed ({status}); try again, or look into its logs{quoted}"),
        status => format!("it refused the message ({status}){quoted}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do() {
        let text = |status: u16, says: &str, after| describe(StatusCode::from_u16(status).unwrap(), says, after);
        assert!(text(401, "", None).contains("check the credentials in `headers`"));
        assert!(text(404, "", None).contains("check `url`"));
        assert!(text(503, "", Some(7)).ends_with("try again in 7 s"));
        assert_eq!(text(400, "no\nsuch thing", None), "it refused the message (400 Bad Request): no such thing");
        assert!(text(502, &"x".repeat(1000), None).len() < 300);
    }

    #[test]
    fn programs_are_told_of_what_kind_a_failure_is() {
        for (status, kind) in
            [(None, "unreachable"), (Some(401), "access"), (Some(403), "access"), (Some(404), "handshake")]
        {
            let failure = Failure::new("s", status.and_then(|status| StatusCode::from_u16(status).ok()), "");
            assert_eq!(failure.data(), format!(r#"{{"failure":"{kind}"}}"#));
        }
    }

    #[test]
    fn a_lost_session_is_told_from_other_refusals() {
        let failure = |status: u16, message: &str| Failure {
            error: Some(Message::error(None, -32000, message, None)),
            ..Failure::new("s", StatusCode::from_u16(status).ok(), "")
        };
        assert!(failure(404, "").is_no_session());
        assert!(failure(400, "Bad Request: No valid session ID provided").is_no_session());
        assert!(!failure(400, "Parse error").is_no_session());
        assert!(!failure(403, "this session is not yours").is_no_session());
    }
}
