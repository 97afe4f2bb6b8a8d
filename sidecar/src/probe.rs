//! Tells whether the server works, by using it: a handshake and a list of whatever it declares, on a session of this
//! program's own, again and again.

use std::time::Duration;

use mcp::modern::DISCOVER;
use wire::internal::{Asks as _, CallError, Changes, InternalClient, Looker, lists};
use wire::link::Connect;
use wire::session::Exchanges;
use wire::status::{Catalogue, Failure};

use crate::server::Server;
use crate::state::State;

/// How often a server that said nothing is asked whether it is still there.
const INTERVAL: Duration = Duration::from_secs(30);
/// How long changes are collected before the lists are read again.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// How long the first retry after a failure waits; each further one twice as long, up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long the server may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// To be installed and to shake hands.
    pub start: Duration,
    /// For any other answer.
    pub request: Duration,
}

/// Probes for ever. `works` is done each time the server has shown that it works.
pub async fn run<C: Connect, F: Future<Output = ()>>(
    server: Server<C>,
    state: State,
    limits: Limits,
    works: impl Fn() -> F,
) {
    let mut failures = 0u32;
    loop {
        let error = match probe(&server, &state, limits, &works, &mut failures).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        state.failing(error.failure(), error.to_string());
        tracing::warn!(%error, "the server does not work");
        let pause = (FIRST_PAUSE * 2u32.saturating_pow(failures.min(10))).min(LONGEST_PAUSE);
        failures += 1;
        drop(tokio::time::timeout(pause, state.retry.notified()).await);
    }
}

async fn probe<C: Connect, F: Future<Output = ()>>(
    server: &Server<C>,
    state: &State,
    limits: Limits,
    works: &impl Fn() -> F,
    failures: &mut u32,
) -> Result<std::convert::Infallible, CallError> {
    let (mut client, mut catalogue) = look(server, limits).await?;
    loop {
        tracing::info!(tools = catalogue.tools.len(), "the server is ready");
        state.ready(catalogue.clone());
        works().await;
        *failures = 0;
        match &mut client {
            Client::Legacy(client) => wait_for_change(client, limits.request).await?,
            Client::Modern(client, changes) => listen_for_change(client, changes, limits.request).await?,
        }
        client.lists(&mut catalogue, limits.request).await?;
    }
}

/// Looks at the server, in whichever era it is of.
async fn look<C: Connect>(server: &Server<C>, limits: Limits) -> Result<(Client, Catalogue), CallError> {
    if C::ASKS_FREELY
        && let Some(exchanges) = server.modern().await
    {
        return look_newer(exchanges, limits).await;
    }
    let asked = shake_hands(server, limits).await;
    let is_newer = asked.as_ref().map_or_else(is_of_handshake, |_| server.has_turned());
    let exchanges = if is_newer { server.modern().await } else { None };
    match exchanges {
        Some(exchanges) => look_newer(exchanges, limits).await,
        None => asked,
    }
}

async fn look_newer(exchanges: Exchanges, limits: Limits) -> Result<(Client, Catalogue), CallError> {
    let mut client = Looker::new(exchanges, "{}");
    // Before the lists, so that no change is missed.
    let changes = client.changes().await?;
    let catalogue = client.catalogue(limits.start).await?;
    Ok((Client::Modern(client, changes), catalogue))
}

/// The same, of the older era. A server that refuses to shake hands, and speaks the newer, is used by everybody as one of
/// that.
async fn shake_hands<C: Connect>(server: &Server<C>, limits: Limits) -> Result<(Client, Catalogue), CallError> {
    let unavailable =
        |error: wire::front::Unavailable| CallError::Server { code: 0, message: error.reason, failure: None };
    let handle = server.open_internal().await.map_err(unavailable)?;
    let mut client = InternalClient::new(handle).await?;
    let asked = client.catalogue("{}", limits.start).await;
    let refused = !client.has_shaken_hands() && asked.as_ref().is_err_and(is_refusal);
    if refused && server.modern().await.is_some() {
        server.turn();
    }
    Ok((Client::Legacy(client), asked?))
}

/// Who looks.
enum Client {
    Legacy(InternalClient),
    /// At a server that does not shake hands.
    Modern(Looker, Changes),
}

impl Client {
    async fn lists(&mut self, catalogue: &mut Catalogue, limit: Duration) -> Result<(), CallError> {
        match self {
            Self::Legacy(client) => lists(client, catalogue, limit).await,
            Self::Modern(client, _) => lists(client, catalogue, limit).await,
        }
    }
}

/// Whether the server is there, and only does not shake hands: it may speak the newer era alone.
fn is_of_handshake(error: &CallError) -> bool {
    matches!(error.failure(), Failure::Handshake | Failure::Timeout)
}

/// Whether it was the server itself that refused.
fn is_refusal(error: &CallError) -> bool {
    matches!(error, CallError::Server { .. }) && error.failure() == Failure::Handshake
}

/// The same as [`wait_for_change`], of the newer era.
async fn listen_for_change(client: &mut Looker, changes: &mut Changes, limit: Duration) -> Result<(), CallError> {
    loop {
        match tokio::time::timeout(INTERVAL, changes.next()).await {
            Ok(Some(_)) => {
                tokio::time::sleep(DEBOUNCE).await;
                return Ok(());
            }
            // It tells of no changes, or has ended: what it offers is looked at after a while.
            Ok(None) => {
                tokio::time::sleep(INTERVAL).await;
                *changes = client.changes().await?;
                return Ok(());
            }
            Err(_) => drop(client.call(DISCOVER, "{}", limit).await?),
        }
    }
}

/// Returns when a list has changed. Asks now and then whether the server is still there.
async fn wait_for_change(client: &mut InternalClient, limit: Duration) -> Result<(), CallError> {
    loop {
        match tokio::time::timeout(INTERVAL, client.notification()).await {
            Ok(message) => {
                if message?.method().ends_with("/list_changed") {
                    break;
                }
            }
            Err(_) => verify(client, limit).await?,
        }
    }
    tokio::time::sleep(DEBOUNCE).await;
    Ok(())
}

/// Asks for something that reaches the server: pings are answered on the way.
async fn verify(client: &mut InternalClient, limit: Duration) -> Result<(), CallError> {
    match client.call("tools/list", "{}", limit).await {
        // A server without tools says so, which is an answer too.
        Ok(_) | Err(CallError::Server { code: -32601, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
