//! Lengths of time in answers.

use std::time::Duration;

use wire::spec::duration::format_duration;

/// For `#[serde(serialize_with)]` on a length of time, optional or not.
pub(crate) fn serialize<'d, S: serde::Serializer>(
    duration: impl Into<Option<&'d Duration>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration.into() {
        Some(duration) => serializer.serialize_str(&format_duration(*duration)),
        None => serializer.serialize_none(),
    }
}
