//! Waiting, always with an end and always saying for what.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Result, bail};

/// How long anything may take before a test gives up: far above what a loaded machine needs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two looks of [`eventually`].
const GLANCE: Duration = Duration::from_millis(20);

/// Runs `work`, failing with a text that names `what` when `limit` passes first.
pub async fn within<T>(limit: Duration, what: impl Display, work: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(outcome) => outcome,
        Err(_) => bail!("gave up after {limit:?} waiting for {what}"),
    }
}

/// Looks again and again until `look` sees something, failing with a text that names `what` when `limit` passes first.
pub async fn eventually<T>(limit: Duration, what: impl Display, mut look: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    within(limit, what, async {
        loop {
            if let Some(seen) = look().await {
                return Ok(seen);
            }
            tokio::time::sleep(GLANCE).await;
        }
    })
    .await
}
