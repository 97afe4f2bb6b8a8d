//! A request of 2026-07-28 that goes on with a call which waits in one sidecar of several: its state says in which.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use mcp::envelope::{self, Incoming};
use mcp::header::MCP_METHOD;
use mcp::modern::may_ask;
use tokio::time::{Instant, timeout_at};

use crate::routes::{Endpoint, Route};
use crate::store::Uid;

/// What a server's state begins with, where it is kept beside a process: behind it stands the instance, and a dot.
const STATE: &str = "mgw1.";

/// A longer body is not looked into, and neither is one that takes longer.
const LONGEST: usize = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// The instance that a state, or the id of a task, is kept in. A hint, and no more: whoever takes it there finds out.
pub(crate) fn instance_of(state: &str) -> Option<Uid> {
    state.strip_prefix(STATE)?.split_once('.')?.0.parse().ok()
}

/// The endpoint that the request's state names, and the request as it came. A body is only read where that can make a
/// difference.
pub(super) async fn home(request: Request, route: &Route) -> (Option<Endpoint>, Request) {
    if route.endpoints.len() < 2 || !may_go_on(request.headers()) {
        return (None, request);
    }
    let (parts, body) = request.into_parts();
    let (start, body) = beginning(body).await;
    let named = start.and_then(|whole| named(whole, route)).cloned();
    (named, Request::from_parts(parts, body))
}

fn may_go_on(headers: &HeaderMap) -> bool {
    headers.get(MCP_METHOD).and_then(|method| method.to_str().ok()).is_some_and(may_ask)
}

/// The whole of a body that is not longer than [`LONGEST`], and the body as it came.
async fn beginning(mut body: Body) -> (Option<Bytes>, Body) {
    let mut read = BytesMut::new();
    let until = Instant::now() + PATIENCE;
    while read.len() <= LONGEST {
        let Ok(next) = timeout_at(until, body.frame()).await else { break };
        match next {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    read.extend_from_slice(&data);
                }
            }
            None => {
                let whole = read.freeze();
                return (Some(whole.clone()), Body::from(whole));
            }
            // Whoever reads on is told of it.
            Some(Err(error)) => {
                let failed = futures::stream::iter([Ok(read.freeze()), Err(error)]);
                return (None, Body::from_stream(failed));
            }
        }
    }
    let start = futures::stream::iter([Ok(read.freeze())]);
    (None, Body::from_stream(start.chain(body.into_data_stream())))
}

fn named(body: Bytes, route: &Route) -> Option<&Endpoint> {
    let Ok(Incoming::Single(message)) = envelope::parse(body, LONGEST) else { return None };
    route.instance(instance_of(&message.str_at(&["requestState"])?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::tests::route;

    async fn go(method: &str, body: Vec<u8>, route: &Route) -> (Option<Uid>, Bytes) {
        let request = Request::builder().header("mcp-method", method).body(Body::from(body)).unwrap();
        let (endpoint, request) = home(request, route).await;
        let body = request.into_body().collect().await.unwrap().to_bytes();
        (endpoint.map(|endpoint| endpoint.instance), body)
    }

    fn call(state: &str) -> Vec<u8> {
        let params = format!(r#"{{"name":"t","requestState":"{state}"}}"#);
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#).into()
    }

    #[tokio::test]
    async fn a_call_that_waits_in_a_sidecar_goes_there_even_when_that_takes_no_new_ones() {
        let two = route("time", &[false, true]);
        let second = two.endpoints[1].instance;
        let state = format!("mgw1.{second}.7.s");
        assert_eq!(go("tools/call", call(&state), &two).await, (Some(second), call(&state).into()));
        for (method, body) in [
            ("tools/list", call(&state)),
            ("tools/call", call("of the server's own")),
            ("tools/call", call(&format!("mgw1.{}.7.s", Uid::from_bytes([9; 16])))),
            ("tools/call", b"{".to_vec()),
            ("tools/call", b"[]".to_vec()),
            ("tools/call", Vec::new()),
        ] {
            assert_eq!(go(method, body.clone(), &two).await, (None, body.into()), "{method}");
        }
        assert_eq!(go("tools/call", call(&state), &route("time", &[true])).await.0, None);
    }

    #[tokio::test]
    async fn a_long_body_is_passed_on_unread() {
        let long = [call("s"), vec![b' '; LONGEST + 1]].concat();
        assert_eq!(go("tools/call", long.clone(), &route("time", &[false, false])).await, (None, long.into()));
    }

    #[test]
    fn a_state_may_say_where_it_is_kept() {
        let uid = Uid::from_bytes([7; 16]);
        assert_eq!(instance_of(&format!("mgw1.{uid}.sealed.more")), Some(uid));
        for state in ["", "mgw1.", "mgw1.x.y", &format!("mgw1.{uid}"), &format!("mgw2.{uid}.x"), "fixture-state"] {
            assert_eq!(instance_of(state), None, "{state}");
        }
    }
}
