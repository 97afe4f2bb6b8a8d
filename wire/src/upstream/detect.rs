//! Finding out which transport a server speaks, as the specification says clients should (2025-11-25, "Transports",
//! "Backwards Compatibility"): POST `initialize`; where that is not understood, GET and wait for the `endpoint` event.
//! Whether 2026-07-28 is spoken is another question, which is asked by `server/discover`. An address without a path of its
//! own is also tried with `/mcp` and `/sse` behind it, as most servers have them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Limited};
use mcp::envelope::{Message, RequestId};
use mcp::modern::{headers, probe};
use mcp::version::Version;

use super::events::{Media, messages};
use super::failure::Failure;
use super::reply::Reply;
use super::sse::SseLink;
use super::streamable::Session;
use super::{Site, Transport};

/// How long the server may take to answer one attempt. It may have to be started first.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a server is spoken to, and where.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) transport: Transport,
    pub(super) site: Arc<Site>,
}

/// Tries the older transports. A session that is opened for that is ended again.
pub(super) async fn older(site: &Arc<Site>) -> Result<Found, Failure> {
    let mut attempts = vec![(Transport::StreamableHttp, Arc::clone(site)), (Transport::Sse, Arc::clone(site))];
    if !site.target.is_endpoint() {
        attempts.extend([(Transport::StreamableHttp, below(site, "mcp")), (Transport::Sse, below(site, "sse"))]);
    }
    let mut failures = Vec::new();
    for (transport, site) in attempts {
        let attempt = async {
            match transport {
                Transport::StreamableHttp | Transport::Stateless => initialize(&site).await,
                Transport::Sse => SseLink::connect(Arc::clone(&site)).await.map(drop),
            }
        };
        match in_time(&site, attempt).await {
            Ok(()) => return Ok(Found { transport, site }),
            Err(failure) if is_elsewhere(&failure) => failures.push(failure),
            Err(failure) => return Err(failure),
        }
    }
    Err(unknown(site, &failures))
}

/// Where the server speaks 2026-07-28: at its address or, where that has no path of its own, at `/mcp` below it.
///
/// # Errors
/// When it cannot be asked now.
pub(super) async fn newer(site: &Arc<Site>) -> Result<Option<Arc<Site>>, Failure> {
    let mut sites = vec![Arc::clone(site)];
    if !site.target.is_endpoint() {
        sites.push(below(site, "mcp"));
    }
    for site in sites {
        match in_time(&site, discover(&site)).await {
            Ok(true) => return Ok(Some(site)),
            Err(failure) if failure.error.as_ref().is_some_and(probe::is_yes) => return Ok(Some(site)),
            // It cannot say now. One that fails over the question itself does not know it.
            Err(failure) if failure.is_access() => return Err(failure),
            Err(failure) if failure.is_passing() && failure.status != Some(StatusCode::INTERNAL_SERVER_ERROR) => {
                return Err(failure);
            }
            Ok(false) | Err(_) => {}
        }
    }
    Ok(None)
}

fn below(site: &Arc<Site>, name: &str) -> Arc<Site> {
    Arc::new(Site { target: site.target.below(name), ..Site::clone(site) })
}

async fn in_time<T>(site: &Site, attempt: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let slow = |_| site.failure(None, format!("it does not answer within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, attempt).await.map_err(slow).flatten()
}

/// Whether the server may still speak MCP in another way or at another address.
pub(super) fn is_elsewhere(failure: &Failure) -> bool {
    failure.status.is_some_and(|status| {
        status.is_success() || status.is_client_error() && !failure.is_access() && !failure.is_passing()
    })
}

fn unknown(site: &Site, failures: &[Failure]) -> Failure {
    // An error in the protocol's own words says more than that pages are missing.
    let telling = failures.iter().find_map(|failure| failure.error.as_ref()?.str_at(&["message"]));
    let says = telling.map(|text| format!(" ({text})")).unwrap_or_default();
    let statuses: Vec<_> = failures.iter().filter_map(|failure| failure.status).map(|s| s.to_string()).collect();
    let below = if site.target.is_endpoint() { "" } else { ", nor at /mcp and /sse below it" };
    let what = format!(
        "{} speaks neither Streamable HTTP nor HTTP+SSE at that path{below}{says}: its answers were {}; check `url`",
        site.target.endpoint,
        statuses.join(", "),
    );
    site.failure(failures.first().and_then(|failure| failure.status), what)
}

/// Whether the server answers `initialize`.
async fn initialize(site: &Arc<Site>) -> Result<(), Failure> {
    let session = Session::new(Arc::clone(site));
    let params = format!(
        r#"{{"protocolVersion":"{}","capabilities":{{}},"clientInfo":{{"name":"mcp-gateway","version":"{}"}}}}"#,
        Version::NEWEST_LEGACY,
        env!("CARGO_PKG_VERSION"),
    );
    let message = Message::call(Some(&1.into()), "initialize", Some(&params));
    let (head, body) = session.post(message.raw().clone()).await?.into_parts();
    session.learn_id(&head.headers);
    let speaks = match Media::of(&head.headers) {
        Media::Events => true,
        Media::Json => {
            let body = Limited::new(body, site.max_message).collect().await;
            is_answer(body.map(http_body_util::Collected::to_bytes).unwrap_or_default(), site.max_message)
        }
        Media::Other => false,
    };
    session.delete().await;
    if speaks { Ok(()) } else { Err(site.failure(Some(StatusCode::OK), "its answers are no messages; check `url`")) }
}

/// Whether the server says that it speaks 2026-07-28.
async fn discover(site: &Site) -> Result<bool, Failure> {
    let question = probe::request(&RequestId::from(1));
    let headers = site.posting_of(headers::of(&question));
    let response = site.post(&site.target, headers, question.raw().clone()).await?;
    let Ok(mut reply) = Reply::new(response, RequestId::from(1), site.max_message) else { return Ok(false) };
    while let Ok(message) = reply.next().await {
        if message.is_response() {
            return Ok(probe::is_yes(&message));
        }
    }
    Ok(false)
}

fn is_answer(body: Bytes, max: usize) -> bool {
    messages(body, max, None).is_ok_and(|mut messages| messages.any(|message| message.is_response()))
}
