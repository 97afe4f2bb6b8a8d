//! From what a user wrote to what can be built; all mistakes at once. Pure.
//!
//! The rules of the resource's definition have refused most mistakes already. What is looked at here is what they cannot
//! say, and what an object may hold that was stored under older rules.

use api::McpServer;
use api::spec::{ChildMetadata, Header, Process, Tools, Transport};
use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, ResourceRequirements, SecurityContext, Volume, VolumeMount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource as _, ResourceExt as _};

use crate::settings::Settings;

mod checks;
mod packages;

pub use packages::{Cache, Certificates, PackageSettings, Runner};

/// A server that can be built. Nothing behind it looks at the spec again, but at the parts that are passed on to the
/// pod as they stand.
#[derive(Clone, Debug)]
pub struct ValidatedServer {
    /// Its name, and that of most of its children.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID: for whom tokens of the hop are made.
    pub uid: String,
    /// What makes children its own.
    pub owner: OwnerReference,
    /// What runs.
    pub source: Source,
    /// How many pods; `None` where somebody else decides.
    pub replicas: Option<i32>,
    /// How its processes are kept.
    pub process: Process,
    /// Which tools are shown.
    pub tools: Tools,
    /// Labels and annotations that it wants on what is made around its pods.
    pub children: ChildMetadata,
    /// The resource itself, for what is passed on unchanged.
    pub resource: McpServer,
}

/// What runs.
#[derive(Clone, Debug)]
pub enum Source {
    /// A program in a container.
    Command(Box<Program>),
    /// A server elsewhere.
    Url(Remote),
}

/// A program in a container.
#[derive(Clone, Debug)]
pub struct Program {
    /// It, and its arguments.
    pub command: Vec<String>,
    /// Its variables.
    pub env: Vec<EnvVar>,
    /// Where more of them come from.
    pub env_from: Vec<EnvFromSource>,
    /// Its image; `None`: the runner's.
    pub image: Option<String>,
    /// The package runner that it is, if it is one.
    pub runner: Option<Runner>,
    /// Where packages come from.
    pub packages: PackageSettings,
    /// Its resources, if not the usual ones.
    pub resources: Option<ResourceRequirements>,
    /// Its security settings, beside the operator's.
    pub security: SecurityContext,
    /// The user's volumes.
    pub volumes: Vec<Volume>,
    /// Where they are mounted.
    pub mounts: Vec<VolumeMount>,
}

/// A server elsewhere.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Where.
    pub url: String,
    /// How it is spoken to.
    pub transport: Transport,
    /// What is sent along.
    pub headers: Vec<Header>,
    /// Where certificates are.
    pub certificates: Certificates,
}

/// All that is wrong with a spec: each entry names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Invalid(pub Vec<String>);

/// Turns a resource into what can be built.
///
/// # Errors
/// All mistakes at once.
pub fn validate(server: &McpServer, settings: &Settings) -> Result<ValidatedServer, Invalid> {
    let problems = checks::problems(server);
    if !problems.is_empty() {
        return Err(Invalid(problems));
    }
    let missing =
        || Invalid(vec!["metadata: the API server has not given it a name, a namespace and a UID".to_owned()]);
    let owner = server.controller_owner_ref(&()).ok_or_else(missing)?;
    let spec = &server.spec;
    let source = match &spec.url {
        Some(url) => Source::Url(Remote {
            url: url.clone(),
            transport: spec.transport.unwrap_or_default(),
            headers: spec.headers.clone(),
            certificates: Certificates::new(spec.ca_ref.clone(), settings),
        }),
        None => Source::Command(Box::new(program(server, settings))),
    };
    Ok(ValidatedServer {
        name: server.name_any(),
        namespace: server.namespace().ok_or_else(missing)?,
        uid: owner.uid.clone(),
        owner,
        source,
        replicas: if spec.suspend { Some(0) } else { spec.replicas },
        process: spec.process.clone().unwrap_or_default(),
        tools: spec.tools.clone().unwrap_or_default(),
        children: spec.child_metadata.as_deref().cloned().unwrap_or_default(),
        resource: server.clone(),
    })
}

fn program(server: &McpServer, settings: &Settings) -> Program {
    let spec = &server.spec;
    let command: Vec<String> = spec.command.iter().chain(&spec.args).cloned().collect();
    Program {
        runner: Runner::of(&command),
        packages: PackageSettings::new(spec.packages.as_ref(), settings),
        command,
        env: spec.env.iter().map(same).collect(),
        env_from: spec.env_from.iter().map(same).collect(),
        image: spec.image.clone().filter(|image| !image.is_empty()),
        resources: spec.resources.clone(),
        security: spec.security_context.as_deref().cloned().unwrap_or_default(),
        volumes: spec.volumes.iter().map(same).collect(),
        mounts: spec.volume_mounts.clone(),
    }
}

/// The type of Kubernetes that a type of the spec is a part of.
pub(crate) fn same<T: serde::Serialize, U: serde::de::DeserializeOwned>(part: &T) -> U {
    let value = serde_json::to_value(part).expect("a spec is made of JSON");
    serde_json::from_value(value).expect("the types of the spec are parts of those of Kubernetes")
}

#[cfg(test)]
mod tests;
