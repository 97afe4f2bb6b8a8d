//! Servers that speak HTTP.
//!
//! [`Remote`] makes links to one that is known by its address only: by [`StreamableLink`] or [`SseLink`], whichever it
//! turns out to understand. Who knows what is there, as the gateway knows its sidecars, makes a link from a [`Site`], or
//! sends a request of 2026-07-28 by itself and reads the [`Reply`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use mcp::json::Rope;
use mcp::session::mux::Loss;
use tokio::sync::OnceCell;

use crate::client::{AddressPolicy, HttpClient, InvalidEndpoint};
use crate::link::{Connect, Event, Link};
use crate::spec::RemoteTransport;

mod detect;
mod events;
mod failure;
mod outbox;
mod reply;
mod site;
mod sse;
mod streamable;
mod target;

use detect::{Found, detect};
pub use reply::{NoAnswer, Reply};
pub use site::Site;
pub use sse::SseLink;
pub use streamable::StreamableLink;
pub use target::Target;

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Streamable HTTP (2025-03-26 to 2025-11-25).
    StreamableHttp,
    /// HTTP+SSE (2024-11-05).
    Sse,
}

impl Transport {
    /// Its name in settings and in [`crate::status::Status::transport`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StreamableHttp => "streamable-http",
            Self::Sse => "sse",
        }
    }
}

/// What [`Remote`] needs to know.
#[derive(Clone)]
pub struct Settings<'a> {
    /// The server's name, for error texts.
    pub name: &'a str,
    /// Where it is.
    pub url: &'a str,
    /// How it is spoken to.
    pub transport: RemoteTransport,
    /// Sent with every request to it.
    pub headers: &'a BTreeMap<String, String>,
    /// Where it may be.
    pub policy: AddressPolicy,
    /// The largest message it may send, in bytes.
    pub max_message: usize,
}

/// The settings cannot work.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSettings {
    /// The address.
    #[error("`url` cannot be used")]
    Url(#[from] InvalidEndpoint),
    /// A header.
    #[error("the header `{0}` cannot be sent: names are made of letters, digits and dashes, values of visible text")]
    Header(String),
}

/// Makes links to a server elsewhere. What it speaks is found out when the first link is made, and then known.
#[derive(Debug)]
pub struct Remote {
    site: Arc<Site>,
    found: OnceCell<Found>,
}

impl Remote {
    /// Links to the server of these settings. Nothing is connected to yet.
    pub fn new(settings: &Settings<'_>) -> Result<Self, InvalidSettings> {
        let client = HttpClient::new(settings.policy);
        let site = Arc::new(Site {
            name: settings.name.into(),
            target: Target::parse(settings.url)?,
            headers: headers(settings.headers)?,
            calls: client.clone(),
            streams: client,
            max_message: settings.max_message,
        });
        let transport = match settings.transport {
            RemoteTransport::Auto => None,
            RemoteTransport::StreamableHttp => Some(Transport::StreamableHttp),
            RemoteTransport::Sse => Some(Transport::Sse),
        };
        let found = transport.map(|transport| Found { transport, site: Arc::clone(&site) });
        Ok(Self { site, found: OnceCell::new_with(found) })
    }

    /// How the server is spoken to, once that is known.
    pub fn found(&self) -> Option<Transport> {
        self.found.get().map(|found| found.transport)
    }
}

fn headers(texts: &BTreeMap<String, String>) -> Result<HeaderMap, InvalidSettings> {
    let mut headers = HeaderMap::new();
    for (name, value) in texts {
        let parsed = name.parse::<HeaderName>().ok().zip(HeaderValue::from_str(value).ok());
        let (name, mut value) = parsed.ok_or_else(|| InvalidSettings::Header(name.clone()))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

impl Connect for Remote {
    type Link = RemoteLink;

    async fn connect(&self) -> Result<RemoteLink, Loss> {
        let found = self.found.get_or_try_init(|| detect(&self.site)).await?;
        let site = Arc::clone(&found.site);
        Ok(match found.transport {
            Transport::StreamableHttp => RemoteLink::Streamable(Box::new(StreamableLink::new(site))),
            Transport::Sse => RemoteLink::Sse(Box::new(SseLink::connect(site).await?)),
        })
    }
}

impl fmt::Debug for Settings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address and the headers hold credentials.
        f.debug_struct("Settings").field("name", &self.name).field("transport", &self.transport).finish_non_exhaustive()
    }
}

/// A link of either kind.
#[derive(Debug)]
pub enum RemoteLink {
    /// Streamable HTTP.
    Streamable(Box<StreamableLink>),
    /// HTTP+SSE.
    Sse(Box<SseLink>),
}

impl Link for RemoteLink {
    fn send(&mut self, message: Rope) {
        match self {
            Self::Streamable(link) => link.send(message),
            Self::Sse(link) => link.send(message),
        }
    }

    async fn next(&mut self) -> Event {
        match self {
            Self::Streamable(link) => link.next().await,
            Self::Sse(link) => link.next().await,
        }
    }

    async fn stop(self) {
        match self {
            Self::Streamable(link) => link.stop().await,
            Self::Sse(link) => link.stop().await,
        }
    }
}
