//! The public conformance suite, and what it has found.
//!
//! The suite names scenarios, and each makes checks. A run is judged here and not by the suite's exit code, which looks
//! at fewer scenarios than it runs: [`Findings::compare`] with a run against the same server without us in front, or
//! [`Findings::judge`] with what is expected.

mod expected;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tokio::process::Command;

use crate::matrix::repository;
use crate::wait::within;

pub use expected::Expected;

/// How long a run may take; on an idle machine it takes a quarter of a minute, most of it pauses of the suite.
const PATIENCE: Duration = Duration::from_secs(300);

/// Starts the suite, which `hack/tools` has installed, with the arguments that follow those two.
const START: &str = r#"set -e; env=$("$0" env); eval "$env"; folder=$("$0" path conformance)
exec node "$folder/node_modules/@modelcontextprotocol/conformance/dist/index.js" "$@""#;

/// The one check of a scenario that the suite gave up in the middle, for an answer that it could not go on with.
const ABANDONED: &str = "abandoned";

/// What one check has found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What was looked at; several checks may have the same.
    pub id: String,
    /// How it went.
    pub status: Status,
    /// Why it did not go well.
    #[serde(default)]
    pub error_message: Option<String>,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// As the specification wants it.
    Success,
    /// Against it.
    Failure,
    /// Against what it recommends.
    Warning,
    /// Not looked at.
    Skipped,
    /// Only told.
    Info,
}

/// Checks by name, how they went, and how many of the name did.
type Outcome = BTreeSet<((String, Status), usize)>;

/// What a run has found, by scenario.
#[derive(Debug, Clone)]
pub struct Findings {
    scenarios: BTreeMap<String, Vec<Check>>,
}

impl Findings {
    /// Runs what `set` names (`--requirements 2026-07-28`) against the server at `url`, which must be a loopback address.
    ///
    /// # Errors
    /// When the suite cannot be run to its end.
    pub async fn of_server(url: &str, set: &[&str]) -> Result<Self> {
        Self::of(&[&["server", "--url", url], set].concat(), "server-", url).await
    }

    /// Runs one scenario against the client that `command` starts, which finds the URL behind its arguments.
    ///
    /// # Errors
    /// When the suite cannot be run to its end.
    pub async fn of_client(command: &str, scenario: &str, version: &str) -> Result<Self> {
        let arguments = ["client", "--command", command, "--scenario", scenario, "--spec-version", version];
        Self::of(&arguments, "", scenario).await
    }

    async fn of(arguments: &[&str], prefix: &str, what: &str) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder for the results")?;
        let mut suite = Command::new("bash");
        suite.args(["-c", START]).arg(repository().join("hack/tools")).args(arguments).arg("-o").arg(folder.path());
        suite.stdin(Stdio::null()).kill_on_drop(true);
        let output = async { suite.output().await.context("cannot run the suite") };
        let output = within(PATIENCE, format!("the suite to end with {what}"), output).await?;
        let said = || tail(&String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()));
        // 1: something has failed, of which the results tell.
        ensure!(matches!(output.status.code(), Some(0 | 1)), "the suite ended with {}: {}", output.status, said());
        let scenarios = read(folder.path(), prefix).with_context(said)?;
        ensure!(!scenarios.is_empty(), "the suite has run nothing: {}", said());
        Ok(Self { scenarios })
    }

    /// Checks that passed and that failed, as the suite counts them.
    pub fn totals(&self) -> (usize, usize) {
        let of = |status| self.scenarios.values().flatten().filter(|check| check.status == status).count();
        (of(Status::Success), of(Status::Failure))
    }

    /// Demands that something passed and nothing failed. That something was late is no failure here: a loaded machine is.
    ///
    /// # Errors
    /// With the checks that failed.
    pub fn passed(&self) -> Result<()> {
        let late = |check: &Check| check.error_message.as_ref().is_some_and(|message| message.contains("very late"));
        let failed = |check: &&Check| check.status == Status::Failure && !late(check);
        let faults: Vec<_> =
            self.scenarios.values().flatten().filter(failed).map(|check| format!("{check:?}")).collect();
        report(&faults)?;
        ensure!(self.totals().0 > 0, "nothing passed");
        Ok(())
    }

    /// Demands what another run has found, check by check.
    ///
    /// # Errors
    /// With each scenario that went another way.
    pub fn compare(&self, other: &Self) -> Result<()> {
        let names: BTreeSet<_> = self.scenarios.keys().chain(other.scenarios.keys()).collect();
        let differ = names.into_iter().filter_map(|name| {
            let (here, there) = (self.outcome(name), other.outcome(name));
            let only = |one: &Outcome, of: &Outcome| one.difference(of).cloned().collect::<Outcome>();
            let differ = (only(&here, &there), only(&there, &here));
            (here != there).then(|| format!("{name}: {:?}, and there {:?}{}", differ.0, differ.1, self.reasons(name)))
        });
        report(&differ.collect::<Vec<_>>())
    }

    /// Demands that all goes as expected: what does not pass is to fail.
    ///
    /// # Errors
    /// With each scenario that went another way, or that nobody has thought of.
    pub fn judge(&self, expected: &Expected) -> Result<()> {
        let names: BTreeSet<_> = self.scenarios.keys().map(String::as_str).chain(expected.scenarios()).collect();
        let fault = |name: &str| {
            let failed = self.scenarios.get(name).map(|checks| ids(checks, Status::Failure));
            let fault = expected.fault(name, failed.as_ref())?;
            Some(format!("{name}: {fault}{}", self.reasons(name)))
        };
        report(&names.into_iter().filter_map(fault).collect::<Vec<_>>())
    }

    /// How often each check went which way. What is only told may depend on the time.
    fn outcome(&self, scenario: &str) -> Outcome {
        let mut outcome = BTreeMap::new();
        for check in self.scenarios.get(scenario).into_iter().flatten().filter(|check| check.status != Status::Info) {
            *outcome.entry((check.id.clone(), check.status)).or_default() += 1;
        }
        outcome.into_iter().collect()
    }

    fn reasons(&self, scenario: &str) -> String {
        let reason = |check: &Check| Some(format!("\n    {}: {}", check.id, check.error_message.as_ref()?));
        self.scenarios.get(scenario).into_iter().flatten().filter_map(reason).collect()
    }
}

/// The last lines of a text.
fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

fn ids(checks: &[Check], status: Status) -> BTreeSet<&str> {
    checks.iter().filter(|check| check.status == status).map(|check| check.id.as_str()).collect()
}

fn report(faults: &[String]) -> Result<()> {
    if faults.is_empty() { Ok(()) } else { bail!("{}", faults.join("\n")) }
}

/// The results, each in a folder that is named after its scenario and the time.
fn read(folder: &Path, prefix: &str) -> Result<BTreeMap<String, Vec<Check>>> {
    let mut scenarios = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().ok().context("a scenario has a name")?;
        let scenario = scenario(&name, prefix).with_context(|| format!("{name} is no name of a result"))?;
        let checks = match std::fs::read(entry.path().join("checks.json")) {
            Ok(checks) => serde_json::from_slice(&checks)?,
            Err(_) => vec![Check { id: ABANDONED.to_owned(), status: Status::Failure, error_message: None }],
        };
        scenarios.insert(scenario.to_owned(), checks);
    }
    Ok(scenarios)
}

/// `server-caching-2026-11-27T14-20-17-412Z` is of `caching`.
fn scenario<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    const TIME: usize = "-2026-11-27T14-20-17-412Z".len();
    let name = name.strip_prefix(prefix)?;
    name.get(..name.len().checked_sub(TIME)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, status: Status) -> Check {
        Check { id: id.to_owned(), status, error_message: None }
    }

    fn findings(checks: Vec<Check>) -> Findings {
        Findings { scenarios: BTreeMap::from([("a".to_owned(), checks)]) }
    }

    #[test]
    fn two_runs_are_equal_when_each_check_went_the_same_way_as_often() {
        use Status::{Failure, Info, Success};
        let one = findings(vec![check("x", Success), check("y", Info), check("x", Success)]);
        assert_eq!(one.totals(), (2, 0));
        one.compare(&findings(vec![check("x", Success), check("x", Success)])).unwrap();
        for other in [vec![check("x", Success)], vec![check("x", Success), check("x", Failure)], vec![]] {
            assert!(one.compare(&findings(other)).is_err());
        }
    }

    #[test]
    fn the_name_of_a_scenario_stands_before_the_time() {
        assert_eq!(scenario("server-caching-2026-11-27T14-20-17-412Z", "server-"), Some("caching"));
        assert_eq!(scenario("sse-retry-2026-11-27T14-20-17-412Z", ""), Some("sse-retry"));
        assert_eq!(scenario("caching", "server-"), None);
    }
}
