//! Lengths of time as people write them.

use std::time::Duration;

/// Units in milliseconds, largest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Longest length of time accepted: ten years keep every later sum with a clock value in range.
pub const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A text that is no length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a length of time above zero such as `500ms`, `90s`, `10m`, `1h30m` or `30d`")]
pub struct DurationError;

/// Reads `500ms`, `90s`, `10m`, `1h30m`, `30d`; at most ten years. Usable as a clap value parser.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let mut rest = text;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(DurationError)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(DurationError)?;
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*scale)).ok_or(DurationError)?;
        total = total.checked_add(part).ok_or(DurationError)?;
        rest = tail;
    }
    let total = Duration::from_millis(total);
    if total.is_zero() || total > LONGEST { Err(DurationError) } else { Ok(total) }
}

/// Writes a length of time in the largest unit that divides it, so that [`parse_duration`] reads the same again.
pub fn format_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let divides = |(_, scale): &&(&str, u64)| milliseconds.is_multiple_of(u128::from(*scale));
    let (unit, scale) = UNITS.iter().find(divides).expect("every whole number is a multiple of one millisecond");
    format!("{}{unit}", milliseconds / u128::from(*scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read() {
        for (text, milliseconds) in
            [("500ms", 500), ("90s", 90_000), ("10m", 600_000), ("1h30m", 5_400_000), ("30d", 2_592_000_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "0s", "10", "s", "-1s", "1.5s", "1 m", "1w", "1s ", "99999999999999999999s", "9999999d", "１s"]
        {
            assert_eq!(parse_duration(text), Err(DurationError), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_back(milliseconds in 1_u64..315_360_000_000) {
            let duration = Duration::from_millis(milliseconds);
            proptest::prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}
