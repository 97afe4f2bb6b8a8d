//! What a credential is good for.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// One thing a credential may be good for. No scope implies another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Reach servers.
    Call,
    /// Change them, and read how they are configured.
    Deploy,
}

/// A set of scopes; written as a list, read with commas between them (`call,deploy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Scope>", into = "Vec<Scope>")]
pub struct Scopes {
    call: bool,
    deploy: bool,
}

/// A text that is no set of scopes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no scope: write `call`, `deploy` or `call,deploy`")]
pub struct ScopeError(String);

impl Scope {
    /// The scope as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Deploy => "deploy",
        }
    }
}

impl Scopes {
    /// Every scope.
    pub const ALL: Self = Self { call: true, deploy: true };

    /// Whether the set holds `scope`.
    pub fn contains(self, scope: Scope) -> bool {
        match scope {
            Scope::Call => self.call,
            Scope::Deploy => self.deploy,
        }
    }

    /// Whether the set holds nothing.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Self::default(), |set, scope| match scope {
            Scope::Call => Self { call: true, ..set },
            Scope::Deploy => Self { deploy: true, ..set },
        })
    }
}

impl From<Vec<Scope>> for Scopes {
    fn from(scopes: Vec<Scope>) -> Self {
        scopes.into_iter().collect()
    }
}

impl From<Scopes> for Vec<Scope> {
    fn from(scopes: Scopes) -> Self {
        [Scope::Call, Scope::Deploy].into_iter().filter(|scope| scopes.contains(*scope)).collect()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Call => "call",
            Self::Deploy => "deploy",
        })
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in Vec::from(*self).into_iter().enumerate() {
            write!(f, "{}{scope}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for Scopes {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        text.split(',')
            .map(|scope| match scope.trim() {
                "call" => Ok(Scope::Call),
                "deploy" => Ok(Scope::Deploy),
                other => Err(ScopeError(other.to_owned())),
            })
            .collect()
    }
}
