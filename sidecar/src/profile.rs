//! What the server offers to clients with certain capabilities: a tool that asks the user may be offered only to
//! clients that can ask.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::Mutex;
use wire::internal::{CallError, InternalClient, lists};
use wire::link::Connect;
use wire::status::Catalogue;

use crate::probe::Limits;
use crate::server::Server;
use crate::state::State;

/// Sets of capabilities that are remembered; further ones get what everybody gets.
const MAX_PROFILES: usize = 16;
/// A server that adds to its lists when it has been initialized does so within this time.
const SETTLE: Duration = Duration::from_millis(300);

/// See the [module](self).
#[derive(Debug)]
pub struct Profiles<C: Connect> {
    server: Server<C>,
    state: State,
    limits: Limits,
    /// By capabilities: what was found, when the catalogue for everybody had that version. One is found out at a time.
    known: Mutex<HashMap<String, Catalogue>>,
}

impl<C: Connect> Profiles<C> {
    /// Nothing is known yet.
    pub fn new(server: Server<C>, state: State, limits: Limits) -> Self {
        Self { server, state, limits, known: Mutex::default() }
    }

    /// What is offered to clients that declare `capabilities` (raw JSON); `None` while the server does not work.
    pub async fn get(&self, capabilities: &str) -> Option<Catalogue> {
        let everybody = self.state.now().catalogue?;
        if self.server.is_shared() {
            return Some(everybody);
        }
        let mut known = self.known.lock().await;
        known.retain(|_, catalogue| catalogue.version == everybody.version);
        if let Some(catalogue) = known.get(capabilities) {
            return Some(catalogue.clone());
        }
        if known.len() >= MAX_PROFILES {
            return Some(everybody);
        }
        match self.ask(capabilities).await {
            Ok(catalogue) => {
                let catalogue = Catalogue { version: everybody.version, ..catalogue };
                known.insert(capabilities.to_owned(), catalogue.clone());
                Some(catalogue)
            }
            Err(error) => {
                tracing::warn!(%error, "it could not be found out what the server offers to other clients");
                Some(everybody)
            }
        }
    }

    async fn ask(&self, capabilities: &str) -> Result<Catalogue, CallError> {
        let handle = self.server.open_internal().await.map_err(|_| CallError::Ended)?;
        let mut client = InternalClient::new(handle).await?;
        let mut catalogue = client.catalogue(capabilities, self.limits.start).await?;
        let mut changed = false;
        while let Ok(message) = tokio::time::timeout(SETTLE, client.notification()).await {
            changed |= message?.method().ends_with("/list_changed");
        }
        if changed {
            lists(&mut client, &mut catalogue, self.limits.request).await?;
        }
        Ok(catalogue)
    }
}
