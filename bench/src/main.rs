//! `bench`: runs the figures and prints how they stand against their bounds.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> anyhow::Result<ExitCode> {
    bench::cli::run(bench::cli::Args::parse())
}
