//! What every program of this workspace needs besides its own job: logs, listeners, an accept
//! loop, health and metrics, and a life that ends in order.
//!
//! Start reading at [`shutdown`]: the two phases of a stop (`draining`, then `forced`) are what the
//! other modules follow. Then [`listen`] (addresses and sockets), [`accept`] (HTTP connections on
//! them) and [`admin`] (`/healthz`, `/readyz`, `/metrics`). A `main` puts them together so:
//!
//! ```no_run
//! use std::{process::ExitCode, sync::Arc, time::Duration};
//! use runtime::{accept::Server, admin, listen::ListenAddr, metrics, readiness::Readiness};
//! use runtime::{shutdown::Shutdown, telemetry::TelemetryArgs};
//!
//! # async fn run(telemetry: TelemetryArgs, args: admin::AdminArgs, addr: ListenAddr) -> anyhow::Result<()> {
//! telemetry.init()?;
//! let shutdown = Shutdown::new();
//! let readiness = Readiness::new(shutdown.drain());
//! let mut registry = prometheus_client::registry::Registry::default();
//! metrics::register(&mut registry, "mcp-example", env!("CARGO_PKG_VERSION"));
//! let routes = admin::routes(&readiness, Arc::new(registry));
//!
//! let synced = readiness.token("routes synced");
//! let admin = args.bind()?;
//! let server = Server::new(addr.bind("--listen")?);
//! drop(synced);
//! let work = server.serve(axum::Router::new(), shutdown.drain());
//! shutdown.run(Duration::from_secs(25), admin::beside(admin, routes, work)).await?;
//! # Ok(())
//! # }
//! # fn main() -> ExitCode { ExitCode::SUCCESS }
//! ```
//!
//! What it deliberately does not do: nothing here knows MCP, a configuration file, authentication,
//! TLS (a proxy in front ends it) or time limits of request bodies (those belong to whoever reads
//! the body).

pub mod accept;
pub mod admin;
pub mod backoff;
pub mod exit;
pub mod limits;
pub mod listen;
pub mod metrics;
pub mod readiness;
pub mod shutdown;
pub mod telemetry;
