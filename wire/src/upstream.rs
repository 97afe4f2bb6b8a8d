//! Servers that speak HTTP.
//!
//! [`Remote`] makes links to one that is known by its address only: by [`StreamableLink`] or [`SseLink`], whichever it
//! turns out to understand, and by [`ModernLink`] where it speaks 2026-07-28. Who knows what is there, as the gateway knows
//! its sidecars, makes a link from a [`Site`], or sends a request of 2026-07-28 by itself and reads the [`Reply`].

use std::collections::BTreeMap;
use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::client::{AddressPolicy, InvalidEndpoint};
use crate::spec::RemoteTransport;

mod detect;
mod events;
mod failure;
mod modern;
mod outbox;
mod remote;
mod reply;
mod site;
mod sse;
mod streamable;
mod target;

pub use modern::ModernLink;
pub use remote::{Remote, RemoteLink};
pub use reply::{NoAnswer, Reply};
pub use site::{Doubts, Site};
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
    /// Streamable HTTP without sessions (2026-07-28).
    Stateless,
}

impl Transport {
    /// Its name in settings and in [`crate::status::Status::transport`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StreamableHttp | Self::Stateless => "streamable-http",
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

impl fmt::Debug for Settings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address and the headers hold credentials.
        f.debug_struct("Settings").field("name", &self.name).field("transport", &self.transport).finish_non_exhaustive()
    }
}
