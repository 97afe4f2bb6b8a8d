//! Identities that are never used twice.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

/// An identity in the form of a random UUID (RFC 9562 version 4), as Kubernetes gives its objects.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid([u8; 16]);

/// A text that is no UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no UUID of the form 01234567-89ab-cdef-0123-456789abcdef")]
pub struct UidError;

impl Uid {
    /// A new identity.
    pub fn random() -> Self {
        let mut bytes = random::<16>();
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// The identity with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uid {
    type Err = UidError;

    fn from_str(text: &str) -> Result<Self, UidError> {
        let digits = text.bytes().filter(|byte| *byte != b'-');
        let nibbles: Vec<u8> = digits
            .map(|digit| char::from(digit).to_digit(16).and_then(|nibble| u8::try_from(nibble).ok()).ok_or(UidError))
            .collect::<Result<_, _>>()?;
        let bytes: Vec<u8> =
            nibbles.chunks(2).map(|pair| pair.iter().fold(0, |byte, nibble| byte << 4 | nibble)).collect();
        let uid = <[u8; 16]>::try_from(bytes).map(Self).map_err(|_| UidError)?;
        if uid.to_string().eq_ignore_ascii_case(text) { Ok(uid) } else { Err(UidError) }
    }
}

impl Serialize for Uid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has a source of randomness");
    bytes
}
