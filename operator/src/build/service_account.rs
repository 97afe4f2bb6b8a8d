//! The identity of pods: one without rights, whose token is not mounted.

use k8s_openapi::api::core::v1::ServiceAccount;

use crate::controller::validate::ValidatedServer;

pub(super) fn build(server: &ValidatedServer) -> ServiceAccount {
    ServiceAccount {
        metadata: server.meta(server.name.clone()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
