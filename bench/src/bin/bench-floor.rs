//! `bench-floor`: what a bridge, a proxy and a file in memory cost when they do nothing else.

use clap::Parser as _;

fn main() -> anyhow::Result<()> {
    bench::floor::run(bench::floor::Args::parse())
}
