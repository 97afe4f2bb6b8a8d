//! `bench-echo`: the stdio MCP server behind every target.

use std::io::{self, BufReader, BufWriter};

use clap::Parser;

/// The plainest stdio MCP server: tools `echo`, `blob`, `stall` and `ask`, and as many more as asked for.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// How many tools tools/list names
    #[arg(long, default_value_t = bench::echo::TOOLS, value_parser = clap::value_parser!(u16).range(i64::from(bench::echo::TOOLS)..))]
    tools: u16,
    /// What it speaks, and nothing else
    #[arg(long, value_enum, default_value_t = bench::echo::Era::Legacy)]
    era: bench::echo::Era,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let input = BufReader::with_capacity(64 * 1024, io::stdin().lock());
    let output = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    bench::echo::serve(input, output, args.tools, args.era)
}
