//! What the keys in the Secrets of a release are called: the operator writes these Secrets, and the gateway reads them.

/// The keys that seal sessions: `{"keys": [{"id", "key"}]}`, the newest first, each 32 bytes in base64.
pub const SEAL: &str = "seal.json";

/// The private keys of the hop to the sidecars, and which of them signs.
pub const HOP: &str = "hop.json";

/// The hashes of clients' keys, as in the gateway's key file.
pub const API_KEYS: &str = "keys.json";
