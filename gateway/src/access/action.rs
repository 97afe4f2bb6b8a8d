//! What is done with servers, and who may.

use std::fmt;

use crate::keys::{Principal, Scope};

/// One thing that is done with servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sends messages to one.
    Call,
    /// Looks at what one is to be, and how it is.
    Get,
    /// Looks at all of them.
    List,
    /// Reads what one has written to its standard error.
    ReadLog,
    /// Deploys one.
    Create,
    /// Makes one that is there another.
    Patch,
    /// Removes one.
    Delete,
}

/// What an account of a cluster must be allowed there, as the cluster's own rules have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Right {
    /// What is done.
    pub verb: &'static str,
    /// With which kind of resource.
    pub resource: &'static str,
    /// With which part of it.
    pub subresource: Option<&'static str>,
    /// The group of the resource; empty for Kubernetes' own.
    pub group: &'static str,
}

impl Action {
    /// What an account needs for it. To reach a server is to `get` it; its log is that of its pods.
    pub fn right(self) -> Right {
        let verb = match self {
            Self::ReadLog => {
                return Right { verb: "get", resource: "pods", subresource: Some("log"), group: "" };
            }
            Self::Call | Self::Get => "get",
            Self::List => "list",
            Self::Create => "create",
            Self::Patch => "patch",
            Self::Delete => "delete",
        };
        Right { verb, resource: "mcpservers", subresource: None, group: api::labels::GROUP }
    }

    /// Whether somebody with scopes may, where keys deploy to (`home`) or elsewhere.
    pub(super) fn is_for(self, principal: &Principal, home: bool) -> bool {
        let deploys = home && principal.may(Scope::Deploy);
        match self {
            Self::Call => principal.may(Scope::Call),
            Self::Get | Self::List => principal.may(Scope::Call) || deploys,
            Self::ReadLog | Self::Create | Self::Patch | Self::Delete => deploys,
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        match (self.group, self.subresource) {
            ("", Some(part)) => write!(f, "/{part}"),
            ("", None) => Ok(()),
            (group, _) => write!(f, ".{group}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{KeyRecord, Scopes};
    use crate::store::Timestamp;

    const ALL: [Action; 7] =
        [Action::Call, Action::Get, Action::List, Action::ReadLog, Action::Create, Action::Patch, Action::Delete];

    #[test]
    fn each_thing_is_asked_of_the_cluster_under_its_own_name() {
        let rights = ALL.map(|action| action.right().to_string());
        insta::assert_snapshot!(rights.join("\n"), @r"
        get mcpservers.mcpgateway.dev
        get mcpservers.mcpgateway.dev
        list mcpservers.mcpgateway.dev
        get pods/log
        create mcpservers.mcpgateway.dev
        patch mcpservers.mcpgateway.dev
        delete mcpservers.mcpgateway.dev
        ");
    }

    #[test]
    fn a_key_changes_and_reads_what_is_where_keys_deploy_to_and_calls_everything() {
        let principal = |scopes: &str| {
            let scopes: Scopes = scopes.parse().unwrap();
            let (record, _) = KeyRecord::generate("test", scopes, Timestamp::from_unix(0), None);
            Principal::Key { id: record.id, scopes }
        };
        let may = |scopes, home| ALL.map(|action| u8::from(action.is_for(&principal(scopes), home)));
        assert_eq!(may("call", true), [1, 1, 1, 0, 0, 0, 0]);
        assert_eq!(may("call", false), [1, 1, 1, 0, 0, 0, 0]);
        assert_eq!(may("deploy", true), [0, 1, 1, 1, 1, 1, 1]);
        assert_eq!(may("deploy", false), [0; 7]);
        assert_eq!(may("call,deploy", false), [1, 1, 1, 0, 0, 0, 0]);
    }
}
