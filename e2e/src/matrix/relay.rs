//! A network in front of the gateway that breaks: the connection that carries the first of seven steps of a call is closed right
//! behind it. The checks of resumption make such calls, and no others do.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What is kept of the bytes before: longer than the event that is looked for.
const KEPT: usize = 1024;

/// See the [module](self). It ends with this value.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    broken: Arc<AtomicUsize>,
    _accept: JoinSet<()>,
}

impl Relay {
    /// In front of what is at `origin`, `http://ADDRESS`.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn before(origin: &str) -> Result<Self> {
        let behind = origin.strip_prefix("http://").context("it is no origin")?.trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, broken) = (listener.local_addr()?, Arc::new(AtomicUsize::new(0)));
        let mut accept = JoinSet::new();
        accept.spawn(serve(listener, behind, Arc::clone(&broken)));
        Ok(Self { address, broken, _accept: accept })
    }

    /// The URL of `path` through this.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many connections were broken.
    pub fn broken(&self) -> usize {
        self.broken.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, behind: String, broken: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (behind, broken) = (behind.clone(), Arc::clone(&broken));
        connections.spawn(async move {
            // Either side may leave at any time.
            let _ = pass(client, &behind, &broken).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn pass(client: TcpStream, behind: &str, broken: &AtomicUsize) -> io::Result<()> {
    let server = TcpStream::connect(behind).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    tokio::select! {
        asked = copy(&mut from_client, &mut to_server) => asked.map(drop),
        told = tell(from_server, to_client, broken) => told,
    }
}

async fn tell(mut server: OwnedReadHalf, mut client: OwnedWriteHalf, broken: &AtomicUsize) -> io::Result<()> {
    let (mut seen, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let read = server.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let before = seen.len();
        seen.extend_from_slice(&buffer[..read]);
        if let Some(end) = end_of_first_of_seven(&seen) {
            client.write_all(&seen[before.min(end)..end]).await?;
            broken.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        client.write_all(&buffer[..read]).await?;
        seen.drain(..seen.len().saturating_sub(KEPT));
    }
}

/// Where the event ends that says so, if it is all there.
fn end_of_first_of_seven(bytes: &[u8]) -> Option<usize> {
    let has = |event: &[u8], text: &str| event.windows(text.len()).any(|window| window == text.as_bytes());
    let mut start = 0;
    while let Some(length) = bytes[start..].windows(2).position(|window| window == b"\n\n") {
        let event = &bytes[start..start + length];
        start += length + 2;
        if event.len() < KEPT && has(event, r#""progress":1"#) && has(event, r#""total":7"#) {
            return Some(start);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_of_seven_is_told_from_others_once_it_is_whole() {
        let event = |progress: &str, total: &str| format!("data: {{\"progress\":{progress},\"total\":{total}}}\n\n");
        let end = |text: &str| end_of_first_of_seven(text.as_bytes());
        for (progress, total) in [("1", "7"), ("1.0", "7.0")] {
            let (before, it) = (format!("{}\r\n", event("4", "4")), event(progress, total));
            assert_eq!(end(&format!("{before}{it}{}", event("2", "7"))), Some(before.len() + it.len()));
            assert_eq!(end(it.trim_end()), None);
        }
        assert_eq!(end(&format!("{}{}", event("2", "7"), event("1", "4"))), None);
    }
}
