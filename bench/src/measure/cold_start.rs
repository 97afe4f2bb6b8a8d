//! The time from spawn to listening, of our own programs and of the floor's bridge.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::echo::TOOLS;
use crate::era::Era;
use crate::fleet::Setup;
use crate::process::Process;
use crate::report::{Bound, Findings};
use crate::stats::Estimate;
use crate::target::ours::{self, Mode};
use crate::target::{floor, free_addr};

use super::{Plan, progress};

/// Longer than this is a failed start.
const LIMIT: Duration = Duration::from_secs(10);

/// How often it is tried to connect.
const STEP: Duration = Duration::from_micros(200);

type Programs = [(&'static str, Option<Bound>, fn(&Setup, SocketAddr) -> anyhow::Result<Command>)];

const PROGRAMS: &Programs = &[
    ("sidecar", Some(Bound::AtMost(30.0)), |setup, addr| ours::sidecar_command(setup, addr, Mode::Shared, Era::Legacy)),
    ("gateway", Some(Bound::AtMost(50.0)), |setup, addr| {
        let servers =
            BTreeMap::from([("echo".to_owned(), ours::server(&setup.echo, Mode::Shared, Era::Legacy, TOOLS))]);
        ours::gateway_command(setup, addr, &servers)
    }),
    ("bridge", None, |setup, addr| Ok(floor::stdio_command(setup, &[addr.to_string()]))),
];

pub(crate) fn cold_start(setup: &Setup, plan: &Plan) -> Findings {
    let mut findings = Findings::default();
    let mut times = vec![Ok(Vec::new()); PROGRAMS.len()];
    for round in 0..plan.starts {
        progress(&format!("cold start, round {} of {}", round + 1, plan.starts));
        for ((role, _, command), times) in PROGRAMS.iter().zip(&mut times) {
            let Ok(values) = times else { continue };
            match time_start(setup, role, *command) {
                Ok(time) => values.push(time),
                Err(error) => *times = Err(format!("{error:#}")),
            }
        }
    }
    for ((role, bound, _), times) in PROGRAMS.iter().zip(times) {
        let name = format!("spawn to listening, {role}");
        match times {
            Ok(times) => findings.figure(name, "ms", Estimate::of(&times), *bound),
            Err(why) => findings.unmeasured(name, &anyhow::Error::msg(why)),
        }
    }
    findings
}

/// Milliseconds until a connection is accepted.
fn time_start(
    setup: &Setup,
    role: &'static str,
    command: fn(&Setup, SocketAddr) -> anyhow::Result<Command>,
) -> anyhow::Result<f64> {
    let addr = free_addr()?;
    let command = command(setup, addr)?;
    let spawned = Instant::now();
    let mut process = Process::start(role, command, setup.folder())?;
    while TcpStream::connect(addr).is_err() {
        process.check()?;
        ensure!(spawned.elapsed() < LIMIT, "it does not listen: {}", process.last_words());
        park_timeout(STEP);
    }
    Ok(spawned.elapsed().as_secs_f64() * 1e3)
}
