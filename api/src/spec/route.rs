//! How clients reach a server, and what they see of it.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::names::{self, MAX_ROUTE_NAME};

/// How clients reach a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The name in its addresses (`/NAME/mcp`) and before its tools (`NAME-tool`). Letters, digits, `.`, `_` and `-`, the
    /// first and the last a letter or digit; case matters; none of the gateway's own addresses. Where an older server of
    /// another namespace has it, `/NAMESPACE/NAME/mcp` and `NAMESPACE_NAME-tool`. Default: the resource's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_ROUTE_NAME), regex(pattern = "^([a-zA-Z0-9]([-._a-zA-Z0-9]*[a-zA-Z0-9])?)?$"))]
    #[x_kube(validation = Rule::new(names::not_reserved("self"))
        .message("the name is one of the gateway's own addresses: choose another"))]
    pub name: Option<String>,

    /// False: it is not among all servers at `/mcp` and `/sse`, only at addresses of its own. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<bool>,
}

/// Which tools clients see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tools {
    /// Patterns of the names that are offered; `*` stands for any text. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allow: Vec<String>,

    /// Patterns of names that are hidden, also when they are allowed. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub deny: Vec<String>,
}

impl Route {
    /// `aggregate`, or its default.
    pub fn aggregate(&self) -> bool {
        self.aggregate.unwrap_or(true)
    }
}

impl crate::McpServer {
    /// The name in its addresses: `spec.route.name`, or the resource's own.
    pub fn route_name(&self) -> &str {
        let given = self.spec.route.as_ref().and_then(|route| route.name.as_deref());
        given.filter(|name| !name.is_empty()).or(self.metadata.name.as_deref()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use crate::{McpServer, McpServerSpec};

    use super::Route;

    #[test]
    fn a_server_is_reached_by_the_name_of_its_route_or_else_by_its_own() {
        let mut server = McpServer::new("my-server", McpServerSpec::default());
        assert_eq!(server.route_name(), "my-server");
        for (name, expected) in [("", "my-server"), ("My_Server", "My_Server")] {
            server.spec.route = Some(Route { name: Some(name.to_owned()), aggregate: None });
            assert_eq!(server.route_name(), expected);
        }
    }
}
