//! Answers that are no MCP messages of a server.

use axum::body::Body;
use axum::http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use mcp::envelope::{Message, Refused, RequestId, code};
use mcp::modern::check::Refusal;

use super::Unavailable;

/// A request that cannot be served: a status and a JSON-RPC error without id, as the specification asks for
/// (Streamable HTTP, "Sending Messages to the Server").
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: i32,
    text: String,
    id: Option<RequestId>,
    /// Raw JSON.
    data: Option<String>,
    retry_after: Option<u64>,
}

/// The code the SDKs use for what is wrong with the HTTP request rather than with the message.
const TRANSPORT_ERROR: i32 = -32000;
/// The code the SDKs use for a session that does not exist.
const SESSION_NOT_FOUND: i32 = -32001;

impl Problem {
    /// A fault of the HTTP request; `text` says what to do.
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, code: TRANSPORT_ERROR, text: text.into(), id: None, data: None, retry_after: None }
    }

    /// The session has ended, or never was, or is somebody else's. The client is to initialize again.
    pub fn no_session() -> Self {
        let text = "Session not found: it has ended or never was; open a new one with initialize";
        Self { code: SESSION_NOT_FOUND, ..Self::new(StatusCode::NOT_FOUND, text) }
    }

    /// A request of 2026-07-28 that is not what it must be.
    pub(super) fn refused(refusal: Refusal, id: Option<RequestId>) -> Self {
        let Refusal { status, code, text, data } = refusal;
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        Self { code, id, data, ..Self::new(status, text) }
    }

    /// A request reuses an id.
    pub fn id_in_use(id: RequestId) -> Self {
        let text = "a request with this id is still worked on in this session";
        Self { code: code::INVALID_REQUEST, id: Some(id), ..Self::new(StatusCode::BAD_REQUEST, text) }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let Refused { code, reason, id } = refused;
        Self { code, id, ..Self::new(StatusCode::BAD_REQUEST, reason) }
    }
}

impl From<Unavailable> for Problem {
    fn from(unavailable: Unavailable) -> Self {
        let retry_after = Some(unavailable.retry_after.as_secs().max(1));
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, unavailable.reason) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let error = Message::error(self.id.as_ref(), self.code, &self.text, self.data.as_deref());
        let mut response = Response::new(Body::from(error.raw().clone()));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if matches!(self.status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
            // The rest of the body is not read, so that nothing can follow it (RFC 9112, 9.6).
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// The answer to OPTIONS.
pub async fn allow(methods: &'static str) -> Response<Body> {
    (StatusCode::NO_CONTENT, [(ALLOW, methods)]).into_response()
}

/// The answer to a method that the endpoint does not have.
pub async fn not_allowed(methods: &'static str) -> Response<Body> {
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("this endpoint takes {methods}"));
    ([(ALLOW, methods)], problem).into_response()
}
