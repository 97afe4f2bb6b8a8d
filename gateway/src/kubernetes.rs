//! The servers of a cluster: `McpServer` resources, and the pods that the operator makes of them.
//!
//! One task ([`controller`]) watches resources and endpoints, follows what the sidecars tell, and changes the routes; what
//! it makes of all that is decided in [`state`], which is pure. The deploy API writes resources ([`deploy`], [`manifest`]),
//! and what the gateway makes of each is written back into its status ([`writer`]). Replicas share keys ([`keys`]), know
//! the cluster's accounts ([`accounts`]), and pass requests on to each other ([`peers`]).
//!
//! Nothing here starts anything: what runs is the operator's business.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBuilder;
use kube::Client;
use kube::runtime::utils::{Backoff, ResetTimerBackoff};
use kube::runtime::watcher::ExponentialBackoff;
use runtime::readiness::Readiness;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wire::client::{AddressPolicy, HttpClient};
use wire::hop::{Issuer, KeyRing, Signer};

use crate::access::{Access, ClusterRules};
use crate::routes::Routes;
use crate::seal::Sealer;
use crate::store::Uid;

mod accounts;
mod cache;
mod controller;
mod deploy;
mod endpoints;
mod keys;
mod manifest;
mod owner;
mod peers;
mod secret;
mod server;
mod state;
mod verdict;
mod writer;

pub use accounts::Accounts;
pub use deploy::Cluster;
pub use peers::{Peers, pass_on};

use controller::Controller;
use keys::{OwnKeys, SealKeys, follow_api_keys, secrets};

/// Resources that were written and may wait until the controller knows them; each is one deployment.
const WRITTEN: usize = 64;

/// Between two attempts of a watch. After an outage a watch fails once more, because what it had is too old by then, and
/// the longest pause is how long clients wait for what changed meanwhile: the library's 30 s made minutes of that.
fn pauses() -> impl Backoff {
    let (first, longest) = (Duration::from_millis(250), Duration::from_secs(2));
    let growing = ExponentialBuilder::default().with_min_delay(first).with_max_delay(longest).without_max_times();
    ResetTimerBackoff::new(ExponentialBackoff::from(growing.with_jitter()), Duration::from_secs(30))
}

/// What a gateway in a cluster is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespaces whose servers are served; `None` = all.
    pub namespaces: Option<BTreeSet<String>>,
    /// The namespaces that may claim names alone; `None` = all.
    pub short_names: Option<BTreeSet<String>>,
    /// The namespace that keys deploy into; `None` = the gateway's own.
    pub deploy_namespace: Option<String>,
    /// The Secret with the keys of seal and hop.
    pub keys_secret: String,
    /// The Secret with the keys of clients.
    pub api_keys_secret: String,
    /// What tokens of accounts must be made for.
    pub audience: String,
    /// The gateway's own Service.
    pub service: String,
    /// What the addresses of servers begin with, in their status; empty = the Service's name.
    pub base: String,
    /// This replica: its pod's UID.
    pub instance: Uid,
}

/// A gateway's side of a cluster, put together and not yet running.
pub struct World {
    /// Makes changes.
    pub cluster: Cluster,
    /// Who may do what.
    pub access: Access,
    /// Seals handles.
    pub sealer: Sealer,
    /// Reaches sidecars, with a token for each.
    pub client: HttpClient,
    /// The other replicas.
    pub peers: Peers,
    controller: Controller,
    written: mpsc::Receiver<controller::Written>,
    tasks: JoinSet<()>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

impl World {
    /// Connects to the cluster that this program runs in, or that a kubeconfig names. Nothing has been asked for when it
    /// returns; `readiness` waits until everything has.
    pub async fn new(
        mut settings: Settings,
        required: bool,
        query_keys: bool,
        routes: Routes,
        readiness: &Readiness,
    ) -> anyhow::Result<Self> {
        // It is the one that there is; whether something else has said so before does not matter.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let client = Client::try_default().await?;
        let namespace = client.default_namespace().to_owned();
        if settings.base.is_empty() {
            settings.base = format!("http://{}.{namespace}.svc", settings.service);
        }
        let signer = Arc::new(Signer::new(Issuer::Gateway, KeyRing::generate()?));
        let (sealer, seal_keys) = (Sealer::unset(), SealKeys::default());
        let http = HttpClient::new(AddressPolicy::Any).signing(Arc::clone(&signer));
        let accounts = Accounts::new(client.clone(), settings.audience.clone());
        let deploy_namespace = settings.deploy_namespace.as_ref().unwrap_or(&namespace).as_str().into();
        let rules = ClusterRules::new(accounts.clone(), deploy_namespace, routes.clone());
        let access = Access::in_cluster(required, query_keys, sealer.clone(), rules);
        let peers = Peers::new(settings.instance, sealer.clone(), HttpClient::new(AddressPolicy::Any));

        let mut tasks = JoinSet::new();
        let own = OwnKeys { sealer: sealer.clone(), signer, known: seal_keys.clone() };
        let api = secrets(&client, &namespace);
        tasks.spawn(own.follow(api.clone(), settings.keys_secret.clone(), readiness.token("keys")));
        let keys =
            follow_api_keys(api, settings.api_keys_secret.clone(), access.clone(), readiness.token("keys of clients"));
        tasks.spawn(keys);
        let known = readiness.token("the other replicas");
        tasks.spawn(peers.clone().follow(client.clone(), namespace, settings.service.clone(), known));
        let (sender, written) = mpsc::channel(WRITTEN);
        let cluster =
            Cluster { client: client.clone(), accounts, routes: routes.clone(), keys: seal_keys, written: sender };
        let ready = readiness.token("the cluster's servers");
        let controller = Controller::new(client, http.clone(), Arc::new(settings), routes, ready);
        Ok(Self { cluster, access, sealer, client: http, peers, controller, written, tasks })
    }

    /// Follows the cluster until `stop`.
    pub fn run(self, stop: CancellationToken) -> impl Future<Output = ()> {
        let Self { controller, written, mut tasks, .. } = self;
        async move {
            controller.run(written, stop).await;
            tasks.shutdown().await;
        }
    }
}
