//! Streamable HTTP of 2026-07-28: each POST is one exchange.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use axum::response::IntoResponse as _;
use mcp::envelope::{self, Incoming, Kind, Message, Refused};
use mcp::header::{MCP_PARAM_PREFIX, MCP_PROTOCOL_VERSION};
use mcp::json::Rope;
use mcp::modern::LISTEN;
use mcp::modern::check::{self, Field};
use mcp::version::{Era, Version};

use super::reply::{self, First};
use super::request::Accepts;
use super::{EventBody, Problem, not_allowed};
use crate::session::{Caller, Exchanges};

/// An answer that comes within this time, with nothing before it, has the HTTP status of what it says; after it the
/// response becomes an event stream, so that what is between does not take it for dead.
const PLAIN_ANSWER: Duration = Duration::from_secs(5);

const VERSION: HeaderName = HeaderName::from_static(MCP_PROTOCOL_VERSION);

/// The message, where what was posted is to be understood as an exchange.
pub(super) fn exchange<'a>(headers: &HeaderMap, incoming: &'a Incoming) -> Option<&'a Message> {
    let Incoming::Single(message) = incoming else { return None };
    (check::era(message, field(headers, MCP_PROTOCOL_VERSION)) == Era::Modern).then_some(message)
}

/// Whether the header names a revision of this era.
fn names_newer(headers: &HeaderMap) -> bool {
    headers.get(&VERSION).and_then(|value| value.to_str().ok()).is_some_and(Version::is_modern)
}

/// The answer to a GET or DELETE of this era, which has none ("Streamable HTTP").
pub(super) async fn only_posts(headers: &HeaderMap) -> Option<Response<Body>> {
    if names_newer(headers) { Some(not_allowed("POST, OPTIONS").await) } else { None }
}

/// Sends what was posted to the server, and answers with what comes back.
pub(super) async fn post(
    (exchanges, caller): (&Exchanges, Caller),
    headers: &HeaderMap,
    message: Message,
    accepts: Accepts,
) -> Result<Response<Body>, Problem> {
    match message.kind() {
        Kind::Result | Kind::Error => Err(invalid("a client answers nothing: a POST is a request or a notification")),
        Kind::Notification => {
            let sent = exchanges.send(caller, message, accepts.carrier()).await;
            sent.map(|_| StatusCode::ACCEPTED.into_response()).map_err(|_| stopping())
        }
        Kind::Request => request((exchanges, caller), headers, message, accepts).await,
    }
}

async fn request(
    (exchanges, caller): (&Exchanges, Caller),
    headers: &HeaderMap,
    message: Message,
    accepts: Accepts,
) -> Result<Response<Body>, Problem> {
    let header = |name: &str| field(headers, name);
    let mut checked = check::check(&message, header);
    if checked.is_ok() && message.method() == "tools/call" {
        checked = exchanges.mirrored().check(&message, header);
    }
    checked.map_err(|refusal| Problem::refused(refusal, message.id()))?;
    if message.method() == LISTEN && !accepts.events {
        let text = "subscriptions/listen answers with an event stream: send the header `Accept: text/event-stream`";
        return Err(Problem::new(StatusCode::NOT_ACCEPTABLE, text));
    }
    let sent = exchanges.send_with(repeated(headers), caller, message, accepts.carrier()).await;
    let mut frames = sent.map_err(|_| stopping())?;
    match First::of(&mut frames, accepts, PLAIN_ANSWER).await {
        First::Plain(answer) => Ok(plain(answer)),
        First::Stream(frame) => {
            let body = EventBody::new(frames, false);
            Ok(frame.into_iter().fold(body, EventBody::then).into_response())
        }
        First::Nothing | First::Refused(_) | First::Ended => Err(stopping()),
    }
}

/// An answer with the status of what it says.
fn plain(answer: Rope) -> Response<Body> {
    let code = reply::error(&answer).and_then(|error| error.at(&["code"])?.parse().ok());
    let status = code.and_then(|code| StatusCode::from_u16(check::status(code)).ok());
    let mut response = reply::plain(answer);
    *response.status_mut() = status.unwrap_or(StatusCode::OK);
    response
}

/// The headers that repeat arguments of a tool. They are passed on, known or not ("Custom Headers from Tool Parameters").
fn repeated(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let all = headers.iter().filter(|(name, _)| name.as_str().starts_with(MCP_PARAM_PREFIX));
    all.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn field<'a>(headers: &'a HeaderMap, name: &str) -> Field<'a> {
    let mut values = headers.get_all(name).into_iter();
    match (values.next(), values.next()) {
        (None, _) => Field::Absent,
        (Some(value), None) => value.to_str().map_or(Field::Unclear, Field::One),
        (Some(_), Some(_)) => Field::Unclear,
    }
}

fn invalid(reason: &str) -> Problem {
    Refused { code: envelope::code::INVALID_REQUEST, reason: reason.to_owned(), id: None }.into()
}

fn stopping() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "this program is stopping; send the request again")
}

#[cfg(test)]
mod tests {
    use mcp::envelope::RequestId;

    use super::*;

    #[test]
    fn a_plain_answer_has_the_status_of_its_error() {
        let id = RequestId::from(1);
        for (answer, expected) in [
            (Message::result(&id, r#"{"error":{"code":-32601}}"#), 200),
            (Message::error(Some(&id), -32601, "x", None), 404),
            (Message::error(Some(&id), -32021, "x", None), 400),
            (Message::error(Some(&id), -32602, "x", None), 200),
        ] {
            assert_eq!(plain(answer.into()).status(), expected);
        }
    }

    #[test]
    fn a_header_that_is_there_twice_or_holds_no_text_is_not_clear() {
        let mut headers = HeaderMap::new();
        assert_eq!(field(&headers, "mcp-method"), Field::Absent);
        headers.append("mcp-method", "a".parse().unwrap());
        assert_eq!(field(&headers, "mcp-method"), Field::One("a"));
        headers.append("mcp-method", "a".parse().unwrap());
        assert_eq!(field(&headers, "mcp-method"), Field::Unclear);
        headers.insert("mcp-name", axum::http::HeaderValue::from_bytes(b"caf\xe9").unwrap());
        assert_eq!(field(&headers, "mcp-name"), Field::Unclear);
    }
}
