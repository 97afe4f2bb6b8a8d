//! The two eras of the protocol, which share no message but by translation.

use clap::ValueEnum;

/// The newest revision of the older era.
pub(crate) const LEGACY: &str = "2025-11-25";

/// The revision of the newer era.
pub(crate) const MODERN: &str = "2026-07-28";

/// What a client or a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Era {
    /// Up to 2025-11-25: a handshake first, then a session
    Legacy,
    /// 2026-07-28: each request stands alone, and says of itself what it must
    Modern,
}

impl Era {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }
}
