//! `npx [OPTIONS] PACKAGE[@VERSION] [ARGS]`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Place, Recipe, Runner, Step};

/// What npm is asked for, and what it has made of that.
const MANIFEST: &str = "package.json";
const LOCK: &str = "package-lock.json";

#[derive(Debug, Default)]
pub(super) struct Npx {
    packages: Vec<String>,
    /// The program to run, where it is not the package's own.
    program: Option<String>,
    args: Vec<String>,
}

/// The command line, if every option in it is known here.
pub(super) fn parse(args: &[String]) -> Option<Npx> {
    let mut npx = Npx::default();
    let mut words = args.iter();
    let first = loop {
        let word = words.next()?;
        match word.as_str() {
            "-y" | "--yes" | "-q" | "--quiet" => {}
            "-p" | "--package" => npx.packages.push(words.next()?.clone()),
            "--" => break words.next()?,
            _ if word.starts_with("--package=") => npx.packages.push(word["--package=".len()..].to_owned()),
            _ if word.starts_with('-') => return None,
            _ => break word,
        }
    };
    if npx.packages.is_empty() {
        npx.packages.push(first.clone());
    } else {
        npx.program = Some(first.clone());
    }
    npx.args = words.cloned().collect();
    (!npx.packages.iter().any(|package| is_elsewhere(package))).then_some(npx)
}

/// Whether what is asked for is no package of a registry: a path, a URL, or a repository such as `user/name`.
fn is_elsewhere(package: &str) -> bool {
    let slashes = package.matches('/').count();
    package.starts_with(['.', '/', '~']) || package.contains(':') || slashes > usize::from(package.starts_with('@'))
}

#[derive(Default, Deserialize)]
struct Manifest {
    #[serde(default)]
    name: String,
    bin: Option<Bin>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Bin {
    One(String),
    Several(BTreeMap<String, String>),
}

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    packages: BTreeMap<String, Locked>,
}

#[derive(Deserialize)]
struct Locked {
    version: Option<String>,
}

/// The name of a package without its version: `@scope/name@1.2` is `@scope/name`.
fn base_name(package: &str) -> &str {
    let at = package.char_indices().skip(1).find(|(_, c)| *c == '@');
    at.map_or(package, |(at, _)| &package[..at])
}

impl Npx {
    /// The script that the package itself names.
    fn script(&self, directory: &Path) -> Result<PathBuf, String> {
        let package = base_name(&self.packages[0]);
        let root = directory.join("node_modules").join(package);
        let read = |error: &dyn std::fmt::Display| format!("package {package} has no readable package.json: {error}");
        let text = fs::read_to_string(root.join(MANIFEST)).map_err(|error| read(&error))?;
        let manifest: Manifest = serde_json::from_str(&text).map_err(|error| read(&error))?;
        let own = manifest.name.rsplit('/').next().unwrap_or_default();
        match manifest.bin {
            Some(Bin::One(script)) => Ok(root.join(script)),
            Some(Bin::Several(scripts)) => {
                let only = (scripts.len() == 1).then(|| scripts.values().next()).flatten();
                let names: Vec<_> = scripts.keys().map(String::as_str).collect();
                let choose = || {
                    format!(
                        "package {package} brings several programs: write `npx -p {package} PROGRAM` with one of {}",
                        names.join(", ")
                    )
                };
                only.or_else(|| scripts.get(own)).map(|script| root.join(script)).ok_or_else(choose)
            }
            None => Err(format!("package {package} brings no program")),
        }
    }
}

impl Runner for Npx {
    fn key(&self) -> String {
        format!("npx {:?}", self.packages)
    }

    fn package(&self) -> &str {
        &self.packages[0]
    }

    fn recipe(&self, directory: &str, lock: Option<&str>, _: Place) -> Result<Recipe, String> {
        // Install scripts run, as npx has them run: some packages are built by them, and work only then.
        let command = if lock.is_some() { "ci" } else { "install" };
        let mut args = vec![command.to_owned(), "--prefix".to_owned(), directory.to_owned()];
        let flags = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=http"];
        args.extend(flags.map(ToOwned::to_owned));
        let mut files = BTreeMap::new();
        if let Some(lock) = lock {
            files.insert(MANIFEST.to_owned(), manifest(lock)?);
            files.insert(LOCK.to_owned(), lock.to_owned());
        } else {
            // The registry is a setting, and may have another name tomorrow.
            args.extend(["--omit-lockfile-registry-resolved", "--"].map(ToOwned::to_owned));
            args.extend(self.packages.iter().cloned());
        }
        Ok(Recipe { files, steps: vec![Step { program: "npm".to_owned(), args }] })
    }

    fn entry(&self, directory: &Path) -> Result<(PathBuf, Vec<PathBuf>), String> {
        let script = match &self.program {
            Some(program) => directory.join("node_modules/.bin").join(program),
            None => self.script(directory)?,
        };
        // Real servers sometimes forget to make their script executable; npx does not mind, nor does this.
        let mut head = [0; 64];
        let read = fs::File::open(&script).and_then(|mut file| file.read(&mut head));
        let count =
            read.map_err(|error| format!("package {} has no program {}: {error}", self.packages[0], script.display()))?;
        let first_line = head[..count].split(|byte| *byte == b'\n').next().unwrap_or_default();
        let is_script = first_line.starts_with(b"#!") && !first_line.windows(4).any(|word| word == b"node");
        if is_script { Ok((script, Vec::new())) } else { Ok(("node".into(), vec![script])) }
    }

    fn installed(&self, directory: &Path) -> Vec<String> {
        let lock = fs::read_to_string(directory.join(LOCK)).ok();
        let lock: Option<Lock> = lock.and_then(|text| serde_json::from_str(&text).ok());
        let packages = lock.into_iter().flat_map(|lock| lock.packages);
        let named = |(path, locked): (String, Locked)| {
            let (_, name) = path.rsplit_once("node_modules/")?;
            Some(format!("{name}@{}", locked.version?))
        };
        packages.filter_map(named).collect()
    }

    fn lock(&self, directory: &Path) -> Option<String> {
        let text = fs::read_to_string(directory.join(LOCK)).ok()?;
        // Half of it is white space.
        let lock: Value = serde_json::from_str(&text).ok()?;
        Some(lock.to_string())
    }

    fn args(&self) -> &[String] {
        &self.args
    }
}

/// The manifest that a lock file belongs to: npm wants both, and that they agree.
fn manifest(lock: &str) -> Result<String, String> {
    let lock: Value = serde_json::from_str(lock).map_err(|error| format!("the package lock is no JSON: {error}"))?;
    match lock["packages"][""]["dependencies"].as_object() {
        Some(dependencies) => Ok(json!({ "dependencies": dependencies }).to_string()),
        None => Err("the package lock does not say what it is for".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<(Vec<String>, Option<String>, Vec<String>)> {
        let args: Vec<_> = line.split(' ').map(ToOwned::to_owned).collect();
        parse(&args).map(|npx| (npx.packages, npx.program, npx.args))
    }

    #[test]
    fn the_package_the_program_and_its_arguments_are_told_apart() {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(parsed("-y @s/p@1 stdio -y"), Some((owned(&["@s/p@1"]), None, owned(&["stdio", "-y"]))));
        assert_eq!(parsed("-p a --package=b run x"), Some((owned(&["a", "b"]), Some("run".to_owned()), owned(&["x"]))));
        assert_eq!(base_name("@s/p@1"), "@s/p");
        assert_eq!(base_name("p"), "p");
    }

    #[test]
    fn what_is_no_package_of_a_registry_is_left_to_npx() {
        for line in ["-c ls", "./local", "user/repo", "@s/p/x", "git+ssh://h/r", "--node-options=x p"] {
            assert_eq!(parsed(line), None, "{line}");
        }
    }
}
