//! What may be wrong with a spec.

use std::collections::{BTreeMap, BTreeSet};

use api::McpServer;
use api::labels::OWN_PREFIX;
use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::ResourceExt as _;

use crate::quantity;

/// Folders of the pod that are the operator's, with all that is in them.
const OWN_FOLDERS: [&str; 4] = ["/mcp", "/run/mcp", "/var/cache/mcp", "/etc/mcp"];

/// One sentence for each mistake, with the field in front.
pub(super) fn problems(server: &McpServer) -> Vec<String> {
    let spec = &server.spec;
    let mut problems = Vec::new();
    if server.name_any().len() > api::names::MAX_RESOURCE_NAME as usize {
        problems.push(format!("metadata.name: has more than {} characters", api::names::MAX_RESOURCE_NAME));
    }
    if spec.command.is_some() == spec.url.is_some() {
        let text = "spec: set exactly one of command (a program to start) and url (a server elsewhere)";
        problems.push(text.to_owned());
    }
    if spec.url.is_some() && !(spec.args.is_empty() && spec.env.is_empty() && spec.env_from.is_empty()) {
        problems.push("spec: args, env and envFrom are for a server with a command".to_owned());
    }
    if spec.replicas.is_some_and(|replicas| replicas < 0) {
        problems.push("spec.replicas: must not be below 0".to_owned());
    }
    twice("spec.env", spec.env.iter().map(|variable| variable.name.as_str()), &mut problems);
    twice("spec.headers", spec.headers.iter().map(|header| header.name.as_str()), &mut problems);
    volumes(server, &mut problems);
    resources("spec.resources", spec.resources.as_ref(), &mut problems);
    let sidecar = spec.sidecar.as_ref().and_then(|sidecar| sidecar.resources.as_ref());
    resources("spec.sidecar.resources", sidecar, &mut problems);
    let cache = spec.packages.as_ref().and_then(|packages| packages.cache.as_ref());
    let sizes = cache.map(|cache| [("sizeLimit", &cache.size_limit), ("size", &cache.size)]);
    for (field, size) in sizes.into_iter().flatten() {
        let bad = size.as_ref().filter(|size| quantity::parse(&size.0).is_none_or(|size| size <= 0.0));
        problems.extend(bad.map(|size| format!("spec.packages.cache.{field}: `{}` is no size like 2Gi", size.0)));
    }
    problems
}

fn twice<'a>(field: &str, names: impl Iterator<Item = &'a str>, problems: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    let again: BTreeSet<&str> = names.filter(|name| !seen.insert(*name)).collect();
    problems.extend(again.into_iter().map(|name| format!("{field}: `{name}` is there twice")));
}

fn volumes(server: &McpServer, problems: &mut Vec<String>) {
    let spec = &server.spec;
    twice("spec.volumes", spec.volumes.iter().map(|volume| volume.name.as_str()), problems);
    twice("spec.volumeMounts", spec.volume_mounts.iter().map(|mount| mount.mount_path.as_str()), problems);
    for volume in spec.volumes.iter().filter(|volume| volume.name.starts_with(OWN_PREFIX)) {
        problems.push(format!("spec.volumes: names like `{}` are the operator's", volume.name));
    }
    for mount in &spec.volume_mounts {
        let path = mount.mount_path.trim_end_matches('/');
        if !spec.volumes.iter().any(|volume| volume.name == mount.name) {
            problems.push(format!("spec.volumeMounts: there is no volume `{}`", mount.name));
        }
        let inside = |folder: &&&str| path == **folder || path.starts_with(&format!("{folder}/"));
        if let Some(folder) = OWN_FOLDERS.iter().find(inside) {
            problems.push(format!("spec.volumeMounts: `{path}` is in {folder}, which is the operator's"));
        }
        if path.is_empty() {
            problems.push("spec.volumeMounts: nothing can be mounted at /".to_owned());
        }
    }
}

fn resources(field: &str, given: Option<&ResourceRequirements>, problems: &mut Vec<String>) {
    let Some(given) = given else { return };
    let (none, limits) = (BTreeMap::new(), given.limits.as_ref());
    for (kind, amounts) in [("limits", limits), ("requests", given.requests.as_ref())] {
        for (name, amount) in amounts.unwrap_or(&none) {
            let value = quantity::parse(&amount.0);
            if value.is_none_or(|value| value < 0.0) {
                problems.push(format!("{field}.{kind}.{name}: `{}` is no amount like 500m or 256Mi", amount.0));
            }
            let limit = limits.and_then(|limits| quantity::parse(&limits.get(name)?.0));
            if kind == "requests" && value.zip(limit).is_some_and(|(value, limit)| value > limit) {
                problems.push(format!("{field}.requests.{name}: is more than the limit"));
            }
        }
    }
}
