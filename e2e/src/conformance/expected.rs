//! What is expected of a run whose server cannot pass everything: files in `e2e/conformance/`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::matrix::repository;

/// Which scenarios pass, and which checks of the others fail.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    passes: BTreeSet<String>,
    /// With the checks that fail; none where the scenario has nothing to look at, so that it says little which do.
    fails: BTreeMap<String, BTreeSet<String>>,
}

impl Expected {
    /// Reads `e2e/conformance/NAME.yaml`.
    ///
    /// # Errors
    /// When there is none, or it has something else in it.
    pub fn read(name: &str) -> Result<Self> {
        let path = repository().join("e2e/conformance").join(name).with_extension("yaml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_saphyr::from_str(&text).with_context(|| format!("{} is not as it should be", path.display()))
    }

    /// All scenarios of the file.
    pub(super) fn scenarios(&self) -> impl Iterator<Item = &str> {
        self.passes.iter().chain(self.fails.keys()).map(String::as_str)
    }

    /// What is unexpected in a scenario of which these checks failed; it was not run when there are none to speak of.
    pub(super) fn fault(&self, scenario: &str, failed: Option<&BTreeSet<&str>>) -> Option<String> {
        let Some(failed) = failed else { return Some("was not run".to_owned()) };
        match (self.passes.contains(scenario), self.fails.get(scenario)) {
            (true, None) if failed.is_empty() => None,
            (true, None) => Some(format!("{failed:?} failed")),
            (false, Some(_)) if failed.is_empty() => Some("passed".to_owned()),
            (false, Some(expected)) if expected.is_empty() => None,
            (false, Some(expected)) => {
                let same = expected.iter().map(String::as_str).eq(failed.iter().copied());
                (!same).then(|| format!("{failed:?} failed, and not {expected:?}"))
            }
            (passes, _) => Some(if passes { "is to pass, and to fail" } else { "is not in the file" }.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_goes_another_way_than_expected_is_a_fault_in_either_direction() {
        let expected: Expected =
            serde_saphyr::from_str("{passes: [good, both], fails: {bad: [x], lost: [], both: []}}").unwrap();
        let fault =
            |scenario, failed: &[&'static str]| expected.fault(scenario, Some(&failed.iter().copied().collect()));
        for (scenario, failed) in [("good", &[][..]), ("bad", &["x"]), ("lost", &["y"]), ("lost", &["y", "z"])] {
            assert_eq!(fault(scenario, failed), None, "{scenario} {failed:?}");
        }
        for (scenario, failed) in [
            ("good", &["x"][..]),
            ("bad", &[]),
            ("bad", &["y"]),
            ("bad", &["x", "y"]),
            ("lost", &[]),
            ("both", &[]),
            ("unknown", &[]),
        ] {
            assert!(fault(scenario, failed).is_some(), "{scenario} {failed:?}");
        }
        assert!(expected.fault("good", None).is_some());
    }
}
