//! Looks for the program of a server before anything is accepted or started.

use std::{
    ffi::{OsStr, OsString},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::Command;

/// The program of a server is not on this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the program `{program}` was not found (looked in {}): {}", searched(path.as_deref()), advice(program))]
pub struct MissingProgram {
    program: String,
    path: Option<OsString>,
}

impl Command {
    /// The file that would be started. A `PATH` of the server's own goes before `path`, the gateway's.
    pub fn locate(&self, path: &OsStr, is_executable: impl Fn(&Path) -> bool) -> Result<PathBuf, MissingProgram> {
        let path = self.env.get("PATH").map_or(path, OsStr::new);
        find_program(&self.command, path, is_executable).ok_or_else(|| MissingProgram {
            program: self.command.clone(),
            path: (!self.command.contains('/')).then(|| path.to_owned()),
        })
    }
}

/// Finds `name` as the system would: a name with a slash is a path, any other is looked for in the directories of
/// `path`. Empty directories in `path`, which would mean the current one, are passed over.
pub fn find_program(name: &str, path: &OsStr, is_executable: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|file| is_executable(file));
    }
    std::env::split_paths(path)
        .filter(|directory| !directory.as_os_str().is_empty())
        .map(|directory| directory.join(name))
        .find(|file| is_executable(file))
}

/// Whether a file may be executed by anybody: the lookup of the real system.
pub fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn searched(path: Option<&OsStr>) -> String {
    match path {
        None => "exactly that place".to_owned(),
        Some(path) if path.is_empty() => "an empty PATH".to_owned(),
        Some(path) => path.to_string_lossy().replace(':', ", "),
    }
}

fn advice(program: &str) -> &'static str {
    match program {
        "uv" | "uvx" => "install uv, which brings `uvx`",
        "node" | "npm" | "npx" => "install Node.js, which brings `npx`",
        "bun" | "bunx" => "install Bun, which brings `bunx`",
        "docker" | "podman" => "install it, or start the server's package with `uvx` or `npx` instead",
        _ if program.contains('/') => "write the absolute path of an executable file; arguments belong into `args`",
        _ => "install it, or write its absolute path",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::command;

    fn locate(entry: &str, path: &str, files: &[&str]) -> Result<PathBuf, MissingProgram> {
        command(entry).locate(OsStr::new(path), |file| files.iter().any(|known| Path::new(known) == file))
    }

    #[test]
    fn the_first_directory_of_path_that_holds_the_program_wins() {
        let found = locate(r#"{"command": "uvx"}"#, "/a:/b:/c", &["/b/uvx", "/c/uvx"]);
        assert_eq!(found.unwrap(), Path::new("/b/uvx"));
    }

    #[test]
    fn a_path_is_taken_as_it_is() {
        assert_eq!(locate(r#"{"command": "./s"}"#, "", &["./s"]).unwrap(), Path::new("./s"));
    }

    #[test]
    fn the_path_of_the_server_goes_before_that_of_the_gateway() {
        let entry = r#"{"command": "s", "env": {"PATH": "/own"}}"#;
        assert_eq!(locate(entry, "/a", &["/a/s", "/own/s"]).unwrap(), Path::new("/own/s"));
    }

    #[test]
    fn the_current_directory_is_never_searched() {
        assert!(locate(r#"{"command": "s"}"#, ":/a:", &["s", "./s"]).is_err());
    }

    #[test]
    fn a_missing_program_is_explained() {
        let programs = ["uvx", "npx", "docker", "/opt/server --flag", "thing"];
        let complaint =
            |program| locate(&format!("{{\"command\": \"{program}\"}}"), "/usr/bin:/bin", &[]).unwrap_err().to_string();
        insta::assert_snapshot!(programs.map(complaint).join("\n"), @r#"
        the program `uvx` was not found (looked in /usr/bin, /bin): install uv, which brings `uvx`
        the program `npx` was not found (looked in /usr/bin, /bin): install Node.js, which brings `npx`
        the program `docker` was not found (looked in /usr/bin, /bin): install it, or start the server's package with `uvx` or `npx` instead
        the program `/opt/server --flag` was not found (looked in exactly that place): write the absolute path of an executable file; arguments belong into `args`
        the program `thing` was not found (looked in /usr/bin, /bin): install it, or write its absolute path
        "#);
    }
}
