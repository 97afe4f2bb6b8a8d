//! Exit codes: 0 clean stop, 1 failed, 2 bad usage or configuration (as clap does for arguments).

use std::{error::Error, fmt, io::Write, process::ExitCode};

/// Marks an error as the user's to correct (arguments, configuration): exit code 2.
#[derive(Debug)]
pub struct UsageError(Box<dyn Error + Send + Sync>);

impl UsageError {
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for UsageError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// Reports a failure once and tells which code to exit with. `main` ends with it.
///
/// Usage errors are text for the person who typed the command; other failures go to the log when
/// there is one.
pub fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    ExitCode::from(result.map_or_else(|error| report(&error), |()| 0))
}

fn report(error: &anyhow::Error) -> u8 {
    let usage = error.chain().any(<dyn Error>::is::<UsageError>);
    if usage || !tracing::dispatcher::has_been_set() {
        // Nothing is left to do about a closed standard error.
        writeln!(std::io::stderr(), "error: {error:#}").ok();
    } else {
        tracing::error!(error = format!("{error:#}"), "failed");
    }
    if usage { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn a_clean_stop_is_0() {
        assert_eq!(exit_code(Ok(())), ExitCode::SUCCESS);
    }

    #[test]
    fn a_failure_is_1() {
        assert_eq!(exit_code(Err(anyhow!("broken"))), ExitCode::from(1));
    }

    #[test]
    fn a_usage_error_is_2_wherever_it_stands_in_the_chain() {
        let result = Err(UsageError::new("line 3: unknown field"))
            .context("cannot read the configuration")
            .context("cannot start");
        assert_eq!(exit_code(result), ExitCode::from(2));
    }

    #[test]
    fn a_usage_error_reads_as_the_error_it_marks() {
        let cause = std::io::Error::other("line 3: unknown field");
        assert_eq!(UsageError::new(cause).to_string(), "line 3: unknown field");
    }
}
