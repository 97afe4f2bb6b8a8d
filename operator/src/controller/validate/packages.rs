//! Package runners, and where packages come from.

use api::spec::{AccessMode, CA_KEY, CacheMedium, CertificateSource, Packages};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::digest::digest;
use crate::settings::Settings;

/// A program that fetches a package and runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// Of Python packages.
    Uvx,
    /// Of npm packages.
    Npx,
}

/// Where packages come from, and where they are kept: the spec's, and the operator's where it says nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct PackageSettings {
    /// The index of Python packages.
    pub index: Option<String>,
    /// Indexes that are asked before it.
    pub extra_indexes: Vec<String>,
    /// The registry of npm packages.
    pub npm_registry: Option<String>,
    /// The Secret with credentials, and whether it may be missing.
    pub credentials: Option<(String, bool)>,
    /// Where certificates are.
    pub certificates: Certificates,
    /// Whether nothing is fetched.
    pub offline: bool,
    /// When it changes, versions are resolved anew.
    pub update: Option<String>,
    /// Where packages are kept.
    pub cache: Cache,
}

/// Where certificates of authorities are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificates {
    /// In the image only.
    Image,
    /// In a copy of the operator's.
    Copied,
    /// In a ConfigMap of the user's: its name, and the key.
    ConfigMap(String, String),
}

/// Where packages are kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Cache {
    /// On the node, as long as the pod, up to this size.
    Node(Quantity),
    /// On a volume claimed for this server.
    Own {
        /// Its size.
        size: Quantity,
        /// Its storage class.
        class: Option<String>,
        /// How it may be mounted.
        modes: Vec<AccessMode>,
    },
    /// On a volume that somebody claimed.
    Claim(String),
}

impl Certificates {
    /// Those of a spec, or the operator's.
    pub(super) fn new(given: Option<CertificateSource>, settings: &Settings) -> Self {
        match given {
            Some(source) => Self::ConfigMap(source.name, source.key.unwrap_or_else(|| CA_KEY.to_owned())),
            None if settings.packages.certificates.is_some() => Self::Copied,
            None => Self::Image,
        }
    }
}

impl Cache {
    /// Whether two pods on two nodes could not both have it.
    pub fn is_exclusive(&self) -> bool {
        matches!(self, Self::Own { modes, .. } if !modes.contains(&AccessMode::ReadWriteMany))
    }
}

impl Runner {
    /// The runner that a command line begins with.
    pub fn of(command: &[String]) -> Option<Self> {
        match command.first()?.rsplit('/').next()? {
            "uvx" => Some(Self::Uvx),
            "npx" => Some(Self::Npx),
            _ => None,
        }
    }

    /// The package, when the arguments name no version of it, so that the next resolution may find another. A guess, for
    /// advice: options that take a value are told from packages by the few that are usual.
    pub fn floating(self, args: &[String]) -> Option<&str> {
        let mut rest = args.iter().map(String::as_str);
        let mut named = None;
        while let Some(arg) = rest.next() {
            match arg {
                "--from" | "--package" | "-p" => named = rest.next(),
                "--with" | "--python" | "--index" | "--default-index" | "--registry" => {
                    rest.next();
                }
                option if option.starts_with('-') => {}
                package => named = named.or(Some(package)),
            }
            if named.is_some() {
                break;
            }
        }
        named.filter(|package| match self {
            Self::Uvx => package.ends_with("@latest") || !["==", "@", "://"].iter().any(|sign| package.contains(sign)),
            Self::Npx => {
                let version = package.get(1..).and_then(|rest| rest.split_once('@')).map(|(_, version)| version);
                version.is_none_or(|version| !version.starts_with(|c: char| c.is_ascii_digit()))
            }
        })
    }
}

impl PackageSettings {
    /// The spec's, completed.
    pub(super) fn new(given: Option<&Packages>, settings: &Settings) -> Self {
        let given = given.cloned().unwrap_or_default();
        let defaults = &settings.packages;
        let own_indexes = given.index.is_some() || !given.extra_indexes.is_empty();
        let certificates = Certificates::new(given.ca_ref, settings);
        let required = given.credentials_ref.map(|secret| (secret.name, false));
        Self {
            index: given.index.or_else(|| defaults.index.clone()),
            extra_indexes: if own_indexes { given.extra_indexes } else { defaults.extra_indexes.clone() },
            npm_registry: given.npm_registry.or_else(|| defaults.npm_registry.clone()),
            credentials: required.or_else(|| Some((defaults.credentials.clone()?, true))),
            certificates,
            offline: given.offline.unwrap_or_default(),
            update: given.update,
            cache: cache(given.cache.unwrap_or_default(), settings),
        }
    }

    /// What decides which versions are resolved: a lock of another digest counts for nothing.
    pub fn requested(&self, command: &[String], image: Option<&str>) -> String {
        let settings = [&self.index, &self.npm_registry, &self.update].map(|text| text.as_deref().unwrap_or_default());
        let indexes = self.extra_indexes.join(" ");
        let first = [image.unwrap_or_default(), indexes.as_str()].into_iter().chain(settings);
        digest(first.chain(command.iter().map(String::as_str)))
    }
}

fn cache(given: api::spec::Cache, settings: &Settings) -> Cache {
    match (given.medium.unwrap_or_default(), given.claim_name) {
        (CacheMedium::EmptyDir, _) => {
            Cache::Node(given.size_limit.unwrap_or_else(|| settings.cache_size_limit.clone()))
        }
        (CacheMedium::PersistentVolumeClaim, Some(claim)) => Cache::Claim(claim),
        (CacheMedium::PersistentVolumeClaim, None) => Cache::Own {
            size: given.size.unwrap_or_else(|| settings.cache_claim_size.clone()),
            class: given.storage_class_name,
            modes: if given.access_modes.is_empty() { vec![AccessMode::ReadWriteOnce] } else { given.access_modes },
        },
    }
}
