//! One server, from its resource to its pods and back to its status: five calls.

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::{Guarded, McpServer};
use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use runtime::backoff::Backoff;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::{Category, Error};
use crate::events::Events;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::sidecars::Sidecars;
use crate::watch::Server;

mod advice;
mod apply;
mod dereference;
mod references;
mod report;
mod same;
mod status;
pub mod validate;
mod verdict;

/// Nothing is missed when no event says so: a server is looked at again after this time, more or less.
const AGAIN: Duration = Duration::from_secs(600);
/// A server that refers to something is looked at so often, because Secrets may not be watched.
const REFERENCES: Duration = Duration::from_secs(60);
/// What is missing is looked for so often.
const MISSING: Duration = Duration::from_secs(5);
/// After a conflict.
const SOON: Duration = Duration::from_millis(500);
/// After other failures, longer each time; not so long that who has just done what a condition says doubts it.
const BACKOFF: Backoff = Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(60), factor: 2.0 };

/// What every reconcile works with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) client: ClientHandle,
    pub(crate) settings: Arc<Settings>,
    /// The public keys of the hop, as pods mount them.
    pub(crate) jwks: watch::Receiver<String>,
    pub(crate) pods: Store<Pod>,
    pub(crate) sidecars: Sidecars,
    pub(crate) events: Events,
    pub(crate) metrics: Metrics,
    /// Failures in a row; who works has no entry.
    pub(crate) failures: Mutex<HashMap<Server, u32>>,
}

/// A client that can be shown.
#[derive(Clone)]
pub(crate) struct ClientHandle(pub(crate) Client);

impl std::fmt::Debug for ClientHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// Works on one server. A panic harms only that one.
pub(crate) async fn reconcile(server: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Error> {
    let (name, started) = (ObjectRef::from_obj(&*server), Instant::now());
    let work = async {
        match &server.0 {
            Ok(server) => Box::pin(one(server, &context)).await,
            Err(unreadable) => report::unreadable(unreadable, &context).await,
        }
    };
    let done = contained(work).await;
    let result = done.as_ref().map_or_else(|error| error.category().as_str(), |_| "ok");
    context.metrics.reconciled(result, started.elapsed());
    let mut failures = context.failures.lock().unwrap_or_else(PoisonError::into_inner);
    match &done {
        Ok(_) => {
            failures.remove(&name);
        }
        Err(error) if error.category() == Category::Ending => {
            *failures.entry(name.clone()).or_default() += 1;
            tracing::debug!(server = %name, %error, "nothing is made where a namespace ends");
        }
        Err(error) => {
            *failures.entry(name.clone()).or_default() += 1;
            tracing::warn!(server = %name, %error, "a server is not as it should be");
        }
    }
    drop(failures);
    done
}

/// What comes of some work; a panic in it is an error of it, and of nothing else.
async fn contained<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let panicked = |panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        Err(Error::Panic(text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()))
    };
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(panicked)
}

async fn one(server: &McpServer, context: &Context) -> Result<Action, Error> {
    if server.metadata.deletion_timestamp.is_some() {
        // What was made for it goes with it: the garbage collector sees to that.
        return Ok(Action::await_change());
    }
    let found = dereference::dereference(server, context).await?;
    let outcome = Box::pin(report::carry_out(server, &found, context)).await;
    report::write(server, &found, &outcome, context).await?;
    let pause = match outcome {
        report::Outcome::Invalid(_) => return Ok(Action::await_change()),
        report::Outcome::Failed(error) => return Err(error),
        report::Outcome::Unresolved => MISSING,
        report::Outcome::Applied(_) if found.refers() => REFERENCES,
        report::Outcome::Applied(_) => AGAIN,
    };
    // Not all at once, after a start that looked at all at once.
    Ok(Action::requeue(pause.mul_f64(0.9 + 0.2 * jitter())))
}

/// When a server that failed is tried again.
#[expect(clippy::needless_pass_by_value, reason = "the controller's signature")]
pub(crate) fn error_policy(server: Arc<Guarded>, error: &Error, context: Arc<Context>) -> Action {
    if error.category() == Category::Conflict {
        return Action::requeue(SOON);
    }
    let failures = context.failures.lock().unwrap_or_else(PoisonError::into_inner);
    let attempt = failures.get(&ObjectRef::from_obj(&*server)).copied().unwrap_or(1);
    Action::requeue(BACKOFF.next(attempt.saturating_sub(1), jitter()))
}

/// A number from 0 to 1.
fn jitter() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_of_the_server_that_was_worked_on() {
        let of = async |work: fn(u8) -> u8| contained(async move { Ok(work(1)) }).await;
        assert_eq!(of(|number| number + 1).await.unwrap(), 2);
        let text = of(|_| panic!("as it is written")).await.unwrap_err();
        assert_eq!(text.to_string(), "the operator made a mistake: as it is written");
        let made = of(|number| panic!("with a number: {number}")).await.unwrap_err();
        assert_eq!(made.to_string(), "the operator made a mistake: with a number: 1");
        assert_eq!(made.category(), Category::Transient, "it is tried again");
    }
}
