//! Kit for end-to-end tests: the real programs, an MCP server that misbehaves on request, and clients without an SDK.
//!
//! Start at [`harness`] (runs `mcp-sidecar` and `mcp-gateway`), [`fixture`] (the server behind them, over stdio or as a
//! remote) and [`client`] (both HTTP transports, raw). [`http`] and [`sse`] are what the clients are made of.
//!
//! Nothing here uses the crates under test: what they say is judged by a second reading of the specification.

pub mod chart;
pub mod client;
pub mod cluster;
pub mod conformance;
pub mod document;
pub mod fixture;
pub mod harness;
pub mod hop;
pub mod http;
pub mod matrix;
pub mod modern;
pub mod odd_json;
pub mod policy;
pub mod sse;
mod wait;
pub mod with_key;

pub use wait::{PATIENCE, eventually, within};
