//! POSTs over kept connections, as real clients send them.

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::StatusError;

#[derive(Debug)]
pub(super) struct Pool(Client<HttpConnector, Full<Bytes>>);

impl Pool {
    pub(super) fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }

    pub(super) async fn post(&self, url: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Response<Incoming>> {
        let mut request = Request::post(url).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).with_context(|| format!("cannot build POST {url}"))?;
        self.0.request(request).await.with_context(|| format!("POST {url} failed"))
    }
}

/// The whole body as text, if the status is 2xx.
pub(super) async fn text(response: Response<Incoming>) -> Result<String> {
    let status = response.status();
    let body = response.into_body().collect().await.context("cannot read the body of the answer")?;
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    if status.is_success() { Ok(body) } else { Err(StatusError { status: status.as_u16(), body }.into()) }
}
