//! Cursors of lists that are merged from several servers, or served in pages from a snapshot in memory.
//!
//! A cursor says which version of the merged list it continues, and where. It holds no secret and grants nothing:
//! who forges one gets a page of a list he may read anyway. To a client it is opaque (MCP "Pagination").

use std::num::NonZeroUsize;
use std::ops::Range;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};

/// First byte of a cursor without, and of one with, an upstream cursor. Another layout takes other numbers.
const PLAIN: u8 = 1;
const WITH_UPSTREAM: u8 = 2;

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The version of the merged list. Versions of different processes must differ too, or a restart would let old
    /// cursors point into new lists: derive them from the content, or count from a random number.
    pub version: u64,
    /// The place in it: an item's offset in a snapshot, or a server's index in the order of the merge.
    pub position: u64,
    /// The cursor of that server for its own list, when it gave one.
    pub upstream: Option<String>,
}

/// Why a cursor was refused. To the client it is JSON-RPC -32602 (MCP "Pagination", "Error Handling").
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// No cursor of this gateway.
    #[error("the cursor was not given out here; list again without a cursor")]
    Malformed,
    /// The list has changed since.
    #[error("the list has changed since this cursor was given out; list again without a cursor")]
    Stale,
}

impl Cursor {
    /// The cursor as text: URL-safe Base64 of a tag, the version, the position and the upstream cursor.
    pub fn encode(&self) -> String {
        let upstream = self.upstream.as_deref().unwrap_or_default();
        let mut bytes = Vec::with_capacity(17 + upstream.len());
        bytes.push(if self.upstream.is_some() { WITH_UPSTREAM } else { PLAIN });
        bytes.extend_from_slice(&self.version.to_be_bytes());
        bytes.extend_from_slice(&self.position.to_be_bytes());
        bytes.extend_from_slice(upstream.as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what a client sent as `cursor`. `None` is the beginning: no cursor, or the empty one, which is a valid
    /// cursor as well (MCP 2026-07-28 "Pagination"). A cursor of another than the list's present `version` is stale.
    pub fn open(text: Option<&str>, version: u64) -> Result<Option<Self>, CursorError> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
        let cursor = Self::decode(text)?;
        if cursor.version == version { Ok(Some(cursor)) } else { Err(CursorError::Stale) }
    }

    /// Reads a cursor of any version. Takes only what [`Cursor::encode`] writes.
    pub fn decode(text: &str) -> Result<Self, CursorError> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError::Malformed)?;
        Self::from_bytes(&bytes).ok_or(CursorError::Malformed)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&tag, rest) = bytes.split_first()?;
        let (version, rest) = rest.split_first_chunk()?;
        let (position, upstream) = rest.split_first_chunk()?;
        let upstream = match tag {
            PLAIN if upstream.is_empty() => None,
            WITH_UPSTREAM => Some(std::str::from_utf8(upstream).ok()?.to_owned()),
            _ => return None,
        };
        Some(Self { version: u64::from_be_bytes(*version), position: u64::from_be_bytes(*position), upstream })
    }
}

/// One page of a list that lies in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The items on this page.
    pub items: Range<usize>,
    /// The `nextCursor`; `None` on the last page.
    pub next: Option<String>,
}

impl Page {
    /// The page of up to `size` items that `cursor` asks for, out of the `total` items of the list's `version`.
    pub fn of(total: usize, size: NonZeroUsize, version: u64, cursor: Option<&str>) -> Result<Self, CursorError> {
        let start = match Cursor::open(cursor, version)? {
            None => 0,
            Some(Cursor { upstream: None, position, .. }) => {
                usize::try_from(position).map_err(|_| CursorError::Malformed)?
            }
            Some(_) => return Err(CursorError::Malformed),
        };
        // A cursor is given out only where something follows.
        if start > 0 && start >= total {
            return Err(CursorError::Malformed);
        }
        let end = start.saturating_add(size.get()).min(total);
        let next = (end < total).then(|| Cursor { version, position: end as u64, upstream: None }.encode());
        Ok(Self { items: start..end, next })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VERSION: u64 = 0x0123_4567_89ab_cdef;

    fn size(size: usize) -> NonZeroUsize {
        NonZeroUsize::new(size).unwrap()
    }

    #[test]
    fn no_cursor_and_the_empty_one_are_the_beginning() {
        for cursor in [None, Some("")] {
            assert_eq!(Cursor::open(cursor, VERSION), Ok(None));
            assert_eq!(Page::of(2, size(5), VERSION, cursor), Ok(Page { items: 0..2, next: None }));
            assert_eq!(Page::of(0, size(5), VERSION, cursor), Ok(Page { items: 0..0, next: None }));
        }
    }

    #[test]
    fn a_cursor_of_another_version_is_stale() {
        let old = Page::of(9, size(4), VERSION - 1, None).unwrap().next;
        assert_eq!(Page::of(9, size(4), VERSION, old.as_deref()), Err(CursorError::Stale));
    }

    #[test]
    fn what_was_not_given_out_is_malformed() {
        let encode = |position, upstream: Option<&str>| {
            Cursor { version: VERSION, position, upstream: upstream.map(Into::into) }.encode()
        };
        let good = encode(4, None);
        for bad in [
            "0".to_owned(),
            "eyJvZmZzZXQiOjR9".to_owned(),
            " ".to_owned(),
            format!("{good}="),
            format!("{good}AA"),
            good[..good.len() - 2].to_owned(),
            BASE64_URL_SAFE_NO_PAD.encode([3; 17]),
            BASE64_URL_SAFE_NO_PAD.encode([&[WITH_UPSTREAM; 17][..], b"\xff"].concat()),
            encode(9, None),
            encode(u64::MAX, None),
            encode(4, Some("")),
        ] {
            assert_eq!(Page::of(9, size(4), VERSION, Some(&bad)), Err(CursorError::Malformed), "{bad}");
        }
        assert!(Page::of(9, size(4), VERSION, Some(&good)).is_ok());
    }

    #[test]
    fn corpus_replays() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/cursor_open");
        for file in std::fs::read_dir(corpus).unwrap() {
            check(&String::from_utf8_lossy(&std::fs::read(file.unwrap().path()).unwrap()));
        }
    }

    /// What must hold for any text: it is refused, or it is what a cursor is written as.
    fn check(text: &str) {
        if let Ok(cursor) = Cursor::decode(text) {
            assert_eq!(cursor.encode(), text);
        }
    }

    proptest! {
        #[test]
        fn every_cursor_survives_the_round_trip(version: u64, position: u64, upstream: Option<String>) {
            let cursor = Cursor { version, position, upstream };
            let text = cursor.encode();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
            prop_assert_eq!(Cursor::open(Some(&text), version), Ok(Some(cursor)));
        }

        #[test]
        fn decoding_is_total(text: String, base64 in "[A-Za-z0-9_-]{20,30}") {
            check(&text);
            check(&base64);
            check(&format!("AQ{base64}"));
        }

        #[test]
        fn the_pages_of_a_list_are_the_list(total in 0..200usize, per_page in 1..60usize) {
            let mut seen = 0;
            let mut cursor = None;
            loop {
                let page = Page::of(total, size(per_page), VERSION, cursor.as_deref()).unwrap();
                prop_assert_eq!(page.items.start, seen);
                prop_assert!(page.items.len() <= per_page);
                seen = page.items.end;
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            prop_assert_eq!(seen, total);
        }
    }
}
