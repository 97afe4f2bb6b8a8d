//! The measurements, one file each; every one starts what it needs and ends it.

mod calls;
mod cold_start;
mod equal_ids;
mod eras;
mod idle;
mod killed;
mod large;
mod latency;
mod leak;
mod list;
mod parked;
mod plan;
mod routes;
mod series;
mod streams;
mod throughput;

use std::io::Write as _;

pub(crate) use self::cold_start::cold_start;
pub(crate) use self::equal_ids::equal_ids;
pub(crate) use self::eras::eras;
pub(crate) use self::idle::idle;
pub(crate) use self::killed::killed;
pub(crate) use self::large::large;
pub(crate) use self::latency::latency;
pub(crate) use self::leak::leak;
pub(crate) use self::list::list;
pub(crate) use self::plan::Plan;
pub(crate) use self::routes::routes;
pub(crate) use self::streams::streams;
pub(crate) use self::throughput::load;
use crate::load::as_f64;

const MIB: f64 = 1024.0 * 1024.0;

/// Says on stderr what is going on; the report goes to stdout.
fn progress(text: &str) {
    // Nobody is left to tell when stderr is gone.
    drop(writeln!(std::io::stderr(), "bench: {text}"));
}

/// How far memory has grown, in MiB; less than before is negative.
fn growth(before: u64, after: u64) -> f64 {
    (as_f64(after) - as_f64(before)) / MIB
}
