//! The configuration file (design §12): the `mcpServers` JSON, or YAML, with the gateway's own settings beside it.
//!
//! Every setting is optional here, and most mirror a flag of `serve`: flags go before the environment, the environment
//! goes before the file, the file goes before the defaults. All mistakes are reported at once, each with its line.

mod settings;
#[cfg(test)]
mod tests;
mod yaml;

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use mcp::names::ServerName;

pub use settings::Settings;

use crate::spec::{
    Entry, Problem, ServerSpec,
    fields::{Fields, Report, Unknown},
    node::{Node, read_json},
    servers,
};

/// Largest configuration file, in bytes.
const MAX_FILE: usize = 16 << 20;

/// What a configuration file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigFile {
    /// The gateway's own settings.
    pub settings: Settings,
    /// The servers that the file keeps.
    pub servers: BTreeMap<ServerName, ServerSpec>,
    /// What was accepted without effect, ready to be logged.
    pub warnings: Vec<String>,
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds mistakes.
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
}

/// All mistakes in a configuration file, shown as `path:line:column: text`, one a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes {
    /// The file.
    pub path: PathBuf,
    /// The mistakes in the order of the file; at least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { at, text }) in self.problems.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{}:{}:{}: {text}", self.path.display(), at.line, at.column)?;
        }
        Ok(())
    }
}

impl ConfigFile {
    /// Reads a file. One named `.yaml` or `.yml` is YAML, any other is JSON.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Ok(Self::parse(path, &text)?)
    }

    /// Reads the text of the file at `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Mistakes> {
        let mistakes = |problems| Mistakes { path: path.to_owned(), problems };
        let root = read(path, text).map_err(|problem| mistakes(vec![problem]))?;
        let mut report = Report::default();
        let read = Fields::of(&root, judge, &mut report, |fields| {
            (settings::read(fields), servers(fields).unwrap_or_default())
        });
        let (settings, entries) = read.unwrap_or_default();
        let Report { mut problems, mut warnings } = report;
        let mut servers = BTreeMap::new();
        for Entry { name, outcome, .. } in entries {
            match outcome {
                Ok(accepted) => {
                    warnings.extend(accepted.warnings.iter().map(|warning| format!("server `{name}`: {warning}")));
                    servers.insert(accepted.name, accepted.spec);
                }
                Err(error) => problems.extend(
                    error
                        .problems
                        .into_iter()
                        .map(|it| Problem { text: format!("server `{name}`: {}", it.text), ..it }),
                ),
            }
        }
        problems.sort_by_key(|problem| problem.at);
        if problems.is_empty() { Ok(Self { settings, servers, warnings }) } else { Err(mistakes(problems)) }
    }
}

fn read(path: &Path, text: &str) -> Result<Node, Problem> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("yaml" | "yml") => yaml::read_yaml(text, MAX_FILE),
        _ => read_json(text, MAX_FILE),
    }
}

fn judge(name: &str) -> Unknown {
    match name {
        "$schema" | "inputs" => Unknown::Ignored("it is for editors"),
        _ => Unknown::Refused,
    }
}
