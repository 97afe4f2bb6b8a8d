//! Service accounts of a namespace, and what they may.

use anyhow::Result;
use serde_json::json;

use super::Namespace;
use crate::client::ClientOptions;

/// What the gateway's tokens are made for.
const AUDIENCE: &str = "mcp-gateway";

/// A service account, and a token of it for the gateway.
#[derive(Debug, Clone)]
pub struct Account {
    namespace: String,
    name: String,
    /// Its credential.
    pub token: String,
}

impl Account {
    /// Makes one that may nothing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn new(home: &Namespace, name: &str) -> Result<Self> {
        home.kubectl(&["create", "serviceaccount", name]).await?;
        let token = home.kubectl(&["create", "token", name, "--audience", AUDIENCE]).await?;
        Ok(Self { namespace: home.name().into(), name: name.into(), token: token.trim().into() })
    }

    /// Lets it do this with the servers of a namespace, and nothing else.
    ///
    /// # Errors
    /// When that cannot be written.
    pub async fn allow(&self, place: &Namespace, verbs: &[&str]) -> Result<()> {
        let (group, metadata) = ("rbac.authorization.k8s.io", json!({"name": self.name}));
        let rules = json!([{"apiGroups": ["mcpgateway.dev"], "resources": ["mcpservers"], "verbs": verbs}]);
        let role =
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules});
        let subject = json!({"kind": "ServiceAccount", "name": self.name, "namespace": self.namespace});
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": self.name}, "subjects": [subject],
        });
        place.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [role, binding]}).to_string()).await.map(drop)
    }

    /// Takes from it whatever it was allowed there.
    ///
    /// # Errors
    /// When there was nothing.
    pub async fn forbid(&self, place: &Namespace) -> Result<()> {
        place.kubectl(&["delete", "rolebinding", &self.name]).await.map(drop)
    }

    /// A client of that revision with its token.
    pub fn client(&self, version: &str) -> ClientOptions {
        ClientOptions::new(version).header("authorization", &format!("Bearer {}", self.token))
    }

    /// As the cluster calls it.
    pub fn full_name(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }
}
