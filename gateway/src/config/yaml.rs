//! YAML becomes the same tree as JSON.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned, budget::BudgetBreach};

use crate::spec::{
    Position, Problem,
    node::{Member, Node, Value, check_size, unique},
};

/// Deepest nesting accepted; a configuration has five levels. Small, because the parser's stack frames are large.
const MAX_DEPTH: usize = 16;

/// Reads one YAML document. Names stand once in a map, `no` and `on` are text, and numbers keep their text.
pub(super) fn read_yaml(text: &str, limit: usize) -> Result<Node, Problem> {
    check_size(text, limit)?;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        with_snippet: false,
    };
    let root = serde_saphyr::from_str_with_options(text, options).map_err(|error| problem(&error))?;
    node(root, text)
}

fn problem(error: &serde_saphyr::Error) -> Problem {
    let at = error.location().map_or(Position::START, position);
    if let serde_saphyr::Error::Budget { breach: BudgetBreach::Depth { .. }, .. } = error.without_snippet() {
        return Problem::new(at, format!("values are nested deeper than {MAX_DEPTH} levels"));
    }
    let text = error.without_snippet().to_string();
    // The place stands before the text already.
    let text = text.split(" at line ").next().unwrap_or_default();
    Problem::new(at, text)
}

fn node(Spanned { value, referenced, defined }: Spanned<Yaml>, text: &str) -> Result<Node, Problem> {
    let value = match value {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => Value::Bool(value),
        Yaml::Number(value) => Value::Number(source(defined, text).unwrap_or(value)),
        Yaml::Text(value) => Value::Text(value),
        Yaml::List(list) => Value::List(list.into_iter().map(|value| node(value, text)).collect::<Result<_, _>>()?),
        Yaml::Map(members) => {
            let member = |(name, value): (Spanned<String>, Spanned<Yaml>)| {
                Ok(Member { at: position(name.referenced), name: name.value, value: node(value, text)? })
            };
            Value::Map(unique(members.into_iter().map(member).collect::<Result<_, _>>()?)?)
        }
    };
    Ok(Node { at: position(referenced), value })
}

/// A number as it is written: `3.10` is a version more often than it is 3.1.
fn source(location: Location, text: &str) -> Option<String> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let length = usize::try_from(span.byte_len()?).ok()?;
    text.get(start..start + length).map(|text| text.trim().to_owned())
}

fn position(location: Location) -> Position {
    let number = |value: u64| usize::try_from(value).unwrap_or(usize::MAX).max(1);
    Position { line: number(location.line()), column: number(location.column()) }
}

enum Yaml {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(YamlVisitor)
    }
}

struct YamlVisitor;

impl<'de> Visitor<'de> for YamlVisitor {
    type Value = Yaml;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Yaml, E> {
        Ok(Yaml::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Yaml, E> {
        Ok(Yaml::Number(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Yaml, E> {
        Ok(Yaml::Number(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Yaml, E> {
        Ok(Yaml::Number(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Yaml, E> {
        Ok(Yaml::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Yaml, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = access.next_element()? {
            list.push(value);
        }
        Ok(Yaml::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Yaml, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Yaml::Map(members))
    }
}
