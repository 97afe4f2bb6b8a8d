//! `mcp-sidecar serve`: puts the parts together, and takes them apart in order.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::middleware::from_fn_with_state;
use prometheus_client::registry::Registry as Metrics;
use runtime::accept::Server as HttpServer;
use runtime::exit::UsageError;
use runtime::listen::{ListenAddr, Listener};
use runtime::readiness::Readiness;
use runtime::shutdown::{Drain, Shutdown};
use runtime::{admin, metrics as process_metrics};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::task::JoinSet;
use wire::child::Program;
use wire::child::launcher::Launcher;
use wire::front::{self, Settings};
use wire::guard::{Guard, guard};
use wire::hop::Verifier;
use wire::hub::Stop;
use wire::link::Connect;
use wire::logbook::Logbook;
use wire::spec::{Launch, Mode, Source};
use wire::status::Phase;
use wire::upstream::{self, Remote};

use crate::access::{Access, identify};
use crate::args::ServeArgs;
use crate::http;
use crate::launchers;
use crate::package::Packages;
use crate::pool::Pool;
use crate::probe::{self, Limits};
use crate::profile::Profiles;
use crate::remote::Sessions;
use crate::server::Server;
use crate::source::{Processes, Spawner};
use crate::state::State;
use crate::wrap::wrapper;

/// The most requests and streams at a time on the one connection that the gateway holds.
const MAX_STREAMS: u32 = 20_000;

/// How long calls under way may take once the supervisor has ended.
const ORPHANED: Duration = Duration::from_millis(500);

/// Serves until told to stop.
pub async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    let launch = if args.supervised { supervised(&shutdown).await? } else { args.launch() };
    let access = access(&args)?;
    let (state, logbook) = (State::default(), Logbook::default());
    let mut undertaker = JoinSet::new();
    undertaker.spawn(wire::child::tend_orphans());
    let mut doorman = JoinSet::new();
    if let Access::Hop(verifier) = &access {
        let (verifier, state) = (Arc::clone(verifier), state.clone());
        state.hop_keys(verifier.kids());
        doorman.spawn(async move { verifier.follow(|kids| state.hop_keys(kids)).await });
    }
    match launch.source.clone() {
        Source::Command { command, args: words, env } => {
            let program = Program {
                name: launch.name.as_str().into(),
                wrapper: wrapper(args.open_files)?,
                program: command.into(),
                args: words.into_iter().map(Into::into).collect(),
                env: env.into_iter().collect(),
                directory: None,
                logbook: logbook.clone(),
                max_line: args.max_message_bytes,
            };
            let spawner = match &args.launcher {
                Some(path) => {
                    let launcher = Launcher::new(launch.process.startup_timeout);
                    let door = launchers::door(path)?;
                    doorman.spawn(launchers::admit(door, launcher.clone(), state.clone(), shutdown.clone()));
                    Spawner::Launcher(launcher)
                }
                None => Spawner::Here,
            };
            let packages = Packages {
                directory: args.packages(),
                path: args.path.clone(),
                timeout: launch.process.install_timeout,
                lock: args.package_lock.clone(),
                update: args.package_update.clone(),
            };
            // Where all sessions share one process, a new one waits for none.
            let spares = if launch.process.mode == Mode::Shared { 0 } else { launch.process.warm_spares };
            let source = Arc::new(Processes::new(program, packages, spawner, spares, state.clone()));
            let warm = Arc::clone(&source);
            let parts = Parts { args, launch, access, state, logbook };
            let works = move || {
                let warm = Arc::clone(&warm);
                async move { warm.warm().await }
            };
            Box::pin(parts.run(Arc::clone(&source), works, &shutdown)).await?;
            source.stop().await;
        }
        Source::Url { url, transport, headers } => {
            let remote = Remote::new(&upstream::Settings {
                name: &launch.name,
                url: &url,
                transport,
                headers: &headers,
                policy: args.address_policy(),
                max_message: args.max_message_bytes,
            });
            let source = Sessions::new(remote.map_err(UsageError::new)?, state.clone(), logbook.clone());
            let parts = Parts { args, launch, access, state, logbook };
            Box::pin(parts.run(Arc::new(source), || std::future::ready(()), &shutdown)).await?;
        }
    }
    Ok(())
}

struct Parts {
    args: ServeArgs,
    launch: Launch,
    access: Access,
    state: State,
    logbook: Logbook,
}

impl Parts {
    async fn run<C: Connect, F: Future<Output = ()> + Send + 'static>(
        self,
        source: Arc<C>,
        works: impl Fn() -> F + Send + Sync + 'static,
        shutdown: &Shutdown,
    ) -> anyhow::Result<()> {
        let drain = shutdown.drain();
        let stop = Stop::default();
        let pool = Pool::new(&self.args.instance);
        let pool = pool.map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
        let server = Server::new(&self.launch, source, self.state.clone(), stop.clone(), pool);
        let listener = self.args.listen.bind("--listen")?;
        let admin = self.args.admin.bind()?;
        announce("listening", &listener)?;
        admin.iter().try_for_each(|admin| announce("admin", admin))?;
        let readiness = Readiness::new(drain.clone());
        let limits = Limits {
            start: self.launch.process.install_timeout.saturating_add(self.launch.process.startup_timeout),
            request: self.launch.process.request_timeout,
        };
        let profiles = Profiles::new(server.clone(), self.state.clone(), limits);
        let routes = self.routes(&server, profiles, &readiness, drain.clone());
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
        let admin_is_loopback =
            admin.as_ref().map(Listener::local_addr).transpose()?.is_some_and(|it| it.is_loopback());
        let admin_routes = admin::routes(&readiness, Arc::new(metrics(&self.state)))
            .layer(from_fn_with_state(Guard::of_admin(admin_is_loopback), guard));
        shutdown.run(self.args.drain_timeout, admin::beside(admin, admin_routes, work)).await?;
        Ok(())
    }

    fn routes<C: Connect>(
        &self,
        server: &Server<C>,
        profiles: Profiles<C>,
        readiness: &Readiness,
        drain: Drain,
    ) -> Router {
        let settings = Settings { max_body: self.args.max_message_bytes, message_path: "/message".to_owned() };
        // Where a credential is demanded, or only the gateway can connect, the name it is called by does not matter.
        let any_host = !self.access.is_open() || matches!(self.args.listen, ListenAddr::Unix(_));
        let lists = Guard::new(any_host, self.args.public_host.clone(), self.args.allowed_origin.clone());
        let health = admin::health_routes(readiness);
        // In a cluster it is the admin port that is asked for health.
        let (inside, outside) = match self.access {
            Access::Hop(_) => (health, Router::new()),
            Access::Open | Access::Keys(_) => (Router::new(), health),
        };
        front::router(server.clone(), settings)
            .merge(http::routes(self.state.clone(), self.logbook.clone(), drain, Arc::new(profiles)))
            .merge(inside)
            .layer(from_fn_with_state(self.access.clone(), identify))
            .merge(outside)
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

/// Obeys the parent: a word from it begins the stop; the end of the pipe, which comes however the parent ends, means
/// that nobody is left to wait for.
async fn lifeline(mut input: BufReader<pipe::Receiver>, shutdown: Shutdown) {
    let mut words = [0; 64];
    while matches!(input.read(&mut words).await, Ok(1..)) {
        shutdown.begin("the supervisor asked for it");
    }
    shutdown.begin("the supervisor has ended");
    tokio::time::sleep(ORPHANED).await;
    shutdown.force();
}

fn access(args: &ServeArgs) -> anyhow::Result<Access> {
    let access = match (&args.hop_keys, &args.key_file) {
        (Some(folder), _) => {
            Access::Hop(Arc::new(Verifier::new(folder, args.hop_audience.as_deref().unwrap_or_default())))
        }
        (None, Some(file)) => {
            let text = std::fs::read_to_string(file).map_err(UsageError::new);
            Access::parse_keys(&text.with_context(|| format!("cannot read the keys in {}", file.display()))?)
        }
        (None, None) => Access::Open,
    };
    if access.is_open() && !args.listen.is_loopback() {
        let text = format!(
            "listening on {} lets everybody who can reach this machine use the server; give --key-file with at least \
             one key, or listen on 127.0.0.1",
            args.listen
        );
        anyhow::bail!(UsageError::new(text));
    }
    Ok(access)
}

/// Says on standard output where clients connect, for people and for programs that chose port 0.
fn announce(what: &str, listener: &Listener) -> anyhow::Result<()> {
    let text = match listener.local_addr()? {
        addr @ ListenAddr::Unix(_) => addr.to_string(),
        addr @ (ListenAddr::Tcp(_) | ListenAddr::AllInterfaces(_)) => format!("http://{addr}"),
    };
    writeln!(std::io::stdout(), "{what} on {text}").context("cannot write to standard output")
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
