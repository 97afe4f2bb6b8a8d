//! A server that is known by its address only.
//!
//! What it speaks is found out when that is first needed, and again when it does not understand it any more: another
//! version may have taken its place.

use std::sync::Arc;

use mcp::json::Rope;
use mcp::session::mux::Loss;
use tokio::sync::{Mutex, MutexGuard};

use super::detect::{self, Found, is_elsewhere};
use super::failure::Failure;
use super::modern::Rules;
use super::{Doubts, InvalidSettings, ModernLink, Settings, Site, SseLink, StreamableLink, Target, Transport, headers};
use crate::client::HttpClient;
use crate::link::{Connect, Event, Link};
use crate::spec::RemoteTransport;

/// Makes links to a server elsewhere.
#[derive(Debug)]
pub struct Remote {
    pub(super) site: Arc<Site>,
    transport: RemoteTransport,
    rules: Rules,
    /// Locked while something is found out, so that everybody asks once.
    known: Mutex<Known>,
}

/// What has been found out since the last doubt.
#[derive(Debug, Default)]
struct Known {
    doubts: u64,
    /// How conversations of older revisions are held.
    older: Option<Found>,
    /// Where 2026-07-28 is spoken. That it is not is not kept.
    newer: Option<Arc<Site>>,
}

impl Remote {
    /// Links to the server of these settings. Nothing is connected to yet.
    ///
    /// # Errors
    /// When the settings cannot work.
    pub fn new(settings: &Settings<'_>) -> Result<Self, InvalidSettings> {
        let client = HttpClient::new(settings.policy);
        let site = Arc::new(Site {
            name: settings.name.into(),
            target: Target::parse(settings.url)?,
            headers: headers(settings.headers)?,
            calls: client.clone(),
            streams: client,
            max_message: settings.max_message,
            doubts: Doubts::default(),
        });
        Ok(Self { site, transport: settings.transport, rules: Rules::default(), known: Mutex::default() })
    }

    /// How the server is spoken to, where settings say so.
    pub fn transport(&self) -> Option<Transport> {
        match self.transport {
            RemoteTransport::Auto => None,
            RemoteTransport::StreamableHttp => Some(Transport::StreamableHttp),
            RemoteTransport::Sse => Some(Transport::Sse),
        }
    }

    fn stateless(&self, site: Arc<Site>) -> RemoteLink {
        RemoteLink::Modern(Box::new(ModernLink::new(site, self.rules.clone())))
    }

    async fn known(&self) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().await;
        let doubts = self.site.doubts.count();
        if known.doubts != doubts {
            *known = Known { doubts, ..Known::default() };
        }
        known
    }

    /// How the server is to be spoken to in older revisions; in the newest, where it knows no other.
    async fn older(&self) -> Result<Found, Failure> {
        if let Some(transport) = self.transport() {
            return Ok(Found { transport, site: Arc::clone(&self.site) });
        }
        let mut known = self.known().await;
        if let Some(found) = &known.older {
            return Ok(found.clone());
        }
        let found = match detect::older(&self.site).await {
            Err(failure) if is_elsewhere(&failure) => {
                let newer = detect::newer(&self.site).await.ok().flatten().ok_or(failure)?;
                known.newer = Some(Arc::clone(&newer));
                Found { transport: Transport::Stateless, site: newer }
            }
            found => found?,
        };
        known.older = Some(found.clone());
        Ok(found)
    }

    /// Where the server speaks 2026-07-28, if it does.
    async fn newer(&self) -> Result<Option<Arc<Site>>, Failure> {
        if self.transport == RemoteTransport::Sse {
            return Ok(None);
        }
        let mut known = self.known().await;
        if known.newer.is_none() {
            known.newer = detect::newer(&self.site).await?;
        }
        Ok(known.newer.clone())
    }
}

impl Connect for Remote {
    type Link = RemoteLink;

    const CARRIES_BOTH_ERAS: bool = true;

    async fn connect(&self) -> Result<RemoteLink, Loss> {
        let Found { transport, site } = self.older().await?;
        let doubtful = |failure: Failure| {
            if is_elsewhere(&failure) {
                self.site.doubts.add();
            }
            failure
        };
        Ok(match transport {
            Transport::StreamableHttp => RemoteLink::Streamable(Box::new(StreamableLink::new(site))),
            Transport::Sse => RemoteLink::Sse(Box::new(SseLink::connect(site).await.map_err(doubtful)?)),
            Transport::Stateless => self.stateless(site),
        })
    }

    async fn connect_newer(&self) -> Result<RemoteLink, Loss> {
        let missing = || self.site.failure(None, "it does not speak 2026-07-28").into();
        self.disposable().await?.ok_or_else(missing)
    }

    async fn disposable(&self) -> Result<Option<RemoteLink>, Loss> {
        Ok(self.newer().await?.map(|site| self.stateless(site)))
    }

    fn doubts(&self) -> u64 {
        self.site.doubts.count()
    }
}

/// A link of any kind.
#[derive(Debug)]
pub enum RemoteLink {
    /// Streamable HTTP.
    Streamable(Box<StreamableLink>),
    /// HTTP+SSE.
    Sse(Box<SseLink>),
    /// Single requests of 2026-07-28.
    Modern(Box<ModernLink>),
}

impl RemoteLink {
    /// Of what kind it is.
    pub fn transport(&self) -> Transport {
        match self {
            Self::Streamable(_) => Transport::StreamableHttp,
            Self::Sse(_) => Transport::Sse,
            Self::Modern(_) => Transport::Stateless,
        }
    }
}

impl Link for RemoteLink {
    fn send(&mut self, message: Rope) {
        match self {
            Self::Streamable(link) => link.send(message),
            Self::Sse(link) => link.send(message),
            Self::Modern(link) => link.send(message),
        }
    }

    fn over(&self) -> Option<Loss> {
        match self {
            Self::Modern(link) => link.over(),
            Self::Streamable(_) | Self::Sse(_) => None,
        }
    }

    async fn next(&mut self) -> Event {
        match self {
            Self::Streamable(link) => link.next().await,
            Self::Sse(link) => link.next().await,
            Self::Modern(link) => link.next().await,
        }
    }

    async fn stop(self) {
        match self {
            Self::Streamable(link) => link.stop().await,
            Self::Sse(link) => link.stop().await,
            Self::Modern(link) => link.stop().await,
        }
    }
}
