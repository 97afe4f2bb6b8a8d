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

mod members;
mod scan;

pub(crate) use members::places;
pub use members::without;
pub use scan::deeper_than;
pub(crate) use scan::on_one_line;

/// The deepest nesting of arrays and objects that is let through in either direction.
///
/// `serde_json` skips values iteratively, so a deeper one would not harm this process, but it would be handed on to
/// one that recurses.
pub const MAX_DEPTH: usize = 64;

/// An object of this many members is none that this crate takes apart: what it looks into has a handful.
const MAX_MEMBERS: usize = 64;

/// The members of one JSON object, in their order, each value as raw text.
#[derive(Debug, Default)]
pub struct Object<'a>(SmallVec<[(Cow<'a, str>, &'a str); 6]>);

impl<'a> Object<'a> {
    /// Parses the object's first level. Fails on anything that is not an object of at most 64 members, and on a key
    /// that occurs twice (whatever its spelling: keys are compared after their escapes are resolved), because two
    /// readers of such an object would not agree on what it says.
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
        while let Some((key, value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
            if object.get(&key.0).is_some() {
                return Err(duplicate(&key.0));
            }
            if object.0.len() == MAX_MEMBERS {
                return Err(A::Error::custom(format_args!("more than {MAX_MEMBERS} members")));
            }
            object.0.push((key.0, value.get()));
        }
        Ok(object)
    }
}

/// Finds the value of one key.
struct Member<'k>(&'k str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some((key, value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
            if key.0 == self.0 && found.replace(value.get()).is_some() {
                return Err(duplicate(self.0));
            }
        }
        Ok(found)
    }
}

fn duplicate<E: serde::de::Error>(key: &str) -> E {
    E::custom(format_args!("duplicate key `{key}`"))
}

/// A key, borrowed unless it holds escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The raw text of the value at `path` below the object `json`; `None` when it is not there, when something on the
/// way is not an object, or when a key on the way occurs twice.
pub fn lookup<'a>(json: &'a str, path: &[&str]) -> Option<&'a str> {
    find(json, path).ok().flatten()
}

/// The same, but fails when a key on the way occurs twice, which two readers may understand in two ways.
pub fn find<'a>(json: &'a str, path: &[&str]) -> Result<Option<&'a str>, serde_json::Error> {
    let mut found = Some(json);
    for key in path {
        let Some(object) = found.filter(|json| json.trim_start().starts_with('{')) else { return Ok(None) };
        found = serde_json::Deserializer::from_str(object).deserialize_map(Member(key))?;
    }
    Ok(found)
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
    fn a_value_under_two_equal_keys_is_not_found_and_one_that_is_missing_is_no_failure() {
        let json = r#"{"a":{"b":1,"\u0062":2},"c":[],"c":[]}"#;
        assert!(find(json, &["a", "b"]).is_err() && lookup(json, &["a", "b"]).is_none());
        assert!(find(json, &["c"]).is_err());
        assert!(matches!(find(json, &["a", "c"]), Ok(None)));
        assert!(matches!(find("[]", &["a"]), Ok(None)));
    }

    #[test]
    fn an_object_of_very_many_members_is_not_taken_apart() {
        let members: Vec<_> = (0..100_000).map(|n| format!(r#""{n}":{n}"#)).collect();
        let json = format!("{{{}}}", members.join(","));
        assert!(Object::parse(&json).unwrap_err().to_string().starts_with("more than 64 members"));
        assert_eq!(lookup(&json, &["99999"]), Some("99999"));
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
