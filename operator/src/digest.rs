//! Digests, for telling whether something changed.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// How many characters are kept: 96 bits tell apart whatever one server ever was.
const LENGTH: usize = 24;

/// A digest of parts: no two lists of parts have the same by being cut differently.
pub(crate) fn digest<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        let part = part.as_ref();
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut text = hex(&hash.finalize());
    text.truncate(LENGTH);
    text
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Strings take everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::digest;

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(digest(["ab", "c"]), digest(["a", "bc"]));
        assert_eq!(digest(["a"]), digest(["a"]));
    }
}
