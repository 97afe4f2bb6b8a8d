//! What a run has found: tables of what was measured, figures with their bounds, and notes.

mod markdown;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Serialize, Serializer};

use crate::machine::Machine;
use crate::stats::Estimate;

/// A whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) date: String,
    pub(crate) revision: String,
    pub(crate) machine: Machine,
    /// The settings, as given or defaulted.
    pub(crate) settings: String,
    pub(crate) figures: Vec<Figure>,
    pub(crate) tables: Vec<Table>,
    pub(crate) notes: Vec<String>,
    /// Something of ours or of the floor failed, so that figures are missing.
    pub(crate) failed: bool,
}

/// One value that is compared with a bound, or told for information.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    /// Absent when it could not be measured; `note` says why.
    pub(crate) value: Option<Estimate>,
    pub(crate) bound: Option<Bound>,
    pub(crate) note: String,
}

/// What a figure must reach.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

/// Values of every target under one kind of load.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Row>,
}

/// A target's values; absent ones are shown as such.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    #[serde(serialize_with = "rounded")]
    pub(crate) values: Vec<Option<f64>>,
}

/// What one measurement adds to the report.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) figures: Vec<Figure>,
    pub(crate) tables: Vec<Table>,
    pub(crate) notes: Vec<String>,
    pub(crate) failed: bool,
}

impl Findings {
    pub(crate) fn figure(
        &mut self,
        name: impl Into<String>,
        unit: &'static str,
        value: Option<Estimate>,
        bound: Option<Bound>,
    ) {
        let note = if value.is_none() { "not measured" } else { "" };
        self.figures.push(Figure { name: name.into(), unit, value, bound, note: note.to_owned() });
    }

    /// A figure that nothing was measured for.
    pub(crate) fn unmeasured(&mut self, name: impl Into<String>, why: &anyhow::Error) {
        self.figures.push(Figure {
            name: name.into(),
            unit: "",
            value: None,
            bound: None,
            note: format!("not measured: {why:#}"),
        });
    }

    pub(crate) fn merge(&mut self, other: Self) {
        let Self { figures, tables, notes, failed } = other;
        self.figures.extend(figures);
        self.tables.extend(tables);
        for note in notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        self.failed |= failed;
    }
}

impl Report {
    pub(crate) fn new(machine: Machine, settings: String, findings: Findings) -> Self {
        let Findings { figures, tables, mut notes, failed } = findings;
        if machine.load_average > 1.5 {
            notes.push(format!("the machine was busy at the start: load average {}", machine.load_average));
        }
        let (date, revision) = (crate::machine::today(), crate::machine::revision());
        Self { date, revision, machine, settings, figures, tables, notes, failed }
    }

    /// Writes `DATE-REVISION.json` and `.md` into the folder; returns the latter's path.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let stem = folder.join(format!("{}-{}", self.date, self.revision));
        let write = |extension, text: String| {
            let path = stem.with_extension(extension);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display())).map(|()| path)
        };
        write("json", serde_json::to_string_pretty(self)? + "\n")?;
        write("md", self.markdown())
    }
}

/// Three digits behind the point are more than the measurements bear.
fn rounded<S: Serializer>(values: &[Option<f64>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(|value| value.map(|value| (value * 1e3).round() / 1e3)))
}
