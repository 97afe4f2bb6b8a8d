//! The containers of a pod.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, Lifecycle, LifecycleHandler, ObjectFieldSelector,
    Probe, ResourceRequirements, SleepAction, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{config, pod, security};
use crate::controller::validate::{Certificates, Program, Remote, ValidatedServer, same};
use crate::settings::Settings;

mod arguments;
mod environment;

/// The container of the program.
pub(crate) const SERVER: &str = "server";
/// The container that speaks HTTP.
pub(crate) const SIDECAR: &str = "sidecar";
/// The containers of the sidecar's image, whose resources are those of `spec.sidecar`.
pub(crate) const SIDECAR_CONTAINERS: [&str; 2] = [SIDECAR, LAUNCHER];
/// The container that puts the sidecar's program into a volume.
const LAUNCHER: &str = "launcher";
/// The port of the sidecar, and what it is called.
pub(super) const PORT: i32 = 8080;
pub(super) const PORT_NAME: &str = "http";
/// The port for health and metrics.
const ADMIN_PORT: i32 = 8081;
const ADMIN_NAME: &str = "admin";
/// For so many seconds a pod that is to end works on: it has left its Service by then, and who sends it new sessions is
/// still to learn of that.
const FAREWELL: i64 = 3;
/// Where the program may write.
pub(super) const HOME: &str = "/home/mcp";
pub(super) const TMP: &str = "/tmp";
/// The sidecar's program, where containers of any image find it.
const PROGRAM: &str = "/mcp/mcp-sidecar";
const SOCKET: &str = "unix:/run/mcp/launcher.sock";
const CACHE: &str = "/var/cache/mcp";
const HOP: &str = "/etc/mcp/hop";
const LOCK: &str = "/etc/mcp/lock";
const CERTIFICATES: &str = "/etc/mcp/ca";
const CREDENTIALS: &str = "/etc/mcp/credentials";

/// Puts the program into a volume that all containers mount.
pub(super) fn launcher(server: &ValidatedServer, settings: &Settings) -> Container {
    Container {
        args: Some(["copy", PROGRAM].map(ToOwned::to_owned).into()),
        volume_mounts: Some(vec![writable("bin", "/mcp")]),
        ..ours(LAUNCHER, server, settings)
    }
}

/// The sidecar beside a program: it runs before the program and after it.
pub(super) fn sidecar(server: &ValidatedServer, program: &Program, settings: &Settings) -> Container {
    let mounts =
        vec![readable("cache", CACHE), readable("hop", HOP), readable("lock", LOCK), writable("run", "/run/mcp")];
    Container {
        args: Some(arguments::program(server, program, settings)),
        restart_policy: Some("Always".to_owned()),
        volume_mounts: Some(mounts),
        ..serving(server, settings)
    }
}

/// The sidecar of a server elsewhere: it is the pod.
pub(super) fn remote_sidecar(server: &ValidatedServer, remote: &Remote, settings: &Settings) -> Container {
    let secret = remote.headers.iter().enumerate().map(|(index, header)| EnvVar {
        name: arguments::header_variable(index),
        value: header.value.as_ref().map(|value| value.replace('$', "$$")),
        value_from: header.value_from.as_ref().map(same::<_, EnvVarSource>),
    });
    let trusted = environment::certificates(&remote.certificates).into_iter().map(environment::variable);
    let ca = (remote.certificates != Certificates::Image).then(|| readable("ca", CERTIFICATES));
    Container {
        args: Some(arguments::remote(server, remote, settings)),
        env: Some(std::iter::once(instance()).chain(secret).chain(trusted).collect()),
        lifecycle: Some(farewell()),
        volume_mounts: Some(std::iter::once(readable("hop", HOP)).chain(ca).collect()),
        ..serving(server, settings)
    }
}

/// Installs the package: the only one that writes to the cache.
pub(super) fn install(server: &ValidatedServer, program: &Program, settings: &Settings) -> Container {
    let mut container = launching("install", &["exec", "--install", "--connect", SOCKET], server, program, settings);
    container.volume_mounts.get_or_insert_default().push(writable("cache", CACHE));
    container
}

/// The program's own container.
pub(super) fn server(server: &ValidatedServer, program: &Program, settings: &Settings) -> Container {
    let drain = arguments::seconds(settings.drain);
    let command = ["exec", "--connect", SOCKET, "--drain-timeout", &drain];
    let mut container = launching(SERVER, &command, server, program, settings);
    container.lifecycle = Some(farewell());
    let mounts = container.volume_mounts.get_or_insert_default();
    mounts.push(readable("cache", CACHE));
    mounts.extend(program.mounts.iter().cloned());
    container
}

/// A container in the server's image in which the sidecar has processes started.
fn launching(
    name: &str,
    command: &[&str],
    server: &ValidatedServer,
    program: &Program,
    settings: &Settings,
) -> Container {
    let own_policy = program.image.is_none().then(|| settings.image_pull_policy.clone()).flatten();
    let policy = server.resource.spec.image_pull_policy.as_ref().map(same::<_, String>);
    Container {
        name: name.to_owned(),
        image: Some(program.image.clone().unwrap_or_else(|| settings.runner_image.clone())),
        image_pull_policy: policy.or(own_policy),
        command: Some(std::iter::once(PROGRAM).chain(command.iter().copied()).map(ToOwned::to_owned).collect()),
        working_dir: Some(HOME.to_owned()),
        env: Some(environment::build(program)),
        env_from: (!program.env_from.is_empty()).then(|| program.env_from.clone()),
        resources: Some(program.resources.clone().unwrap_or_else(|| settings.server_resources.clone())),
        security_context: Some(security::container(Some(&program.security))),
        termination_message_policy: Some(last_words()),
        volume_mounts: Some(mounts(program)),
        ..Container::default()
    }
}

/// What both containers of the server's image mount.
fn mounts(program: &Program) -> Vec<VolumeMount> {
    let taken = |path: &str| program.mounts.iter().any(|mount| mount.mount_path.trim_end_matches('/') == path);
    let mut mounts = vec![readable("bin", "/mcp"), writable("run", "/run/mcp")];
    mounts.extend((!taken(HOME)).then(|| writable("home", HOME)));
    mounts.extend((!taken(TMP)).then(|| writable("tmp", TMP)));
    let trusted = program.packages.certificates != Certificates::Image;
    mounts.extend(trusted.then(|| readable("ca", CERTIFICATES)));
    mounts.extend(program.packages.credentials.as_ref().map(|_| readable("credentials", CREDENTIALS)));
    mounts
}

/// The sidecar, with its ports and probes.
fn serving(server: &ValidatedServer, settings: &Settings) -> Container {
    let port = |name: &str, port| ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    Container {
        env: Some(vec![instance()]),
        ports: Some(vec![port(PORT_NAME, PORT), port(ADMIN_NAME, ADMIN_PORT)]),
        // Often: it costs nothing, and each second counts for who waits for a new server.
        readiness_probe: Some(probe("/readyz", 1, 3)),
        liveness_probe: Some(probe("/healthz", 10, 6)),
        ..ours(SIDECAR, server, settings)
    }
}

/// By its pod's UID a sidecar names calls that are to come to it again.
fn instance() -> EnvVar {
    let uid = ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: "metadata.uid".to_owned() };
    EnvVar {
        name: "MCP_INSTANCE".to_owned(),
        value_from: Some(EnvVarSource { field_ref: Some(uid), ..EnvVarSource::default() }),
        ..EnvVar::default()
    }
}

/// Of the container that ends first.
fn farewell() -> Lifecycle {
    let sleep = LifecycleHandler { sleep: Some(SleepAction { seconds: FAREWELL }), ..LifecycleHandler::default() };
    Lifecycle { pre_stop: Some(sleep), ..Lifecycle::default() }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(ADMIN_NAME.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

/// A container of the sidecar's image.
fn ours(name: &str, server: &ValidatedServer, settings: &Settings) -> Container {
    let given = server.resource.spec.sidecar.as_ref();
    let image = given.and_then(|sidecar| sidecar.image.clone()).filter(|image| !image.is_empty());
    let resources: Option<ResourceRequirements> = given.and_then(|sidecar| sidecar.resources.clone());
    Container {
        name: name.to_owned(),
        image_pull_policy: settings.image_pull_policy.clone().filter(|_| image.is_none()),
        image: Some(image.unwrap_or_else(|| settings.sidecar_image.clone())),
        resources: Some(resources.unwrap_or_else(|| settings.sidecar_resources.clone())),
        security_context: Some(security::container(None)),
        termination_message_policy: Some(last_words()),
        ..Container::default()
    }
}

/// Of a container that fails, Kubernetes keeps the end of its log in the status of the pod.
fn last_words() -> String {
    "FallbackToLogsOnError".to_owned()
}

fn readable(name: &str, path: &str) -> VolumeMount {
    VolumeMount { read_only: Some(true), ..writable(name, path) }
}

fn writable(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: pod::volume_name(name), mount_path: path.to_owned(), ..VolumeMount::default() }
}

/// The file of certificates, in the containers that mount it.
fn certificates_file() -> String {
    format!("{CERTIFICATES}/{}", config::CA_FILE)
}
