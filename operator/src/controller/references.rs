//! What a spec refers to, and whether it is there. The list is pure; reading it is not.

use std::collections::{BTreeMap, BTreeSet};

use api::McpServerSpec;
use api::conditions::resolved_refs as reason;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, ServiceAccount};
use kube::{Api, Client};

use super::verdict::Verdict;
use crate::digest::digest;
use crate::error::{Category, Error, call};
use crate::settings::Settings;

/// The kinds of objects with values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Secret,
    ConfigMap,
}

/// One reference: an object, or a key of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reference {
    kind: Kind,
    name: String,
    key: Option<String>,
    optional: bool,
}

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct References {
    /// A digest of all values; `None` where not all may be read.
    pub(crate) digest: Option<String>,
    /// Whether the spec itself refers to anything.
    pub(crate) own: bool,
    /// Whether all is there.
    pub(crate) verdict: Verdict,
}

/// All that a spec itself refers to and pods would be started with. Pure.
fn list(spec: &McpServerSpec) -> BTreeSet<Reference> {
    let mut all = BTreeSet::new();
    let mut add = |kind, name: &str, key: Option<&str>, optional: Option<bool>| {
        let (name, key) = (name.to_owned(), key.map(ToOwned::to_owned));
        all.insert(Reference { kind, name, key, optional: optional.unwrap_or_default() });
    };
    let sources = spec.env.iter().filter_map(|variable| variable.value_from.as_ref());
    for source in sources {
        if let Some(it) = &source.secret_key_ref {
            add(Kind::Secret, &it.name, Some(&it.key), it.optional);
        }
        if let Some(it) = &source.config_map_key_ref {
            add(Kind::ConfigMap, &it.name, Some(&it.key), it.optional);
        }
    }
    for source in spec.headers.iter().filter_map(|header| header.value_from.as_ref()) {
        if let Some(it) = &source.secret_key_ref {
            add(Kind::Secret, &it.name, Some(&it.key), it.optional);
        }
        if let Some(it) = &source.config_map_key_ref {
            add(Kind::ConfigMap, &it.name, Some(&it.key), it.optional);
        }
    }
    for source in &spec.env_from {
        if let Some(it) = &source.secret_ref {
            add(Kind::Secret, &it.name, None, it.optional);
        }
        if let Some(it) = &source.config_map_ref {
            add(Kind::ConfigMap, &it.name, None, it.optional);
        }
    }
    for volume in &spec.volumes {
        if let Some(it) = &volume.secret {
            add(Kind::Secret, it.secret_name.as_deref().unwrap_or_default(), None, it.optional);
        }
        if let Some(it) = &volume.config_map {
            add(Kind::ConfigMap, &it.name, None, it.optional);
        }
    }
    let packages = spec.packages.as_ref();
    let certificates = [packages.and_then(|packages| packages.ca_ref.as_ref()), spec.ca_ref.as_ref()];
    for it in certificates.into_iter().flatten() {
        add(Kind::ConfigMap, &it.name, Some(it.key.as_deref().unwrap_or(api::spec::CA_KEY)), None);
    }
    if let Some(it) = packages.and_then(|packages| packages.credentials_ref.as_ref()) {
        add(Kind::Secret, &it.name, None, None);
    }
    all
}

/// The Secret with credentials that the operator's settings name, where the spec names none. It may be missing.
fn shared_credentials(spec: &McpServerSpec, settings: &Settings) -> Option<Reference> {
    let own = spec.packages.as_ref().is_some_and(|packages| packages.credentials_ref.is_some());
    let name = settings.packages.credentials.clone().filter(|_| spec.command.is_some() && !own)?;
    Some(Reference { kind: Kind::Secret, name, key: None, optional: true })
}

type Values = BTreeMap<String, Vec<u8>>;

/// Reads what a spec refers to.
pub(crate) async fn resolve(
    client: &Client,
    namespace: &str,
    spec: &McpServerSpec,
    settings: &Settings,
) -> Result<References, Error> {
    let mut all = list(spec);
    // What only the operator's settings name changes for all servers at once, and rarely.
    let own = !all.is_empty();
    all.extend(shared_credentials(spec, settings));
    let mut objects: BTreeMap<(Kind, String), Option<Values>> = BTreeMap::new();
    let (mut missing, mut hidden) = (Vec::new(), None);
    for Reference { kind, name, .. } in &all {
        let key = (*kind, name.clone());
        if objects.contains_key(&key) {
            continue;
        }
        match read(client, namespace, *kind, name).await {
            Ok(values) => drop(objects.insert(key, values)),
            Err(error) if error.category() == Category::Forbidden => hidden = Some(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    missing.extend(others(client, namespace, spec, &mut hidden).await?);
    for reference in &all {
        let found = objects.get(&(reference.kind, reference.name.clone()));
        missing.extend(found.and_then(|found| lacks(reference, found.as_ref())));
    }
    let certificates = settings.packages.certificates.as_ref();
    let digest = hidden.is_none().then(|| digest_of(&all, &objects, certificates));
    let verdict = match (missing.into_iter().next(), hidden) {
        (Some((reason, message)), _) => Verdict::no(reason, message),
        (None, Some(message)) => Verdict::unknown(reason::NOT_CHECKED, message),
        (None, None) => Verdict::yes(reason::RESOLVED, "everything that the spec refers to is there"),
    };
    Ok(References { digest, own, verdict })
}

async fn read(client: &Client, namespace: &str, kind: Kind, name: &str) -> Result<Option<Values>, Error> {
    match kind {
        Kind::Secret => {
            let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
            let secret = call("get", format!("Secret `{name}`"), api.get_opt(name)).await?;
            let data = secret.map(|secret| secret.data.unwrap_or_default());
            Ok(data.map(|data| data.into_iter().map(|(key, value)| (key, value.0)).collect()))
        }
        Kind::ConfigMap => {
            let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
            let map = call("get", format!("ConfigMap `{name}`"), api.get_opt(name)).await?;
            Ok(map.map(|map| {
                let text = map.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
                let bytes = map.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
                text.chain(bytes).collect()
            }))
        }
    }
}

/// What has no values, and must be there all the same.
async fn others(
    client: &Client,
    namespace: &str,
    spec: &McpServerSpec,
    hidden: &mut Option<String>,
) -> Result<Vec<(&'static str, String)>, Error> {
    let mut missing = Vec::new();
    if let Some(name) = &spec.service_account_name {
        let api: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
        let found = there(call("get", format!("ServiceAccount `{name}`"), api.get_opt(name)).await, hidden)?;
        missing.extend(
            (!found).then(|| (reason::SERVICE_ACCOUNT_NOT_FOUND, format!("service account `{name}` is missing"))),
        );
    }
    let cache = spec.packages.as_ref().and_then(|packages| packages.cache.as_ref());
    if let Some(name) = cache.and_then(|cache| cache.claim_name.as_ref()) {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
        let found = there(call("get", format!("PersistentVolumeClaim `{name}`"), api.get_opt(name)).await, hidden)?;
        missing.extend((!found).then(|| (reason::CLAIM_NOT_FOUND, format!("volume claim `{name}` is missing"))));
    }
    Ok(missing)
}

fn there<T>(found: Result<Option<T>, Error>, hidden: &mut Option<String>) -> Result<bool, Error> {
    match found {
        Ok(found) => Ok(found.is_some()),
        Err(error) if error.category() == Category::Forbidden => {
            *hidden = Some(error.to_string());
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

fn lacks(reference: &Reference, found: Option<&Values>) -> Option<(&'static str, String)> {
    let Reference { kind, name, key, optional } = reference;
    let word = if *kind == Kind::Secret { "Secret" } else { "ConfigMap" };
    match (found, key) {
        _ if *optional => None,
        (None, _) => {
            let reason = if *kind == Kind::Secret { reason::SECRET_NOT_FOUND } else { reason::CONFIG_MAP_NOT_FOUND };
            Some((reason, format!("{word} `{name}` is missing: create it, the server starts then")))
        }
        (Some(values), Some(key)) if !values.contains_key(key) => {
            Some((reason::KEY_NOT_FOUND, format!("{word} `{name}` has no key `{key}`")))
        }
        _ => None,
    }
}

/// Nothing where nothing is referred to. Values go into the digest only, and not back out of it.
fn digest_of(
    all: &BTreeSet<Reference>,
    objects: &BTreeMap<(Kind, String), Option<Values>>,
    certificates: Option<&String>,
) -> String {
    if all.is_empty() && certificates.is_none() {
        return String::new();
    }
    let mut parts: Vec<Vec<u8>> = certificates.map(|pem| pem.clone().into_bytes()).into_iter().collect();
    for Reference { kind, name, key, .. } in all {
        parts.push(format!("{kind:?}/{name}").into_bytes());
        let values = objects.get(&(*kind, name.clone())).and_then(Option::as_ref);
        for (name, value) in
            values.into_iter().flatten().filter(|(name, _)| key.as_ref().is_none_or(|key| key == *name))
        {
            parts.extend([name.clone().into_bytes(), value.clone()]);
        }
    }
    digest(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{server, settings};

    #[test]
    fn all_references_of_a_spec_are_found() {
        let spec = include_str!("../build/tests/everything.yaml");
        let found = list(&server(spec).spec);
        let names: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.key.as_deref(), it.optional)).collect();
        let expected = [
            ("registries", None, false),
            ("time", Some("token"), false),
            ("authorities", Some("all.pem"), false),
            ("settings", None, true),
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn the_certificates_of_a_server_elsewhere_are_a_reference() {
        let found = list(&server("{url: 'https://a', caRef: {name: authorities}}").spec);
        let names: Vec<_> = found.iter().map(|it| (it.kind, it.name.as_str(), it.key.as_deref())).collect();
        assert_eq!(names, [(Kind::ConfigMap, "authorities", Some("ca.crt"))]);
    }

    #[test]
    fn shared_credentials_are_for_commands_that_name_none() {
        let mut settings = settings();
        settings.packages.credentials = Some("shared".to_owned());
        let name = |spec: &str| Some(shared_credentials(&server(spec).spec, &settings)?.name);
        assert_eq!(name("{command: uvx}").as_deref(), Some("shared"));
        assert_eq!(name("{command: uvx, packages: {credentialsRef: {name: own}}}"), None);
        assert_eq!(name("{url: 'https://a'}"), None);
    }

    #[test]
    fn a_value_that_changes_changes_the_digest_and_another_key_does_not() {
        let all = BTreeSet::from([Reference {
            kind: Kind::Secret,
            name: "s".to_owned(),
            key: Some("k".to_owned()),
            optional: false,
        }]);
        let digest = |k: &str, other: &str| {
            let values: Values = [("k", k), ("o", other)].map(|(key, value)| (key.to_owned(), value.into())).into();
            digest_of(&all, &[((Kind::Secret, "s".to_owned()), Some(values))].into(), None)
        };
        assert_eq!(digest("1", "a"), digest("1", "b"));
        assert_ne!(digest("1", "a"), digest("2", "a"));
        assert_eq!(digest_of(&BTreeSet::new(), &BTreeMap::new(), None), "");
    }

    #[test]
    fn what_is_missing_is_named_unless_it_may_be() {
        let reference =
            |optional| Reference { kind: Kind::Secret, name: "s".to_owned(), key: Some("k".to_owned()), optional };
        assert_eq!(lacks(&reference(false), None).unwrap().0, reason::SECRET_NOT_FOUND);
        assert_eq!(lacks(&reference(false), Some(&Values::new())).unwrap().0, reason::KEY_NOT_FOUND);
        assert!(lacks(&reference(true), None).is_none());
    }
}
