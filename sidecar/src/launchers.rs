//! Lets launchers in, one at a time.
//!
//! A launcher connects before there is any process that it could have started. While it is connected nobody else is let
//! in, so that no server can pose as a launcher; when it has gone, so have its processes, and another may come.

use std::convert::Infallible;
use std::fs::{Permissions, set_permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use runtime::listen::{ListenAddr, Listener, Stream};
use runtime::shutdown::Shutdown;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use wire::child::launcher::{Launcher, refuse};

use crate::state::State;

/// How long one that has just gone may take to be noticed, when the next is there already.
const CHANGE: Duration = Duration::from_millis(200);
/// How long is waited when the system is out of file descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// Who may come: the launcher is another user where the server's container has one of its own. All containers of a pod
/// have the group of its volumes.
const MODE: u32 = 0o660;

/// Listens for launchers.
pub fn door(path: &Path) -> anyhow::Result<Listener> {
    let door = ListenAddr::Unix(path.to_owned()).bind("--launcher")?;
    let opened = set_permissions(path, Permissions::from_mode(MODE));
    opened.with_context(|| format!("cannot let the group connect to {}", path.display()))?;
    Ok(door)
}

/// Admits launchers for ever. One that is told to stop has this program stop as well, by way of `shutdown`.
pub async fn admit(door: Listener, launcher: Launcher, state: State, shutdown: Shutdown) -> Infallible {
    let (mut current, mut refusals) = (JoinSet::new(), JoinSet::new());
    loop {
        let stream = match door.accept().await {
            Ok((Stream::Right(stream), _)) => stream,
            // There are only Unix sockets here.
            Ok((Stream::Left(_), _)) => continue,
            Err(error) => {
                tracing::warn!(%error, "no launcher can be let in");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Those that have been told are forgotten.
        while refusals.try_join_next().is_some() {}
        if !current.is_empty() && timeout(CHANGE, current.join_next()).await.is_err() {
            tracing::warn!("a second launcher is refused");
            refusals.spawn(refuse(stream, "another launcher is connected; stop that one first"));
            continue;
        }
        current.spawn(attend(stream, launcher.clone(), state.clone(), shutdown.clone()));
    }
}

async fn attend(stream: UnixStream, launcher: Launcher, state: State, shutdown: Shutdown) {
    let connected = || {
        tracing::info!("a launcher has connected");
        state.retry.notify_one();
    };
    let ended: io::Result<()> = launcher.attend(stream, connected, || shutdown.begin("the launcher is stopping")).await;
    match ended {
        Ok(()) => tracing::info!("the launcher has gone"),
        Err(error) => tracing::warn!(%error, "the connection to the launcher was closed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_launcher_may_be_another_user_of_the_group() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("launcher.sock");
        let _door = door(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, MODE);
    }
}
