//! The JSON-RPC envelope over raw bytes (JSON-RPC 2.0; MCP "Messages").
//!
//! A [`Message`] keeps the bytes it was parsed from and knows where its members stand in them. Ids are kept as the raw
//! text the sender chose: `1`, `1.0`, `"1"` and `12345678901234567890` are four different ids.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use bytestring::ByteString;
use smallvec::smallvec;

use crate::json::{self, Edit, Object, Rope};

mod id;
mod partial;

pub use id::RequestId;
pub use partial::Ends;

/// JSON-RPC error codes that this project answers with itself.
pub mod code {
    /// The text is not JSON.
    pub const PARSE_ERROR: i32 = -32700;
    /// It is JSON, but not a request, notification or response.
    pub const INVALID_REQUEST: i32 = -32600;
    /// No such method.
    pub const METHOD_NOT_FOUND: i32 = -32601;
    /// No such tool, prompt, cursor, …
    pub const INVALID_PARAMS: i32 = -32602;
    /// The server, or what is between, failed.
    pub const INTERNAL_ERROR: i32 = -32603;
    /// No such resource (up to 2025-11-25).
    pub const RESOURCE_NOT_FOUND: i32 = -32002;
}

/// What is kept of a message larger than this is copied, see [`Message::part`].
const SHARED: usize = 4096;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Has a method and an id, wants an answer.
    Request,
    /// Has a method and no id.
    Notification,
    /// Answers a request with a result.
    Result,
    /// Answers a request with an error; its id may be absent when the request could not be read.
    Error,
}

/// One JSON-RPC message and the bytes it came in. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub struct Message {
    raw: ByteString,
    kind: Kind,
    id: Option<Range<usize>>,
    method: Option<Method>,
    /// `params`, `result` or `error`, by kind.
    body: Option<Range<usize>>,
}

/// A method's name: nearly always a slice of the message, but PHP servers write `tools\/list`.
#[derive(Clone, Debug)]
enum Method {
    Plain(Range<usize>),
    Escaped(Box<str>),
}

/// What arrived in one HTTP body or one line.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// A single message.
    Single(Message),
    /// A batch (2025-03-26), never empty.
    Batch(Vec<Message>),
}

impl Incoming {
    /// The messages in their order.
    pub fn into_messages(self) -> Vec<Message> {
        match self {
            Self::Single(message) => vec![message],
            Self::Batch(messages) => messages,
        }
    }
}

/// Why bytes were not accepted as a message, and how to answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// The JSON-RPC error code.
    pub code: i32,
    /// What is wrong, for the sender.
    pub reason: String,
    /// The id of the refused request, as far as it could be read.
    pub id: Option<RequestId>,
}

impl Refused {
    fn parse(reason: impl Into<String>) -> Self {
        Self { code: code::PARSE_ERROR, reason: reason.into(), id: None }
    }

    fn invalid(reason: impl Into<String>, id: Option<RequestId>) -> Self {
        Self { code: code::INVALID_REQUEST, reason: reason.into(), id }
    }

    /// The JSON-RPC error response that says so.
    pub fn response(&self) -> Message {
        Message::error(self.id.as_ref(), self.code, &self.reason, None)
    }
}

/// Reads what one body or one line holds: a message, or a batch of them.
///
/// `max_bytes` and [`json::MAX_DEPTH`] are checked before anything is parsed. Raw line breaks between tokens are
/// replaced by spaces, so that every message can be written as one line and as one `data:` field.
pub fn parse(raw: Bytes, max_bytes: usize) -> Result<Incoming, Refused> {
    if raw.len() > max_bytes {
        let reason = format!("the message has {} bytes, the limit is {max_bytes}", raw.len());
        return Err(Refused::invalid(reason, None));
    }
    if json::deeper_than(&raw, json::MAX_DEPTH) {
        let reason = format!("the message nests deeper than {} levels", json::MAX_DEPTH);
        return Err(Refused::invalid(reason, None));
    }
    let text = ByteString::try_from(json::on_one_line(raw));
    let text = text.map_err(|error| Refused::parse(format!("the message is not UTF-8: {error}")))?;
    if !text.trim_start().starts_with('[') {
        return Message::parse(text.slice_ref(text.trim())).map(Incoming::Single);
    }
    let elements = json::elements(&text).ok_or_else(|| Refused::parse("the batch is not a JSON array"))?;
    if elements.is_empty() {
        return Err(Refused::invalid("the batch is empty", None));
    }
    let messages = elements.into_iter().map(|one| Message::parse(text.slice_ref(one)));
    messages.collect::<Result<_, _>>().map(Incoming::Batch)
}

impl Message {
    /// Parses one message. Depth, size and line breaks are [`parse`]'s business.
    fn parse(raw: ByteString) -> Result<Self, Refused> {
        let object = Object::parse(&raw).map_err(|error| not_an_envelope(&raw, &error))?;
        let id_text = object.get("id").filter(|id| *id != "null");
        let id = || id_text.and_then(|id| RequestId::from_text(raw.slice_ref(id)));
        let refuse = |reason: &str| Refused::invalid(reason, id());
        if object.get("jsonrpc").and_then(json::string).as_deref() != Some("2.0") {
            return Err(refuse("`jsonrpc` must be \"2.0\""));
        }
        if id_text.is_some() && id().is_none() {
            return Err(refuse("`id` must be a string or a number"));
        }
        let (method, kind, body) = classify(&object, id_text.is_some()).map_err(refuse)?;
        let at = |part: &str| json::span(&raw, part);
        let method = method.map(|method| match json::string(method) {
            Some(Cow::Borrowed(plain)) => Ok(Method::Plain(at(plain))),
            Some(Cow::Owned(escaped)) => Ok(Method::Escaped(escaped.into())),
            None => Err(refuse("`method` must be a string")),
        });
        let (method, id, body) = (method.transpose()?, id_text.map(at), body.map(at));
        drop(object);
        Ok(Self { raw, kind, id, method, body })
    }

    /// A request or, without an id, a notification. `params` is raw JSON.
    pub fn call(id: Option<&RequestId>, method: &str, params: Option<&str>) -> Self {
        let mut text = String::from(r#"{"jsonrpc":"2.0""#);
        push_member(&mut text, "id", id.map(RequestId::text));
        push_member(&mut text, "method", Some(&json::quote(method)));
        push_member(&mut text, "params", params);
        Self::built(text)
    }

    /// An answer. `result` is raw JSON.
    pub fn result(id: &RequestId, result: &str) -> Self {
        let mut text = String::with_capacity(result.len() + 48);
        text.push_str(r#"{"jsonrpc":"2.0""#);
        push_member(&mut text, "id", Some(id.text()));
        push_member(&mut text, "result", Some(result));
        Self::built(text)
    }

    /// A refusal. `data` is raw JSON. Without an id it says `"id":null`, as JSON-RPC demands.
    pub fn error(id: Option<&RequestId>, code: i32, message: &str, data: Option<&str>) -> Self {
        let mut text = String::from(r#"{"jsonrpc":"2.0""#);
        push_member(&mut text, "id", Some(id.map_or("null", RequestId::text)));
        text.push_str(r#","error":{"code":"#);
        text.push_str(&code.to_string());
        push_member(&mut text, "message", Some(&json::quote(message)));
        push_member(&mut text, "data", data);
        text.push('}');
        Self::built(text)
    }

    fn built(mut text: String) -> Self {
        text.push('}');
        Self::parse(text.into()).expect("a message written here is an envelope, its parts being JSON")
    }

    /// The bytes it arrived in, on one line.
    pub fn raw(&self) -> &Bytes {
        self.raw.as_bytes()
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it answers a request.
    pub fn is_response(&self) -> bool {
        matches!(self.kind, Kind::Result | Kind::Error)
    }

    /// The id of a request, or of the request that is answered.
    pub fn id(&self) -> Option<RequestId> {
        RequestId::from_text(self.part(self.text(self.id.as_ref()?)))
    }

    /// The method of a request or notification; empty for a response.
    pub fn method(&self) -> &str {
        match &self.method {
            Some(Method::Plain(range)) => self.text(range),
            Some(Method::Escaped(method)) => method,
            None => "",
        }
    }

    /// The raw text of `params`, `result` or `error`, by [`Kind`].
    pub fn body(&self) -> Option<&str> {
        self.body.as_ref().map(|range| self.text(range))
    }

    /// The raw text at `path` below [`Self::body`].
    pub fn at(&self, path: &[&str]) -> Option<&str> {
        json::lookup(self.body()?, path)
    }

    /// The text of the string at `path` below [`Self::body`].
    pub fn str_at(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        json::string(self.at(path)?)
    }

    /// An edit that puts `with` where `part`, a slice of this message's text, stands.
    pub fn edit(&self, part: &str, with: impl Into<Bytes>) -> Edit {
        Edit { range: json::span(&self.raw, part), with: with.into() }
    }

    /// The message with another id and `more` edits made.
    ///
    /// # Panics
    /// When it has no id.
    pub fn with_id(&self, id: &RequestId, more: impl IntoIterator<Item = Edit>) -> Rope {
        let range = self.id.clone().expect("only a message that has an id gets another one");
        let mut edits = smallvec![Edit { range, with: id.raw().clone() }];
        edits.extend(more);
        json::splice(self.raw(), edits)
    }

    /// The message with `edits` made.
    pub fn with(&self, edits: impl IntoIterator<Item = Edit>) -> Rope {
        json::splice(self.raw(), edits.into_iter().collect())
    }

    /// `part`, a slice of this message's text, to be kept longer than the message. It shares the message's bytes,
    /// unless it would hold many of them in memory for the sake of a few.
    pub(crate) fn part(&self, part: &str) -> ByteString {
        if self.raw.len() > SHARED { part.into() } else { self.raw.slice_ref(part) }
    }

    fn text(&self, range: &Range<usize>) -> &str {
        &self.raw[range.clone()]
    }
}

impl From<Message> for Rope {
    fn from(message: Message) -> Self {
        Self::from(message.raw.into_bytes())
    }
}

type Classified<'a> = (Option<&'a str>, Kind, Option<&'a str>);

/// Which kind of message the object is, its `method` and its body.
fn classify<'a>(object: &Object<'a>, has_id: bool) -> Result<Classified<'a>, &'static str> {
    let null_id = !has_id && object.get("id").is_some();
    // Some servers send `"error":null` beside a result, and the other way round.
    let part = |key| object.get(key).filter(|text| *text != "null");
    match (object.get("method"), part("error"), object.get("result")) {
        (Some(_), None, None) if null_id => Err("the `id` of a request must not be null"),
        (Some(method), None, None) => {
            let kind = if has_id { Kind::Request } else { Kind::Notification };
            let params = object.get("params");
            if params.is_some_and(|p| !p.starts_with(['{', '['])) {
                return Err("`params` must be an object");
            }
            Ok((Some(method), kind, params))
        }
        (None, Some(error), None | Some("null")) => Ok((None, Kind::Error, Some(error))),
        (None, None, Some(result)) if has_id => Ok((None, Kind::Result, Some(result))),
        (None, None, Some(_)) => Err("a response needs the `id` of its request"),
        (None, Some(_), Some(_)) => Err("a response has either `result` or `error`"),
        (None, None, None) => Err("a message needs `method`, `result` or `error`"),
        (Some(_), ..) => Err("a message has `method`, or `result` or `error`, not both"),
    }
}

/// JSON that is no object is an invalid request; text that is no JSON is a parse error.
fn not_an_envelope(text: &str, error: &serde_json::Error) -> Refused {
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Refused::invalid(format!("not a JSON-RPC message: {error}"), None),
        Err(error) => Refused::parse(format!("not JSON: {error}")),
    }
}

fn push_member(text: &mut String, key: &str, value: Option<&str>) {
    let Some(value) = value else { return };
    text.extend([",\"", key, "\":", value]);
}

#[cfg(test)]
mod tests;
