//! What only a gateway in a cluster is told.

use clap::Args;
use clap::builder::BoolishValueParser;
use runtime::exit::UsageError;

use crate::kubernetes::Settings;
use crate::store::Uid;

/// In a cluster.
#[derive(Debug, Args)]
#[command(next_help_heading = "In a Kubernetes cluster")]
pub struct ClusterArgs {
    /// Serve the McpServers of a cluster, in place of servers on this machine
    #[arg(long, env = "MCP_KUBERNETES", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", default_value = "false", hide_default_value = true, value_parser = BoolishValueParser::new())]
    pub kubernetes: bool,
    /// A namespace whose McpServers are served [default: all]
    #[arg(long, env = "MCP_NAMESPACES", value_name = "NAME", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// A namespace whose servers may be called /NAME, without their namespace [default: all]
    #[arg(long, env = "MCP_SHORT_NAME_NAMESPACES", value_name = "NAME", value_delimiter = ',')]
    pub short_name_namespaces: Vec<String>,
    /// The namespace that keys deploy into [default: the gateway's own]
    #[arg(long, env = "MCP_DEPLOY_NAMESPACE", value_name = "NAME")]
    pub deploy_namespace: Option<String>,
    /// The Secret with the keys that replicas share
    #[arg(long, env = "MCP_KEYS_SECRET", value_name = "NAME", default_value = "mcp-gateway-keys")]
    pub keys_secret: String,
    /// The Secret with the keys that clients present
    #[arg(long, env = "MCP_API_KEYS_SECRET", value_name = "NAME", default_value = "mcp-gateway-api-keys")]
    pub api_keys_secret: String,
    /// What the tokens of service accounts must be made for; empty = none is good
    #[arg(long, env = "MCP_TOKEN_AUDIENCE", value_name = "TEXT", default_value = "mcp-gateway")]
    pub token_audience: String,
    /// The gateway's own Service, whose endpoints are its replicas
    #[arg(long, env = "MCP_SERVICE", value_name = "NAME", default_value = "mcp-gateway")]
    pub service: String,
    /// What the addresses begin with that servers tell in their status [default: http://SERVICE.NAMESPACE.svc]
    #[arg(long, env = "MCP_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
    #[arg(long, env = "POD_UID", hide = true)]
    pub pod_uid: Option<String>,
}

impl ClusterArgs {
    /// The settings, if there is a cluster.
    pub fn settings(&self) -> Result<Option<Settings>, UsageError> {
        if !self.kubernetes {
            return Ok(None);
        }
        let set = |names: &[String]| {
            let names: std::collections::BTreeSet<String> = names.iter().filter(|it| !it.is_empty()).cloned().collect();
            Some(names).filter(|names| !names.is_empty())
        };
        let instance = match self.pod_uid.as_deref().filter(|uid| !uid.is_empty()) {
            Some(uid) => uid.parse().map_err(|error| UsageError::new(format!("POD_UID: {error}")))?,
            // It is no pod: nobody forwards to it.
            None => Uid::random(),
        };
        Ok(Some(Settings {
            namespaces: set(&self.namespaces),
            short_names: set(&self.short_name_namespaces),
            deploy_namespace: self.deploy_namespace.clone().filter(|it| !it.is_empty()),
            keys_secret: self.keys_secret.clone(),
            api_keys_secret: self.api_keys_secret.clone(),
            audience: self.token_audience.clone(),
            service: self.service.clone(),
            base: self.public_url.as_deref().unwrap_or_default().trim_end_matches('/').to_owned(),
            instance,
        }))
    }
}
