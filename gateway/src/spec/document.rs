//! The `mcpServers` document: many entries, each judged by itself.

use mcp::names::ServerName;

use super::{
    Author, EntryError, Position, Problem, ServerSpec,
    fields::{Fields, Report, Unknown},
    node::{Member, Value, read_json},
    read_entry,
};

/// A well-formed document; its entries need not be.
#[derive(Debug)]
pub struct Parsed {
    /// The entries in the order of the document; no name stands twice.
    pub entries: Vec<Entry>,
    /// What was accepted without effect beside the entries.
    pub warnings: Vec<String>,
}

/// One server of a document.
#[derive(Debug)]
pub struct Entry {
    /// The name as written, which may be no valid name.
    pub name: String,
    /// Where the name stands.
    pub at: Position,
    /// What became of it.
    pub outcome: Result<Accepted, EntryError>,
}

/// A valid entry.
#[derive(Debug)]
pub struct Accepted {
    /// The server's name.
    pub name: ServerName,
    /// What it is to be.
    pub spec: ServerSpec,
    /// What was accepted without effect.
    pub warnings: Vec<String>,
}

/// Reads `{"mcpServers": {name: entry}}`, or `{"servers": …}` as some editors write it; comments and trailing commas
/// may stand in it. `limit` is the largest document in bytes.
///
/// # Errors
/// A document that is no JSON, is too large or too deep, holds a name twice, or has no servers object.
pub fn parse_servers(text: &str, limit: usize) -> Result<Parsed, Problem> {
    let root = read_json(text, limit)?;
    let mut report = Report::default();
    let judge = |_: &str| Unknown::Ignored("only `mcpServers` is read");
    let entries = Fields::of(&root, judge, &mut report, servers).flatten();
    match (entries, report.problems.into_iter().next()) {
        (_, Some(problem)) => Err(problem),
        (Some(entries), None) => Ok(Parsed { entries, warnings: report.warnings }),
        (None, None) => {
            let text = r#"the servers must stand under `mcpServers`: {"mcpServers": {"name": {"command": "…"}}}"#;
            Err(Problem::new(root.at, text))
        }
    }
}

/// Reads the servers of a document, when it has any.
pub(crate) fn servers(fields: &mut Fields<'_>) -> Option<Vec<Entry>> {
    let (ours, editors) = (fields.member("mcpServers"), fields.member("servers"));
    if let (Some(_), Some(second)) = (ours, editors) {
        fields.problem(second.at, "`mcpServers` and `servers` are the same: keep one");
        return None;
    }
    let member = ours.or(editors)?;
    let Value::Map(members) = &member.value.value else {
        let text = format!("`{}` must be an object of servers by name, not {}", member.name, member.value.value);
        fields.problem(member.value.at, text);
        return None;
    };
    Some(members.iter().map(entry).collect())
}

fn entry(member: &Member) -> Entry {
    let spec = read_entry(&member.value, Author::User);
    let name = ServerName::parse(&member.name).map_err(|error| Problem::new(member.at, error.to_string()));
    let outcome = match (name, spec) {
        (Ok(name), Ok((spec, warnings))) => Ok(Accepted { name, spec, warnings }),
        (Ok(_), Err(error)) => Err(error),
        (Err(problem), spec) => {
            let others = spec.err().map(|error| error.problems).unwrap_or_default();
            Err(EntryError { problems: std::iter::once(problem).chain(others).collect() })
        }
    };
    Entry { name: member.name.clone(), at: member.at, outcome }
}
