//! One sidecar process: started, listened to, and ended.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use mcp::sse::Decoder;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use wire::spec::Launch;
use wire::status::{Phase, Status};

use super::LocalSettings;
use crate::store::Uid;

/// How often a sidecar that was just started is tried.
const CONNECT_PAUSE: Duration = Duration::from_millis(5);
/// How long it may take to listen.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A sidecar that starts holds its turn until its server is up, though not longer than this.
const TURN: Duration = Duration::from_secs(20);
/// The largest status; a catalogue of thousands of tools has some megabytes.
const MAX_STATUS: usize = 64 << 20;
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
        Self { settings, turns: Arc::new(Semaphore::new(at_once)) }
    }

    /// Where an instance listens.
    pub(super) fn socket(&self, uid: Uid) -> PathBuf {
        let short: String = uid.as_bytes().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        self.settings.sockets.join(short)
    }

    /// Runs an instance to its end.
    pub(super) async fn run(self, instance: Instance) {
        let Instance { uid, launch, pause, stop, reports } = instance;
        let socket = self.socket(uid);
        let ended = async {
            tokio::select! {
                () = stop.cancelled() => return "stopped before it was started".to_owned(),
                () = tokio::time::sleep(pause) => {}
            }
            let turn = Arc::clone(&self.turns).acquire_owned().await;
            let mut process = match self.start(&launch, &socket).await {
                Ok(process) => process,
                Err(error) => return format!("cannot run {}: {error}", self.settings.sidecar.display()),
            };
            let mut watch = std::pin::pin!(async {
                let turn = turn;
                watch(uid, &socket, &reports, turn).await;
                // A sidecar that cannot be watched any more is about to end, or is of no use.
                tokio::time::sleep(CONNECT_LIMIT).await;
            });
            tokio::select! {
                status = process.child.wait() => format!("its sidecar ended by itself ({})", describe(status)),
                () = &mut watch => process.stop(LAST_MOMENTS).await,
                () = stop.cancelled() => {
                    let limit = self.settings.drain_timeout + LAST_MOMENTS;
                    tokio::select! {
                        ended = process.stop(limit) => ended,
                        () = watch => "stopped".to_owned(),
                    }
                }
            }
        }
        .await;
        // What a killed sidecar left behind was handed to this process.
        wire::child::sweep_orphans(None);
        // It may never have been made.
        drop(std::fs::remove_file(&socket));
        // The controller may have ended.
        drop(reports.send((uid, Happening::Ended(ended))).await);
    }

    async fn start(&self, launch: &Launch, socket: &Path) -> io::Result<Sidecar> {
        let LocalSettings { sidecar, max_message_bytes, drain_timeout, log, .. } = &*self.settings;
        let mut command = Command::new(sidecar);
        command.args(log).args(["serve", "--supervised", "--listen"]).arg(format!("unix:{}", socket.display()));
        command.args(["--max-message-bytes", &max_message_bytes.to_string()]);
        command.args(["--drain-timeout", &format!("{}ms", drain_timeout.as_millis())]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0).kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut lifeline = child.stdin.take().ok_or_else(|| io::Error::other("it has no standard input"))?;
        let mut line = serde_json::to_vec(launch)?;
        line.push(b'\n');
        lifeline.write_all(&line).await?;
        Ok(Sidecar { child, lifeline: Some(lifeline) })
    }
}

/// A running sidecar. It ends when the lifeline does, however this process ends.
struct Sidecar {
    child: Child,
    lifeline: Option<ChildStdin>,
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

/// Follows the sidecar's status for as long as it tells it.
async fn watch(
    uid: Uid,
    socket: &Path,
    reports: &mpsc::Sender<Report>,
    turn: Result<tokio::sync::OwnedSemaphorePermit, tokio::sync::AcquireError>,
) {
    let Some(stream) = connect(socket).await else { return };
    drop(reports.send((uid, Happening::Listening)).await);
    let Ok((mut requests, connection)) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await else {
        return;
    };
    let follow = async {
        let request = Request::get("/status?watch").header("host", "sidecar").body(Empty::<bytes::Bytes>::new());
        let Ok(request) = request else { return };
        let Ok(response) = requests.send_request(request).await else { return };
        let (mut body, mut decoder) = (response.into_body(), Decoder::new(MAX_STATUS));
        let mut turn = Some((turn, tokio::time::Instant::now() + TURN));
        while let Some(Ok(frame)) = body.frame().await {
            frame.into_data().into_iter().for_each(|data| decoder.push(data));
            // Only the newest counts.
            let newest = decoder.by_ref().filter_map(Result::ok).last();
            let status = newest.and_then(|event| serde_json::from_slice::<Status>(&event.data).ok());
            let Some(status) = status else { continue };
            turn = turn.filter(|(_, end)| {
                matches!(status.phase, Phase::Starting | Phase::Installing) && *end > tokio::time::Instant::now()
            });
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
