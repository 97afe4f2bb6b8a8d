//! How much is asked of the gateway, and how fast it answers: a counter and a histogram for each route.
//!
//! Labels are the route as the table has it (`/{name}/mcp`), never what a caller wrote.

use std::sync::Arc;
use std::time::Instant;

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry as Metrics, Unit};

/// Upper bounds in seconds: from what the gateway itself needs to what a slow tool takes.
const BOUNDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0];

/// See the [module](self). Clones share it.
#[derive(Clone, Debug)]
pub struct Traffic(Arc<Families>);

#[derive(Debug)]
struct Families {
    requests: Family<Answered, Counter>,
    seconds: Family<Asked, Histogram, fn() -> Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: &'static str,
    method: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    route: &'static str,
    method: &'static str,
}

impl Default for Traffic {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BOUNDS);
        Self(Arc::new(Families { requests: Family::default(), seconds: Family::new_with_constructor(histogram) }))
    }
}

impl Traffic {
    /// Adds the figures to the metrics.
    pub fn register(&self, metrics: &mut Metrics) {
        let Families { requests, seconds } = &*self.0;
        metrics.register("mcp_gateway_requests", "Requests that were answered", requests.clone());
        let help = "Time from a request to the head of its answer";
        metrics.register_with_unit("mcp_gateway_request_duration", help, Unit::Seconds, seconds.clone());
    }

    /// Counts a request of a route that was `started` then and has been answered now.
    pub fn count(&self, route: &'static str, method: &Method, status: StatusCode, started: Instant) {
        let (method, code) = (known(method), status.as_u16());
        self.0.requests.get_or_create(&Answered { route, method, code }).inc();
        self.0.seconds.get_or_create(&Asked { route, method }).observe(started.elapsed().as_secs_f64());
    }
}

/// A label of few values, whatever a caller sends.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;

    #[test]
    fn requests_are_counted_by_route_and_code_and_never_by_what_callers_wrote() {
        let traffic = Traffic::default();
        for (method, status) in [("GET", StatusCode::OK), ("BREW", StatusCode::METHOD_NOT_ALLOWED)] {
            traffic.count("/{name}/mcp", &method.parse().unwrap(), status, Instant::now());
        }
        let mut metrics = Metrics::default();
        traffic.register(&mut metrics);
        let mut page = String::new();
        text::encode(&mut page, &metrics).unwrap();
        for line in [
            r#"mcp_gateway_requests_total{route="/{name}/mcp",method="GET",code="200"} 1"#,
            r#"mcp_gateway_requests_total{route="/{name}/mcp",method="other",code="405"} 1"#,
            r#"mcp_gateway_request_duration_seconds_count{route="/{name}/mcp",method="GET"} 1"#,
        ] {
            assert!(page.contains(line), "{page}");
        }
        assert!(!page.contains("BREW"));
    }
}
