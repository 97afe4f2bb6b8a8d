//! An address on this machine behind which another is, for clients that cannot present a key.

use std::sync::Arc;

use anyhow::{Context, Result};
use hyper::body::Incoming;
use hyper::client::conn;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Passes requests on, each with the key, until it is dropped.
#[derive(Debug)]
pub struct WithKey {
    /// Where it is, without a path.
    pub url: String,
    _tasks: JoinSet<()>,
}

/// Where requests go.
#[derive(Debug)]
struct Beyond {
    /// Host and port.
    address: String,
    authorization: HeaderValue,
}

impl WithKey {
    /// In front of what is at `url`, whose path is not looked at.
    ///
    /// # Errors
    /// When `url` is none, or no port is free.
    pub async fn start(url: &str, key: &str) -> Result<Self> {
        let uri: Uri = url.parse()?;
        let host = uri.host().context("an address has a host")?;
        let address = format!("{host}:{}", uri.port_u16().unwrap_or(80));
        let beyond = Arc::new(Beyond { address, authorization: format!("Bearer {key}").parse()? });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let beyond = Arc::clone(&beyond);
                let service = service_fn(move |request| Arc::clone(&beyond).pass_on(request));
                connections.spawn(async move {
                    // Clients close connections as they like.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { url, _tasks: tasks })
    }
}

impl Beyond {
    async fn pass_on(self: Arc<Self>, mut request: Request<Incoming>) -> Result<Response<Incoming>> {
        let stream = TcpStream::connect(&self.address).await?;
        let (mut sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the answer, or with whoever reads that.
        tokio::spawn(connection);
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        Ok(sender.send_request(request).await?)
    }
}
