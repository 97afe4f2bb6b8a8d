//! The fixture of [`e2e::fixture`] as a program: over stdio, or with `--remote` as an HTTP server.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use e2e::fixture::process::{self, Leftover};
use e2e::fixture::remote::{self, Remote};
use e2e::fixture::{Options, stdio};
use tokio::runtime::Builder;

/// An MCP server for tests, which misbehaves on request.
#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    remote: remote::Options,
    /// Live as a process that a fixture leaves behind
    #[arg(long, hide = true)]
    leftover: Option<Leftover>,
}

fn main() -> ExitCode {
    let outcome = Builder::new_current_thread().enable_all().build().and_then(|runtime| {
        let code = runtime.block_on(run(Cli::parse()));
        // A read of stdin may hang in a thread of the runtime; dropping it would wait for that.
        runtime.shutdown_background();
        code
    });
    match outcome {
        Ok(code) => code.into(),
        Err(error) => {
            // Nothing is left to do when stderr is closed too.
            let _ = writeln!(io::stderr(), "fixture: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> io::Result<u8> {
    if let Some(kind) = cli.leftover {
        return process::live_as(kind).await;
    }
    if cli.remote.remote.is_none() {
        return stdio::serve(cli.options, tokio::io::stdin(), tokio::io::stdout()).await;
    }
    let remote = Remote::start(cli.options, cli.remote).await?;
    writeln!(io::stdout(), "listening on {}", remote.origin())?;
    std::future::pending().await
}
