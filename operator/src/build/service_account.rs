//! The identity of pods: one without rights, whose token is not mounted. What it may outside of the cluster is for its
//! annotations to say.

use k8s_openapi::api::core::v1::ServiceAccount;

use crate::controller::validate::ValidatedServer;

pub(super) fn build(server: &ValidatedServer) -> ServiceAccount {
    ServiceAccount {
        metadata: server.meta_with(server.name.clone(), server.children.service_account.as_ref()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
