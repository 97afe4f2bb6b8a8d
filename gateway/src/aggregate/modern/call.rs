//! Requests that are about one server.

use mcp::envelope::{Kind, Message};
use wire::upstream::Reply;

use super::super::catalogue::Merged;
use super::super::rewrite;
use super::super::routing::{Refusal, Route, route};
use super::Asked;
use super::follow::meta_of;
use super::member::{Destination, send};
use crate::proxy::instance_of;

/// Finds the server of a request.
///
/// # Errors
/// When there is none.
fn find(lists: &Merged, provisional: bool, message: &Message) -> Result<Route, Refusal> {
    match message.method() {
        // Older revisions have it.
        method @ ("resources/subscribe" | "resources/unsubscribe" | "tasks/result") => {
            Err(Refusal::NoMethod(method.to_owned()))
        }
        _ => route(lists, provisional, message),
    }
}

impl Asked {
    /// Passes the request on, and what comes back. What the server still says behind its answer.
    pub(super) async fn pass_on(mut self) -> Option<Reply> {
        let route = match self.find().await {
            Ok(route) => route,
            Err(refusal) => {
                self.refuse(&refusal);
                return None;
            }
        };
        let outcome = self.exchange(&route).await;
        outcome.unwrap_or_else(|why| {
            self.fail(&why);
            None
        })
    }

    /// The server that has what is asked for, which may have become ready a moment ago.
    async fn find(&mut self) -> Result<Route, Refusal> {
        let found = find(&self.lists(), self.sight.is_provisional(), &self.message);
        if matches!(found, Ok(_) | Err(Refusal::NoMethod(_))) {
            return found;
        }
        let lists = self.settled().await;
        find(&lists, self.sight.is_provisional(), &self.message)
    }

    async fn exchange(&mut self, route: &Route) -> Result<Option<Reply>, String> {
        let message = route.rewritten(&self.message).ok_or("the request cannot be put together")?;
        let state = message.str_at(&["requestState"]);
        let instance = instance_of(state.as_deref().unwrap_or(&route.item));
        let to = Destination { server: &route.server, uid: route.uid, instance };
        self.aggregate.watch(&self.owner, route, || meta_of(&self.message)).await;
        let repeated = std::mem::take(&mut self.repeated);
        let mut underway = send(&self.aggregate, &self.caller, &to, &message, repeated).await?;
        loop {
            let told = underway.next().await?;
            match told.kind() {
                Kind::Result | Kind::Error if told.id().as_ref() == Some(&self.id) => {
                    self.end(rewrite::answer(&route.server, message.method(), &told));
                    return Ok(Some(underway.rest()));
                }
                Kind::Notification if !self.tell(told.into()) => return Ok(None),
                // It may ask nothing, and answers nothing else.
                Kind::Notification | Kind::Request | Kind::Result | Kind::Error => {}
            }
        }
    }
}
