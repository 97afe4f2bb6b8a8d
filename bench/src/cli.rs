//! The command line of `bench`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::fleet::{Group, Peers, Setup};
use crate::machine::Machine;
use crate::measure::{self, Plan};
use crate::process::raise_file_limit;
use crate::report::{Findings, Report};

/// Measures gateway and sidecar against a floor, a direct connection and peers, in one run.
///
/// Build what is measured first: `cargo build --release`.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// What to measure
    #[arg(value_enum)]
    figure: Figure,
    /// A smoke run of seconds: its figures mean nothing
    #[arg(long)]
    quick: bool,
    /// Rounds of each measurement with rounds; every second one takes the targets in reverse
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds that each target is measured in each round
    #[arg(long)]
    seconds: Option<f64>,
    /// Clients under load
    #[arg(long)]
    clients: Option<usize>,
    /// Calls per second in the open loop
    #[arg(long)]
    rate: Option<u32>,
    /// Only these targets
    #[arg(long, value_enum, value_delimiter = ',')]
    targets: Vec<Group>,
    /// Folder with mcp-gateway, mcp-sidecar, bench-echo and bench-floor [default: where this program is]
    #[arg(long)]
    bin_dir: Option<PathBuf>,
    /// The peer's program [default: as installed by hack/tools]
    #[arg(long)]
    supergateway: Option<PathBuf>,
    /// The peer's program [default: as installed by hack/tools]
    #[arg(long)]
    mcp_proxy: Option<PathBuf>,
    #[arg(long, env = "XDG_CACHE_HOME", hide = true)]
    cache: Option<PathBuf>,
    /// Folder for the report; without it only a whole run, not a quick one, writes to bench/results
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// Everything below
    All,
    /// Time of a call at one client, and at a fixed rate
    Latency,
    /// Calls per second at many clients
    Throughput,
    /// CPU time per call at many clients
    Cpu,
    /// Calls per second where one of many routes is used
    Routes,
    /// Calls per second between clients and servers of either era, and memory of a call that waits for its client
    Eras,
    /// Memory at rest, and of more sessions
    Idle,
    /// Memory of idle SSE streams
    Streams,
    /// Time from spawn to listening
    Coldstart,
    /// The aggregated tools/list of many servers
    List,
    /// Peak memory of a large result
    Large,
    /// Files and memory after calls that nobody awaits
    Leak,
    /// Time until calls on a killed child are answered
    Killed,
    /// Answers that reach another session when all use the same ids
    EqualIds,
}

/// Runs what was asked for; the code is a failure when a target that must work did not.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    runtime.block_on(local.run_until(async {
        tokio::select! {
            outcome = measure_and_report(args) => outcome,
            // What was started ends when the future above is dropped.
            name = stopped() => anyhow::bail!("stopped by {}", name?),
        }
    }))
}

/// Waits for a signal that ends this program, and names it.
async fn stopped() -> anyhow::Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
        _ = hangup.recv() => "SIGHUP",
    })
}

async fn measure_and_report(args: Args) -> anyhow::Result<ExitCode> {
    let files = raise_file_limit()?;
    let plan = plan(&args, files);
    let out = args.out.or_else(|| (args.figure == Figure::All && !args.quick).then(|| PathBuf::from("bench/results")));
    let groups = if args.targets.is_empty() { Group::value_variants().to_vec() } else { args.targets };
    let folder = args.bin_dir.map_or_else(own_folder, Ok)?;
    let cache = args.cache.or_else(|| Some(std::env::home_dir()?.join(".cache"))).unwrap_or_default();
    let peers = Peers::find(&cache, args.supergateway, args.mcp_proxy);
    let setup = Setup::new(groups, &folder, peers)?;
    let machine = Machine::describe(&setup);
    let findings = measure(args.figure, &setup, &plan).await?;
    let report = Report::new(machine, plan.to_string(), findings);
    writeln!(std::io::stdout(), "{}", report.markdown())?;
    if let Some(out) = out {
        writeln!(std::io::stderr(), "bench: wrote {}", report.write(&out)?.display())?;
    }
    Ok(if report.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn plan(args: &Args, files: u64) -> Plan {
    let mut plan = if args.quick { Plan::quick() } else { Plan::full() };
    plan.rounds = args.rounds.unwrap_or(plan.rounds).max(1);
    plan.seconds = args.seconds.unwrap_or(plan.seconds);
    plan.clients = args.clients.unwrap_or(plan.clients).max(1);
    plan.rate = args.rate.unwrap_or(plan.rate).max(1);
    // The gateway holds two files for a stream, one for each side.
    plan.streams = plan.streams.min(usize::try_from(files.saturating_sub(500) / 2).unwrap_or(usize::MAX));
    plan
}

async fn measure(figure: Figure, setup: &Setup, plan: &Plan) -> anyhow::Result<Findings> {
    let all = figure == Figure::All;
    let mut findings = Findings::default();
    if all || figure == Figure::Latency {
        findings.merge(measure::latency(setup, plan).await?);
    }
    if all || matches!(figure, Figure::Throughput | Figure::Cpu) {
        findings.merge(
            measure::load(setup, plan, all || figure == Figure::Throughput, all || figure == Figure::Cpu).await?,
        );
    }
    if all || figure == Figure::Routes {
        findings.merge(measure::routes(setup, plan).await?);
    }
    if all || figure == Figure::Eras {
        findings.merge(measure::eras(setup, plan).await);
    }
    if all || figure == Figure::Idle {
        findings.merge(measure::idle(setup, plan).await?);
    }
    if all || figure == Figure::Coldstart {
        findings.merge(measure::cold_start(setup, plan));
    }
    if all || figure == Figure::List {
        findings.merge(measure::list(setup, plan).await?);
    }
    if all || figure == Figure::Large {
        findings.merge(measure::large(setup, plan).await?);
    }
    if all || figure == Figure::Streams {
        findings.merge(measure::streams(setup, plan).await?);
    }
    if all || figure == Figure::Leak {
        findings.merge(measure::leak(setup, plan).await?);
    }
    if all || figure == Figure::Killed {
        findings.merge(measure::killed(setup, plan).await?);
    }
    if all || figure == Figure::EqualIds {
        findings.merge(measure::equal_ids(setup, plan).await?);
    }
    Ok(findings)
}

fn own_folder() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("cannot find this program's folder: give --bin-dir")?;
    program.parent().map(Into::into).context("this program has no folder: give --bin-dir")
}
