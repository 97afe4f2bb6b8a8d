//! The Model Context Protocol, sans-IO: bytes and clock values in, messages and deadlines out.
//!
//! Start reading at [`envelope`] (what a message is), then [`session`] (what a conversation is: who asked what, and on
//! which stream the answer goes). The other modules are tools for those two: [`json`] looks into raw JSON and splices
//! it, [`sse`] and [`header`] are the codecs of the HTTP transports, [`names`] and [`cursor`] serve the aggregate of
//! many servers, [`version`] knows the revisions, [`modern`] what is said without a session.
//!
//! What this crate deliberately does not do: open sockets, start processes, read clocks, or model the payloads of MCP
//! as Rust types. A message crosses it as the bytes it arrived in; only what a rule needs is looked at, and what a rule
//! must change is spliced, so that unknown fields, key order and number forms survive untouched.

pub mod cursor;
pub mod envelope;
pub mod header;
pub mod json;
pub mod modern;
pub mod names;
pub mod session;
pub mod sse;
pub mod version;
