//! What a cluster has of its own: accounts, whose rights are a matter of namespaces.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::sync::watch;

use super::views::Views;
use super::{Access, Action, View, Who, now};
use crate::keys::{Account, Principal, PrincipalHash};
use crate::kubernetes::Accounts;
use crate::routes::Routes;

/// How often it is looked whether accounts with sessions may still see what they see.
const LOOK: Duration = Duration::from_secs(5);

/// What is different in a cluster.
#[derive(Debug)]
pub struct ClusterRules {
    pub(super) accounts: Accounts,
    pub(super) deploy_namespace: Arc<str>,
    routes: Routes,
    views: Views,
}

impl ClusterRules {
    /// `accounts` knows who is known to the cluster, and what they may; keys deploy into `deploy_namespace`; `routes` is
    /// what there is.
    pub fn new(accounts: Accounts, deploy_namespace: Arc<str>, routes: Routes) -> Self {
        Self { accounts, deploy_namespace, routes, views: Views::default() }
    }

    /// The namespaces of the servers that are offered together.
    fn merged(&self) -> BTreeSet<Arc<str>> {
        let table = self.routes.now();
        let merged = table.shared().filter(|(_, route)| route.spec.route.aggregate);
        merged.filter_map(|(_, route)| route.namespace.clone()).collect()
    }

    /// What an account sees of them.
    async fn view(&self, account: &Arc<Account>, merged: &BTreeSet<Arc<str>>) -> View {
        let right = Action::Call.right();
        let asked = merged.iter().map(async |it| self.accounts.may(account, right, it).await.then(|| Arc::clone(it)));
        View::Of(join_all(asked).await.into_iter().flatten().collect())
    }
}

impl Access {
    /// Finds out what a caller sees among all servers together, before its request is served.
    pub async fn look(&self, who: &Who) {
        let (Some(account), Some(cluster)) = (who.account(), &self.0.cluster) else { return };
        let view = cluster.view(account, &cluster.merged()).await;
        cluster.views.set(account, view, Instant::now());
    }

    /// Follows what a principal sees among all servers together. Keys see each of them; an account what it may, and
    /// nothing before it was asked.
    pub fn view(&self, principal: PrincipalHash) -> watch::Receiver<Arc<View>> {
        let Some(cluster) = &self.0.cluster else { return self.0.all.subscribe() };
        if let Some(view) = cluster.views.follow(principal) {
            return view;
        }
        let has_key =
            principal == Principal::Anonymous.hash() || self.0.keys.load().principals(now()).any(|it| it == principal);
        if has_key { self.0.all.subscribe() } else { self.0.nothing.subscribe() }
    }

    /// Has an account see this, as if it had been asked.
    #[cfg(test)]
    pub(crate) fn show(&self, account: &Arc<Account>, view: View) {
        let cluster = self.0.cluster.as_ref().expect("the test is about a cluster");
        cluster.views.set(account, view, Instant::now());
    }

    /// Keeps what accounts see in step with what they may, for ever.
    pub async fn keep_views(self) {
        let Some(cluster) = &self.0.cluster else { return };
        let mut changes = cluster.routes.follow();
        loop {
            let merged = cluster.merged();
            let viewers = cluster.views.accounts(Instant::now());
            let looks = viewers.iter().map(async |account| {
                cluster.views.correct(account, cluster.view(account, &merged).await);
            });
            join_all(looks).await;
            let others = async {
                while changes.changed().await.is_ok() {
                    if cluster.merged() != merged {
                        return;
                    }
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = others => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}
