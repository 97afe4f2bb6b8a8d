//! The credential of the hop in a cluster: who may call a sidecar.
//!
//! The gateway and the operator each hold a [`KeyRing`] and sign short-lived tokens with a [`Signer`], one for each
//! server; a sidecar holds their public keys only, and checks tokens with a [`Verifier`]. So a pod has nothing to steal
//! that opens another one. A token is a JWT (RFC 7519) signed with Ed25519 (RFC 8037), in the header
//! [`mcp::header::HOP_TOKEN`]; its audience is the server's UID.
//!
//! Keys rotate without a gap: a new one is [added](KeyRing::add), its public half reaches every pod ([`jwks`]), and only
//! then does it [sign](KeyRing::sign_with).

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

mod key;
mod ring;
mod signer;
mod token;
mod verifier;

pub use key::{KeyError, PublicKey, jwks, parse_jwks};
pub use ring::KeyRing;
pub use signer::{SignError, Signer};
pub use token::{LEEWAY, LIFE, LONGEST_LIFE, Refused};
pub use verifier::{JWKS_FILE, Verifier};

/// Whose token it is, and so what it is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Issuer {
    /// Carries clients' requests.
    Gateway,
    /// Looks at the status and the log, and at nothing else.
    Operator,
}

impl Issuer {
    /// As it stands in tokens and beside keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "mcp-gateway",
            Self::Operator => "mcp-operator",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Gateway, Self::Operator].into_iter().find(|issuer| issuer.as_str() == text)
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The time, in seconds since 1970, as tokens tell it.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
