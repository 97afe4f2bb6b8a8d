//! Where servers that are deployed through the API live: on this machine, or in a cluster.

use std::sync::Arc;

use axum::http::StatusCode;
use mcp::names::ServerName;

use crate::access::{Action, Who};
use crate::api::{Api, ApiError};
use crate::keys::{Account, PrincipalHash};
use crate::kubernetes::Cluster;
use crate::local::Local;
use crate::spec::ServerSpec;
use crate::store::StorageError;

/// Makes changes durable. Clones ask the same.
#[derive(Clone, Debug)]
pub enum Backend {
    /// The state directory, and sidecars of this gateway's own.
    Local(Local),
    /// Resources of a cluster, which its operator turns into pods.
    Cluster(Cluster),
}

/// Where a caller deploys to, and may.
#[derive(Clone, Debug)]
pub struct Place {
    /// The namespace; `None` on one machine.
    pub namespace: Option<Arc<str>>,
    /// Who deploys.
    pub principal: PrincipalHash,
    /// The account of the cluster that it is; what a key may is decided by then.
    pub account: Option<Arc<Account>>,
}

/// What became of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deployed {
    /// There was none of that name.
    New,
    /// It is like that already.
    Existed,
    /// It was different.
    Replaced,
}

/// Why a deployment is not made.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The configuration file defines it.
    #[error("server `{0}` is defined in the configuration file; change it there")]
    Configured(ServerName),
    /// It cannot be kept.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Somebody else manages it.
    #[error("{0}")]
    Foreign(String),
    /// The caller may not.
    #[error("{0}")]
    Forbidden(String),
    /// The cluster refuses what is asked for.
    #[error("the cluster does not accept it: {0}")]
    Rejected(String),
    /// The cluster does not answer, or does not let the gateway do its work.
    #[error("the cluster cannot be changed now: {0}")]
    Unreachable(String),
    /// There is none.
    #[error("there is no such server any more")]
    Missing,
    /// The gateway ends.
    #[error("the gateway is stopping; try again")]
    Stopping,
}

impl Place {
    /// The namespace asked for, or else the caller's own, when the caller may do `action` there.
    pub async fn of(api: &Api, who: &Who, asked: Option<&str>, action: Action) -> Result<Self, ApiError> {
        let home = api.access.home(who);
        if let (None, Some(asked)) = (&home, asked) {
            let text = format!("there is no namespace `{asked}`: this gateway runs its servers on one machine");
            return Err(ApiError::new(StatusCode::BAD_REQUEST, text));
        }
        if let Some(asked) = asked.filter(|asked| !is_namespace(asked)) {
            let text =
                format!("`{asked}` is no name of a namespace: those have small letters, digits and `-`, 63 at most");
            return Err(ApiError::new(StatusCode::BAD_REQUEST, text));
        }
        let namespace = asked.map(Into::into).or(home);
        if api.access.may(who, action, namespace.as_deref()).await {
            let principal = who.caller.0.parse().unwrap_or_else(|_| crate::keys::Principal::Anonymous.hash());
            return Ok(Self { namespace, principal, account: who.account().cloned() });
        }
        Err(forbidden(who, action, namespace.as_deref()))
    }
}

/// That a caller may not do `action` there.
pub(crate) fn forbidden(who: &Who, action: Action, namespace: Option<&str>) -> ApiError {
    let namespace = namespace.unwrap_or_default();
    let text = match who.account() {
        Some(account) => lacks(account, action, namespace),
        None => format!("keys are for one namespace, as far as deploying goes, which is not `{namespace}`"),
    };
    ApiError::new(StatusCode::FORBIDDEN, text)
}

/// That an account of the cluster may not.
pub(crate) fn lacks(account: &Account, action: Action, namespace: &str) -> String {
    format!("`{}` may not `{}` in the namespace `{namespace}`", account.name, action.right())
}

/// Whether it is a label of RFC 1123. It becomes part of an address of the API server.
fn is_namespace(name: &str) -> bool {
    let inside = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(inside) && !name.starts_with('-') && !name.ends_with('-')
}

impl Backend {
    /// Makes a server what `spec` says. Returns when nothing can lose that any more.
    pub async fn deploy(&self, place: &Place, name: ServerName, spec: ServerSpec) -> Result<Deployed, Refusal> {
        match self {
            Self::Local(local) => local.deploy(name, spec).await,
            Self::Cluster(cluster) => cluster.deploy(place, &name, &spec).await,
        }
    }

    /// Removes a server; whether there was one.
    pub async fn delete(&self, place: &Place, name: ServerName) -> Result<bool, Refusal> {
        match self {
            Self::Local(local) => local.delete(name).await,
            Self::Cluster(cluster) => cluster.delete(place, &name).await,
        }
    }

    /// Resolves when no changes are taken any more.
    pub async fn stopped(&self) {
        match self {
            Self::Local(local) => local.stopped().await,
            Self::Cluster(cluster) => cluster.stopped().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_a_namespace_is_asked_for() {
        let long = "x".repeat(63);
        for good in ["team", "a", "1", "team-a", long.as_str()] {
            assert!(is_namespace(good), "{good}");
        }
        let long = "x".repeat(64);
        for bad in ["", "-a", "a-", "Team", "a/b", "..", "a%2fb", "a.b", "a b", "\u{e4}", long.as_str()] {
            assert!(!is_namespace(bad), "{bad}");
        }
    }
}
