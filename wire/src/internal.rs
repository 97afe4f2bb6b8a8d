//! A client of this program's own: it looks at a server the way every other client does.

use std::collections::VecDeque;
use std::time::Duration;

use mcp::envelope::{self, Incoming, Kind, Message, RequestId, code};
use mcp::json;
use mcp::session::mux::REQUEST_TIMEOUT;
use serde_json::value::RawValue;

use crate::session::{Frame, SessionHandle, StreamRx};
use crate::status::{Catalogue, Failure};

mod lists;
mod looker;

pub use lists::{Asks, list, lists};
pub use looker::{Changes, Looker};

/// A notification is forgotten when this many wait.
const MAX_NOTIFICATIONS: usize = 256;

/// What a client declares may take so many bytes.
const MAX_CAPABILITIES: usize = 64 << 10;
/// What stands around the capabilities in `initialize` nests this deep.
const AROUND: usize = 2;

/// A text that is not what a client declares of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`capabilities` must be one JSON object of at most {MAX_CAPABILITIES} bytes and {} levels, such as {{\"roots\":{{}}}}",
    json::MAX_DEPTH - AROUND
)]
pub struct InvalidCapabilities;

/// Checks that `text` is a JSON object that can stand in `initialize` as a client's capabilities, and nothing else.
pub fn check_capabilities(text: &str) -> Result<(), InvalidCapabilities> {
    let fits = text.len() <= MAX_CAPABILITIES && !json::deeper_than(text.as_bytes(), json::MAX_DEPTH - AROUND);
    // A line break between tokens would end the message.
    let is_one_line = !text.contains(['\n', '\r']);
    if fits && is_one_line && json::Object::parse(text).is_ok() { Ok(()) } else { Err(InvalidCapabilities) }
}

/// Why a call brought no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The session, or its server, is gone.
    #[error("the session has ended")]
    Ended,
    /// Nothing came in time.
    #[error("no answer to {method} within {} s", limit.as_secs_f32())]
    Timeout {
        /// What was called.
        method: String,
        /// How long was waited.
        limit: Duration,
    },
    /// What was to be declared is no set of capabilities.
    #[error(transparent)]
    Capabilities(#[from] InvalidCapabilities),
    /// The server answered with an error.
    #[error("{message}")]
    Server {
        /// The JSON-RPC code.
        code: i64,
        /// What the server says.
        message: String,
        /// What kind of thing it is, where that is said.
        failure: Option<Failure>,
    },
}

impl CallError {
    /// What kind of thing keeps the server from answering.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Timeout { .. } => Failure::Timeout,
            Self::Server { failure: Some(failure), .. } => *failure,
            Self::Server { code, .. } if *code == i64::from(REQUEST_TIMEOUT) => Failure::Timeout,
            Self::Ended | Self::Capabilities(_) | Self::Server { .. } => Failure::Handshake,
        }
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct InternalClient {
    handle: SessionHandle,
    frames: StreamRx,
    next_id: u64,
    notifications: VecDeque<Message>,
}

impl InternalClient {
    /// A client on a session that was opened as HTTP+SSE, whose stream nobody else reads.
    pub async fn new(handle: SessionHandle) -> Result<Self, CallError> {
        let frames = handle.listen(None).await.map_err(|_| CallError::Ended)?;
        Ok(Self { handle, frames, next_id: 0, notifications: VecDeque::new() })
    }

    /// Whether the server has agreed on a revision.
    pub fn has_shaken_hands(&self) -> bool {
        self.handle.version().is_some()
    }

    /// Waits for the next notification.
    pub async fn notification(&mut self) -> Result<Message, CallError> {
        loop {
            if let Some(message) = self.notifications.pop_front() {
                return Ok(message);
            }
            let message = self.message().await?;
            self.aside(message).await?;
        }
    }

    /// Sends a notification.
    pub async fn notify(&mut self, method: &str) -> Result<(), CallError> {
        self.send(Message::call(None, method, None)).await
    }

    /// Shakes hands, declaring `capabilities` (raw JSON), and lists everything the server declares.
    pub async fn catalogue(&mut self, capabilities: &str, limit: Duration) -> Result<Catalogue, CallError> {
        check_capabilities(capabilities)?;
        let params = format!(
            r#"{{"protocolVersion":"{}","capabilities":{capabilities},"clientInfo":{{"name":"mcp-gateway","version":"{}"}}}}"#,
            mcp::version::Version::NEWEST_LEGACY,
            env!("CARGO_PKG_VERSION"),
        );
        let hello = self.call("initialize", &params, limit).await?;
        self.notify("notifications/initialized").await?;
        let mut catalogue = Catalogue {
            version: 0,
            protocol_version: hello.str_at(&["protocolVersion"]).unwrap_or_default().into_owned(),
            server_info: raw(&hello, &["serverInfo"]),
            capabilities: raw(&hello, &["capabilities"]),
            instructions: hello.str_at(&["instructions"]).map(std::borrow::Cow::into_owned),
            ..Catalogue::default()
        };
        lists(self, &mut catalogue, limit).await?;
        Ok(catalogue)
    }

    async fn message(&mut self) -> Result<Message, CallError> {
        loop {
            let Some(Frame::Message(delivery)) = self.frames.next().await else { return Err(CallError::Ended) };
            if let Ok(Incoming::Single(message)) = envelope::parse(delivery.message.into_bytes(), usize::MAX) {
                return Ok(message);
            }
        }
    }

    /// Deals with what is not the answer that is waited for.
    async fn aside(&mut self, message: Message) -> Result<(), CallError> {
        match message.kind() {
            Kind::Request => {
                let text = "this client only looks";
                self.send(Message::error(message.id().as_ref(), code::METHOD_NOT_FOUND, text, None)).await
            }
            Kind::Notification => {
                if self.notifications.len() < MAX_NOTIFICATIONS {
                    self.notifications.push_back(message);
                }
                Ok(())
            }
            Kind::Result | Kind::Error => Ok(()),
        }
    }

    async fn send(&self, message: Message) -> Result<(), CallError> {
        self.handle.post(vec![message], None).await.map_err(|_| CallError::Ended)
    }
}

impl Asks for InternalClient {
    async fn call(&mut self, method: &str, params: &str, limit: Duration) -> Result<Message, CallError> {
        self.next_id += 1;
        let id = RequestId::from(self.next_id);
        self.send(Message::call(Some(&id), method, Some(params))).await?;
        let answer = async {
            loop {
                let message = self.message().await?;
                if message.is_response() && message.id().as_ref() == Some(&id) {
                    return Ok::<_, CallError>(message);
                }
                self.aside(message).await?;
            }
        };
        let timeout = || CallError::Timeout { method: method.to_owned(), limit };
        let answer = tokio::time::timeout(limit, answer).await.map_err(|_| timeout())??;
        self::answer(answer)
    }
}

impl Drop for InternalClient {
    fn drop(&mut self) {
        self.handle.close_now();
    }
}

/// The result that an answer is.
fn answer(answer: Message) -> Result<Message, CallError> {
    match answer.kind() {
        Kind::Error => Err(CallError::Server {
            code: answer.at(&["code"]).and_then(|code| code.parse().ok()).unwrap_or_default(),
            message: answer.str_at(&["message"]).unwrap_or_default().into_owned(),
            failure: answer.at(&["data"]).and_then(Failure::of_data),
        }),
        _ => Ok(answer),
    }
}

/// A part of a message to be kept.
fn raw(message: &Message, path: &[&str]) -> Option<Box<RawValue>> {
    RawValue::from_string(message.at(path)?.to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_of_the_kind_that_its_data_names_or_else_its_code() {
        let error = |code, failure| CallError::Server { code, message: String::new(), failure };
        for (error, expected) in [
            (error(-32603, Some(Failure::Access)), Failure::Access),
            (error(-32001, None), Failure::Timeout),
            (error(-32601, None), Failure::Handshake),
            (CallError::Timeout { method: String::new(), limit: Duration::ZERO }, Failure::Timeout),
        ] {
            assert_eq!(error.failure(), expected, "{error:?}");
        }
    }

    #[test]
    fn only_one_whole_object_is_a_set_of_capabilities() {
        let deep = |levels: usize| format!("{}{}", r#"{"a":"#.repeat(levels - 1), "{}") + &"}".repeat(levels - 1);
        let deepest = deep(json::MAX_DEPTH - AROUND);
        for text in ["{}", r#"{"roots":{"listChanged":true},"sampling":{}}"#, r#" { "elicitation" : {} } "#, &deepest] {
            assert_eq!(check_capabilities(text), Ok(()), "{text}");
        }
        let too_deep = deep(json::MAX_DEPTH - AROUND + 1);
        let too_large = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_CAPABILITIES));
        for text in [
            "",
            "garbage",
            "1",
            "null",
            "[]",
            r#""roots""#,
            "{",
            "{}}",
            "{},\"clientInfo\":{}",
            "{}},\"method\":\"x\",\"params\":{\"a\":{}",
            "{\n}",
            &too_deep,
            &too_large,
        ] {
            assert_eq!(check_capabilities(text), Err(InvalidCapabilities), "{text}");
        }
    }
}
