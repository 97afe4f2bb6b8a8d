//! One sidecar process: started, listened to, and ended.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use runtime::limits;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use wire::spec::{Launch, OWN_VARIABLES};
use wire::status::{Phase, Status};

use super::LocalSettings;
use super::leftovers::{Kept, Own};
use crate::keys::hex;
use crate::sidecar::Statuses;
use crate::store::Uid;

/// How often a sidecar that was just started is tried.
const CONNECT_PAUSE: Duration = Duration::from_millis(5);
/// How long it may take to listen.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A sidecar that starts holds its turn until its server is up, though not longer than this: one that hangs, or fetches
/// a package, keeps no other waiting.
const TURN: Duration = Duration::from_secs(5);
/// What a sidecar gets beyond the drain timeout before it is killed.
const LAST_MOMENTS: Duration = Duration::from_secs(5);

/// What happens to an instance.
#[derive(Debug)]
pub(super) enum Happening {
    /// It listens.
    Listening,
    /// It says how its server is.
    Status(Arc<Status>),
    /// Its process has ended; nothing follows.
    Ended(String),
}

/// A happening, and whose it is.
pub(super) type Report = (Uid, Happening);

/// Starts sidecars, a few at a time.
#[derive(Clone, Debug)]
pub struct Sidecars {
    settings: Arc<LocalSettings>,
    turns: Arc<Semaphore>,
    own: Own,
}

/// An instance to be run.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) uid: Uid,
    pub(super) launch: Launch,
    /// Waits before it starts.
    pub(super) pause: Duration,
    /// Ends it in order when cancelled.
    pub(super) stop: CancellationToken,
    pub(super) reports: mpsc::Sender<Report>,
}

impl Sidecars {
    /// Starts at most `at_once` at a time; those that are up do not count.
    pub fn new(settings: Arc<LocalSettings>, at_once: usize) -> Self {
        Self { settings, turns: Arc::new(Semaphore::new(at_once)), own: Own::default() }
    }

    /// Where an instance listens.
    pub(super) fn socket(&self, uid: Uid) -> PathBuf {
        self.settings.sockets.join(hex(&uid.as_bytes()[..8]))
    }

    /// Runs an instance to its end.
    pub(super) async fn run(self, instance: Instance) {
        let Instance { uid, launch, pause, stop, reports } = instance;
        let socket = self.socket(uid);
        let ended = async {
            let turn = async {
                tokio::time::sleep(pause).await;
                Arc::clone(&self.turns).acquire_owned().await
            };
            let Some(turn) = stop.run_until_cancelled(turn).await else {
                return "stopped before it was started".to_owned();
            };
            let mut process = match stop.run_until_cancelled(self.start(&launch, uid, &socket)).await {
                Some(Ok(process)) => process,
                None => return "stopped while it was started".to_owned(),
                Some(Err(error)) => return format!("cannot run {}: {error}", self.settings.sidecar.display()),
            };
            let (up, is_up) = oneshot::channel();
            let turn = async {
                // Whether it is up, or has gone, or takes too long: the next may start.
                drop(tokio::time::timeout(TURN, is_up).await);
                drop(turn);
            };
            let watch = async {
                tokio::join!(turn, watch(uid, &socket, &reports, up));
                // A sidecar that cannot be watched any more is about to end, or is of no use.
                tokio::time::sleep(CONNECT_LIMIT).await;
            };
            tokio::select! {
                status = process.child.wait() => format!("its sidecar ended by itself ({}); the gateway's log says more", describe(status)),
                () = watch => process.stop(LAST_MOMENTS).await,
                () = stop.cancelled() => process.stop(self.settings.drain_timeout + LAST_MOMENTS).await,
            }
        }
        .await;
        let own = self.own.clone();
        let leftovers = move || {
            own.sweep();
            // It may never have been made.
            drop(std::fs::remove_file(&socket));
        };
        // It fails when the runtime ends, and all of this with it.
        drop(tokio::task::spawn_blocking(leftovers).await);
        // The controller may have ended.
        drop(reports.send((uid, Happening::Ended(ended))).await);
    }

    async fn start(&self, launch: &Launch, uid: Uid, socket: &Path) -> io::Result<Sidecar> {
        let LocalSettings { sidecar, max_message_bytes, drain_timeout, log, .. } = &*self.settings;
        let mut command = Command::new(sidecar);
        command.args(log).args(["serve", "--supervised", "--listen"]).arg(format!("unix:{}", socket.display()));
        command.args(["--instance", &uid.to_string()]);
        command.args(["--max-message-bytes", &max_message_bytes.to_string()]);
        command.args(["--drain-timeout", &format!("{}ms", drain_timeout.as_millis())]);
        command.args(limits::inherited_open_files().map(|soft| format!("--open-files={soft}")));
        // The environment is the servers' too; what the sidecar would take for its own settings was meant for the gateway.
        for name in OWN_VARIABLES {
            command.env_remove(name);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0).kill_on_drop(true);
        let (mut child, kept) = self.own.spawn(&mut command)?;
        let mut lifeline = child.stdin.take().ok_or_else(|| io::Error::other("it has no standard input"))?;
        let mut line = serde_json::to_vec(launch)?;
        line.push(b'\n');
        // More than a pipe holds waits for a sidecar that may never read it.
        tokio::time::timeout(CONNECT_LIMIT, lifeline.write_all(&line)).await??;
        Ok(Sidecar { child, lifeline: Some(lifeline), _kept: kept })
    }
}

/// A running sidecar. It ends when the lifeline does, however this process ends.
struct Sidecar {
    child: Child,
    lifeline: Option<ChildStdin>,
    _kept: Kept,
}

impl Sidecar {
    /// Asks it to finish its calls and end; kills it when it takes longer than `limit`.
    async fn stop(&mut self, limit: Duration) -> String {
        if let Some(lifeline) = &mut self.lifeline {
            // It may have ended already.
            drop(lifeline.write_all(b"drain\n").await);
        }
        if let Ok(status) = tokio::time::timeout(limit, self.child.wait()).await {
            return format!("stopped ({})", describe(status));
        }
        self.lifeline = None;
        drop(tokio::time::timeout(LAST_MOMENTS, self.child.wait()).await);
        drop(self.child.kill().await);
        "killed: it did not stop in time".to_owned()
    }
}

fn describe(status: io::Result<std::process::ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// Follows the sidecar's status for as long as it tells it. Says when its server is `up`, or has failed.
async fn watch(uid: Uid, socket: &Path, reports: &mpsc::Sender<Report>, up: oneshot::Sender<()>) {
    let Some(stream) = connect(socket).await else { return };
    drop(reports.send((uid, Happening::Listening)).await);
    let Ok((mut requests, connection)) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await else {
        return;
    };
    let follow = async {
        let request = Request::get("/status?watch").header("host", "sidecar").body(Empty::<bytes::Bytes>::new());
        let Ok(request) = request else { return };
        let Ok(response) = requests.send_request(request).await else { return };
        let mut up = Some(up);
        let mut statuses = Statuses::new(response.into_body());
        while let Some(status) = statuses.next().await {
            up = up.filter(|_| matches!(status.phase, Phase::Starting | Phase::Installing));
            drop(reports.send((uid, Happening::Status(Arc::new(status)))).await);
        }
    };
    tokio::select! {
        () = follow => {}
        _ = connection => {}
    }
}

async fn connect(socket: &Path) -> Option<UnixStream> {
    let end = tokio::time::Instant::now() + CONNECT_LIMIT;
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return Some(stream),
            Err(_) if tokio::time::Instant::now() < end => tokio::time::sleep(CONNECT_PAUSE).await,
            Err(_) => return None,
        }
    }
}
