//! Measures what the gateway and the sidecar cost, as ratios within one run.
//!
//! Three programs: `bench` (load generator and judge), `bench-echo` (the child behind every target) and
//! `bench-floor` (the least a bridge and a proxy can be). Start at [`cli::run`]; the method is told in `README.md`.
//!
//! What it deliberately does not do: it knows nothing of the crates it measures. It starts their release binaries and
//! speaks to them as any client would, so that a mistake shared with them cannot hide.

pub mod cli;
pub mod echo;
pub mod floor;

mod addr;
mod cores;
mod envelope;
mod era;
mod fleet;
mod http;
mod load;
mod machine;
mod measure;
mod process;
mod procfs;
mod report;
mod session;
mod sse;
mod stats;
mod target;
