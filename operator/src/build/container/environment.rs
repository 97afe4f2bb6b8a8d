//! The environment of the server's image: the pod's, that of package managers, and the user's, which goes before both.

use k8s_openapi::api::core::v1::EnvVar;

use super::{CREDENTIALS, HOME, TMP, certificates_file};
use crate::controller::validate::{Certificates, Program};

/// Whether there are certificates beside the image's.
pub(super) fn has_certificates(program: &Program) -> bool {
    program.packages.certificates != Certificates::Image
}

pub(super) fn build(program: &Program) -> Vec<EnvVar> {
    let given = |name: &str| program.env.iter().any(|variable| variable.name == name);
    let ours = ours(program).into_iter().filter(|(name, _)| !given(name));
    let ours = ours.map(|(name, value)| EnvVar { name: name.to_owned(), value: Some(value), value_from: None });
    ours.chain(program.env.iter().cloned()).collect()
}

fn ours(program: &Program) -> Vec<(&'static str, String)> {
    let packages = &program.packages;
    let mut env = vec![("HOME", HOME.to_owned()), ("TMPDIR", TMP.to_owned())];
    if has_certificates(program) {
        let names = ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"];
        env.extend(names.map(|name| (name, certificates_file())));
    }
    if program.runner.is_none() {
        return env;
    }
    let indexes = Some(packages.extra_indexes.join(" ")).filter(|indexes| !indexes.is_empty());
    let urls = [
        ("UV_DEFAULT_INDEX", packages.index.clone()),
        ("UV_INDEX", indexes),
        ("NPM_CONFIG_REGISTRY", packages.npm_registry.clone()),
    ];
    // Kubernetes reads `$(NAME)` in values.
    env.extend(urls.into_iter().filter_map(|(name, url)| Some((name, url?.replace('$', "$$")))));
    if packages.credentials.is_some() {
        env.push(("NETRC", format!("{CREDENTIALS}/netrc")));
        env.push(("NPM_CONFIG_USERCONFIG", format!("{CREDENTIALS}/npmrc")));
    }
    if packages.offline {
        env.push(("UV_OFFLINE", "1".to_owned()));
        env.push(("NPM_CONFIG_OFFLINE", "true".to_owned()));
    }
    env
}
