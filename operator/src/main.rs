//! See the library's documentation, or `mcp-operator --help`.

use std::process::ExitCode;

use clap::Parser as _;
use operator::args::{Cli, Command};
use runtime::exit::exit_code;

fn main() -> ExitCode {
    exit_code(run(Cli::parse()))
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let Command::Run(args) = cli.command;
    cli.telemetry.init()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(operator::run::run(*args))
}
