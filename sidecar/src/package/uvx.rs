//! `uvx [OPTIONS] PACKAGE[@VERSION] [ARGS]` and `uv tool run …`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Place, Recipe, Runner, Step};

/// The file with what is to be installed exactly, as pip reads it.
const REQUIREMENTS: &str = "requirements.lock";

#[derive(Debug, Default)]
pub(super) struct Uvx {
    /// What is installed: requirements as pip writes them.
    requirements: Vec<String>,
    python: Option<String>,
    /// Options of uv that say where packages come from, each with its value.
    indexes: Vec<String>,
    /// The program in the environment.
    program: String,
    args: Vec<String>,
}

/// Options with a value that are handed on to `uv pip install`.
const INDEX_OPTIONS: [&str; 6] =
    ["--index", "--default-index", "--index-url", "--extra-index-url", "--find-links", "--prerelease"];

/// The command line, if every option in it is known here.
pub(super) fn parse(args: &[String]) -> Option<Uvx> {
    let mut uvx = Uvx::default();
    let (mut from, mut words) = (None, args.iter());
    let package = loop {
        let word = words.next()?;
        let (option, inline) = match word.split_once('=') {
            Some((option, value)) if option.starts_with("--") => (option, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        let mut value = || inline.clone().or_else(|| words.next().cloned());
        match option {
            "--from" => from = Some(value()?),
            "--with" => uvx.requirements.extend(value()?.split(',').map(ToOwned::to_owned)),
            "-p" | "--python" => uvx.python = Some(value()?),
            "-i" => uvx.indexes.extend(["--index-url".to_owned(), value()?]),
            "-q" | "--quiet" | "--no-progress" => {}
            _ if INDEX_OPTIONS.contains(&option) => uvx.indexes.extend([option.to_owned(), value()?]),
            _ if option.starts_with('-') => return None,
            _ => break word,
        }
    };
    // What lies on this machine may change under the same name, and where the program's name is not said only uvx knows it.
    let lies_here = from.iter().chain([package]).chain(&uvx.requirements).any(|it| is_path(it));
    if lies_here || (from.is_none() && package.contains("://")) {
        return None;
    }
    let requirement = requirement(from.as_ref().unwrap_or(package));
    uvx.program = if from.is_some() { package.clone() } else { base_name(package) };
    uvx.requirements.insert(0, requirement);
    uvx.args = words.cloned().collect();
    Some(uvx)
}

/// Whether a requirement is a place on this machine.
fn is_path(requirement: &str) -> bool {
    let place = requirement.split_once('@').map_or(requirement, |(_, place)| place.trim());
    let is = |text: &str| text.starts_with(['.', '/', '~']) || text.contains("file:");
    is(requirement) || is(place)
}

/// `name@1.2` is `name==1.2` to pip, and `name@latest` is `name`; a URL is left alone.
fn requirement(package: &str) -> String {
    match package.split_once('@') {
        Some((name, "latest")) => name.to_owned(),
        Some((name, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => format!("{name}=={version}"),
        _ => package.to_owned(),
    }
}

/// The package's name without version and extras: the program it brings has the same name.
fn base_name(package: &str) -> String {
    let end = package.find(['@', '=', '<', '>', '~', '!', '[', ';', ' ']).unwrap_or(package.len());
    package[..end].to_owned()
}

impl Runner for Uvx {
    fn key(&self) -> String {
        format!("uvx {:?} {:?} {:?}", self.requirements, self.python, self.indexes)
    }

    fn package(&self) -> &str {
        &self.requirements[0]
    }

    fn recipe(&self, directory: &str, lock: Option<&str>, place: Place) -> Result<Recipe, String> {
        let words = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut venv = words(&["venv", "--quiet", "--allow-existing", "--no-project"]);
        venv.extend(self.python.iter().flat_map(|python| ["--python".to_owned(), python.clone()]));
        venv.push(directory.to_owned());
        let mut install = words(&["pip", "install", "--no-progress", "--python", directory]);
        if place == Place::Shared {
            // Whoever runs it could not keep what it compiles.
            install.push("--compile-bytecode".to_owned());
        }
        install.extend(self.indexes.iter().cloned());
        let mut files = BTreeMap::new();
        match lock {
            // It lists dependencies too, all of them.
            Some(lock) => {
                install.extend(words(&["--no-deps", "--requirement", &format!("{directory}/{REQUIREMENTS}")]));
                files.insert(REQUIREMENTS.to_owned(), lock.to_owned());
            }
            None => install.extend(self.requirements.iter().cloned()),
        }
        let steps = [venv, install].into_iter().map(|args| Step { program: "uv".to_owned(), args }).collect();
        Ok(Recipe { files, steps })
    }

    fn entry(&self, directory: &Path) -> Result<(PathBuf, Vec<PathBuf>), String> {
        let programs = directory.join("bin");
        let program = programs.join(&self.program);
        if program.exists() {
            return Ok((program, Vec::new()));
        }
        let others: Vec<_> = file_names(&programs).into_iter().filter(|name| !is_of_python(name)).collect();
        Err(format!(
            "package {} brings no program `{}`; it has {}: write `uvx --from {} PROGRAM`",
            self.package(),
            self.program,
            if others.is_empty() { "none".to_owned() } else { others.join(", ") },
            self.package(),
        ))
    }

    fn installed(&self, directory: &Path) -> Vec<String> {
        distributions(directory).into_iter().map(|distribution| distribution.version).collect()
    }

    fn lock(&self, directory: &Path) -> Option<String> {
        let pins: Vec<_> = distributions(directory).into_iter().map(Distribution::pin).collect();
        (!pins.is_empty()).then(|| pins.iter().flat_map(|pin| [pin.as_str(), "\n"]).collect())
    }

    fn args(&self) -> &[String] {
        &self.args
    }
}

/// Something that is installed.
struct Distribution {
    /// `name==version`.
    version: String,
    /// Where it came from, when that was no index.
    origin: Option<Origin>,
}

/// `direct_url.json`, which says so (PEP 610).
#[derive(Deserialize)]
struct Origin {
    url: String,
    vcs_info: Option<Vcs>,
    subdirectory: Option<String>,
}

#[derive(Deserialize)]
struct Vcs {
    vcs: String,
    commit_id: String,
}

impl Distribution {
    /// The requirement that is met by this and nothing else.
    fn pin(self) -> String {
        let Some(Origin { url, vcs_info, subdirectory }) = self.origin else { return self.version };
        let name = self.version.split("==").next().unwrap_or_default();
        let place = subdirectory.map_or_else(String::new, |folder| format!("#subdirectory={folder}"));
        match vcs_info {
            Some(Vcs { vcs, commit_id }) => format!("{name} @ {vcs}+{url}@{commit_id}{place}"),
            None => format!("{name} @ {url}{place}"),
        }
    }
}

/// What is installed, by name.
fn distributions(directory: &Path) -> Vec<Distribution> {
    let libraries = file_names(&directory.join("lib"));
    let sites = libraries.iter().map(|python| directory.join("lib").join(python).join("site-packages"));
    let infos = sites.flat_map(|site| file_names(&site).into_iter().map(move |name| (site.join(&name), name)));
    let distribution = |(path, name): (PathBuf, String)| {
        let version = name.strip_suffix(".dist-info")?.replacen('-', "==", 1);
        let origin = fs::read(path.join("direct_url.json")).ok();
        Some(Distribution { version, origin: origin.and_then(|text| serde_json::from_slice(&text).ok()) })
    };
    let mut found: Vec<_> = infos.filter_map(distribution).collect();
    found.sort_by(|one, other| one.version.cmp(&other.version));
    found
}

fn file_names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Whether the program is the environment's own.
fn is_of_python(name: &str) -> bool {
    ["python", "activate", "deactivate", "pydoc", "pip"].iter().any(|own| name.starts_with(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<(Vec<String>, String, Vec<String>)> {
        let args: Vec<_> = line.split(' ').map(ToOwned::to_owned).collect();
        parse(&args).map(|uvx| (uvx.requirements, uvx.program, uvx.args))
    }

    #[test]
    fn the_package_the_program_and_its_arguments_are_told_apart() {
        let expect = |line: &str, requirements: &[&str], program: &str, args: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
            assert_eq!(parsed(line), Some((owned(requirements), program.to_owned(), owned(args))), "{line}");
        };
        expect("mcp-server-time", &["mcp-server-time"], "mcp-server-time", &[]);
        expect("pkg@1.2 --from x -v", &["pkg==1.2"], "pkg", &["--from", "x", "-v"]);
        expect("pkg@latest", &["pkg"], "pkg", &[]);
        expect("pkg[cli]>=2", &["pkg[cli]>=2"], "pkg", &[]);
        expect("--from pkg==3 tool a", &["pkg==3"], "tool", &["a"]);
        expect("--from=git+https://h/r --with a,b tool", &["git+https://h/r", "a", "b"], "tool", &[]);
    }

    #[test]
    fn an_unknown_option_is_left_to_uvx() {
        assert_eq!(parsed("--isolated pkg"), None);
        assert_eq!(parsed("--from"), None);
        for line in
            ["--from . tool", "--from ../x tool", "--from /a/b tool", "./x", "--with ./y pkg", "git+https://h/r"]
        {
            assert_eq!(parsed(line), None, "{line}");
        }
        assert_eq!(parsed("--from pkg@file:///x tool"), None);
    }
}
