//! What the requests of one session share.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use hyper::body::Incoming;
use mcp::envelope::Message;
use mcp::header::{LAST_EVENT_ID, MCP_PROTOCOL_VERSION, MCP_SESSION_ID};
use mcp::session::mux::Loss;

use crate::upstream::Site;
use crate::upstream::events::EventStream;
use crate::upstream::failure::Failure;

const SESSION: HeaderName = HeaderName::from_static(MCP_SESSION_ID);
const VERSION: HeaderName = HeaderName::from_static(MCP_PROTOCOL_VERSION);
const LAST_EVENT: HeaderName = HeaderName::from_static(LAST_EVENT_ID);

/// See the [module](self). What the server says in its answer to `initialize` goes with every later request.
#[derive(Debug)]
pub(in crate::upstream) struct Session {
    pub(in crate::upstream) site: Arc<Site>,
    id: OnceLock<HeaderValue>,
    version: OnceLock<HeaderValue>,
    /// The headers of every POST, once both are known.
    posting: OnceLock<HeaderMap>,
}

impl Session {
    pub(in crate::upstream) fn new(site: Arc<Site>) -> Self {
        Self { site, id: OnceLock::new(), version: OnceLock::new(), posting: OnceLock::new() }
    }

    /// Takes the session's name from the head of the answer to `initialize`.
    pub(in crate::upstream) fn learn_id(&self, headers: &HeaderMap) {
        if let Some(id) = headers.get(SESSION) {
            let mut id = id.clone();
            id.set_sensitive(true);
            self.id.get_or_init(|| id);
        }
    }

    /// Takes the negotiated revision from the result of `initialize`.
    pub(super) fn learn_version(&self, result: &Message) {
        let version = result.str_at(&["protocolVersion"]).and_then(|text| HeaderValue::from_str(&text).ok());
        if let Some(version) = version {
            self.version.get_or_init(|| version);
            self.posting.get_or_init(|| self.with_names(self.site.posting()));
        }
    }

    pub(in crate::upstream) async fn post(&self, message: Bytes) -> Result<Response<Incoming>, Failure> {
        let headers = self.posting.get().cloned().unwrap_or_else(|| self.with_names(self.site.posting()));
        self.site.post(&self.site.target, headers, message).await
    }

    /// Opens a stream for what answers no request, or takes up the one on which the event `after` came.
    pub(super) async fn open(&self, after: Option<&str>) -> Result<EventStream, Failure> {
        let mut headers = self.with_names(self.site.listening());
        if let Some(after) = after {
            let value = HeaderValue::from_bytes(after.as_bytes());
            let value = value.map_err(|_| self.site.failure(None, "the ids of its events fit in no header"))?;
            headers.insert(LAST_EVENT, value);
        }
        self.site.open(headers).await
    }

    /// Ends the session at the server, if there is one.
    pub(in crate::upstream) async fn delete(&self) {
        if self.id.get().is_some()
            && let Err(failure) = self.site.delete(self.with_names(self.site.listening())).await
        {
            tracing::debug!(error = failure.text, "the server did not end a session");
        }
    }

    /// What to tell when the server no longer knows the session; `None` when it failed for another reason.
    pub(super) fn loss(&self, failure: &Failure) -> Option<Loss> {
        let lost = self.id.get().is_some() && failure.is_no_session();
        lost.then(|| {
            let what = "it no longer knows the session, which has expired, or the server was started anew; a new one is \
                        opened: send the request again";
            self.site.failure(failure.status, what).into()
        })
    }

    /// `headers`, with the session's name and the revision as far as they are known.
    fn with_names(&self, mut headers: HeaderMap) -> HeaderMap {
        for (name, value) in [(SESSION, &self.id), (VERSION, &self.version)] {
            if let Some(value) = value.get() {
                headers.insert(name, value.clone());
            }
        }
        headers
    }
}
