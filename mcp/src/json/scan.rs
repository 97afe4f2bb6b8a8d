//! What can be told of JSON without parsing it.
//!
//! Every byte that comes from either side passes here first, so it has to be quick: what most messages need is done
//! with plain counting, which compiles to vector instructions, and strings are searched a word at a time.

use bytes::Bytes;

/// Bytes counted at a time: as many as an 8-bit count, the quickest to keep, has room for.
const COUNTED: usize = 128;
const WORD: usize = size_of::<u64>();

/// Whether `json` nests arrays and objects deeper than `max`. Linear, never recursive; needs no valid JSON.
pub fn deeper_than(json: &[u8], max: usize) -> bool {
    let opening = |byte: u8| matches!(byte, b'{' | b'[');
    let count = |chunk: &[u8]| chunk.iter().map(|&byte| u8::from(opening(byte))).sum::<u8>();
    let mut brackets = json.chunks(COUNTED).scan(0, |sum, chunk| {
        *sum += usize::from(count(chunk));
        Some(*sum)
    });
    // Most messages do not even hold that many brackets.
    if !brackets.any(|count| count > max) {
        return false;
    }
    let mut depth = 0usize;
    outside_strings(json).any(|(_, byte)| {
        match byte {
            _ if opening(byte) => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > max
    })
}

/// `json` with every line break between tokens replaced by a space, where it means the same. One inside a string is
/// left to the parser, which refuses it.
pub(crate) fn on_one_line(json: Bytes) -> Bytes {
    let breaks = |byte: u8| matches!(byte, b'\n' | b'\r');
    if memchr::memchr2(b'\n', b'\r', &json).is_none() {
        return json;
    }
    let mut line = json.to_vec();
    for (at, _) in outside_strings(&json).filter(|(_, byte)| breaks(*byte)) {
        line[at] = b' ';
    }
    line.into()
}

/// The bytes that are not inside of strings, with their positions. A string's opening quote is among them, its
/// closing one is not.
fn outside_strings(json: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let (at, byte) = (next, *json.get(next)?);
        next = if byte == b'"' { string_end(json, at + 1) } else { at } + 1;
        Some((at, byte))
    })
}

/// The position of the quote that closes the string whose contents start at `at`, or the end of the input.
fn string_end(json: &[u8], mut at: usize) -> usize {
    loop {
        let rest = json.get(at..).unwrap_or_default();
        let found = match rest.first_chunk() {
            Some(word) => quote_or_backslash(u64::from_le_bytes(*word)),
            None => rest.iter().position(|byte| matches!(byte, b'"' | b'\\')),
        };
        match found {
            Some(found) if rest[found] == b'"' => return at + found,
            // What is escaped ends nothing.
            Some(found) => at += found + 2,
            None if rest.len() < WORD => return json.len(),
            None => at += WORD,
        }
    }
}

/// Where the first of the two stands in eight bytes of a text.
fn quote_or_backslash(word: u64) -> Option<usize> {
    const EACH: u64 = u64::from_le_bytes([1; WORD]);
    // The lowest bit that is set is the top bit of the first byte that is zero; those above it mean nothing.
    let zero = |word: u64| word.wrapping_sub(EACH) & !word & (EACH << 7);
    let found = zero(word ^ (EACH * u64::from(b'"'))) | zero(word ^ (EACH * u64::from(b'\\')));
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, a byte at a time.
    fn depth(json: &[u8]) -> usize {
        let (mut deepest, mut depth, mut string, mut escaped) = (0, 0usize, false, false);
        for byte in json {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if string => escaped = true,
                b'"' => string = !string,
                b'{' | b'[' if !string => depth += 1,
                b'}' | b']' if !string => depth = depth.saturating_sub(1),
                _ => {}
            }
            deepest = deepest.max(depth);
        }
        deepest
    }

    #[test]
    fn depth_counts_only_what_nests_outside_strings() {
        assert!(!deeper_than(br#"{"a":["[[[[[[[[",{"b\"[[[":1}]}"#, 3));
        assert!(deeper_than(br#"{"a":["[[[[[[[[",{"b\"[[[":1}]}"#, 2));
        assert!(deeper_than("[".repeat(65).as_bytes(), 64));
        assert!(!deeper_than("[]".repeat(1000).as_bytes(), 1));
        assert!(!deeper_than(br#""unterminated \"#, 0));
    }

    #[test]
    fn line_breaks_inside_strings_are_left_to_the_parser() {
        let line = on_one_line(Bytes::from_static(b"{\r\n\"a\\\"\n\":[1,\n2]}"));
        assert_eq!(line, b"{  \"a\\\"\n\":[1, 2]}"[..]);
    }

    proptest! {
        #[test]
        fn the_depth_is_what_a_plain_reading_finds(json in r#"([\[\]{}]|\PC{0,3}|[a-z]{0,20}|"|\\){0,120}"#, max in 0..5usize) {
            prop_assert_eq!(deeper_than(json.as_bytes(), max), depth(json.as_bytes()) > max);
        }
    }
}
