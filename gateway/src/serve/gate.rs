//! What stands before every route but health: `Host` and `Origin`, who calls, what the route demands, how many streams.
//!
//! One layer, and not one for each: a layer of axum clones all that is below it for each request, so that five cost what
//! fifteen would.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use wire::guard::Guard;

use super::router::{Gates, Table};
use crate::access::{Access, Demand};
use crate::keys::Scope;
use crate::streams::Streams;
use crate::traffic::Traffic;

/// See the [module](self). Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    lists: Guard,
    access: Access,
    traffic: Traffic,
    streams: Streams,
    routes: HashMap<&'static str, Demand>,
}

impl Gate {
    /// The gate before the routes of `table`.
    pub(super) fn new(table: &Table, gates: Gates) -> Self {
        let Gates { access, streams, lists, traffic, peers: _, cors: _ } = gates;
        let routes = table.iter().map(|(path, demand, _)| (*path, *demand)).collect();
        Self(Arc::new(Inner { lists, access, traffic, streams, routes }))
    }

    /// The route that a request has, as the table names it.
    fn route(&self, request: &Request) -> Option<(&'static str, Demand)> {
        let matched = request.extensions().get::<MatchedPath>()?;
        self.0.routes.get_key_value(matched.as_str()).map(|(path, demand)| (*path, *demand))
    }
}

/// The layer.
pub(super) async fn pass(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let Inner { lists, access, traffic, streams, .. } = &*gate.0;
    if let Err(refusal) = lists.admit(&request) {
        return refusal.into_response();
    }
    if let Err(refusal) = access.identify(&mut request).await {
        return refusal.into_response();
    }
    let Some((path, demand)) = gate.route(&request) else { return next.run(request).await };
    let (method, started) = (request.method().clone(), Instant::now());
    let response = match access.demand(demand, &request) {
        Err(refusal) => refusal.into_response(),
        Ok(()) if demand == Demand::Scope(Scope::Call) || path.ends_with("/logs") => streams.hold(request, next).await,
        Ok(()) => next.run(request).await,
    };
    traffic.count(path, &method, response.status(), started);
    response
}
