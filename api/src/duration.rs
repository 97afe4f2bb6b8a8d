//! Lengths of time as people write them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Units in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The longest: ten years keep every later sum with a clock value in range.
const LONGEST: u64 = 10 * 365 * 86_400_000;

/// Above zero, so at least one number is.
const PATTERN: &str = "^([0-9]+(d|h|m|s|ms))*[0-9]*[1-9][0-9]*(d|h|m|s|ms)([0-9]+(d|h|m|s|ms))*$";

/// The longest text.
const MAX_LENGTH: u32 = 20;

/// A length of time above zero: whole numbers with the units `d`, `h`, `m`, `s`, `ms`, as in `500ms`, `90s`, `1h30m`.
///
/// It keeps the text that it was written as, so that nothing changes that nobody has changed. More than ten years count
/// as ten years.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Duration {
    text: String,
    milliseconds: u64,
}

/// A text that is no length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationError;

impl Duration {
    /// Its length.
    pub fn get(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.milliseconds)
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut rest = text;
        let mut total = 0_u64;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|&digits| digits > 0).ok_or(DurationError)?;
            let (number, tail) = rest.split_at(digits);
            let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(DurationError)?;
            // Digits alone fail to be a number only when they are too many.
            let part = number.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(*scale);
            total = total.saturating_add(part);
            rest = tail;
        }
        if total == 0 {
            return Err(DurationError);
        }
        Ok(Self { text: text.to_owned(), milliseconds: total.min(LONGEST) })
    }
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be a length of time above zero such as `500ms`, `90s`, `10m`, `1h30m` or `30d`")
    }
}

impl std::error::Error for DurationError {}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'_, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": PATTERN, "maxLength": MAX_LENGTH})
    }
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    #[test]
    fn what_people_write_is_read_and_kept() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("90s", 90_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("30d", 2_592_000_000),
            ("0h1s", 1000),
        ] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(duration.get().as_millis(), milliseconds, "{text}");
            assert_eq!(duration.to_string(), text);
        }
    }

    #[test]
    fn more_than_ten_years_are_ten_years() {
        for text in ["9999999d", "99999999999999999h", "9999999999999999999s"] {
            assert_eq!(text.parse::<Duration>().unwrap().get().as_secs(), 315_360_000, "{text}");
        }
    }

    #[test]
    fn schema_and_type_accept_the_same() {
        let pattern = Regex::new(PATTERN).unwrap();
        let bad = ["", "0s", "0h00m", "10", "s", "-1s", "1.5s", "1 m", "1w", "1s ", "s1s", "1ss", "１s"];
        let good = ["1ms", "10s", "01s", "0d5m", "1h0m", "1d2h3m4s5ms", "100000000000000000s"];
        for (text, expected) in bad.map(|text| (text, false)).into_iter().chain(good.map(|text| (text, true))) {
            assert_eq!(text.parse::<Duration>().is_ok(), expected, "{text}");
            assert_eq!(pattern.is_match(text), expected, "{text}");
        }
    }
}
