//! Points in time, to the second, as RFC 3339 writes them.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const DAY: u64 = 86_400;

/// A point in time in whole seconds since 1970-01-01T00:00:00Z, from then to the end of 9999.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// A text that is no point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no point in time of the form 2026-11-22T08:30:00Z")]
pub struct TimestampError;

/// The first second of the year 10000.
const END: u64 = 253_402_300_800;

impl Timestamp {
    /// The point that many seconds after the beginning of 1970; one after 9999 becomes the last of 9999.
    pub fn from_unix(seconds: u64) -> Self {
        Self(seconds.min(END - 1))
    }

    /// Seconds since the beginning of 1970.
    pub fn as_unix(self) -> u64 {
        self.0
    }

    /// The point `duration` later.
    pub fn after(self, duration: Duration) -> Self {
        Self::from_unix(self.0.saturating_add(duration.as_secs()))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self::from_unix(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.0 / DAY);
        let second = self.0 % DAY;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let number = |at: usize, digits: usize| text.get(at..at + digits).and_then(|part| part.parse::<u64>().ok());
        let numbers = [(0, 4), (5, 2), (8, 2), (11, 2), (14, 2), (17, 2)].map(|(at, digits)| number(at, digits));
        let [Some(year), Some(month @ 1..=12), Some(day), Some(hour), Some(minute), Some(second)] = numbers else {
            return Err(TimestampError);
        };
        if year < 1970 {
            return Err(TimestampError);
        }
        let time = Self::from_unix(days(year, month, day) * DAY + hour * 3600 + minute * 60 + second);
        // Writing it again refuses the 30th of February, the 61st second and every other form.
        if time.to_string() == text { Ok(time) } else { Err(TimestampError) }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years begin in March, so that the leap day ends them.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// The date that many days after 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, year) = (day - (153 * month + 2) / 5 + 1, era * 400 + year);
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}
