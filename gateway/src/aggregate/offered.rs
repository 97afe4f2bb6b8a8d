//! What is declared for all servers together.

use mcp::json;
use mcp::modern::TASKS_EXTENSION;

/// What only some servers offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extra {
    /// They tell when a resource changes.
    Updates,
    Completions,
    Logging,
    /// Results that are tasks (SEP-2663).
    Tasks,
    /// The same of 2025-11-25.
    TaskCalls,
}

impl Extra {
    const ALL: [Self; 5] = [Self::Updates, Self::Completions, Self::Logging, Self::Tasks, Self::TaskCalls];

    /// What some server has of those that declare these capabilities, each raw JSON.
    pub(super) fn of(declared: &[&str]) -> Vec<Self> {
        let has = |extra: &Self| declared.iter().any(|capabilities| extra.is_in(capabilities));
        Self::ALL.into_iter().filter(has).collect()
    }

    fn is_in(self, capabilities: &str) -> bool {
        let path: &[&str] = match self {
            Self::Updates => &["resources", "subscribe"],
            Self::Completions => &["completions"],
            Self::Logging => &["logging"],
            Self::Tasks => &["extensions", TASKS_EXTENSION],
            Self::TaskCalls => &["tasks", "requests", "tools", "call"],
        };
        json::lookup(capabilities, path).is_some_and(|found| !matches!(found, "false" | "null"))
    }

    fn declaration(self) -> String {
        match self {
            Self::Updates => r#","subscribe":true"#.to_owned(),
            Self::Completions => r#","completions":{}"#.to_owned(),
            Self::Logging => r#","logging":{}"#.to_owned(),
            Self::Tasks => format!(r#","extensions":{{"{TASKS_EXTENSION}":{{}}}}"#),
            // Each task is found again by its id; a list of all would have to be asked of every server.
            Self::TaskCalls => r#","tasks":{"cancel":{},"requests":{"tools":{"call":{}}}}"#.to_owned(),
        }
    }
}

/// The capabilities, raw JSON. A server with tools may come at any time, and so with prompts and resources; the rest is
/// there where `has` says so.
pub(super) fn capabilities(has: impl Fn(Extra) -> bool) -> String {
    let of = |extra: Extra| if has(extra) { extra.declaration() } else { String::new() };
    let updates = of(Extra::Updates);
    let rest: String = Extra::ALL.into_iter().filter(|extra| *extra != Extra::Updates).map(of).collect();
    format!(
        r#"{{"tools":{{"listChanged":true}},"prompts":{{"listChanged":true}},"resources":{{"listChanged":true{updates}}}{rest}}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_some_server_has_is_declared_and_changing_lists_always_are() {
        let always = r#"{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"listChanged":true"#;
        assert_eq!(capabilities(|_| false), format!("{always}}}}}"));
        let rest = r#","subscribe":true},"completions":{},"logging":{},"extensions":{"io.modelcontextprotocol/tasks":{}},"tasks":{"cancel":{},"requests":{"tools":{"call":{}}}}}"#;
        assert_eq!(capabilities(|_| true), format!("{always}{rest}"));
    }

    #[test]
    fn what_is_declared_is_found_again() {
        let all = capabilities(|_| true);
        assert_eq!(Extra::of(&[&all]), Extra::ALL);
        for extra in Extra::ALL {
            let one = capabilities(|it| it == extra);
            assert_eq!(Extra::of(&["{}", &one]), [extra]);
        }
        assert_eq!(Extra::of(&[r#"{"logging":null,"completions":false}"#]), []);
    }
}
