//! The floor: what remains of a bridge and of a proxy when everything but the forwarding is left out.
//!
//! No limits, no sessions, no timeouts, no checks: nothing here is fit for use, and that is its purpose.

mod bridge;
mod memory;
mod proxy;

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use hyper::body::{Body, Incoming};
use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::addr::{Addr, Listener};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The least that a stdio bridge, a proxy and a server from memory can be.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    #[command(subcommand)]
    role: Role,
    /// Exit when standard input ends, so that the program cannot outlive its parent
    #[arg(long, global = true)]
    lifeline: bool,
    /// Threads that run tasks; one is fastest where cores are few
    #[arg(long, global = true, default_value_t = 1)]
    threads: usize,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Bridges HTTP to one child's stdin and stdout
    Stdio {
        /// HOST:PORT or unix:PATH; may be repeated
        #[arg(long, required = true)]
        listen: Vec<Addr>,
        /// The child's command line
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Passes HTTP on through a pool of connections
    Proxy {
        #[arg(long)]
        listen: Addr,
        #[arg(long)]
        to: Addr,
    },
    /// Answers every POST with the bytes of a file
    Memory {
        #[arg(long)]
        listen: Addr,
        #[arg(long)]
        file: PathBuf,
        #[arg(long)]
        content_type: String,
    },
}

/// Serves until killed, or until standard input ends when told to watch it.
pub fn run(args: Args) -> anyhow::Result<()> {
    let mut runtime = match args.threads {
        0 | 1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    runtime.worker_threads(args.threads.max(1)).enable_all().build()?.block_on(serve_role(args))
}

async fn serve_role(args: Args) -> anyhow::Result<()> {
    let role = async {
        match args.role {
            Role::Stdio { listen, command } => bridge::run(listen, command).await,
            Role::Proxy { listen, to } => proxy::run(&listen, to).await,
            Role::Memory { listen, file, content_type } => memory::run(&listen, &file, &content_type).await,
        }
    };
    if !args.lifeline {
        return role.await;
    }
    tokio::select! {
        outcome = role => outcome,
        () = end_of_input() => Ok(()),
    }
}

/// Waits in a thread of its own: one of the runtime's would keep it from shutting down.
async fn end_of_input() {
    let (ended, wait) = oneshot::channel();
    std::thread::spawn(move || {
        let drained = io::copy(&mut io::stdin().lock(), &mut io::sink());
        ended.send(drained)
    });
    drop(wait.await);
}

/// Serves HTTP/1.1 on `addr`, a task per connection, for as long as the program lives.
async fn serve<H, F, B>(addr: &Addr, handle: H) -> anyhow::Result<()>
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let listener = addr.bind().await.with_context(|| format!("cannot listen on {addr}"))?;
    let connections = TaskTracker::new();
    loop {
        match &listener {
            Listener::Tcp(tcp) => {
                let (stream, _) = tcp.accept().await?;
                stream.set_nodelay(true)?;
                connections.spawn(connection(TokioIo::new(stream), handle.clone()));
            }
            Listener::Unix(unix) => {
                let (stream, _) = unix.accept().await?;
                connections.spawn(connection(TokioIo::new(stream), handle.clone()));
            }
        }
    }
}

async fn connection<I, H, F, B>(io: I, handle: H)
where
    I: Read + Write + Unpin,
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: Body<Error: Into<BoxError>> + 'static,
{
    let service = service_fn(move |request| {
        let response = handle(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    // A client that leaves is no fault, and the client counts what it missed.
    drop(hyper::server::conn::http1::Builder::new().serve_connection(io, service).await);
}
