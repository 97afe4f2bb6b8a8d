//! What looks secret where it is no secret: in arguments, which every list of processes shows, and in addresses. It is
//! told by what it is called, never by its value.

use super::mask::{MASK, looks_secret, mask_arguments, mask_named};
use super::{ServerSpec, Target};

/// A name longer than this may be something else.
const MAX_NAME: usize = 64;

/// Where it stands, and what it is called there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exposed {
    /// In an argument.
    Argument(String),
    /// In a parameter of the URL.
    Parameter(String),
}

/// See the [module](self).
pub(super) fn exposed(spec: &ServerSpec) -> Vec<Exposed> {
    match &spec.target {
        Target::Command(command) => arguments(&command.args).into_iter().map(Exposed::Argument).collect(),
        Target::Remote(remote) => {
            parameters(&remote.url).into_iter().map(|name| Exposed::Parameter(format!("`?{name}=`"))).collect()
        }
    }
}

fn arguments(arguments: &[String]) -> Vec<String> {
    let mut masked = arguments.to_vec();
    mask_arguments(&mut masked);
    let secret = |at: usize| {
        let (argument, shown) = (&arguments[at], &masked[at]);
        // A URL is masked for less.
        let differs = argument != shown && !argument.is_empty();
        differs && (shown == MASK || mask_named(argument).is_some() || is_open_url(argument))
    };
    let name = |at: usize| {
        let before = at.checked_sub(1).map(|before| arguments[before].as_str());
        let option = before.filter(|it| masked[at] == MASK && it.starts_with('-') && is_name(it));
        option.or_else(|| called(&masked[at])).map_or_else(|| format!("{}", at + 1), |name| format!("`{name}`"))
    };
    (0..arguments.len()).filter(|at| secret(*at)).map(name).collect()
}

/// What a masked argument calls its value: `--api-key` of `--api-key=***`.
fn called(masked: &str) -> Option<&str> {
    let name = masked.strip_suffix(MASK)?.strip_suffix(['=', ':'])?;
    name.rsplit(['=', ':', ' ']).next().filter(|name| is_name(name))
}

fn is_name(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= MAX_NAME && text.chars().all(inside)
}

/// Whether a text holds a URL with a password, or with a parameter that looks secret.
fn is_open_url(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let password = authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
    password || !parameters(rest).is_empty() || is_open_url(rest)
}

/// The parameters of a URL that look secret.
fn parameters(url: &str) -> Vec<&str> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split(['&', '#']).filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, value)| is_name(name) && looks_secret(name, value)).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use crate::spec::tests::spec;

    fn told(entry: &str) -> String {
        format!("{:?}", spec(entry).exposed())
    }

    #[test]
    fn what_looks_secret_is_named_and_not_shown() {
        let entries = [
            r#"{"command": "x", "args": ["--api-key=hunter2", "--token", "hunter2", "API_KEY=hunter2", "ghp_hunter2"]}"#,
            r#"{"command": "x", "args": ["--header", "Authorization: Bearer hunter2", "postgres://u:hunter2@h/db"]}"#,
            r#"{"command": "x", "args": ["--url=https://h/x?token=hunter2", "--db", "--password", "-hunter2"]}"#,
            r#"{"url": "https://h/mcp?lang=en&token=hunter2&api_key=hunter2#x"}"#,
        ];
        let told = entries.map(told).join("\n");
        assert!(!told.contains("hunter2"), "{told}");
        insta::assert_snapshot!(told, @r#"
        [Argument("`--api-key`"), Argument("`--token`"), Argument("`API_KEY`"), Argument("5")]
        [Argument("`Authorization`"), Argument("3")]
        [Argument("1"), Argument("`--password`")]
        [Parameter("`?token=`"), Parameter("`?api_key=`")]
        "#);
    }

    #[test]
    fn what_does_not_look_secret_is_not_told_of() {
        for entry in [
            r#"{"command": "uvx", "args": ["mcp-server-time", "--local-timezone=America/New_York", "--max-tokens=5"]}"#,
            r#"{"command": "x", "args": ["https://h/x?lang=en#top", "ssh://git@h/x", "--token", "--verbose", "-v"]}"#,
            r#"{"command": "x", "env": {"TOKEN": "hunter2"}}"#,
            r#"{"url": "https://h/mcp?lang=en", "headers": {"Authorization": "Bearer hunter2"}}"#,
        ] {
            assert_eq!(told(entry), "[]", "{entry}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_argument_is_judged(arguments in proptest::collection::vec("\\PC{0,20}|[a-z:/?#@=. -]{0,30}", 0..4)) {
            let _ = super::arguments(&arguments);
        }
    }
}
