//! The command line, and the [`Settings`] that it says.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use runtime::admin::AdminArgs;
use runtime::exit::UsageError;
use runtime::telemetry::TelemetryArgs;

use crate::quantity;
use crate::settings::{PackageDefaults, Peer, Settings};

/// Runs MCP servers on Kubernetes: makes pods, services and policies of McpServer resources.
#[derive(Debug, Parser)]
#[command(name = "mcp-operator", version)]
pub struct Cli {
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Work until told to stop
    Run(Box<RunArgs>),
}

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub admin: AdminArgs,
    /// The namespaces whose servers are run, with commas between [default: all]
    #[arg(long, env = "MCP_NAMESPACES", value_name = "NAME", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// The operator's own namespace, of its lease and keys [default: that of its credentials]
    #[arg(long, env = "MCP_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,
    /// Who this operator is among several: the name of its pod
    #[arg(long, env = "MCP_IDENTITY", value_name = "NAME")]
    pub identity: Option<String>,
    #[arg(long, env = "HOSTNAME", hide = true)]
    pub hostname: Option<String>,
    /// The lease by which one of several operators works
    #[arg(long, env = "MCP_LEASE_NAME", value_name = "NAME", default_value = "mcp-operator")]
    pub lease_name: String,
    /// How many servers are worked on at a time
    #[arg(long, env = "MCP_CONCURRENCY", value_name = "N", default_value_t = 16)]
    pub concurrency: u16,
    #[command(flatten)]
    pub secrets: SecretArgs,
    #[command(flatten)]
    pub pods: PodArgs,
}

/// The names of the Secrets with keys, in the operator's own namespace.
#[derive(Clone, Debug, Args)]
pub struct SecretArgs {
    /// The Secret with the gateway's keys
    #[arg(long, env = "MCP_KEYS_SECRET", value_name = "NAME", default_value = "mcp-gateway-keys")]
    pub keys_secret: String,
    /// The Secret with the operator's own key
    #[arg(long, env = "MCP_OPERATOR_KEYS_SECRET", value_name = "NAME", default_value = "mcp-operator-keys")]
    pub operator_keys_secret: String,
    /// The Secret with the hashed keys of clients
    #[arg(long, env = "MCP_API_KEYS_SECRET", value_name = "NAME", default_value = "mcp-gateway-api-keys")]
    pub api_keys_secret: String,
    /// The Secret with the first of these keys in plain, made once
    #[arg(long, env = "MCP_FIRST_KEY_SECRET", value_name = "NAME", default_value = "mcp-gateway-first-key")]
    pub first_key_secret: String,
}

/// What pods are made of.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Pods")]
pub struct PodArgs {
    /// The image with mcp-sidecar
    #[arg(long, env = "MCP_SIDECAR_IMAGE", value_name = "IMAGE")]
    pub sidecar_image: String,
    /// The image for servers that name none: uv, Node.js and Python
    #[arg(long, env = "MCP_RUNNER_IMAGE", value_name = "IMAGE")]
    pub runner_image: String,
    /// When these two are pulled: Always, IfNotPresent or Never
    #[arg(long, env = "MCP_IMAGE_PULL_POLICY", value_name = "WHEN", value_parser = ["Always", "IfNotPresent", "Never"])]
    pub image_pull_policy: Option<String>,
    /// Secrets with which images are pulled, where a namespace has them, beside those that a server names
    #[arg(long, env = "MCP_IMAGE_PULL_SECRETS", value_name = "NAME", value_delimiter = ',')]
    pub image_pull_secret: Vec<String>,
    /// Resources of sidecars, as JSON
    #[arg(long, env = "MCP_SIDECAR_RESOURCES", value_name = "JSON", value_parser = resources,
        default_value = r#"{"requests":{"cpu":"10m","memory":"16Mi"},"limits":{"memory":"256Mi"}}"#)]
    pub sidecar_resources: ResourceRequirements,
    /// Resources of servers, as JSON
    #[arg(long, env = "MCP_SERVER_RESOURCES", value_name = "JSON", value_parser = resources,
        default_value = r#"{"requests":{"cpu":"50m","memory":"128Mi"},"limits":{"memory":"1Gi"}}"#)]
    pub server_resources: ResourceRequirements,
    /// The index of Python packages [default: PyPI]
    #[arg(long, env = "MCP_PACKAGES_INDEX", value_name = "URL")]
    pub packages_index: Option<String>,
    /// An index that is asked before it
    #[arg(long, env = "MCP_PACKAGES_EXTRA_INDEXES", value_name = "URL", value_delimiter = ',')]
    pub packages_extra_index: Vec<String>,
    /// The registry of npm packages [default: registry.npmjs.org]
    #[arg(long, env = "MCP_PACKAGES_NPM_REGISTRY", value_name = "URL")]
    pub packages_npm_registry: Option<String>,
    /// A file with certificates of authorities that servers and their package runners trust
    #[arg(long, env = "MCP_PACKAGES_CA_FILE", value_name = "FILE")]
    pub packages_ca_file: Option<PathBuf>,
    /// A Secret with the keys netrc and npmrc, used where a namespace has it
    #[arg(long, env = "MCP_PACKAGES_CREDENTIALS_SECRET", value_name = "NAME")]
    pub packages_credentials_secret: Option<String>,
    /// The most that a package cache on the node may hold
    #[arg(long, env = "MCP_CACHE_SIZE_LIMIT", value_name = "SIZE", default_value = "2Gi", value_parser = amount)]
    pub cache_size_limit: Quantity,
    /// The size of the volume that is claimed for a package cache
    #[arg(long, env = "MCP_CACHE_CLAIM_SIZE", value_name = "SIZE", default_value = "2Gi", value_parser = amount)]
    pub cache_claim_size: Quantity,
    /// The gateway's namespace [default: the operator's own]
    #[arg(long, env = "MCP_GATEWAY_NAMESPACE", value_name = "NAME")]
    pub gateway_namespace: Option<String>,
    /// Labels of the gateway's pods
    #[arg(long, env = "MCP_GATEWAY_LABELS", value_name = "NAME=VALUE", value_delimiter = ',', value_parser = label,
        default_value = "app.kubernetes.io/name=mcp-gateway")]
    pub gateway_labels: Vec<(String, String)>,
    /// Labels of the operator's pods
    #[arg(long, env = "MCP_OPERATOR_LABELS", value_name = "NAME=VALUE", value_delimiter = ',', value_parser = label,
        default_value = "app.kubernetes.io/name=mcp-operator")]
    pub operator_labels: Vec<(String, String)>,
    /// How long calls under way may take to finish after a pod was told to stop, in seconds
    #[arg(long, env = "MCP_DRAIN_TIMEOUT", value_name = "SECONDS", default_value_t = 25)]
    pub drain_timeout: u32,
}

impl PodArgs {
    /// What they say, read and checked.
    ///
    /// # Errors
    /// When the file with certificates cannot be read.
    pub fn settings(&self, namespace: &str) -> anyhow::Result<Settings> {
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path);
            let text = text.with_context(|| format!("cannot read the certificates in {}", path.display()));
            text.map_err(|error| anyhow::Error::new(UsageError::new(format!("{error:#}"))))
        };
        let peer = |namespace: &str, labels: &[(String, String)]| Peer {
            namespace: namespace.to_owned(),
            labels: labels.iter().cloned().collect::<BTreeMap<_, _>>(),
        };
        Ok(Settings {
            sidecar_image: self.sidecar_image.clone(),
            runner_image: self.runner_image.clone(),
            image_pull_policy: self.image_pull_policy.clone(),
            image_pull_secrets: self.image_pull_secret.iter().filter(|name| !name.is_empty()).cloned().collect(),
            sidecar_resources: self.sidecar_resources.clone(),
            server_resources: self.server_resources.clone(),
            packages: PackageDefaults {
                index: given(self.packages_index.as_ref()),
                extra_indexes: self.packages_extra_index.iter().filter(|url| !url.is_empty()).cloned().collect(),
                npm_registry: given(self.packages_npm_registry.as_ref()),
                certificates: self.packages_ca_file.as_ref().map(read).transpose()?,
                credentials: given(self.packages_credentials_secret.as_ref()),
            },
            cache_size_limit: self.cache_size_limit.clone(),
            cache_claim_size: self.cache_claim_size.clone(),
            gateway: peer(self.gateway_namespace.as_deref().unwrap_or(namespace), &self.gateway_labels),
            operator: peer(namespace, &self.operator_labels),
            drain: Duration::from_secs(self.drain_timeout.into()),
        })
    }
}

/// A chart sets variables to nothing where it has nothing to say.
fn given(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

fn resources(json: &str) -> Result<ResourceRequirements, String> {
    serde_json::from_str(json).map_err(|error| format!("write resources as JSON, as in a container: {error}"))
}

fn amount(text: &str) -> Result<Quantity, String> {
    quantity::parse(text).map(|_| Quantity(text.to_owned())).ok_or_else(|| "write a size like 512Mi or 2Gi".to_owned())
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| "write labels like name=value,other=value".to_owned())?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn settings_have_defaults_for_all_but_the_images() {
        let line = ["mcp-operator", "run", "--sidecar-image=s", "--runner-image=r"];
        let Command::Run(args) = Cli::try_parse_from(line).unwrap().command;
        let settings = args.pods.settings("mcp-system").unwrap();
        assert_eq!(settings.gateway.namespace, "mcp-system");
        assert_eq!(settings.gateway.labels["app.kubernetes.io/name"], "mcp-gateway");
        assert!(settings.image_pull_secrets.is_empty());
        assert!(Cli::try_parse_from(["mcp-operator", "run"]).is_err());
        assert!(Cli::try_parse_from(line.into_iter().chain(["--cache-size-limit=lots"])).is_err());
    }

    #[test]
    fn lists_are_written_with_commas_as_the_chart_writes_them() {
        let line = ["mcp-operator", "run", "--sidecar-image=s", "--runner-image=r", "--image-pull-secret=one,two"];
        let Command::Run(args) = Cli::try_parse_from(line).unwrap().command;
        assert_eq!(args.pods.settings("mcp-system").unwrap().image_pull_secrets, ["one", "two"]);
    }
}
