//! What people may see of a spec: names, never secrets. In doubt a value is masked.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{ServerSpec, Target};

pub(super) const MASK: &str = "***";

/// A spec whose secrets are masked: values of variables and headers, credentials in URLs, arguments that look secret.
///
/// A type of its own, so that it cannot be stored in place of the spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(description = "What a server is to be, its secrets shown as `***`.")]
pub struct Masked(ServerSpec);

pub(super) fn masked(spec: &ServerSpec) -> Masked {
    let mut spec = spec.clone();
    match &mut spec.target {
        Target::Command(command) => {
            mask_values(&mut command.env);
            mask_arguments(&mut command.args);
        }
        Target::Remote(remote) => {
            mask_values(&mut remote.headers);
            remote.url = redact_url(&remote.url);
        }
    }
    Masked(spec)
}

fn mask_values(values: &mut BTreeMap<String, String>) {
    for value in values.values_mut() {
        MASK.clone_into(value);
    }
}

pub(super) fn mask_arguments(arguments: &mut [String]) {
    let mut secret_follows = false;
    for argument in arguments {
        let flag = argument.starts_with('-') && !argument.contains(['=', ':']);
        let names_secret = flag && names_secret(argument);
        // A token may begin with a dash, an option has two.
        if secret_follows && !argument.starts_with("--") {
            MASK.clone_into(argument);
        } else if !flag {
            *argument = mask_argument(argument);
        }
        secret_follows = names_secret;
    }
}

fn mask_argument(argument: &str) -> String {
    mask_named(argument).unwrap_or_else(|| redact_url(argument))
}

/// Masks what follows a name that says secret (`--api-key=…`, `TOKEN=…`, `Authorization: …`), and what is known to be a
/// token by its beginning; `None` when there is nothing of that kind.
pub(super) fn mask_named(argument: &str) -> Option<String> {
    let (mut start, beginnings) =
        (0, ["sk-", "ghp_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "mgw_", "Bearer ", "eyJ"]);
    loop {
        let rest = &argument[start..];
        if beginnings.iter().any(|beginning| rest.starts_with(beginning)) {
            return Some(format!("{}{MASK}", &argument[..start]));
        }
        let separator = rest.find(['=', ':'])?;
        if rest[separator..].starts_with("://") {
            return None;
        }
        if names_secret(&rest[..separator]) {
            return Some(format!("{}{MASK}", &argument[..=start + separator]));
        }
        start += separator + 1;
        start += argument[start..].len() - argument[start..].trim_start().len();
    }
}

/// Whether a word of a name says that its value is secret: `--api-key`, `GITHUB_TOKEN`, `clientSecret`.
fn names_secret(name: &str) -> bool {
    const ENDINGS: [&str; 9] =
        ["key", "token", "secret", "password", "passwd", "passphrase", "credential", "credentials", "cookie"];
    const WORDS: [&str; 8] = ["auth", "authorization", "bearer", "dsn", "jwt", "pass", "pat", "pwd"];
    name.split(|c: char| !c.is_alphanumeric())
        .map(str::to_lowercase)
        .any(|word| WORDS.contains(&word.as_str()) || ENDINGS.iter().any(|ending| word.ends_with(ending)))
}

/// Whether a variable or a header of this name is secret, by its name or by its value.
pub fn looks_secret(name: &str, value: &str) -> bool {
    !value.is_empty() && (names_secret(name) || mask_argument(value) != value)
}

/// A URL (or a text that holds some) without user, password, query and fragment.
pub fn redact_url(text: &str) -> String {
    let Some(scheme) = text.find("://") else { return text.to_owned() };
    let (before, rest) = text.split_at(scheme + 3);
    let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(authority);
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{MASK}@{host}"),
        None => authority.to_owned(),
    };
    let (path, tail) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    let tail = if tail.is_empty() { String::new() } else { format!("{}{MASK}", &tail[..1]) };
    format!("{before}{authority}{}{tail}", redact_url(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{
        Command, Process, Route, Tools,
        tests::{json, outcome, spec},
    };

    #[test]
    fn lists_show_what_runs_and_no_secret() {
        let entries = [
            r#"{"command": "docker", "args": ["run", "-e", "API_KEY=s", "--token", "s", "--api-key=s", "-v", "--auth",
                "--verbose", "--header", "Authorization: Bearer s", "postgres://u:s@h/db?p=s#s", "--dsn=postgres://s",
                "--url=https://u:s@h/x", "http://a/,http://u:s@b/", "ghp_s", "--local-timezone=America/New_York", "--port=80", "--max-tokens=5",
                "clientSecret=s", "x", "--password", "-s"], "env": {"A": "s", "B": "s"}}"#,
            r#"{"url": "https://h:1/mcp?key=s#s", "headers": {"Authorization": "Bearer s"}}"#,
            r#"{"url": "https://h/mcp"}"#,
        ];
        let masked = entries.map(|entry| json(&spec(entry).masked()));
        insta::assert_snapshot!(masked.join("\n"), @r#"
        {"command":"docker","args":["run","-e","API_KEY=***","--token","***","--api-key=***","-v","--auth","--verbose","--header","Authorization:***","postgres://***@h/db?***","--dsn=***","--url=https://***@h/x","http://a/,http://***@b/","***","--local-timezone=America/New_York","--port=80","--max-tokens=5","clientSecret=***","x","--password","***"],"env":{"A":"***","B":"***"}}
        {"url":"https://h:1/mcp?***","headers":{"authorization":"***"}}
        {"url":"https://h/mcp"}
        "#);
    }

    #[test]
    fn debug_shows_no_secret() {
        let entries = [
            r#"{"command": "x", "args": ["hunter2"], "env": {"A": "hunter2"}}"#,
            r#"{"url": "https://h/?hunter2", "headers": {"a": "hunter2"}}"#,
        ];
        for entry in entries {
            let shown = format!("{:?}", outcome(entry).unwrap());
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    proptest::proptest! {
        #[test]
        fn masking_takes_any_text(argument in "\\PC{0,40}", url in "[a-z:/?#@=. ]{0,40}") {
            let command = Command { command: "x".into(), args: vec![argument, url.clone()], env: BTreeMap::new() };
            let spec = ServerSpec {
                target: Target::Command(command),
                process: Process::default(),
                tools: Tools::default(),
                route: Route::default(),
                suspend: false,
            };
            let _ = (json(&spec.masked()), redact_url(&url));
        }
    }
}
