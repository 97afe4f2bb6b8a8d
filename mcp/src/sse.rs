//! The `text/event-stream` codec (WHATWG HTML, "Server-sent events", "Parsing an event stream").
//!
//! [`encode()`] writes one event as a few chunks without copying what is large; [`Decoder`] takes the stream apart again,
//! however it was cut on its way. Both treat data as bytes: whether it is UTF-8, and JSON, is for its reader to check.

mod decode;
mod encode;

pub use decode::{Decoder, Event, TooLarge};
pub use encode::{Chunks, EventHead, encode, encode_text};

/// The comment that keeps an idle stream from being cut by what stands between server and client. It is no event.
pub const COMMENT_KEEPALIVE: &[u8] = b": keep-alive\n\n";

#[cfg(test)]
mod tests;
