//! Ids of requests.

use bytes::Bytes;
use bytestring::ByteString;

use crate::json;

/// The id of a request, as the raw JSON text its sender wrote. Compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(ByteString);

impl RequestId {
    /// An id from its raw JSON text; `None` when that is neither a string nor a number.
    pub fn from_raw(raw: Bytes) -> Option<Self> {
        ByteString::try_from(raw).ok().and_then(Self::from_text)
    }

    pub(super) fn from_text(text: ByteString) -> Option<Self> {
        text.starts_with(|first| matches!(first, '"' | '-' | '0'..='9')).then_some(Self(text))
    }

    /// The raw JSON text.
    pub fn raw(&self) -> &Bytes {
        self.0.as_bytes()
    }

    /// The number that [`From<u64>`] made this id of; `None` for any other id. A peer that writes it as a string means
    /// the same, as every SDK reads it.
    pub fn as_u64(&self) -> Option<u64> {
        self.0.parse().ok().or_else(|| json::string(&self.0)?.parse().ok())
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl From<u64> for RequestId {
    fn from(number: u64) -> Self {
        Self(number.to_string().into())
    }
}
