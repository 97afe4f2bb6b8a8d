//! The environment of the server's image: the pod's, that of package managers, and the user's, which goes before both.

use k8s_openapi::api::core::v1::EnvVar;

use super::{CREDENTIALS, HOME, TMP, certificates_file};
use crate::controller::validate::{Certificates, Program};

/// Where images have the public ones.
const IMAGE_CERTIFICATES: &str = "/etc/ssl/certs";

/// The variables by which programs find certificates of authorities: those that are mounted, and the image's own, which
/// the first variable alone would replace for some.
pub(super) fn certificates(certificates: &Certificates) -> Vec<(&'static str, String)> {
    if *certificates == Certificates::Image {
        return Vec::new();
    }
    vec![("SSL_CERT_FILE", certificates_file()), ("SSL_CERT_DIR", IMAGE_CERTIFICATES.to_owned())]
}

pub(super) fn build(program: &Program) -> Vec<EnvVar> {
    let given = |name: &str| program.env.iter().any(|variable| variable.name == name);
    let ours = ours(program).into_iter().filter(|(name, _)| !given(name));
    ours.map(variable).chain(program.env.iter().cloned()).collect()
}

/// As Kubernetes has it.
pub(super) fn variable((name, value): (&'static str, String)) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value), value_from: None }
}

fn ours(program: &Program) -> Vec<(&'static str, String)> {
    let packages = &program.packages;
    let mut env = vec![("HOME", HOME.to_owned()), ("TMPDIR", TMP.to_owned())];
    let trusted = certificates(&packages.certificates);
    if !trusted.is_empty() {
        env.extend(["NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"].map(|name| (name, certificates_file())));
    }
    env.extend(trusted);
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
