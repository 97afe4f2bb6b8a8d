//! A resource, as far as the gateway looks at it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use api::labels::GATEWAY;
use api::spec::{EnvVar, Header, Mode, Transport as ApiTransport};
use api::status::McpServerStatus;
use api::{McpServer, McpServerSpec};
use kube::ResourceExt as _;
use kube::api::ObjectMeta;
use mcp::names::ServerName;

use crate::spec::{Command, Process, ProcessMode, Remote, Route, ServerSpec, Target, Tools, Transport};
use crate::store::{Timestamp, Uid};

/// The namespace and the name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
}

impl Key {
    /// Of an object that has both.
    pub(super) fn of(metadata: &ObjectMeta) -> Option<Self> {
        Some(Self { namespace: metadata.namespace.as_deref()?.into(), name: metadata.name.as_deref()?.into() })
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) key: Key,
    pub(super) uid: Uid,
    pub(super) created_at: Timestamp,
    /// Later versions have larger numbers; 0 where they are no numbers.
    pub(super) version: u64,
    pub(super) generation: i64,
    /// Under which it is reached; `None` when it can have no address.
    pub(super) route_name: Option<ServerName>,
    pub(super) spec: Arc<ServerSpec>,
    /// Whether the deploy API made it.
    pub(super) deployed: bool,
    pub(super) status: McpServerStatus,
}

impl Server {
    /// What there is to know of a resource; `None` when it is on its way out.
    pub(super) fn of(object: &McpServer) -> Option<Self> {
        let metadata = &object.metadata;
        if metadata.deletion_timestamp.is_some() {
            return None;
        }
        let created = metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
        Some(Self {
            key: Key::of(metadata)?,
            uid: metadata.uid.as_deref()?.parse().ok()?,
            created_at: Timestamp::from_unix(u64::try_from(created).unwrap_or_default()),
            version: metadata.resource_version.as_deref().and_then(|it| it.parse().ok()).unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            route_name: ServerName::parse(object.route_name()).ok(),
            spec: Arc::new(spec(&object.spec)),
            deployed: object.labels().get(api::labels::MANAGED_BY).is_some_and(|by| by == GATEWAY),
            status: object.status.clone().unwrap_or_default(),
        })
    }
}

/// The spec as people know it from the deploy API. Values that lie elsewhere are empty: nobody is shown values anyway.
fn spec(spec: &McpServerSpec) -> ServerSpec {
    let target = match (&spec.url, &spec.command) {
        (Some(url), _) => Target::Remote(Remote {
            url: url.clone(),
            transport: match spec.transport.unwrap_or_default() {
                ApiTransport::Auto => Transport::Auto,
                ApiTransport::StreamableHttp => Transport::StreamableHttp,
                ApiTransport::Sse => Transport::Sse,
            },
            headers: spec.headers.iter().map(header).collect(),
        }),
        (None, command) => Target::Command(Command {
            command: command.clone().unwrap_or_default(),
            args: spec.args.clone(),
            env: spec.env.iter().map(variable).collect::<BTreeMap<_, _>>(),
        }),
    };
    let tools = spec.tools.clone().unwrap_or_default();
    ServerSpec {
        target,
        process: process(&spec.process.clone().unwrap_or_default()),
        tools: Tools { allow: tools.allow, deny: tools.deny },
        route: Route { aggregate: spec.route.as_ref().is_none_or(api::spec::Route::aggregate) },
        suspend: spec.suspend,
    }
}

fn header(header: &Header) -> (String, String) {
    (header.name.to_ascii_lowercase(), header.value.clone().unwrap_or_default())
}

fn variable(variable: &EnvVar) -> (String, String) {
    (variable.name.clone(), variable.value.clone().unwrap_or_default().replace("$$", "$"))
}

fn process(process: &api::spec::Process) -> Process {
    Process {
        mode: match process.mode() {
            Mode::Auto => ProcessMode::Auto,
            Mode::Shared => ProcessMode::Shared,
            Mode::PerSession => ProcessMode::PerSession,
        },
        max_processes: NonZeroU32::new(process.max_processes()).unwrap_or(NonZeroU32::MIN),
        warm_spares: process.warm_spares(),
        idle_timeout: process.idle_timeout(),
        install_timeout: process.install_timeout(),
        startup_timeout: process.startup_timeout(),
        request_timeout: process.request_timeout.as_ref().map(api::duration::Duration::get),
    }
}
