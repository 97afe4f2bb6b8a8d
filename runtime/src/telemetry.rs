//! Logs: on standard error, for people on a terminal and as JSON elsewhere.

use std::{
    io::{IsTerminal, stderr},
    str::FromStr,
};

use clap::ValueEnum as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What is logged, and how. Flatten it into a program's arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct TelemetryArgs {
    /// What to log: a level (off, error, warn, info, debug, trace), or several TARGET=LEVEL with
    /// commas between
    #[arg(long = "log", env = "MCP_LOG", value_name = "FILTER", default_value = "info", help_heading = "Logging")]
    pub filter: LogFilter,

    /// How log lines look: auto is human on a terminal, JSON otherwise
    #[arg(long, env = "MCP_LOG_FORMAT", value_name = "FORMAT", default_value = "auto", help_heading = "Logging")]
    pub log_format: LogFormat,
}

/// The look of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Auto,
    Human,
    Json,
}

/// Checked directives of a log filter.
///
/// The syntax is that of `tracing_subscriber::filter::Targets`, but for a bare target: `inof` would
/// be taken for a module to trace, and silence everything else. (`EnvFilter` knows spans and fields
/// as well, and costs each program a megabyte of memory for its regular expressions.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

/// A directive of a log filter that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogFilterError {
    #[error("log directive '{0}' cannot be read: write a level or TARGET=LEVEL")]
    Malformed(String),
    #[error(
        "log directive '{0}' is no level (off, error, warn, info, debug, trace): \
         to log a module, write {0}=LEVEL"
    )]
    NoLevel(String),
}

/// Logs are set up once in a process.
#[derive(Debug, thiserror::Error)]
#[error("failed to set up logging")]
pub struct TelemetryError(#[from] tracing_subscriber::util::TryInitError);

impl FromStr for LogFilter {
    type Err = LogFilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        for directive in text.split(',').filter(|directive| !directive.is_empty()) {
            let bare = !directive.contains('=');
            if bare && directive.parse::<LevelFilter>().is_err() {
                return Err(LogFilterError::NoLevel(directive.to_owned()));
            }
            if directive.parse::<Targets>().is_err() {
                return Err(LogFilterError::Malformed(directive.to_owned()));
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl TelemetryArgs {
    /// The flags that make another program of ours log in the same way.
    pub fn to_args(&self) -> Vec<String> {
        let format = self.log_format.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        vec!["--log".to_owned(), self.filter.0.clone(), "--log-format".to_owned(), format]
    }

    /// Starts logging for the whole process. Fails when something else already did.
    pub fn init(&self) -> Result<(), TelemetryError> {
        let terminal = stderr().is_terminal();
        let filter: Targets = self.filter.0.parse().unwrap_or_default();
        let registry = tracing_subscriber::registry().with(filter);
        let layer = tracing_subscriber::fmt::layer().with_writer(stderr);
        match self.log_format.resolve(terminal) {
            // Colours stay off where `NO_COLOR` asks for it: the default knows.
            LogFormat::Human if terminal => registry.with(layer).try_init()?,
            LogFormat::Human | LogFormat::Auto => registry.with(layer.with_ansi(false)).try_init()?,
            LogFormat::Json => registry.with(layer.json().flatten_event(true).with_span_list(false)).try_init()?,
        }
        Ok(())
    }
}

impl LogFormat {
    fn resolve(self, terminal: bool) -> Self {
        match self {
            Self::Auto if terminal => Self::Human,
            Self::Auto => Self::Json,
            chosen => chosen,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        telemetry: TelemetryArgs,
    }

    fn parse(args: &[&str]) -> Result<TelemetryArgs, clap::Error> {
        let args = ["program"].iter().chain(args);
        Program::try_parse_from(args).map(|program| program.telemetry)
    }

    #[test]
    fn levels_targets_and_spans_are_directives() {
        for filter in ["info", "WARN", "off", "", "info,hyper=debug", "gateway::local=trace"] {
            assert!(filter.parse::<LogFilter>().is_ok(), "{filter}");
        }
    }

    #[test]
    fn a_misspelt_level_is_refused_and_named() {
        let error = "warn,inof".parse::<LogFilter>().unwrap_err();
        assert_eq!(error, LogFilterError::NoLevel("inof".to_owned()));
    }

    #[test]
    fn a_misspelt_level_of_a_target_is_refused_and_named() {
        let error = "info,hyper=debgu".parse::<LogFilter>().unwrap_err();
        assert_eq!(error, LogFilterError::Malformed("hyper=debgu".to_owned()));
    }

    #[test]
    fn the_defaults_are_info_and_auto() {
        let telemetry = parse(&[]).unwrap();
        assert_eq!(telemetry.filter.0, "info");
        assert_eq!(telemetry.log_format, LogFormat::Auto);
    }

    #[test]
    fn a_bad_directive_is_a_usage_error() {
        let error = parse(&["--log", "inof"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("log directive 'inof'"));
    }

    #[test]
    fn auto_is_human_on_a_terminal_and_json_elsewhere() {
        assert_eq!(LogFormat::Auto.resolve(true), LogFormat::Human);
        assert_eq!(LogFormat::Auto.resolve(false), LogFormat::Json);
        assert_eq!(LogFormat::Human.resolve(false), LogFormat::Human);
    }
}
