//! A text is refused, or it is exactly what the cursor it holds is written as; and no page leaves its list.
#![no_main]

use std::num::NonZeroUsize;

use libfuzzer_sys::fuzz_target;
use mcp::cursor::{Cursor, Page};

const TOTAL: usize = 1000;

fuzz_target!(|text: &str| {
    let Ok(cursor) = Cursor::decode(text) else { return };
    assert_eq!(cursor.encode(), text);
    if let Ok(page) = Page::of(TOTAL, NonZeroUsize::MIN, cursor.version, Some(text)) {
        assert!(page.items.end <= TOTAL && page.items.len() == 1);
    }
});
