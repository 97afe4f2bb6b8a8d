//! Accepting that neither fails nor takes more connections than there is room for.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep},
};

use crate::listen::{Listener, Peer, Stream};

/// The pause after an error that is not about one connection: no open files left, most of all.
const PAUSE: Duration = Duration::from_millis(100);

/// Trouble that lasts is logged so often.
const LOG_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Acceptor {
    listener: Listener,
    permits: Arc<Semaphore>,
    logged: Option<Instant>,
}

impl Acceptor {
    pub(super) fn new(listener: Listener, max_connections: usize) -> Self {
        Self { listener, permits: Arc::new(Semaphore::new(max_connections)), logged: None }
    }

    /// The next connection, and the permit that it holds while it is open. Cancel-safe.
    pub(super) async fn next(&mut self) -> (Stream, Peer, OwnedSemaphorePermit) {
        let permit = self.permit().await;
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => return (stream, peer, permit),
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    if self.may_log() {
                        tracing::warn!(%error, "failed to accept a connection, trying again");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn permit(&mut self) -> OwnedSemaphorePermit {
        if self.permits.available_permits() == 0 && self.may_log() {
            tracing::warn!("as many connections as allowed are open, new ones wait");
        }
        let permits = Arc::clone(&self.permits);
        let permit = permits.acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }

    fn may_log(&mut self) -> bool {
        let now = Instant::now();
        let due = self.logged.is_none_or(|last| now - last >= LOG_EVERY);
        if due {
            self.logged = Some(now);
        }
        due
    }
}

/// Whether the error is that of a connection which was over before it was accepted, accept(2).
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable
            | ErrorKind::Interrupted
            | ErrorKind::TimedOut
    )
}
