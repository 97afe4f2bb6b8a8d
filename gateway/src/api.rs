//! The deploy API: the documented contract of the gateway's users, and the same as resources.

use std::fmt;
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

mod deploy;
mod openapi;
mod servers;

pub use deploy::{DeployAnswer, EntryResult, EntryStatus, Summary, deploy};
pub use openapi::openapi;
pub use servers::{ServerView, delete_by_query, delete_server, get_server, list_servers, list_services, logs};

use crate::access::{Access, Action, Who, parameter};
use crate::backend::{Backend, Refusal};
use crate::routes::{Route, RouteTable, Routes, identity};
use wire::client::HttpClient;

/// What the handlers work with.
#[derive(Clone, Debug)]
pub struct Api {
    /// Makes changes.
    pub backend: Backend,
    /// Who may.
    pub access: Access,
    /// What there is.
    pub routes: Routes,
    /// Reaches sidecars.
    pub client: HttpClient,
    /// Where programs are looked for; `None` where others start them.
    pub path: Option<String>,
    /// The largest body.
    pub max_body: usize,
}

/// A request that cannot be served.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiError {
    /// What is wrong and what to do.
    pub error: String,
    /// Always false.
    pub success: bool,
    /// The servers there are, where a name was not among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers: Option<Vec<String>>,
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    retry_after: Option<u64>,
}

impl ApiError {
    /// An answer with that status.
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { error: error.into(), success: false, servers: None, status, retry_after: None }
    }

    /// There is no such server among those of these names.
    pub fn unknown_server(name: &str, names: Vec<String>) -> Self {
        let known =
            if names.is_empty() { "there are none yet".to_owned() } else { format!("there are: {}", names.join(", ")) };
        let error = Self::new(StatusCode::NOT_FOUND, format!("no server is named `{name}`; {known}"));
        Self { servers: Some(names), ..error }
    }

    /// Try again in `seconds`.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, retry_after) = (self.status, self.retry_after);
        let mut response = (status, Json(self)).into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.status(), refusal.to_string())
    }
}

impl Refusal {
    /// The status of the answer that tells of it.
    fn status(&self) -> StatusCode {
        match self {
            Self::Configured(_) | Self::Foreign(_) => StatusCode::CONFLICT,
            Self::Missing => StatusCode::NOT_FOUND,
            Self::Rejected(_) => StatusCode::BAD_REQUEST,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Unreachable(_) | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::Storage(_) => StatusCode::INSUFFICIENT_STORAGE,
        }
    }
}

/// What a query says; one that cannot be read is refused in JSON, like everything else.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = Query::try_from_uri(&parts.uri);
        let Query(params) = query.map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, error.body_text()))?;
        Ok(Self(params))
    }
}

/// A server as an address names it: `NAME` or `NAMESPACE/NAME`, or a `?namespace=` beside the name. One that is no text
/// is refused in JSON, like everything else.
#[derive(Clone, Debug, Deserialize)]
pub struct ServerPath {
    #[serde(default)]
    pub namespace: Option<String>,
    pub name: String,
}

impl ServerPath {
    /// The server, if the caller may do `action` with it.
    pub async fn find(&self, access: &Access, who: &Who, action: Action, table: &RouteTable) -> Option<Arc<Route>> {
        let route = table.find(self.namespace.as_deref(), &self.name)?;
        access.may(who, action, route.namespace.as_deref()).await.then(|| Arc::clone(route))
    }

    /// That there is no such server, and which there are for this caller.
    pub async fn unknown(&self, access: &Access, who: &Who, table: &RouteTable) -> ApiError {
        let names = access.visible(who, Action::Get, table).await.iter().map(|route| route.address()).collect();
        ApiError::unknown_server(&self.to_string(), names)
    }
}

impl fmt::Display for ServerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&identity(self.namespace.as_deref(), &self.name))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ServerPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let server = Path::<Self>::from_request_parts(parts, state).await;
        let Path(server) = server.map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, error.body_text()))?;
        let queried = || parameter(parts.uri.query().unwrap_or_default(), "namespace");
        Ok(Self { namespace: server.namespace.or_else(queried), ..server })
    }
}

/// A JSON body as text: its content type is checked, its syntax is not.
#[derive(Debug)]
pub struct JsonText(pub String);

impl FromRequest<Api> for JsonText {
    type Rejection = ApiError;

    async fn from_request(request: axum::extract::Request, api: &Api) -> Result<Self, ApiError> {
        let media_type = request.headers().get("content-type").and_then(|value| value.to_str().ok());
        let media_type = media_type.and_then(|value| value.split(';').next()).map(str::trim);
        if !media_type.is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json")) {
            let text = "the body must be JSON: send the header `Content-Type: application/json`";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
        let too_large = || {
            let text = format!("the body is larger than the limit of {} bytes", api.max_body);
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, text)
        };
        let body = axum::body::to_bytes(request.into_body(), api.max_body).await.map_err(|_| too_large())?;
        let text = String::from_utf8(body.to_vec());
        text.map(Self)
            .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, format!("the body is not UTF-8: {error}")))
    }
}
