//! A document tree that remembers where each value stands.
//!
//! JSON and YAML both become this tree, so one reader judges deploy bodies, configuration files and state files, and
//! every complaint names a line and a column.

use std::fmt;

use jsonc_parser::{CollectOptions, ParseOptions, ast, common::Ranged as _, errors::ParseErrorKind, parse_to_ast};

/// Deepest nesting accepted. `mcpServers` needs five levels.
pub(crate) const MAX_DEPTH: usize = 64;

/// A place in a document; both numbers count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Position {
    pub(crate) const START: Self = Self { line: 1, column: 1 };
}

/// What is wrong in a document, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {text}", at.line, at.column)]
pub struct Problem {
    /// Where the offending value begins.
    pub at: Position,
    /// What is wrong and what to write instead. Never holds a value that may be secret.
    pub text: String,
}

impl Problem {
    pub(crate) fn new(at: Position, text: impl Into<String>) -> Self {
        Self { at, text: text.into() }
    }

    pub(crate) fn too_deep(at: Position) -> Self {
        Self::new(at, format!("values are nested deeper than {MAX_DEPTH} levels"))
    }
}

/// A value and where it begins.
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) value: Value,
}

/// A JSON value. Numbers keep their text: `3.10` stays `3.10`.
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Member>),
}

/// One `name: value` of a map. Names are unique within a map.
pub(crate) struct Member {
    pub(crate) at: Position,
    pub(crate) name: String,
    pub(crate) value: Node,
}

impl fmt::Display for Value {
    /// The kind of value, for "must be a string, not a number".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "an array",
            Self::Map(_) => "an object",
        })
    }
}

/// Reads JSON that may hold `//` and `/* */` comments and trailing commas, as documentation prints it.
///
/// Refuses documents above `limit` bytes, nesting above [`MAX_DEPTH`] and names that stand twice in an object.
pub(crate) fn read_json(text: &str, limit: usize) -> Result<Node, Problem> {
    check_size(text, limit)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let parsed = parse_to_ast(text, &CollectOptions::default(), &dialect()).map_err(|e| {
        let at = Position { line: e.line_display(), column: e.column_display() };
        match e.kind() {
            ParseErrorKind::NestingDepthExceeded => Problem::too_deep(at),
            kind => Problem::new(at, lower_first(&kind.to_string())),
        }
    })?;
    let root = parsed.value.ok_or_else(|| Problem::new(Position::START, "the document is empty"))?;
    Converter { text, offset: 0, at: Position::START }.node(root, 1)
}

/// Refuses a document above `limit` bytes.
pub(crate) fn check_size(text: &str, limit: usize) -> Result<(), Problem> {
    if text.len() > limit {
        let text = format!("the document has {} bytes, the limit is {limit}", text.len());
        return Err(Problem::new(Position::START, text));
    }
    Ok(())
}

/// Standard JSON plus comments and trailing commas, nothing looser: a looser dialect would accept typing errors.
fn dialect() -> ParseOptions {
    ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}

/// Turns the parser's tree into ours. It walks in document order, so positions cost one pass over the text.
struct Converter<'t> {
    text: &'t str,
    offset: usize,
    at: Position,
}

impl Converter<'_> {
    fn node(&mut self, value: ast::Value<'_>, depth: usize) -> Result<Node, Problem> {
        let at = self.advance(value.start());
        if depth > MAX_DEPTH {
            return Err(Problem::too_deep(at));
        }
        let value = match value {
            ast::Value::NullKeyword(_) => Value::Null,
            ast::Value::BooleanLit(lit) => Value::Bool(lit.value),
            ast::Value::NumberLit(lit) => Value::Number(lit.value.to_owned()),
            ast::Value::StringLit(lit) => Value::Text(lit.value.into_owned()),
            ast::Value::Array(array) => {
                let nodes = array.elements.into_iter().map(|element| self.node(element, depth + 1));
                Value::List(nodes.collect::<Result<_, _>>()?)
            }
            ast::Value::Object(object) => {
                let members = object.properties.into_iter().map(|property| self.member(property, depth));
                Value::Map(unique(members.collect::<Result<_, _>>()?)?)
            }
        };
        Ok(Node { at, value })
    }

    fn member(&mut self, property: ast::ObjectProp<'_>, depth: usize) -> Result<Member, Problem> {
        let at = self.advance(property.start());
        let name = property.name.into_string();
        Ok(Member { at, name, value: self.node(property.value, depth + 1)? })
    }

    fn advance(&mut self, offset: usize) -> Position {
        for character in self.text[self.offset..offset].chars() {
            if character == '\n' {
                self.at = Position { line: self.at.line + 1, column: 1 };
            } else {
                self.at.column += 1;
            }
        }
        self.offset = offset;
        self.at
    }
}

/// Refuses a name that stands twice: whichever value won, somebody would be surprised.
pub(crate) fn unique(members: Vec<Member>) -> Result<Vec<Member>, Problem> {
    let mut seen = std::collections::HashMap::with_capacity(members.len());
    for member in &members {
        if let Some(first) = seen.insert(member.name.as_str(), member.at) {
            let text = format!("`{}` stands twice, first on line {}: keep one", member.name, first.line);
            return Err(Problem::new(member.at, text));
        }
    }
    Ok(members)
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}
