//! The machine and the tools of a run, so that a reader knows what its figures stand on.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::fleet::Setup;
use crate::load::as_f64;

/// What a report says about where it was made.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    /// The last minute's, before the first measurement.
    pub(crate) load_average: f64,
    /// Name and version.
    pub(crate) tools: Vec<(&'static str, String)>,
}

impl Machine {
    pub(crate) fn describe(setup: &Setup) -> Self {
        let cpu = line_value("/proc/cpuinfo", "model name");
        let memory = line_value("/proc/meminfo", "MemTotal");
        let kib = memory.trim_end_matches(" kB").parse().unwrap_or_default();
        Self {
            cpu,
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            memory_gib: (as_f64(kib) / 1024.0 / 1024.0).round(),
            kernel: first_word("/proc/sys/kernel/osrelease"),
            load_average: first_word("/proc/loadavg").parse().unwrap_or_default(),
            tools: tools(setup),
        }
    }
}

fn tools(setup: &Setup) -> Vec<(&'static str, String)> {
    let mut tools = vec![("rustc", version("rustc".as_ref())), ("node", version("node".as_ref()))];
    let peers = &setup.peers;
    for (name, program) in [("supergateway", &peers.supergateway), ("mcp-proxy", &peers.mcp_proxy)] {
        if let Some(program) = program {
            tools.push((name, version(program)));
        }
    }
    tools
}

/// The version alone: many programs say their name before it.
fn version(program: &Path) -> String {
    let said = output(Command::new(program).arg("--version"));
    let digits = |word: &&str| word.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit());
    said.split_whitespace().find(digits).unwrap_or("unknown").to_owned()
}

/// Today in UTC, as `YYYY-MM-DD`.
pub(crate) fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The short id of the checked-out commit, with `-dirty` when files differ from it.
pub(crate) fn revision() -> String {
    output(Command::new("git").args(["describe", "--always", "--dirty", "--exclude=*"]))
}

/// Year, month and day of a day since 1970-01-01 (Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let day = days + 719_468;
    let era = day / 146_097;
    let of_era = day % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + u64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

fn output(command: &mut Command) -> String {
    let output = command.output().ok().filter(|output| output.status.success());
    output.map_or_else(|| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn first_word(file: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

fn line_value(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
    value.map_or_else(|| "unknown".to_owned(), |value| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(20_454), (2026, 1, 1));
    }
}
