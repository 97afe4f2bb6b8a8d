//! What is expected of each client with each server: `e2e/compatibility/expected.yaml`.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{Cell, Missing, Verdict, driver, repository};

/// The table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    pub(super) features: Vec<Feature>,
    besides: Vec<String>,
    pub(super) clients: Vec<Client>,
    pub(super) servers: Vec<Server>,
    pub(super) without: Vec<Gap>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Feature {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) what: String,
}

/// A row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// What it is called in this table.
    pub id: String,
    pub(super) name: String,
    pub(super) over: String,
    runs: Option<Vec<String>>,
    /// Whether nothing tells its requests from those of others like it.
    #[serde(default)]
    pub sessionless: bool,
}

/// A column.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// What it is called in this table, and by the gateway.
    pub id: String,
    pub(super) name: String,
    pub(super) what: String,
    #[serde(default)]
    hidden: bool,
    #[serde(default)]
    one_at_a_time: bool,
}

/// Something that does not work.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gap {
    /// For these; for all when empty.
    #[serde(default)]
    clients: Vec<String>,
    /// With these; with all when empty.
    #[serde(default)]
    servers: Vec<String>,
    features: Vec<String>,
    pub(super) lacks: Lacks,
    pub(super) because: String,
    #[serde(default)]
    pub(super) source: Option<String>,
    /// Part of what the check says.
    #[serde(default)]
    seen: String,
}

/// Why something does not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Lacks {
    /// By the specification.
    Impossible,
    /// The client's library does not have it.
    Client,
    /// The server does not have it.
    Server,
}

impl Expected {
    /// Reads the table.
    ///
    /// # Errors
    /// When it is not as it should be.
    pub fn read() -> Result<Self> {
        let path = repository().join("e2e/compatibility/expected.yaml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let table = Self::parse(&text).with_context(|| format!("{} is not as it should be", path.display()))?;
        Ok(table)
    }

    fn parse(text: &str) -> Result<Self> {
        let table: Self = serde_saphyr::from_str(text)?;
        for gap in &table.without {
            let cited = gap.source.is_some() == (gap.lacks == Lacks::Impossible);
            ensure!(cited, "what is impossible has a source, and nothing else has: {}", gap.because);
            let known = |id: &String| table.features.iter().any(|it| it.id == *id) || table.besides.contains(id);
            let clients = gap.clients.iter().all(|id| table.clients.iter().any(|it| it.id == *id));
            let servers = gap.servers.iter().all(|id| table.servers.iter().any(|it| it.id == *id));
            ensure!(clients && servers && gap.features.iter().all(known), "unknown names in: {}", gap.because);
        }
        Ok(table)
    }

    /// The clients that are run with a server. Those without a driver know the tools of the others only.
    pub fn clients_of<'a>(&'a self, server: &'a Server) -> impl Iterator<Item = &'a Client> {
        let fits = |client: &Client| !server.hidden || driver(&client.id).is_some();
        self.clients.iter().filter(move |client| fits(client) && client.is_run_with(&server.id))
    }

    /// The servers.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter()
    }

    /// The checks that a cell makes, in order.
    pub(super) fn checks(&self, cell: &Cell) -> Vec<&str> {
        let features = self.features.iter().map(|feature| feature.id.as_str());
        let features = features.filter(|id| cell.in_matrix || !["huge", "resume"].contains(id));
        let besides = self.besides.iter().map(String::as_str).filter(|_| driver(&cell.client).is_some());
        // The last looks back on all others.
        let (last, besides): (Vec<_>, Vec<_>) = besides.partition(|id| *id == "answers");
        besides.into_iter().chain(features).chain(last).collect()
    }

    /// Demands that each check went as it should, and gives those that did not work, with the reason's place in the table.
    ///
    /// # Errors
    /// With every check that went another way.
    pub(super) fn judge(&self, cell: &Cell, verdicts: &[Verdict]) -> Result<Vec<Missing>> {
        let (mut faults, mut without) = (Vec::new(), Vec::new());
        for check in self.checks(cell) {
            let gap = self.without.iter().position(|gap| gap.is_about(cell, check));
            let verdict = verdicts.iter().find(|verdict| verdict.check == check);
            let works = verdict.map(|verdict| verdict.ok && !verdict.skipped);
            let detail = verdict.map_or("", |verdict| verdict.detail.as_str());
            match (works, gap) {
                (None, _) => faults.push(format!("{check}: no verdict")),
                (Some(true), None) => {}
                (Some(false), None) => faults.push(format!("{check}: {detail}")),
                (Some(true), Some(_)) => faults.push(format!("{check}: works, which the table does not say: {detail}")),
                (Some(false), Some(at)) if !detail.contains(&self.without[at].seen) => {
                    faults.push(format!("{check}: fails for another reason than the table says: {detail}"));
                }
                (Some(false), Some(at)) => without.push((check.to_owned(), at)),
            }
        }
        ensure!(faults.is_empty(), "{}", faults.join("; "));
        Ok(without)
    }
}

impl Server {
    /// Whether the document says nothing of it.
    pub fn hidden(&self) -> bool {
        self.hidden
    }

    /// Whether no two clients are to use it at a time.
    pub fn one_at_a_time(&self) -> bool {
        self.one_at_a_time
    }
}

impl Client {
    fn is_run_with(&self, server: &str) -> bool {
        self.runs.as_ref().is_none_or(|runs| runs.iter().any(|it| it == server))
    }
}

impl Gap {
    fn is_about(&self, cell: &Cell, check: &str) -> bool {
        let of = |all: &[String], one: &str| all.is_empty() || all.iter().any(|it| it == one);
        of(&self.clients, &cell.client) && of(&self.servers, &cell.server) && of(&self.features, check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Path;

    const TABLE: &str = r"
features: [{id: list, name: list, what: w}, {id: resume, name: resume, what: w}]
besides: []
clients: [{id: sse, name: n, over: o}, {id: http, name: n, over: o, runs: [a]}]
servers: [{id: a, name: n, what: w}, {id: b, name: n, what: w, hidden: true}]
without: [{clients: [sse], features: [resume], lacks: impossible, because: b, source: s, seen: broken}]
";

    fn cell(client: &str) -> Cell {
        Cell { client: client.into(), server: "a".into(), path: Path::Own, in_matrix: true }
    }

    fn verdict(check: &str, ok: bool, detail: &str) -> Verdict {
        Verdict { check: check.into(), ok, detail: detail.into(), skipped: false }
    }

    #[test]
    fn whatever_goes_another_way_than_expected_is_a_fault_in_either_direction() {
        let table = Expected::parse(TABLE).unwrap();
        let judge = |client, resume| table.judge(&cell(client), &[verdict("list", true, ""), resume]);
        assert_eq!(judge("http", verdict("resume", true, "")).unwrap(), []);
        assert_eq!(judge("sse", verdict("resume", false, "is broken")).unwrap(), [("resume".into(), 0)]);
        for (client, resume) in [
            ("http", verdict("resume", false, "is broken")),
            ("http", Verdict { skipped: true, ..verdict("resume", true, "") }),
            ("sse", verdict("resume", true, "")),
            ("sse", verdict("resume", false, "something else")),
            ("http", verdict("other", true, "")),
        ] {
            assert!(judge(client, resume).is_err(), "{client}");
        }
    }

    #[test]
    fn what_is_run_and_cited_is_told_by_the_table() {
        let table = Expected::parse(TABLE).unwrap();
        assert_eq!(
            table.clients_of(&table.servers[0]).map(|client| client.id.as_str()).collect::<Vec<_>>(),
            ["sse", "http"]
        );
        assert_eq!(table.clients_of(&table.servers[1]).count(), 0);
        assert!(Expected::parse(&TABLE.replace("source: s, ", "")).is_err());
        assert!(Expected::parse(&TABLE.replace("[resume]", "[other]")).is_err());
        Expected::read().unwrap();
    }
}
