//! The revisions of the specification and the two eras they fall into.

use std::fmt;
use std::str::FromStr;

/// A revision of the Model Context Protocol, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 2024-11-05: stdio and HTTP+SSE.
    V2024_11_05,
    /// 2025-03-26: Streamable HTTP; the only revision with batches.
    V2025_03_26,
    /// 2025-06-18: elicitation, structured output, the `MCP-Protocol-Version` header.
    V2025_06_18,
    /// 2025-11-25: priming events, url-mode elicitation, tasks.
    V2025_11_25,
    /// 2026-07-28: no sessions, no handshake.
    V2026_07_28,
}

/// How a conversation is held: with a handshake and a session, or as single exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// Up to 2025-11-25: opened by `initialize`, ordered, two-way.
    Legacy,
    /// From 2026-07-28 on: one request, its notifications, one result.
    Modern,
}

impl Version {
    /// Every revision, oldest first.
    pub const ALL: [Self; 5] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    /// The newest revision that is opened by `initialize`.
    pub const NEWEST_LEGACY: Self = Self::V2025_11_25;

    /// The revision's date, as it stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The era this revision belongs to.
    pub fn era(self) -> Era {
        if self <= Self::NEWEST_LEGACY { Era::Legacy } else { Era::Modern }
    }

    /// Whether `text` names a revision known here of the modern era, as headers and envelopes write it.
    pub fn is_modern(text: &str) -> bool {
        text.parse().is_ok_and(|version: Self| version.era() == Era::Modern)
    }

    /// What a server that speaks every legacy revision answers to an `initialize` that asks for `requested`: that
    /// revision if it is one of them, else the newest (lifecycle, "Version Negotiation").
    pub fn negotiate(requested: &str) -> Self {
        requested.parse().ok().filter(|v: &Self| v.era() == Era::Legacy).unwrap_or(Self::NEWEST_LEGACY)
    }

    /// Whether a stream is opened by an event with an id and no data, so that it can be resumed from its very start
    /// (2025-11-25, "Streamable HTTP"). Older clients may try to parse the empty data.
    pub fn primes_streams(self) -> bool {
        self >= Self::V2025_11_25
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no revision that this program knows.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a known protocol version; known are 2024-11-05, 2025-03-26, 2025-06-18, 2025-11-25, 2026-07-28")]
pub struct UnknownVersion(String);

impl FromStr for Version {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|v| v.as_str() == text).ok_or_else(|| UnknownVersion(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negotiation_never_offers_a_revision_without_handshake() {
        assert_eq!(Version::negotiate("2024-11-05"), Version::V2024_11_05);
        assert_eq!(Version::negotiate("2026-07-28"), Version::V2025_11_25);
        assert_eq!(Version::negotiate("1999-01-01"), Version::V2025_11_25);
    }

    #[test]
    fn every_revision_reads_back_from_its_text() {
        for version in Version::ALL {
            assert_eq!(version.to_string().parse::<Version>().unwrap(), version);
        }
    }
}
