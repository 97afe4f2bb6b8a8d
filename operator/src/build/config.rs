//! ConfigMaps: who may call, whom the pod trusts, which versions it installs.

use std::collections::BTreeMap;

use api::labels;
use k8s_openapi::api::core::v1::ConfigMap;

use crate::controller::validate::{Certificates, ValidatedServer};
use crate::settings::Settings;

/// The key with the public keys of the hop; the name of the file in pods.
const JWKS_FILE: &str = wire::hop::JWKS_FILE;
/// The key with the lock; the name of the file in pods.
pub const LOCK_FILE: &str = "lock.json";
/// The key with certificates.
pub const CA_FILE: &str = api::spec::CA_KEY;

pub(super) fn hop_name(server: &ValidatedServer) -> String {
    format!("{}-hop", server.name)
}

pub(super) fn lock_name(server: &ValidatedServer) -> String {
    format!("{}-lock", server.name)
}

pub(super) fn certificates_name(server: &ValidatedServer) -> String {
    format!("{}-ca", server.name)
}

pub(super) fn hop(server: &ValidatedServer, jwks: &str) -> ConfigMap {
    config_map(server, hop_name(server), "keys", JWKS_FILE, jwks)
}

pub(super) fn certificates(server: &ValidatedServer, settings: &Settings) -> Option<ConfigMap> {
    let pem = settings.packages.certificates.as_ref().filter(|_| *server.certificates() == Certificates::Copied)?;
    Some(config_map(server, certificates_name(server), "certificates", CA_FILE, pem))
}

pub(super) fn lock(server: &ValidatedServer, content: Option<&str>) -> Option<ConfigMap> {
    let (requested, content) = (server.requested()?, content?);
    let mut map = config_map(server, lock_name(server), "lock", LOCK_FILE, content);
    map.metadata.annotations = Some([(labels::LOCKED_FOR.to_owned(), requested)].into());
    Some(map)
}

fn config_map(server: &ValidatedServer, name: String, purpose: &str, key: &str, content: &str) -> ConfigMap {
    let mut metadata = server.meta(name);
    metadata.labels.get_or_insert_default().insert(labels::PURPOSE.to_owned(), purpose.to_owned());
    let data: BTreeMap<_, _> = [(key.to_owned(), content.to_owned())].into();
    ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
}
