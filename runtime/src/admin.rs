//! The admin port: `/healthz`, `/readyz`, `/metrics`, away from what clients reach.

use std::{convert::Infallible, future::pending, sync::Arc};

use axum::{Router, response::IntoResponse, routing::get};
use http::{StatusCode, header::CONTENT_TYPE};
use prometheus_client::{encoding::text, registry::Registry};

use crate::{
    accept::Server,
    listen::{BindError, ListenAddr, Listener},
    readiness::Readiness,
    shutdown::Drain,
};

/// <https://prometheus.io/docs/specs/om/open_metrics_spec/#overall-structure>
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Probes and scrapers are few.
const MAX_CONNECTIONS: usize = 64;

/// Where the admin port is. Flatten it into a program's arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct AdminArgs {
    /// Serve /healthz, /readyz and /metrics here: IP:PORT, :PORT or unix:PATH; nothing by default
    #[arg(long, env = "MCP_ADMIN", value_name = "ADDR")]
    pub admin: Option<ListenAddr>,
}

impl AdminArgs {
    /// Binds the admin port, if one is wanted. Serving it is a later call: [`serve`].
    pub fn bind(&self) -> Result<Option<Listener>, BindError> {
        let addr = self.admin.as_ref();
        addr.map(|addr| addr.bind("--admin")).transpose()
    }
}

/// `/healthz` (the process answers: 200) and `/readyz` (200, or 503 with the reasons). A program may
/// merge them into its main listener as well.
pub fn health_routes(readiness: &Readiness) -> Router {
    let readiness = readiness.clone();
    let readyz = async move || match readiness.check() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(reasons) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reasons}\n")),
    };
    Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(readyz))
}

/// All of the admin port: [`health_routes`] and `/metrics` (OpenMetrics text).
pub fn routes(readiness: &Readiness, registry: Arc<Registry>) -> Router {
    let metrics = async move || {
        let mut page = String::new();
        match text::encode(&mut page, &registry) {
            Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
            Err(error) => {
                tracing::error!(%error, "failed to encode the metrics");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    };
    health_routes(readiness).route("/metrics", get(metrics))
}

/// Serves the admin port until dropped, through a drain as well: that is when `/readyz` matters most.
pub async fn serve(listener: Listener, routes: Router) -> Infallible {
    let server = Server::new(listener).max_connections(MAX_CONNECTIONS);
    server.serve(routes, Drain::default()).await;
    // A drain that nobody holds the other end of never begins.
    pending().await
}

/// Runs `work` with the admin port, if there is one, beside it.
pub async fn beside<F: Future>(listener: Option<Listener>, routes: Router, work: F) -> F::Output {
    let admin = async {
        match listener {
            Some(listener) => serve(listener, routes).await,
            None => pending().await,
        }
    };
    tokio::select! {
        output = work => output,
        never = admin => match never {},
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::shutdown::Shutdown;

    struct Answer {
        status: StatusCode,
        content_type: String,
        body: String,
    }

    async fn send(readiness: &Readiness, method: &str, path: &str) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::empty()).unwrap();
        let routes = routes(readiness, Arc::new(Registry::default()));
        let (head, body) = routes.oneshot(request).await.unwrap().into_parts();
        let content_type = head.headers.get(CONTENT_TYPE);
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status,
            content_type: content_type.map_or("", |v| v.to_str().unwrap()).to_owned(),
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    async fn status(readiness: &Readiness, path: &str) -> (u16, String) {
        let answer = send(readiness, "GET", path).await;
        (answer.status.as_u16(), answer.body)
    }

    #[tokio::test]
    async fn readyz_names_what_is_waited_for_until_it_is_done() {
        let readiness = Readiness::new(Drain::default());
        let token = readiness.token("routes synced");
        let waiting = (503, "waiting for: routes synced\n".to_owned());
        assert_eq!(status(&readiness, "/readyz").await, waiting);
        drop(token);
        assert_eq!(status(&readiness, "/readyz").await, (200, "ok\n".to_owned()));
    }

    #[tokio::test]
    async fn a_draining_process_is_alive_but_not_ready() {
        let shutdown = Shutdown::new();
        let readiness = Readiness::new(shutdown.drain());
        shutdown.begin("test");
        assert_eq!(status(&readiness, "/healthz").await.0, 200);
        assert_eq!(status(&readiness, "/readyz").await.0, 503);
    }

    #[tokio::test]
    async fn metrics_are_openmetrics_text() {
        let readiness = Readiness::new(Drain::default());
        let answer = send(&readiness, "GET", "/metrics").await;
        assert_eq!(answer.content_type, OPEN_METRICS);
        assert!(answer.body.ends_with("# EOF\n"));
    }

    #[tokio::test]
    async fn anything_else_is_404_or_405() {
        let readiness = Readiness::new(Drain::default());
        assert_eq!(send(&readiness, "GET", "/").await.status, 404);
        assert_eq!(send(&readiness, "POST", "/metrics").await.status, 405);
    }

    #[tokio::test]
    async fn without_an_address_there_is_no_admin_port() {
        assert!(AdminArgs { admin: None }.bind().unwrap().is_none());
        let routes = Router::new();
        assert_eq!(beside(None, routes, async { 7 }).await, 7);
    }
}
