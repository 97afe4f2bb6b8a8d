//! The server that the public conformance suite wants to find, with the names it asks for, on the Rust SDK.
//!
//! It is what the figures of a gateway before it are compared with (`e2e/tests/conformance.rs`), so it does nothing but
//! what the suite asks: `fixture` is the server that misbehaves. Over stdio, or with `--listen` as Streamable HTTP, when
//! its first line says where. What it wants to know of a client it asks by the means of that client's era: tools are the
//! same in both.

mod answers;
mod ask;
mod content;
mod server;
mod tasks;
mod tools;

use std::io::{self, Write};
use std::net::SocketAddr;

use anyhow::Result;
use axum::Router;
use clap::Parser;
use rmcp::ServiceExt;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService, stdio};
use tokio::net::TcpListener;

use crate::server::{Era, Server};

/// A server for the conformance suite.
#[derive(Debug, Parser)]
struct Cli {
    /// Revisions it speaks
    #[arg(long, value_enum, default_value_t = Era::Dual)]
    era: Era,
    /// Serve Streamable HTTP at /mcp instead of stdio; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let Cli { era, listen } = Cli::parse();
    let server = Server::new(era)?;
    if let Some(address) = listen {
        return serve_http(server, address).await;
    }
    // It ends with its input, whatever state that finds it in.
    server.serve(stdio()).await?.waiting().await?;
    Ok(())
}

async fn serve_http(server: Server, address: SocketAddr) -> Result<()> {
    // Whoever reaches it by another address than loopback was given that.
    let hosts = StreamableHttpServerConfig::default().allowed_hosts;
    let hosts = hosts.into_iter().chain([address.ip().to_string()]);
    let config = StreamableHttpServerConfig::default().with_allowed_hosts(hosts);
    let service = StreamableHttpService::new(move || Ok(server.clone()), LocalSessionManager::default().into(), config);
    let listener = TcpListener::bind(address).await?;
    writeln!(io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    axum::serve(listener, Router::new().route_service("/mcp", service)).await?;
    Ok(())
}
