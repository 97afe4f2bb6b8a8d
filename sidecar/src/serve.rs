//! `mcp-sidecar serve`: puts the parts together, and takes them apart in order.

use std::io::Write as _;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::middleware::from_fn_with_state;
use prometheus_client::registry::Registry as Metrics;
use runtime::accept::Server as HttpServer;
use runtime::exit::UsageError;
use runtime::listen::ListenAddr;
use runtime::readiness::Readiness;
use runtime::shutdown::{Drain, Shutdown};
use runtime::{admin, metrics as process_metrics};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::task::JoinSet;
use wire::child::Program;
use wire::front::{self, Settings};
use wire::guard::{Guard, guard};
use wire::hub::Stop;
use wire::link::Connect;
use wire::logbook::Logbook;
use wire::spec::{Launch, Source};
use wire::status::Phase;

use crate::args::ServeArgs;
use crate::http::{self, Keys};
use crate::package::Packages;
use crate::probe::{self, Limits};
use crate::server::Server;
use crate::source::Processes;
use crate::state::State;

/// The most requests and streams at a time on the one connection that the gateway holds.
const MAX_STREAMS: u32 = 20_000;

/// Serves until told to stop.
pub async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    let launch = if args.supervised { supervised(&shutdown).await? } else { args.launch() };
    let keys = keys(&args)?;
    let (state, logbook) = (State::default(), Logbook::default());
    match launch.source.clone() {
        Source::Command { command, args: words, env } => {
            let program = Program {
                name: launch.name.as_str().into(),
                wrapper: wrapper()?,
                program: command.into(),
                args: words.into_iter().map(Into::into).collect(),
                env: env.into_iter().collect(),
                directory: None,
                logbook: logbook.clone(),
                max_line: args.max_message_bytes,
            };
            let packages = Packages {
                directory: args.packages(),
                path: args.path.clone(),
                timeout: launch.process.install_timeout,
            };
            let source = Arc::new(Processes::new(program, packages, launch.process.warm_spares, state.clone()));
            let warm = Arc::clone(&source);
            let parts = Parts { args, launch, keys, state, logbook };
            parts.run(Arc::clone(&source), move || warm.warm(), &shutdown).await?;
            source.stop().await;
        }
        Source::Url { .. } => anyhow::bail!(UsageError::new("--url is not served yet")),
    }
    wire::child::sweep_orphans(None);
    Ok(())
}

struct Parts {
    args: ServeArgs,
    launch: Launch,
    keys: Keys,
    state: State,
    logbook: Logbook,
}

impl Parts {
    async fn run<C: Connect>(
        self,
        source: Arc<C>,
        works: impl Fn() + Send + Sync + 'static,
        shutdown: &Shutdown,
    ) -> anyhow::Result<()> {
        let drain = shutdown.drain();
        let stop = Stop::default();
        let server = Server::new(&self.launch, source, self.state.clone(), stop.clone());
        let listener = self.args.listen.bind("--listen")?;
        let admin = self.args.admin.bind()?;
        announce(&listener.local_addr()?)?;
        let readiness = Readiness::new(drain.clone());
        let routes = self.routes(&server, &readiness, drain.clone());
        let limits = Limits {
            start: self.launch.process.install_timeout + self.launch.process.startup_timeout,
            request: self.launch.process.request_timeout,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(probe::run(server.clone(), self.state.clone(), limits, works));
        tasks.spawn(mirror(self.state.clone(), readiness.clone()));
        let work = async {
            let http = HttpServer::new(listener).max_streams(MAX_STREAMS).serve(routes, drain.clone());
            let drained = async {
                drain.started().await;
                tasks.shutdown().await;
                stop.drain.cancel();
                tokio::select! {
                    () = server.ended() => {}
                    () = drain.forced() => {
                        stop.now.cancel();
                        server.ended().await;
                    }
                }
            };
            tokio::join!(http, drained);
        };
        let admin_routes = admin::routes(&readiness, Arc::new(metrics(&self.state)));
        shutdown.run(self.args.drain_timeout, admin::beside(admin, admin_routes, work)).await?;
        Ok(())
    }

    fn routes<C: Connect>(&self, server: &Server<C>, readiness: &Readiness, drain: Drain) -> Router {
        let settings = Settings { max_body: self.args.max_message_bytes, message_path: "/message".to_owned() };
        // Where a key is demanded, or only the gateway can connect, the name it is called by does not matter.
        let any_host = !self.keys.is_empty() || matches!(self.args.listen, ListenAddr::Unix(_));
        let lists = Guard::new(any_host, self.args.public_host.clone(), self.args.allowed_origin.clone());
        front::router(server.clone(), settings)
            .merge(http::routes(self.state.clone(), self.logbook.clone(), drain))
            .layer(from_fn_with_state(self.keys.clone(), http::identify))
            .merge(admin::health_routes(readiness))
            .layer(from_fn_with_state(lists, guard))
    }
}

/// Reads what to serve from standard input, whose end means that the parent has ended, or wants this to.
async fn supervised(shutdown: &Shutdown) -> anyhow::Result<Launch> {
    let input = rustix::stdio::stdin().try_clone_to_owned().and_then(pipe::Receiver::from_owned_fd);
    let mut input = BufReader::new(input.context("standard input is not a pipe")?);
    let mut line = String::new();
    input.read_line(&mut line).await.context("cannot read what to serve from standard input")?;
    let launch =
        serde_json::from_str(&line).map_err(UsageError::new).context("standard input says not what to serve")?;
    tokio::spawn(lifeline(input, shutdown.clone()));
    Ok(launch)
}

/// Begins the stop when the parent's end of the pipe is closed, which happens however the parent ends.
async fn lifeline(mut input: BufReader<pipe::Receiver>, shutdown: Shutdown) {
    let mut rest = [0; 64];
    while matches!(input.read(&mut rest).await, Ok(1..)) {}
    shutdown.begin("the supervisor has gone or asked for it");
}

fn keys(args: &ServeArgs) -> anyhow::Result<Keys> {
    let keys = match &args.key_file {
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(UsageError::new);
            Keys::parse(&text.with_context(|| format!("cannot read the keys in {}", file.display()))?)
        }
        None => Keys::default(),
    };
    if keys.is_empty() && !args.listen.is_loopback() {
        let text = format!(
            "listening on {} lets everybody who can reach this machine use the server; give --key-file with at least \
             one key, or listen on 127.0.0.1",
            args.listen
        );
        anyhow::bail!(UsageError::new(text));
    }
    Ok(keys)
}

/// What processes are started through, so that they end with this one.
fn wrapper() -> anyhow::Result<Vec<std::ffi::OsString>> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    Ok(vec![own.into(), "wrap".into(), std::process::id().to_string().into()])
}

/// Says on standard output where clients connect, for people and for programs that chose port 0.
fn announce(addr: &ListenAddr) -> anyhow::Result<()> {
    let text = match addr {
        ListenAddr::Unix(_) => format!("listening on {addr}"),
        ListenAddr::Tcp(_) | ListenAddr::AllInterfaces(_) => format!("listening on http://{addr}"),
    };
    writeln!(std::io::stdout(), "{text}").context("cannot write to standard output")
}

/// Keeps the readiness in step with the status.
async fn mirror(state: State, readiness: Readiness) {
    let mut status = state.follow();
    let mut token = Some(readiness.token("server"));
    loop {
        let ready = status.borrow_and_update().catalogue.is_some() && status.borrow().phase == Phase::Ready;
        match (ready, &token) {
            (true, Some(_)) => token = None,
            (false, None) => token = Some(readiness.token("server")),
            _ => {}
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

fn metrics(state: &State) -> Metrics {
    let mut registry = Metrics::default();
    process_metrics::register(&mut registry, "mcp-sidecar", env!("CARGO_PKG_VERSION"));
    state.register(&mut registry);
    registry
}
