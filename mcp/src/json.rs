//! Looking into raw JSON without modelling it, and changing it by splicing bytes.
//!
//! Everything here works on the text of a value. Positions are found by parsing one level at a time into
//! [`RawValue`] slices; an [`Edit`] replaces such a slice and leaves every other byte as it was.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

/// The deepest nesting of arrays and objects that is let through in either direction.
///
/// `serde_json` skips values iteratively, so a deeper one would not harm this process, but it would be handed on to
/// one that recurses.
pub const MAX_DEPTH: usize = 64;

/// Whether `json` nests arrays and objects deeper than `max`. Linear, never recursive; needs no valid JSON.
pub fn deeper_than(json: &[u8], max: usize) -> bool {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        match byte {
            b'"' => at = string_end(json, at + 1),
            b'{' | b'[' => {
                depth += 1;
                if depth > max {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    false
}

/// The position of the quote that closes the string whose contents start at `at`, or the end of the input.
fn string_end(json: &[u8], mut at: usize) -> usize {
    while let Some(found) = memchr::memchr2(b'"', b'\\', &json[at.min(json.len())..]) {
        at += found;
        if json[at] == b'"' {
            return at;
        }
        at += 2;
    }
    json.len()
}

/// The members of one JSON object, in their order, each value as raw text.
#[derive(Debug, Default)]
pub struct Object<'a>(SmallVec<[(Cow<'a, str>, &'a str); 6]>);

impl<'a> Object<'a> {
    /// Parses the object's first level. Fails on anything that is not an object, and on a key that occurs twice
    /// (whatever its spelling: keys are compared after their escapes are resolved), because two readers of such an
    /// object would not agree on what it says.
    pub fn parse(json: &'a str) -> Result<Self, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(json);
        let object = reader.deserialize_map(Members)?;
        reader.end()?;
        Ok(object)
    }

    /// The raw text of the member `key`.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// All members in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), *value))
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut object = Object::default();
        while let Some(key) = map.next_key::<Key<'de>>()? {
            if object.get(&key.0).is_some() {
                return Err(A::Error::custom(format_args!("duplicate key `{}`", key.0)));
            }
            let value: &'de RawValue = map.next_value()?;
            object.0.push((key.0, value.get()));
        }
        Ok(object)
    }
}

/// A key, borrowed unless it holds escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The raw text of the value at `path` below the object `json`; `None` when it is not there, when something on the
/// way is not an object, or when an object on the way holds a key twice.
pub fn lookup<'a>(json: &'a str, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(json, |json, key| Object::parse(json).ok()?.get(key))
}

/// The elements of a JSON array as raw text; `None` when `json` is not an array.
pub fn elements(json: &str) -> Option<Vec<&str>> {
    let elements: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    Some(elements.into_iter().map(RawValue::get).collect())
}

/// The text of a JSON string with its escapes resolved; `None` when `json` is not a string.
pub fn string(json: &str) -> Option<Cow<'_, str>> {
    let Key(text) = serde_json::from_str(json).ok()?;
    Some(text)
}

/// `text` as a JSON string.
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Where `part`, a slice of `whole`, stands in it.
///
/// # Panics
/// When `part` is not a slice of `whole`.
pub fn span(whole: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize);
    let range = start.map(|start| start..start + part.len());
    range.filter(|range| range.end <= whole.len()).expect("the part is a slice of the whole")
}

/// One replacement in a text.
#[derive(Clone, Debug)]
pub struct Edit {
    /// What is replaced, as byte positions.
    pub range: Range<usize>,
    /// What stands there afterwards.
    pub with: Bytes,
}

/// A message as the chunks it is written in, so that a large body is never copied to change a few bytes of it.
#[derive(Clone, Debug, Default)]
pub struct Rope(SmallVec<[Bytes; 3]>);

impl Rope {
    /// All bytes together.
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Bytes::is_empty)
    }

    /// The chunks in order.
    pub fn chunks(&self) -> &[Bytes] {
        &self.0
    }

    /// One contiguous buffer; copies unless there is a single chunk.
    pub fn into_bytes(mut self) -> Bytes {
        if self.0.len() == 1 {
            return self.0.swap_remove(0);
        }
        let mut all = BytesMut::with_capacity(self.len());
        for chunk in &self.0 {
            all.extend_from_slice(chunk);
        }
        all.freeze()
    }

    /// Adds a chunk at the end.
    pub fn push(&mut self, chunk: Bytes) {
        self.0.push(chunk);
    }
}

impl From<Bytes> for Rope {
    fn from(bytes: Bytes) -> Self {
        let mut rope = Self::default();
        rope.push(bytes);
        rope
    }
}

impl From<String> for Rope {
    fn from(text: String) -> Self {
        Self::from(Bytes::from(text))
    }
}

impl IntoIterator for Rope {
    type Item = Bytes;
    type IntoIter = smallvec::IntoIter<[Bytes; 3]>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// `raw` with `edits` made. They must not overlap; their order does not matter.
pub fn splice(raw: &Bytes, mut edits: SmallVec<[Edit; 2]>) -> Rope {
    edits.sort_by_key(|edit| edit.range.start);
    let mut rope = Rope::default();
    let mut at = 0;
    for Edit { range, with } in edits {
        rope.push(raw.slice(at..range.start));
        rope.push(with);
        at = range.end;
    }
    rope.push(raw.slice(at..));
    rope
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_only_what_nests_outside_strings() {
        assert!(!deeper_than(br#"{"a":["[[[[[[[[",{"b\"[[[":1}]}"#, 3));
        assert!(deeper_than(br#"{"a":["[[[[[[[[",{"b\"[[[":1}]}"#, 2));
        assert!(deeper_than("[".repeat(65).as_bytes(), MAX_DEPTH));
        assert!(!deeper_than(br#""unterminated \"#, 0));
    }

    #[test]
    fn a_key_that_occurs_twice_is_refused_whatever_its_spelling() {
        assert!(Object::parse(r#"{"id":1,"x":2}"#).is_ok());
        let error = Object::parse(r#"{"id":1,"\u0069d":2}"#).unwrap_err();
        assert!(error.to_string().starts_with("duplicate key `id`"), "{error}");
    }

    #[test]
    fn lookup_finds_raw_text_and_nothing_else() {
        let json = r#"{"a": {"b" : 1.0e2 }, "s":"x"}"#;
        assert_eq!(lookup(json, &["a", "b"]), Some("1.0e2"));
        assert_eq!(lookup(json, &["a", "c"]), None);
        assert_eq!(lookup(json, &["s", "b"]), None);
    }

    #[test]
    fn splice_changes_only_what_it_names() {
        let raw = Bytes::from_static(br#"{ "id" : 1, "b":2.50 }"#);
        let text = std::str::from_utf8(&raw).unwrap();
        let edit = |key: &str, with: &'static str| Edit {
            range: span(text, lookup(text, &[key]).unwrap()),
            with: Bytes::from_static(with.as_bytes()),
        };
        let changed = splice(&raw, [edit("b", "[]"), edit("id", "\"x\"")].into_iter().collect());
        assert_eq!(changed.into_bytes(), Bytes::from_static(br#"{ "id" : "x", "b":[] }"#));
    }
}
