//! The pod: containers in their order, and what they share.

use api::McpServerSpec;
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, EmptyDirVolumeSource, KeyToPath, LocalObjectReference, PersistentVolumeClaimVolumeSource,
    PodSpec, SecretVolumeSource, Volume,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{config, container, pvc, security};
use crate::controller::validate::{Cache, Certificates, Program, Source, ValidatedServer};
use crate::settings::Settings;

/// Containers get so much more time to end than calls get to finish, in seconds; the first of them go to the farewell.
const GRACE_MARGIN: u64 = 13;

/// The name of a volume of ours.
pub(super) fn volume_name(name: &str) -> String {
    format!("{}{name}", api::labels::OWN_PREFIX)
}

/// The container that `kubectl logs` shows.
pub(super) fn main_container(server: &ValidatedServer) -> &'static str {
    match server.source {
        Source::Command(_) => container::SERVER,
        Source::Url(_) => container::SIDECAR,
    }
}

pub(super) fn build(server: &ValidatedServer, settings: &Settings) -> PodSpec {
    let mut pod = passed_on(&server.resource.spec, settings);
    pod.service_account_name.get_or_insert_with(|| server.name.clone());
    pod.automount_service_account_token = Some(false);
    // The names of other Services are nothing to a server.
    pod.enable_service_links = Some(false);
    pod.termination_grace_period_seconds = i64::try_from(settings.drain.as_secs() + GRACE_MARGIN).ok();
    pod.security_context = Some(security::pod(server.resource.spec.pod_security_context.as_deref()));
    let mut volumes = vec![config_map("hop", &config::hop_name(server), None, false)];
    volumes.extend(certificates(server));
    match &server.source {
        Source::Url(remote) => pod.containers = vec![container::remote_sidecar(server, remote, settings)],
        Source::Command(program) => {
            let mut init = vec![container::launcher(server, settings), container::sidecar(server, program, settings)];
            init.extend(program.runner.map(|_| container::install(server, program, settings)));
            pod.init_containers = Some(init);
            pod.containers = vec![container::server(server, program, settings)];
            volumes.extend(shared(server, program));
        }
    }
    pod.volumes = Some(volumes);
    pod
}

/// What the spec says of the pod.
fn passed_on(spec: &McpServerSpec, settings: &Settings) -> PodSpec {
    let some = |list: &Vec<_>| (!list.is_empty()).then(|| list.clone());
    PodSpec {
        service_account_name: spec.service_account_name.clone(),
        image_pull_secrets: Some(pull_secrets(spec, settings)).filter(|secrets| !secrets.is_empty()),
        node_selector: Some(spec.node_selector.clone()).filter(|selector| !selector.is_empty()),
        tolerations: Some(spec.tolerations.clone()).filter(|tolerations| !tolerations.is_empty()),
        affinity: spec.affinity.as_deref().cloned(),
        topology_spread_constraints: some(&spec.topology_spread_constraints),
        priority_class_name: spec.priority_class_name.clone(),
        runtime_class_name: spec.runtime_class_name.clone(),
        ..PodSpec::default()
    }
}

/// Those of the spec, then the operator's: the sidecar is in every pod, and a spec that names a registry of its own need
/// not know where that comes from.
fn pull_secrets(spec: &McpServerSpec, settings: &Settings) -> Vec<LocalObjectReference> {
    let own = spec.image_pull_secrets.iter().map(|secret| &secret.name);
    let mut names: Vec<&String> = Vec::new();
    for name in own.chain(&settings.image_pull_secrets) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.into_iter().map(|name| LocalObjectReference { name: name.clone() }).collect()
}

/// What the containers of a program share.
fn shared(server: &ValidatedServer, program: &Program) -> Vec<Volume> {
    let mut volumes = vec![
        config_map("lock", &config::lock_name(server), None, true),
        empty("run", Some("Memory"), Some("1Mi")),
        // The program itself: it stays in memory once, and starts without a disk.
        empty("bin", None, Some("64Mi")),
        cache(server, &program.packages.cache),
    ];
    let taken = |path: &str| program.mounts.iter().any(|mount| mount.mount_path.trim_end_matches('/') == path);
    let writable = [("home", container::HOME), ("tmp", container::TMP)].into_iter().filter(|(_, path)| !taken(path));
    volumes.extend(writable.map(|(name, _)| empty(name, None, None)));
    volumes
        .extend(program.packages.credentials.as_ref().map(|(name, optional)| secret("credentials", name, *optional)));
    volumes.extend(program.volumes.iter().cloned());
    volumes
}

/// Certificates of authorities, where there are any beside the image's.
fn certificates(server: &ValidatedServer) -> Option<Volume> {
    let (name, key) = match server.certificates() {
        Certificates::Image => return None,
        Certificates::Copied => (config::certificates_name(server), config::CA_FILE),
        Certificates::ConfigMap(name, key) => (name.clone(), key.as_str()),
    };
    Some(config_map("ca", &name, Some(key), false))
}

fn cache(server: &ValidatedServer, cache: &Cache) -> Volume {
    let claim = match cache {
        Cache::Node(limit) => return empty("cache", None, Some(&limit.0)),
        Cache::Own { .. } => pvc::name(server),
        Cache::Claim(name) => name.clone(),
    };
    let claim = PersistentVolumeClaimVolumeSource { claim_name: claim, ..PersistentVolumeClaimVolumeSource::default() };
    Volume { name: volume_name("cache"), persistent_volume_claim: Some(claim), ..Volume::default() }
}

fn empty(name: &str, medium: Option<&str>, limit: Option<&str>) -> Volume {
    let source = EmptyDirVolumeSource {
        medium: medium.map(ToOwned::to_owned),
        size_limit: limit.map(|limit| Quantity(limit.to_owned())),
    };
    Volume { name: volume_name(name), empty_dir: Some(source), ..Volume::default() }
}

/// Keys of a ConfigMap as files; of one key, as the file that all know it by.
fn config_map(name: &str, map: &str, key: Option<&str>, optional: bool) -> Volume {
    let item = |key: &str| KeyToPath { key: key.to_owned(), path: config::CA_FILE.to_owned(), mode: None };
    let source = ConfigMapVolumeSource {
        name: map.to_owned(),
        items: key.map(|key| vec![item(key)]),
        optional: optional.then_some(true),
        default_mode: Some(0o444),
    };
    Volume { name: volume_name(name), config_map: Some(source), ..Volume::default() }
}

fn secret(name: &str, secret: &str, optional: bool) -> Volume {
    let source = SecretVolumeSource {
        secret_name: Some(secret.to_owned()),
        optional: optional.then_some(true),
        default_mode: Some(0o440),
        ..SecretVolumeSource::default()
    };
    Volume { name: volume_name(name), secret: Some(source), ..Volume::default() }
}
