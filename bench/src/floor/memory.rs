//! A file's bytes, sent from memory.

use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, body::Incoming};

use crate::addr::Addr;

pub(super) async fn run(listen: &Addr, file: &Path, content_type: &str) -> anyhow::Result<()> {
    let body = Bytes::from(tokio::fs::read(file).await.with_context(|| format!("cannot read {}", file.display()))?);
    let content_type = HeaderValue::from_str(content_type).context("cannot send that content type")?;
    super::serve(listen, move |request: hyper::Request<Incoming>| {
        let mut response = Response::new(Full::new(body.clone()));
        response.headers_mut().insert(CONTENT_TYPE, content_type.clone());
        async move {
            // Read to its end, as whoever answers from memory must too before the connection can be used again.
            drop(http_body_util::BodyExt::collect(request.into_body()).await);
            response
        }
    })
    .await
}
