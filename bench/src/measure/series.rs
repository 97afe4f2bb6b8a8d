//! What each target has shown in each round, and ratios of it.

use crate::load::{Run, as_f64};
use crate::report::{Row, Table};
use crate::stats::{Estimate, median};

/// One target's turn.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) p50: f64,
    pub(super) p99: f64,
    /// Calls per second.
    pub(super) rate: f64,
    /// µs per call, by role.
    pub(super) cpu: Vec<(&'static str, f64)>,
    pub(super) strays: f64,
}

impl From<Run> for Sample {
    fn from(run: Run) -> Self {
        Self {
            p50: run.percentile(50.0),
            p99: run.percentile(99.0),
            rate: run.rate(),
            strays: as_f64(run.strays),
            cpu: run.cpu,
        }
    }
}

impl Sample {
    pub(super) fn cpu_of(&self, role: &str) -> Option<f64> {
        self.cpu.iter().find(|(name, _)| *name == role).map(|(_, micros)| *micros)
    }

    fn cpu_of_any(&self, roles: &[&str]) -> Option<f64> {
        roles.iter().find_map(|role| self.cpu_of(role))
    }
}

/// A target's turns, in order; `None` where a round failed.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) samples: Vec<Option<Sample>>,
}

/// All targets under one kind of load.
#[derive(Debug, Default)]
pub(super) struct AllSeries(pub(super) Vec<Series>);

impl AllSeries {
    fn samples(&self, name: &str) -> impl Iterator<Item = Option<&Sample>> {
        let series = self.0.iter().find(|series| series.name == name);
        series.into_iter().flat_map(|series| series.samples.iter().map(Option::as_ref))
    }

    /// The median of a value over the rounds.
    pub(super) fn value(&self, name: &str, value: impl Fn(&Sample) -> Option<f64>) -> Option<Estimate> {
        let values: Vec<f64> = self.samples(name).flatten().filter_map(value).collect();
        Estimate::of(&values)
    }

    /// The median of the ratios of two targets, each ratio from one round.
    pub(super) fn ratio(&self, name: &str, base: &str, value: impl Fn(&Sample) -> f64) -> Option<Estimate> {
        let pairs = self.samples(name).zip(self.samples(base));
        let ratios: Vec<f64> = pairs.filter_map(|(a, b)| Some(value(a?) / value(b?))).collect();
        Estimate::of(&ratios)
    }

    pub(super) fn table(&self, title: String) -> Table {
        const DOORS: [&str; 2] = ["gateway", "proxy"];
        const BRIDGES: [&str; 4] = ["sidecar", "bridge", "supergateway", "mcp-proxy"];
        let columns = vec!["p50 µs", "p99 µs", "calls/s", "CPU µs/call of the door", "of the bridge", "strays"];
        let row = |series: &Series| {
            let samples: Vec<&Sample> = series.samples.iter().flatten().collect();
            let of = |value: &dyn Fn(&Sample) -> Option<f64>| {
                median(samples.iter().filter_map(|sample| value(sample)).collect())
            };
            Row {
                name: series.name.to_owned(),
                values: vec![
                    of(&|sample| Some(sample.p50)),
                    of(&|sample| Some(sample.p99)),
                    of(&|sample| Some(sample.rate)),
                    of(&|sample| sample.cpu_of_any(&DOORS)),
                    of(&|sample| sample.cpu_of_any(&BRIDGES)),
                    of(&|sample| Some(sample.strays)),
                ],
            }
        };
        Table { title, columns, rows: self.0.iter().map(row).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &'static str, p50: &[Option<f64>]) -> Series {
        let sample = |p50| Sample { p50, p99: 0.0, rate: 1.0, cpu: vec![("gateway", 7.0)], strays: 0.0 };
        Series { name, samples: p50.iter().map(|p50| p50.map(sample)).collect() }
    }

    #[test]
    fn ratios_pair_the_rounds_and_leave_out_those_that_failed() {
        let all = AllSeries(vec![
            series("a", &[Some(2.0), None, Some(9.0)]),
            series("b", &[Some(1.0), Some(1.0), Some(3.0)]),
        ]);
        let ratio = |base| all.ratio("a", base, |sample| sample.p50);
        assert_eq!(ratio("b"), Estimate::of(&[2.0, 3.0]));
        assert_eq!(ratio("absent"), None);
    }

    #[test]
    fn cpu_is_told_by_role() {
        let all = AllSeries(vec![series("a", &[Some(2.0)])]);
        let cpu = |role| all.value("a", |sample| sample.cpu_of(role));
        assert_eq!(cpu("gateway"), Some(Estimate::exact(7.0)));
        assert_eq!(cpu("sidecar"), None);
    }
}
