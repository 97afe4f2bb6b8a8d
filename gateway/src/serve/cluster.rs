//! The servers of a cluster.

use anyhow::Context as _;
use runtime::exit::UsageError;
use runtime::readiness::Readiness;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::World;
use super::settings::Settings;
use crate::backend::Backend;
use crate::config::ConfigFile;
use crate::kubernetes;
use crate::routes::Routes;

/// Puts together what follows the cluster. `readiness` waits until everything is known.
pub(super) async fn world(
    cluster: kubernetes::Settings,
    settings: &Settings,
    file: &ConfigFile,
    routes: &Routes,
    readiness: &Readiness,
    stop: &CancellationToken,
) -> anyhow::Result<World> {
    if !file.servers.is_empty() {
        let text = "in a cluster servers are McpServer resources: take `mcpServers` out of the configuration file";
        anyhow::bail!(UsageError::new(text));
    }
    let instance = cluster.instance;
    let (required, query_keys) = (settings.needs_key(), settings.query_keys);
    let world = kubernetes::World::new(cluster, required, query_keys, routes.clone(), readiness).await;
    let world = world.context("cannot find the cluster: run in a pod with a service account, or set KUBECONFIG")?;
    Ok(World {
        access: world.access.clone(),
        sealer: world.sealer.clone(),
        client: world.client.clone(),
        backend: Backend::Cluster(world.cluster.clone()),
        peers: Some(world.peers.clone()),
        instance,
        path: None,
        work: Box::pin(world.run(stop.clone())),
        tasks: JoinSet::new(),
    })
}
