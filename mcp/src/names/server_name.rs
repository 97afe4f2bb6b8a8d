//! What a server may be called.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

/// First path segments of the gateway's own addresses, now or foreseeably. Compared without regard to case.
const RESERVED: [&str; 20] = [
    "admin",
    "api",
    "delete",
    "deploy",
    "healthz",
    "keys",
    "livez",
    "logs",
    "mcp",
    "message",
    "metrics",
    "openapi.json",
    "readyz",
    "servers",
    "services",
    "sse",
    "status",
    "stream",
    "v1",
    "well-known",
];

/// The name of a server, as its user wrote it: the `{name}` of its addresses and the prefix of its tools.
///
/// 1 to 63 ASCII letters, digits, `.`, `_` and `-`, the first and the last a letter or digit, and none of the names
/// that the gateway uses itself. Case matters. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName(Arc<str>);

impl ServerName {
    /// The longest name in characters; that of a DNS label, which a Kubernetes resource name is made of.
    pub const MAX_CHARS: usize = 63;

    /// Checks a name.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        match Fault::of(name) {
            None => Ok(Self(name.into())),
            Some(fault) => Err(NameError { name: shortened(name), fault, suggestion: suggestion(name) }),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a server cannot have this name, and a similar name that it can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server name {name:?} {fault}; try {suggestion:?}")]
pub struct NameError {
    name: String,
    fault: Fault,
    suggestion: String,
}

impl NameError {
    /// A legal name like the refused one. It may be taken.
    pub fn suggestion(&self) -> &str {
        &self.suggestion
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("is empty; a name has 1 to 63 characters")]
    Empty,
    #[error("is too long; a name has 1 to 63 characters")]
    TooLong,
    #[error("has the character {0:?}; only letters a-z and A-Z, digits, '.', '_' and '-' are allowed")]
    Character(char),
    #[error("must start and end with a letter or digit")]
    Edge,
    #[error("is reserved for the gateway's own addresses")]
    Reserved,
}

impl Fault {
    fn of(name: &str) -> Option<Self> {
        if name.is_empty() {
            Some(Self::Empty)
        } else if let Some(character) = name.chars().find(|&character| !is_legal(character)) {
            Some(Self::Character(character))
        } else if name.len() > ServerName::MAX_CHARS {
            Some(Self::TooLong)
        } else if !name.starts_with(is_edge) || !name.ends_with(is_edge) {
            Some(Self::Edge)
        } else {
            is_reserved(name).then_some(Self::Reserved)
        }
    }
}

fn is_legal(character: char) -> bool {
    is_edge(character) || matches!(character, '.' | '_' | '-')
}

fn is_edge(character: char) -> bool {
    character.is_ascii_alphanumeric()
}

fn is_reserved(name: &str) -> bool {
    RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name))
}

/// A refused name may be of any length; its beginning is enough to recognise it by.
fn shortened(name: &str) -> String {
    match name.char_indices().nth(ServerName::MAX_CHARS + 1) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

fn suggestion(name: &str) -> String {
    let legal = name.chars().map(|character| if is_legal(character) { character } else { '-' });
    let name: String = legal.skip_while(|&character| !is_edge(character)).take(ServerName::MAX_CHARS).collect();
    match name.trim_end_matches(|character| !is_edge(character)) {
        "" => "server".to_owned(),
        reserved if is_reserved(reserved) => format!("{reserved}-server"),
        name => name.to_owned(),
    }
}

impl FromStr for ServerName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::parse(name)
    }
}

impl AsRef<str> for ServerName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ServerName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for ServerName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ServerName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
