//! An MCP server for tests: every feature of the revisions up to 2025-11-25, most of 2026-07-28, and faults on request.
//!
//! JSON is written by hand, on purpose: results carry unknown fields, odd numbers and unusual key orders that must reach
//! the client byte for byte. [`stdio`] serves it as a child process, [`remote`] over HTTP. It checks that clients behave
//! (no request before `initialize`, only declared capabilities) but is not meant as an example of a server.

mod everything;
mod fault;
mod features;
mod message;
mod modern;
pub mod process;
pub mod remote;
pub mod scripted;
mod session;
mod sink;
pub mod stdio;
mod tasks;
mod tools;

use std::fs::File;
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Command, FromArgMatches, ValueEnum};

pub use fault::Fault;
pub use modern::{Era, MODERN};
pub use tools::ODD_RESULT;

/// Revisions the fixture speaks, oldest first.
pub const VERSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// Groups of methods a server declares or leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Feature {
    /// `tools/*`.
    Tools,
    /// `prompts/*`.
    Prompts,
    /// `resources/*`.
    Resources,
    /// `logging/setLevel`.
    Logging,
    /// `completion/complete`.
    Completions,
}

/// What the server is and how it misbehaves.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Options {
    /// Name in `serverInfo`
    #[arg(long, default_value = "fixture")]
    pub name: String,
    /// Newest protocol revision it speaks; it speaks all older ones too
    #[arg(long, value_name = "REVISION", default_value = VERSIONS[3], value_parser = VERSIONS)]
    pub latest: String,
    /// Which clients it takes
    #[arg(long, value_enum, default_value_t = Era::Legacy)]
    pub era: Era,
    /// Groups of methods it has
    #[arg(long, value_delimiter = ',', default_value = "tools,prompts,resources,logging,completions")]
    pub declare: Vec<Feature>,
    /// Entries on one page of a list [default: all]
    #[arg(long, value_name = "N")]
    pub page_size: Option<NonZeroUsize>,
    /// Tools `extra_0`, `extra_1`, … beside the usual ones
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub extra_tools: usize,
    /// Has the tools of server-everything that the official clients' checks know, instead of its own
    #[arg(long)]
    pub like_everything: bool,
    /// Misbehaviour, may be given several times
    #[arg(long = "fault", value_name = "FAULT[=VALUE]")]
    pub faults: Vec<Fault>,
    /// Only the process that creates this file has the faults; later ones behave
    #[arg(long, value_name = "FILE")]
    pub fault_once: Option<PathBuf>,
}

impl Options {
    /// Reads the flags that the fixture's command line has.
    ///
    /// # Errors
    /// As clap words them: an unknown flag, a value that does not parse.
    pub fn from_flags(flags: &[&str]) -> Result<Self, clap::Error> {
        let command = Self::augment_args(Command::new("fixture").no_binary_name(true));
        Self::from_arg_matches(&command.try_get_matches_from(flags)?)
    }

    pub(crate) fn speaks(&self, version: &str) -> bool {
        VERSIONS.contains(&version) && version <= self.latest.as_str()
    }

    fn has(&self, fault: &Fault) -> bool {
        self.faults.contains(fault)
    }

    /// Forgets the faults when another process has already had them.
    fn settle_faults(&mut self) {
        let Some(mark) = &self.fault_once else { return };
        if File::create_new(mark).is_err_and(|error| error.kind() == ErrorKind::AlreadyExists) {
            self.faults.clear();
        }
    }
}
