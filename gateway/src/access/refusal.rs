//! Why a request is not served, and how that is said.

use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::api::ApiError;
use crate::keys::Scope;

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It brought no credential, and one is demanded.
    NoKey,
    /// It brought one that is not good.
    InvalidKey,
    /// Its caller has not this scope.
    Scope(Scope),
    /// It brought what may be a token of the cluster, which cannot be asked.
    Unknown,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let text = match self {
            Self::NoKey => "a key is needed: send it as `Authorization: Bearer KEY`",
            Self::InvalidKey => "the key is unknown, expired or revoked",
            Self::Scope(scope) => {
                let text = format!("the key has not the scope `{}` that this needs", scope.as_str());
                return ApiError::new(StatusCode::FORBIDDEN, text).into_response();
            }
            Self::Unknown => {
                let text = "the API server cannot be asked about the token now; try again";
                return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, text).retry_after(2).into_response();
            }
        };
        let mut response = ApiError::new(StatusCode::UNAUTHORIZED, text).into_response();
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"mcp-gateway\""));
        response
    }
}
