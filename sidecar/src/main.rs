//! See the library's documentation, or `mcp-sidecar --help`.

use std::process::ExitCode;

use clap::Parser as _;
use runtime::exit::exit_code;
use runtime::limits;
use sidecar::args::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    exit_code(run(cli))
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Wrap { open_files, parent, command } => Err(sidecar::wrap::wrap(parent, open_files, &command).into()),
        Command::Copy { to } => sidecar::copy::copy(&to),
        Command::Install => runtime()?.block_on(sidecar::package::perform()),
        Command::Serve(args) => {
            cli.telemetry.init()?;
            limits::raise_open_files();
            with_children(sidecar::serve::serve(*args))
        }
        Command::Exec(args) => {
            cli.telemetry.init()?;
            with_children(sidecar::exec::exec(args))
        }
    }
}

/// Does work that starts processes, and ends what is left of them.
fn with_children(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    // What children leave behind is handed to this process, which ends it.
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1))?;
    let runtime = runtime()?;
    let done = runtime.block_on(work);
    // With the tasks that were cut off, the processes end that they held.
    drop(runtime);
    wire::child::end_all();
    done
}

/// One thread: processes end when the thread that started them does, and one server needs no more.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
