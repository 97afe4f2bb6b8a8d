//! Who is asking.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{KeyId, Scope, Scopes, hex};

/// Who is asking, and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Nobody in particular, where no credential is asked for. May do everything.
    Anonymous,
    /// The holder of a key.
    Key {
        /// Which key.
        id: KeyId,
        /// What it is good for.
        scopes: Scopes,
    },
    /// Somebody whom the cluster knows.
    Account(Arc<Account>),
}

/// A user or service account of a cluster, as its API server knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Account {
    /// `system:serviceaccount:NAMESPACE:NAME`, or whatever users are called there.
    pub name: String,
    /// Its identity.
    pub uid: Option<String>,
    /// What it belongs to.
    pub groups: Vec<String>,
    /// Whatever else the cluster decides by.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Account {
    /// The namespace of a service account.
    pub fn namespace(&self) -> Option<&str> {
        let (namespace, _) = self.name.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        Some(namespace)
    }
}

impl Principal {
    /// Whether it may at all. What a cluster's account may is a matter of namespaces
    /// ([`Access::may`](crate::access::Access::may)).
    pub fn may(&self, scope: Scope) -> bool {
        match self {
            Self::Anonymous | Self::Account(_) => true,
            Self::Key { scopes, .. } => scopes.contains(scope),
        }
    }

    /// What tells principals apart behind the gateway. Stable over restarts; changed scopes do not change it.
    pub fn hash(&self) -> PrincipalHash {
        let hash = Sha256::new_with_prefix("mcp-gateway principal\0");
        let hash = match self {
            Self::Anonymous => hash.chain_update("anonymous"),
            Self::Key { id, .. } => hash.chain_update("key\0").chain_update(&id.0),
            Self::Account(account) => hash.chain_update("account\0").chain_update(&account.name),
        };
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        PrincipalHash(bytes)
    }
}

/// A principal as the hop to a sidecar and session handles name it: 16 bytes of a SHA-256, written as 32 hexadecimal
/// digits. Names nobody, opens nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrincipalHash([u8; 16]);

impl PrincipalHash {
    /// The hash with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for PrincipalHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl FromStr for PrincipalHash {
    type Err = NoHash;

    fn from_str(text: &str) -> Result<Self, NoHash> {
        let number = u128::from_str_radix(text, 16).map_err(|_| NoHash)?;
        if text.len() == 32 { Ok(Self(number.to_be_bytes())) } else { Err(NoHash) }
    }
}

/// The text is no principal's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a principal is named by 32 hexadecimal digits")]
pub struct NoHash;

impl fmt::Debug for PrincipalHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
