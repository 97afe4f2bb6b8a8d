//! What a run of the whole matrix found, as people read it: `docs/compatibility.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, bail, ensure};

use super::expected::{Client, Lacks, Server};
use super::{Expected, Missing, Outcome, Path, repository, version};

/// The document's place.
const DOCUMENT: &str = "docs/compatibility.md";

const HEAD: &str = "\
# Which clients work with which servers

<!-- Written by `make compatibility`, of a run of e2e/tests/sdk.rs: do not edit. -->

Each client below was run with each server, through a gateway, and did everything in the list at the end. A cell says what
it could not do, and the note why; **all** is everything. What is *not run* nobody has tried.
";

/// A run.
#[derive(Debug)]
pub struct Report<'a> {
    expected: &'a Expected,
    /// Clients and servers, by their places in the table, and what did not work.
    cells: BTreeMap<(Path, usize, usize), &'a [Missing]>,
}

impl<'a> Report<'a> {
    /// Of these outcomes.
    pub fn new(expected: &'a Expected, outcomes: &'a [Outcome]) -> Self {
        let cells = outcomes.iter().filter_map(|Outcome { cell, without }| {
            let client = expected.clients.iter().position(|client| client.id == cell.client)?;
            let server = expected.servers.iter().position(|server| server.id == cell.server)?;
            Some(((cell.path, client, server), without.as_slice()))
        });
        Self { expected, cells: cells.collect() }
    }

    /// Demands that the document says what was found; with `COMPATIBILITY=write` in the environment it is written anew.
    ///
    /// # Errors
    /// When it says something else.
    pub fn check_document(&self) -> Result<()> {
        let (path, found) = (repository().join(DOCUMENT), self.document()?);
        if std::env::var_os("COMPATIBILITY").is_some_and(|what| what == "write") {
            return std::fs::write(&path, found).with_context(|| format!("cannot write {DOCUMENT}"));
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        ensure!(written == found, "{DOCUMENT} is not what was found: run `make compatibility`. Found:\n{found}");
        Ok(())
    }

    fn document(&self) -> Result<String> {
        let mut notes = Vec::new();
        let mut text = HEAD.to_owned();
        for (path, heading, address) in [
            (Path::Own, "A server by itself", "`/NAME/mcp`, and `/NAME/sse` for HTTP+SSE"),
            (
                Path::All,
                "All servers together",
                "`/mcp`, and `/sse` for HTTP+SSE: each row is of one session that sees all",
            ),
        ] {
            write!(text, "\n## {heading}\n\nAt {address}.\n\n{}", self.table(path, &mut notes)?)?;
        }
        write!(text, "\n## Why not\n\n{}", self.reasons(&notes))?;
        text.push_str("\n## What each did\n\n| | the client |\n|---|---|\n");
        for feature in &self.expected.features {
            writeln!(text, "| {} | {} |", feature.name, feature.what)?;
        }
        text.push_str("\n## The servers\n\n| | |\n|---|---|\n");
        for (_, server) in self.servers() {
            writeln!(text, "| {} | {} |", server.name, versions(&server.what)?)?;
        }
        Ok(text)
    }

    fn servers(&self) -> impl Iterator<Item = (usize, &Server)> {
        self.expected.servers.iter().enumerate().filter(|(_, server)| !server.hidden())
    }

    /// `notes` are the gaps that are referred to, in order.
    fn table(&self, path: Path, notes: &mut Vec<usize>) -> Result<String> {
        let mut text = String::from("| client |");
        self.servers().try_for_each(|(_, server)| write!(text, " {} |", server.name))?;
        write!(text, "\n|---|{}", "---|".repeat(self.servers().count()))?;
        for (row, client) in self.expected.clients.iter().enumerate() {
            write!(text, "\n| {} |", name(client)?)?;
            for (column, _) in self.servers() {
                let cell = match self.cells.get(&(path, row, column)) {
                    Some(without) => self.cell(without, notes),
                    None => "*not run*".to_owned(),
                };
                write!(text, " {cell} |")?;
            }
        }
        text.push('\n');
        Ok(text)
    }

    /// What does not work, by reasons.
    fn cell(&self, without: &[Missing], notes: &mut Vec<usize>) -> String {
        let mut by_reason: Vec<(usize, Vec<&str>)> = Vec::new();
        for (id, gap) in without {
            let Some(feature) = self.expected.features.iter().find(|feature| feature.id == *id) else { continue };
            match by_reason.iter_mut().find(|(known, _)| known == gap) {
                Some((_, names)) => names.push(&feature.name),
                None => by_reason.push((*gap, vec![&feature.name])),
            }
        }
        if by_reason.is_empty() {
            return "**all**".to_owned();
        }
        let parts = by_reason.into_iter().map(|(gap, names)| {
            let note = notes.iter().position(|known| *known == gap).unwrap_or_else(|| {
                notes.push(gap);
                notes.len() - 1
            });
            format!("{} [{}]", names.join(", "), note + 1)
        });
        format!("no {}", parts.collect::<Vec<_>>().join("; "))
    }

    fn reasons(&self, notes: &[usize]) -> String {
        let gaps = notes.iter().filter_map(|gap| self.expected.without.get(*gap)).zip(1..);
        let lines = gaps.map(|(gap, number)| {
            let because = &gap.because;
            match (gap.lacks, &gap.source) {
                (Lacks::Impossible, Some(source)) => format!("{number}. MCP cannot do it. “{because}” ({source})\n"),
                (Lacks::Client, _) => format!("{number}. The client's library cannot do it. {because}\n"),
                _ => format!("{number}. The server cannot do it. {because}\n"),
            }
        });
        lines.collect()
    }
}

fn name(client: &Client) -> Result<String> {
    Ok(format!("{}, {}", versions(&client.name)?, client.over))
}

/// `{NAME}` is a version of `hack/versions.env`; that of the Rust SDK stands in Cargo.toml.
fn versions(text: &str) -> Result<String> {
    let Some((before, rest)) = text.split_once('{') else { return Ok(text.to_owned()) };
    let Some((variable, after)) = rest.split_once('}') else { bail!("a brace is not closed in {text}") };
    let value = if variable == "RUST_SDK" { rust_sdk()? } else { version(variable)? };
    Ok(format!("{before}{value}{}", versions(after)?))
}

fn rust_sdk() -> Result<String> {
    let manifest = std::fs::read_to_string(repository().join("Cargo.toml"))?;
    let version = manifest.lines().find_map(|line| line.strip_prefix("rmcp = { version = \"=")?.split('"').next());
    Ok(version.context("Cargo.toml has no exact version of rmcp")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Cell;

    #[test]
    fn the_document_says_what_was_found_and_what_was_not_run() {
        let expected = Expected::read().unwrap();
        let resume = expected.without.iter().position(|gap| gap.because.contains("re-issue")).unwrap();
        let outcome = |path, without| Outcome {
            cell: Cell { client: "modern".into(), server: "everything".into(), path, in_matrix: true },
            without,
        };
        let outcomes = [outcome(Path::Own, vec![("resume".into(), resume)]), outcome(Path::All, Vec::new())];
        let document = Report::new(&expected, &outcomes).document().unwrap();
        let rows: Vec<_> = document.lines().filter(|line| line.starts_with("| 2026-07-28 by hand,")).collect();
        assert!(rows[0].contains("| no resume [1] | *not run* |"), "{}", rows[0]);
        assert!(rows[1].contains("| **all** | *not run* |"), "{}", rows[1]);
        assert!(document.contains("1. MCP cannot do it. “A broken response stream"), "{document}");
        assert!(document.contains("Rust SDK 3."), "{document}");
    }
}
