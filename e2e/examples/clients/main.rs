//! Clients without an official driver: those made by hand, and the Rust SDK. They make the checks of `e2e/clients`, for the
//! matrix of `e2e/tests/sdk.rs`, and print a verdict for each.

mod checks;
mod host;
mod modern;
mod sdk;
mod session;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use serde_json::json;
use tokio::time::timeout;

use crate::checks::{Check, Skip};
use crate::host::Peer;

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Client {
    /// 2024-11-05, over HTTP+SSE
    Sse,
    /// 2025-11-25, over Streamable HTTP with a session
    Http,
    /// 2026-07-28
    Modern,
    /// The Rust SDK, which shakes hands
    Rmcp,
    /// The Rust SDK, which asks for 2026-07-28 first
    RmcpAuto,
}

/// Makes the checks with one client.
#[derive(Debug, Parser)]
struct Cli {
    client: Client,
    /// Endpoint
    #[arg(long)]
    url: String,
    /// Before names of tools, as on the aggregate
    #[arg(long, default_value = "")]
    prefix: String,
    /// Seconds for each check
    #[arg(long, default_value_t = 60)]
    timeout: u64,
    /// Which checks
    #[arg(long, value_delimiter = ',', value_enum)]
    checks: Vec<Check>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let limit = Duration::from_secs(cli.timeout);
    let all_ok = match cli.client {
        Client::Sse => run(session::sse(&cli.url, limit).await, &cli).await?,
        Client::Http => run(session::streamable(&cli.url, limit).await, &cli).await?,
        Client::Modern => run(Ok(modern::Modern::new(&cli.url)), &cli).await?,
        Client::Rmcp => run(sdk::Sdk::connect(&cli.url, false).await, &cli).await?,
        Client::RmcpAuto => run(sdk::Sdk::connect(&cli.url, true).await, &cli).await?,
    };
    Ok(if all_ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether all went well; one line for each check.
async fn run(peer: Result<impl Peer>, cli: &Cli) -> Result<bool> {
    let mut all_ok = true;
    for check in &cli.checks {
        let outcome = match &peer {
            Ok(peer) => made(check, peer, cli).await,
            Err(error) => Err(anyhow::anyhow!("no session: {error:#}")),
        };
        let name = check.to_possible_value().map(|value| value.get_name().to_owned());
        let line = match outcome {
            Ok(seen) => json!({"check": name, "ok": true, "detail": seen}),
            Err(error) if error.is::<Skip>() => {
                json!({"check": name, "ok": true, "skipped": true, "detail": error.to_string()})
            }
            Err(error) => {
                all_ok = false;
                json!({"check": name, "ok": false, "detail": format!("{error:#}")})
            }
        };
        writeln!(io::stdout(), "{line}")?;
    }
    Ok(all_ok)
}

async fn made(check: &Check, peer: &impl Peer, cli: &Cli) -> Result<String> {
    match timeout(Duration::from_secs(cli.timeout), check.make(peer, &cli.prefix)).await {
        Ok(outcome) => outcome,
        Err(_) => anyhow::bail!("nothing after {} s; last came {:?}", cli.timeout, peer.heard().last()),
    }
}
