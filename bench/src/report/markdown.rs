//! The report as Markdown, which is what the terminal shows too.

use std::fmt::Write as _;

use super::{Bound, Figure, Report, Table};

impl Report {
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("# Benchmark of {} on {}\n\n", self.revision, self.date);
        // A String takes every write.
        let _: std::fmt::Result = self.write_all(&mut text);
        text
    }

    fn write_all(&self, text: &mut String) -> std::fmt::Result {
        let machine = &self.machine;
        let tools: Vec<_> = machine.tools.iter().map(|(name, version)| format!("{name} {version}")).collect();
        writeln!(
            text,
            "{} × {}, {} GiB, Linux {}, load average {} at the start; {}.\nSettings: {}.\n",
            machine.cores,
            machine.cpu,
            machine.memory_gib,
            machine.kernel,
            machine.load_average,
            tools.join(", "),
            self.settings
        )?;
        writeln!(text, "| figure | value | 95 % interval | bound | |\n|---|---:|---|---|---|")?;
        for figure in &self.figures {
            write_figure(text, figure)?;
        }
        for table in &self.tables {
            write_table(text, table)?;
        }
        for note in &self.notes {
            writeln!(text, "\n- {note}")?;
        }
        Ok(())
    }
}

fn write_figure(text: &mut String, figure: &Figure) -> std::fmt::Result {
    let Figure { name, unit, value, bound, note } = figure;
    let bound_text = bound.map_or(String::new(), |bound| match bound {
        Bound::AtMost(limit) => format!("≤ {} {unit}", digits(limit)),
        Bound::AtLeast(limit) => format!("≥ {} {unit}", digits(limit)),
    });
    let Some(estimate) = value else {
        return writeln!(text, "| {name} | – | | {bound_text} | {note} |");
    };
    let verdict = match bound.map(|bound| bound.holds(estimate.median)) {
        None => "",
        Some(true) => "reached",
        Some(false) => "**not reached**",
    };
    let exact = estimate.low.total_cmp(&estimate.high).is_eq();
    let interval =
        if exact { String::new() } else { format!("{} – {}", digits(estimate.low), digits(estimate.high)) };
    writeln!(text, "| {name} | {} {unit} | {interval} | {bound_text} | {verdict} {note} |", digits(estimate.median))
}

fn write_table(text: &mut String, table: &Table) -> std::fmt::Result {
    writeln!(text, "\n## {}\n", table.title)?;
    writeln!(text, "| | {} |", table.columns.join(" | "))?;
    writeln!(text, "|---|{}", "---:|".repeat(table.columns.len()))?;
    for row in &table.rows {
        let values: Vec<_> = row.values.iter().map(|value| value.map_or_else(|| "–".to_owned(), digits)).collect();
        writeln!(text, "| {} | {} |", row.name, values.join(" | "))?;
    }
    Ok(())
}

/// Three significant digits, and no fraction where it says nothing.
fn digits(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 1.0 => trimmed(format!("{value:.3}")),
        size if size < 10.0 => trimmed(format!("{value:.2}")),
        size if size < 100.0 => trimmed(format!("{value:.1}")),
        _ => format!("{value:.0}"),
    }
}

fn trimmed(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Estimate;

    fn line(value: Option<f64>, bound: Option<Bound>) -> String {
        let figure =
            Figure { name: "f".to_owned(), unit: "x", value: value.map(Estimate::exact), bound, note: String::new() };
        let mut text = String::new();
        write_figure(&mut text, &figure).unwrap();
        text
    }

    #[test]
    fn a_figure_says_whether_its_bound_is_reached() {
        assert_eq!(line(Some(2.5), Some(Bound::AtMost(2.5))), "| f | 2.5 x |  | ≤ 2.5 x | reached  |\n");
        assert_eq!(line(Some(0.799), Some(Bound::AtLeast(0.8))), "| f | 0.799 x |  | ≥ 0.8 x | **not reached**  |\n");
        assert_eq!(line(None, Some(Bound::AtMost(1.0))), "| f | – | | ≤ 1 x |  |\n");
        assert_eq!(line(Some(1234.5), None), "| f | 1234 x |  |  |   |\n");
    }
}
