//! Whole systems of the session layer's state machines, run through thousands of schedules.
//!
//! A world is one server connection ([`mcp::session::mux::Mux`]), the clients that talk over it (each with its
//! [`mcp::session::streams::Streams`]) and a server. Everybody does whatever they may do, in any order: answers come
//! late, twice or never, connections break and are resumed, servers die. What must hold all the same is checked at
//! every step by [`simulation::ledger`] and by the two ends.
//!
//! There is no clock, thread or socket in it: a seed decides everything, so what failed once fails again.
//! `SIM_SEEDS=10000` runs as many seeds; `SIM_SEED=17` runs that one and tells its steps, as is done for one that fails.

use std::panic::catch_unwind;

use self::simulation::world::World;

#[cfg(test)]
mod simulation {
    pub(crate) mod client;
    pub(crate) mod ledger;
    pub(crate) mod rng;
    pub(crate) mod server;
    pub(crate) mod world;
}

/// As many as take a few seconds in a debug build.
const SEEDS: u64 = 1000;

#[test]
fn every_schedule_keeps_the_promises() {
    let one = setting("SIM_SEED");
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..setting("SIM_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        if one.is_some() || catch_unwind(|| World::run(seed, false)).is_err() {
            eprintln!("the steps of seed {seed}:");
            World::run(seed, true);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test has no command line of its own")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}
