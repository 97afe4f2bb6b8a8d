//! Exchanges of 2026-07-28: one request, what comes up meanwhile, one result. No handshake, no session.
//!
//! [`check`] tells what a request that came by HTTP must say of itself, [`mirrored`] which arguments its headers repeat,
//! [`probe`] whether a server speaks the revision. [`translate`] and [`parked`] are for clients of this era before a server
//! of the older; [`stamp`], [`downgrade`] and [`rounds`] are for the other way round.
//! What belongs to the new era is told by the envelope and the headers of a message, never by its method: `initialize`
//! opens a session for one client and is an unknown method for another (2026-07-28, "Versioning").

pub mod check;
pub mod downgrade;
pub mod headers;
pub mod listen;
pub mod mirrored;
pub mod parked;
pub mod probe;
pub mod rounds;
pub mod stamp;
pub mod translate;

/// Keys in the `_meta` of messages.
pub mod meta {
    /// The revision a request speaks; every one says so.
    pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    /// What the client can do; every request says so.
    pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    /// Who the client is.
    pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
    /// Who the server is; beside results.
    pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
    /// From which level on a request wants to be told log lines; without it there are none.
    pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
    /// The id of the `subscriptions/listen` that a message belongs to.
    pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
}

/// JSON-RPC error codes of this era, which to a client are a sign of it.
pub mod code {
    /// A header is missing, unreadable, or says something else than the body.
    pub const HEADER_MISMATCH: i32 = -32020;
    /// The request needs something that the client does not declare.
    pub const MISSING_CAPABILITY: i32 = -32021;
    /// The revision is not spoken here.
    pub const UNSUPPORTED_VERSION: i32 = -32022;
}

/// The extension by whose declaration a client takes tasks for results (SEP-2663).
pub const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// The method that asks what a server is and speaks; clients of both eras begin with it.
pub const DISCOVER: &str = "server/discover";

/// The method that opens a stream of what changes.
pub const LISTEN: &str = "subscriptions/listen";

/// Whether a client can be asked something in the middle of a request of that method ("Multi Round-Trip Requests",
/// "Supported Requests").
pub fn may_ask(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read")
}
