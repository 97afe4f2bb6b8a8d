//! The description of the deploy API, made from the types it is served with.

use axum::Json;
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(title = "mcp-gateway", description = "Deploys MCP servers and tells how they are."),
    paths(
        super::deploy::deploy,
        super::servers::list_servers,
        super::servers::list_services,
        super::servers::get_server,
        super::servers::delete_server,
        super::servers::delete_by_query,
        super::servers::logs,
    ),
    components(schemas(crate::spec::ServerSpec, super::ApiError))
)]
struct Description;

/// `GET /openapi.json`.
pub async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(Description::openapi())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_says_how_it_fails_without_a_key() {
        let description = serde_json::to_value(Description::openapi()).unwrap();
        let paths = description["paths"].as_object().unwrap();
        assert_eq!(paths.len(), 6);
        for operation in paths.values().flat_map(|path| path.as_object().unwrap().values()) {
            assert!(operation["responses"]["401"].is_object(), "{operation}");
            assert!(operation["responses"]["403"].is_object(), "{operation}");
        }
    }
}
