//! Sends a request to a server's sidecar, as the caller's own request to that server alone would be sent.

use axum::http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use mcp::envelope::Message;
use mcp::modern::{LISTEN, headers};
use wire::client::{ClientError, full};
use wire::session::Caller;
use wire::upstream::Reply;

use super::super::{Aggregate, principal};
use crate::proxy::hop;
use crate::routes::{Endpoint, Route, Routes};
use crate::store::Uid;

/// The sidecar limits messages: this is for one that does not.
const MAX_MESSAGE: usize = 256 << 20;

/// Where a request goes.
#[derive(Debug)]
pub(super) struct Destination<'a> {
    pub(super) server: &'a str,
    /// Which server of that name is meant.
    pub(super) uid: Uid,
    /// The instance that has what the request refers to.
    pub(super) instance: Option<Uid>,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Underway {
    reply: Reply,
    server: String,
    id: String,
    instance: Uid,
    routes: Routes,
}

/// Sends a request on behalf of `caller`.
///
/// # Errors
/// With what the client is to be told, when it cannot be sent.
pub(super) async fn send(
    aggregate: &Aggregate,
    caller: &Caller,
    to: &Destination<'_>,
    message: &Message,
    repeated: Vec<(HeaderName, HeaderValue)>,
) -> Result<Underway, String> {
    let routes = &aggregate.0.routes;
    let failed = |why: &dyn std::fmt::Display| format!("server `{}` cannot be reached now: {why}", to.server);
    let known = routes.shared(to.server).filter(|route| route.uid == to.uid);
    let id = known.ok_or_else(|| failed(&"it has been removed"))?.id();
    let reached = routes.for_new_sessions(&id).await;
    let (route, any) = reached
        .map_err(|route| failed(&route.as_ref().map_or("it has been removed", |route| &route.status.message)))?;
    let kept = to.instance.and_then(|instance| route.instance(instance));
    let mut endpoint = kept.or_else(|| route.home_of(&principal(caller))).cloned().unwrap_or(any);
    let headers = head(caller, message, repeated).ok_or_else(|| failed(&"the request does not fit into headers"))?;
    let mut gone = Vec::new();
    let response = loop {
        match request(aggregate, &route, &endpoint, message, headers.clone()).await {
            Err(error @ ClientError::Connect { .. }) => {
                gone.push(endpoint.instance);
                endpoint = routes.another(&route, &gone).ok_or_else(|| failed(&error))?;
            }
            sent => break sent.map_err(|error| failed(&error))?,
        }
    };
    let asked = message.id().ok_or_else(|| failed(&"it was asked nothing"))?;
    let reply = Reply::new(response, asked, MAX_MESSAGE).map_err(|error| failed(&error))?;
    Ok(Underway { reply, server: to.server.to_owned(), id, instance: endpoint.instance, routes: routes.clone() })
}

async fn request(
    aggregate: &Aggregate,
    route: &Route,
    endpoint: &Endpoint,
    message: &Message,
    headers: HeaderMap,
) -> Result<http::Response<hyper::body::Incoming>, ClientError> {
    let mut request = Request::new(full(message.raw().clone()));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from_static("/mcp");
    *request.headers_mut() = headers;
    let client = aggregate.0.client.for_server(route.uid);
    // Streams last long: they share one connection, calls have pooled ones.
    let client = if message.method() == LISTEN { client.long_streams() } else { client };
    client.request(&endpoint.address, request).await
}

/// The headers of a request.
fn head(caller: &Caller, message: &Message, repeated: Vec<(HeaderName, HeaderValue)>) -> Option<HeaderMap> {
    // One that is there twice stays so, for the sidecar to refuse.
    let mut all: HeaderMap = repeated.into_iter().collect();
    for (name, value) in headers::of(message) {
        all.insert(HeaderName::from_static(name), HeaderValue::try_from(value).ok()?);
    }
    all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    all.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    all.extend(hop(caller).ok()?);
    Some(all)
}

impl Underway {
    /// The next message, of which the answer is the last.
    ///
    /// # Errors
    /// With what the client is to be told, when no answer will come.
    pub(super) async fn next(&mut self) -> Result<Message, String> {
        let failed = |why: &dyn std::fmt::Display| format!("server `{}` did not answer: {why}", self.server);
        tokio::select! {
            biased;
            message = self.reply.next() => message.map_err(|error| failed(&error)),
            () = self.routes.gone(&self.id, self.instance) => Err(failed(&"its sidecar has ended; send the request again")),
        }
    }

    /// What follows the answer.
    pub(super) fn rest(self) -> Reply {
        self.reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_headers_for_its_body_and_those_that_repeat_arguments() {
        let meta = mcp::modern::probe::own_meta("{}");
        let params = format!(r#"{{"name":"t","_meta":{meta}}}"#);
        let message = Message::call(Some(&mcp::envelope::RequestId::from(1)), "tools/call", Some(&params));
        let repeated = [("mcp-param-region", "eu")]
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let head = head(&Caller("hash".into()), &message, repeated.into()).unwrap();
        let mut lines: Vec<_> =
            head.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort_unstable();
        insta::assert_snapshot!(lines.join("\n"), @r"
        accept: application/json, text/event-stream
        content-type: application/json
        mcp-gateway-hop: 1
        mcp-gateway-principal: hash
        mcp-method: tools/call
        mcp-name: t
        mcp-param-region: eu
        mcp-protocol-version: 2026-07-28
        ");
    }
}
