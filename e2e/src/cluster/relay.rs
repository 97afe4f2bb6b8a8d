//! A way to the API server that counts what is written, and can hold back one write: for a program that is to die at that
//! moment.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, client, server};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::harness::{Launch, Program};

/// What is written at all times, and to no purpose of the program's own.
const ASIDE: [&str; 2] = ["/leases", "/events"];

/// Which write is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// Its number, from 1 on.
    pub write: usize,
    /// Whether it takes effect, and only its answer is held back.
    pub effective: bool,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Relay {
    kubeconfig: NamedTempFile,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
    /// What knows the way and has the credentials.
    _proxy: Program,
}

#[derive(Debug, Default)]
struct Shared {
    /// The address of the proxy behind.
    behind: String,
    writes: AtomicUsize,
    hold: Mutex<Option<Hold>>,
    held: AtomicBool,
    /// To the proxy.
    connections: Mutex<JoinSet<()>>,
}

impl Relay {
    /// To the cluster of the test, with the test's own rights.
    ///
    /// # Errors
    /// When `kubectl proxy` does not start.
    pub async fn start() -> Result<Self> {
        let proxy = Launch::program("kubectl").args(["proxy", "--port=0"]).spawn()?;
        let line = proxy.wait_output("Starting to serve on").await?;
        let behind = line.split_whitespace().last().context("kubectl proxy says no address")?.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let kubeconfig = NamedTempFile::new()?;
        let server = format!("http://{}", listener.local_addr()?);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "relay",
            "clusters": [{"name": "relay", "cluster": {"server": server}}],
            "users": [{"name": "relay", "user": {}}],
            "contexts": [{"name": "relay", "context": {"cluster": "relay", "user": "relay"}}],
        });
        std::fs::write(kubeconfig.path(), config.to_string())?;
        let shared = Arc::new(Shared { behind, ..Shared::default() });
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self { kubeconfig, shared, _tasks: tasks, _proxy: proxy })
    }

    /// The file that leads a program here.
    pub fn kubeconfig(&self) -> String {
        self.kubeconfig.path().to_string_lossy().into_owned()
    }

    /// How many writes there were since it was last told what to hold.
    pub fn writes(&self) -> usize {
        self.shared.writes.load(Ordering::Relaxed)
    }

    /// Counts from the beginning, and holds a write back or none.
    pub fn hold(&self, hold: Option<Hold>) {
        *self.shared.hold.lock().unwrap_or_else(PoisonError::into_inner) = hold;
        self.shared.held.store(false, Ordering::Relaxed);
        self.shared.writes.store(0, Ordering::Relaxed);
    }

    /// Whether that write has come: whoever made it waits for an answer that will not come.
    pub fn has_held(&self) -> bool {
        self.shared.held.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(|request| {
                let shared = Arc::clone(&shared);
                async move { shared.pass(request).await }
            });
            // Whoever is killed leaves it broken.
            let _ = server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

impl Shared {
    async fn pass(&self, request: Request<Incoming>) -> Result<Response<Incoming>> {
        let hold = self.note(&request);
        if hold.is_some_and(|hold| !hold.effective) {
            self.wait().await;
        }
        let stream = TcpStream::connect(&self.behind).await?;
        let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await?;
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
            // It breaks with the program that is killed.
            let _ = connection.await;
        });
        let answer = sender.send_request(request).await?;
        if hold.is_some() {
            self.wait().await;
        }
        Ok(answer)
    }

    /// Counts a write; what is to be done with this one.
    fn note(&self, request: &Request<Incoming>) -> Option<Hold> {
        let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
        if reads || ASIDE.iter().any(|part| request.uri().path().contains(part)) {
            return None;
        }
        let number = self.writes.fetch_add(1, Ordering::Relaxed) + 1;
        let hold = *self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        hold.filter(|hold| hold.write == number)
    }

    async fn wait(&self) {
        self.held.store(true, Ordering::Relaxed);
        std::future::pending::<()>().await;
    }
}
