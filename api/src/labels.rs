//! Labels, annotations and field managers: names that others may rely on.

/// The group of the resource, and the prefix of labels and annotations of our own.
pub const GROUP: &str = "mcpgateway.dev";

/// The version of the resource.
pub const VERSION: &str = "v1alpha1";

/// Label: what kind of thing this is; [`NAME_SERVER`] on everything made for an `McpServer`.
pub const NAME: &str = "app.kubernetes.io/name";

/// Label: which one it is; the name of the `McpServer`.
pub const INSTANCE: &str = "app.kubernetes.io/instance";

/// Label: the release of the operator that wrote the object. Not on pod templates: it would restart them.
pub const APP_VERSION: &str = "app.kubernetes.io/version";

/// Label: the part that an object plays; [`COMPONENT_SERVER`] or [`COMPONENT_CACHE`].
pub const COMPONENT: &str = "app.kubernetes.io/component";

/// Label: what it belongs to; [`PART_OF_GATEWAY`].
pub const PART_OF: &str = "app.kubernetes.io/part-of";

/// Label: who writes the object; [`OPERATOR`] or [`GATEWAY`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Value of [`NAME`] on everything made for an `McpServer`.
pub const NAME_SERVER: &str = "mcp-server";

/// Value of [`COMPONENT`] on what runs a server and makes it reachable.
pub const COMPONENT_SERVER: &str = "server";

/// Value of [`COMPONENT`] on the volume claim of a package cache.
pub const COMPONENT_CACHE: &str = "cache";

/// Value of [`PART_OF`].
pub const PART_OF_GATEWAY: &str = "mcp-gateway";

/// Value of [`MANAGED_BY`], and field manager, of the operator.
pub const OPERATOR: &str = "mcp-operator";

/// Value of [`MANAGED_BY`], and field manager, of the gateway.
pub const GATEWAY: &str = "mcp-gateway";

/// Label: the name of the `McpServer` that an object was made for. With [`NAME`] it selects the pods of a server.
pub const SERVER: &str = "mcpgateway.dev/server";

/// Label, on Secrets and ConfigMaps that the operator or the gateway makes: what for, one of `env`, `lock`, `keys`.
pub const PURPOSE: &str = "mcpgateway.dev/purpose";

/// Annotation, on pod templates: a digest of the Secrets and ConfigMaps that the spec refers to. Pods roll with it.
pub const REFERENCES: &str = "mcpgateway.dev/references-digest";

/// Annotation, on the ConfigMap of a package lock: a digest of what it was resolved for.
pub const LOCKED_FOR: &str = "mcpgateway.dev/locked-for";

/// Annotation, on Secrets that the gateway makes: a keyed digest of their content, so that it is never read back.
pub const CONTENT: &str = "mcpgateway.dev/content-digest";

/// Annotation, on an `McpServer` that was deployed through the gateway: a digest of who did it.
pub const DEPLOYED_BY: &str = "mcpgateway.dev/deployed-by";

/// What the names of volumes and containers that the operator adds to pods begin with; a spec's must not.
pub const OWN_PREFIX: &str = "mcpgateway-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_our_own_are_in_our_group() {
        for name in [SERVER, PURPOSE, REFERENCES, LOCKED_FOR, CONTENT, DEPLOYED_BY] {
            let (group, rest) = name.split_once('/').unwrap();
            assert_eq!(group, GROUP, "{name}");
            assert!(rest.len() <= 63, "{name}");
        }
    }
}
