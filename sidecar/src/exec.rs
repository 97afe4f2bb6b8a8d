//! `mcp-sidecar exec`: starts processes for a `mcp-sidecar serve` that is in another container.
//!
//! It decides nothing: what to start, and when it is to end, the sidecar says. All that it has started ends with the
//! connection, whichever side ends that.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use runtime::shutdown::{Drain, Shutdown};
use rustix::process::Signal;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use wire::child::launcher::{Channel, Hidden, Order, Report, Role, Spawn};
use wire::child::{Exit, Process, Program, inherited_secrets, start};
use wire::logbook::Logbook;

use crate::args::ExecArgs;
use crate::memory;
use crate::source::find_program;
use crate::wrap::wrapper;

/// How long the first pause between attempts to connect is; each further one is twice as long, up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Signals that may wait for a process's task, which does nothing but take them.
const SIGNALS: usize = 8;

/// Starts what it is asked to, until the connection ends or it is told to stop and has waited long enough.
pub async fn exec(args: ExecArgs) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    let mut undertaker = JoinSet::new();
    undertaker.spawn(wire::child::tend_orphans());
    let work = run(&args, shutdown.drain());
    shutdown.run(args.drain_timeout, work).await?
}

async fn run(args: &ExecArgs, drain: Drain) -> anyhow::Result<()> {
    let stream = tokio::select! {
        stream = connect(&args.connect) => stream,
        () = drain.started() => return Ok(()),
    };
    let stream = stream.with_context(|| format!("cannot connect to the sidecar at {}", args.connect.display()))?;
    tracing::info!("connected to the sidecar");
    let (signals, tasks) = (HashMap::new(), JoinSet::new());
    let children = Children { role: args.role(), wrapper: wrapper(None)?, path: args.path.clone(), signals, tasks };
    tokio::select! {
        ended = children.serve(Channel::new(stream), drain.started()) => ended,
        () = drain.forced() => Ok(()),
    }
}

/// Connects as soon as somebody listens.
async fn connect(socket: &Path) -> io::Result<UnixStream> {
    let mut pause = FIRST_PAUSE;
    loop {
        match UnixStream::connect(socket).await {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                if pause == FIRST_PAUSE {
                    tracing::info!(socket = %socket.display(), "waiting for the sidecar");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            connected => return connected,
        }
    }
}

/// The processes that run, and what they are started by.
struct Children {
    role: Role,
    wrapper: Vec<std::ffi::OsString>,
    path: String,
    /// The ways to the tasks that own them.
    signals: HashMap<u64, mpsc::Sender<Signal>>,
    tasks: JoinSet<(u64, Exit)>,
}

impl Children {
    /// Does what the sidecar asks for until it closes the connection. When `stopping` is ready, tells it so.
    async fn serve(mut self, mut channel: Channel, stopping: impl Future<Output = ()>) -> anyhow::Result<()> {
        let secrets = Hidden(inherited_secrets().collect());
        let own = self.wrapper.first().and_then(|own| own.to_str()).unwrap_or_default().to_owned();
        tell(&channel, &Report::Hello { secrets, role: self.role, own }, &[]).await?;
        let mut stopping = std::pin::pin!(stopping);
        let mut told = false;
        loop {
            tokio::select! {
                order = channel.receive() => match order.context("cannot read what the sidecar asks for")? {
                    Some((Order::Spawn(spawn), _)) => self.spawn(&channel, spawn).await?,
                    Some((Order::Signal { id, signal }, _)) => self.signal(id, signal).await,
                    Some((Order::Done, _)) => {
                        tracing::info!("all is installed");
                        return Ok(());
                    }
                    Some((Order::Refuse { reason }, _)) => bail!("the sidecar refuses this launcher: {reason}"),
                    None if self.role == Role::Installer && !told => {
                        bail!("the sidecar has gone before all was installed");
                    }
                    None => {
                        tracing::info!("the sidecar has closed the connection");
                        return Ok(());
                    }
                },
                Some(Ok((id, exit))) = self.tasks.join_next() => {
                    self.signals.remove(&id);
                    let Exit { code, signal, out_of_memory } = exit;
                    tell(&channel, &Report::Exited { id, code, signal, out_of_memory }, &[]).await?;
                }
                () = &mut stopping, if !told => {
                    told = true;
                    tell(&channel, &Report::Drain, &[]).await?;
                }
            }
        }
    }

    async fn spawn(&mut self, channel: &Channel, spawn: Spawn) -> io::Result<()> {
        let id = spawn.id;
        let (process, ends) = match self.start(spawn) {
            Ok(started) => started,
            Err(error) => return tell(channel, &Report::Failed { id, error }, &[]).await,
        };
        let pid = process.pid().unwrap_or_default();
        let (signals, received) = mpsc::channel(SIGNALS);
        self.signals.insert(id, signals);
        self.tasks.spawn(tend(self.role, id, process, received));
        let fds: Vec<_> = ends.iter().map(|end| end.as_fd()).collect();
        tell(channel, &Report::Started { id, pid }, &fds).await
    }

    fn start(&self, spawn: Spawn) -> Result<(Process, Vec<OwnedFd>), String> {
        let Spawn { program, args, env: Hidden(env), directory, .. } = spawn;
        let path = env.iter().find(|(key, _)| key == "PATH").map_or(&self.path, |(_, path)| path);
        let found = find_program(Path::new(&program), path)
            .ok_or_else(|| format!("program `{program}` was not found in the server's container; looked in {path}"))?;
        let program = Program {
            name: program.into(),
            wrapper: self.wrapper.clone(),
            program: found,
            args: args.0.into_iter().map(Into::into).collect(),
            env,
            directory: directory.map(PathBuf::from),
            logbook: Logbook::default(),
            // Not read here.
            max_line: 0,
        };
        let advice = "see that it is there and may be run in the server's container";
        start(&program).map_err(|error| format!("program `{}`: {error}; {advice}", program.name))
    }

    async fn signal(&self, id: u64, signal: i32) {
        if let (Some(signals), Some(signal)) = (self.signals.get(&id), Signal::from_named_raw(signal)) {
            // It may have ended meanwhile.
            let _ = signals.send(signal).await;
        }
    }
}

/// Sends a report. That the sidecar is gone is seen where it is listened to.
async fn tell(channel: &Channel, report: &Report, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    match channel.send(report, fds).await {
        Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => Ok(()),
        sent => sent,
    }
}

/// Whether the kernel may have ended it, or what it stands for. An installation fails when one of its programs does; of
/// others that end after such a death in their container not all were meant.
fn may_be_killed(role: Role, exit: Exit) -> bool {
    let killed = exit.signal == Some(Signal::KILL.as_raw()) || exit.code == Some(128 + Signal::KILL.as_raw());
    killed || (role == Role::Installer && exit.code != Some(0))
}

/// Waits for the end of a process, and ends its group then.
async fn tend(role: Role, id: u64, mut process: Process, mut signals: mpsc::Receiver<Signal>) -> (u64, Exit) {
    let killed = memory::kills();
    loop {
        tokio::select! {
            exit = process.wait() => {
                process.kill_group();
                let out_of_memory = may_be_killed(role, exit) && memory::kills() > killed;
                return (id, Exit { out_of_memory, ..exit });
            }
            Some(signal) = signals.recv() => process.signal_group(signal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_is_looked_into_where_the_kernel_may_have_caused_it() {
        let exit = |code, signal| Exit { code, signal, out_of_memory: false };
        for (role, exit, expected) in [
            (Role::Server, exit(None, Some(9)), true),
            (Role::Server, exit(Some(137), None), true),
            (Role::Server, exit(Some(1), None), false),
            (Role::Server, exit(None, Some(15)), false),
            (Role::Installer, exit(Some(1), None), true),
            (Role::Installer, exit(Some(0), None), false),
        ] {
            assert_eq!(may_be_killed(role, exit), expected, "{role:?} {exit:?}");
        }
    }
}
