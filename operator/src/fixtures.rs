//! Settings and servers for tests.

use api::{McpServer, labels};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::core::ObjectMeta;

use crate::settings::{PackageDefaults, Peer, Settings};

pub(crate) fn settings() -> Settings {
    let peer = |name: &str| Peer {
        namespace: "mcp-system".to_owned(),
        labels: [(labels::NAME.to_owned(), name.to_owned())].into(),
    };
    Settings {
        sidecar_image: "example.com/mcp-sidecar:1".to_owned(),
        runner_image: "example.com/mcp-runner:1".to_owned(),
        image_pull_policy: None,
        image_pull_secrets: Vec::new(),
        sidecar_resources: serde_saphyr::from_str("{requests: {cpu: 10m, memory: 16Mi}, limits: {memory: 256Mi}}")
            .unwrap(),
        server_resources: serde_saphyr::from_str("{requests: {cpu: 50m, memory: 128Mi}, limits: {memory: 1Gi}}")
            .unwrap(),
        packages: PackageDefaults::default(),
        cache_size_limit: Quantity("2Gi".to_owned()),
        cache_claim_size: Quantity("3Gi".to_owned()),
        gateway: peer("mcp-gateway"),
        operator: peer("mcp-operator"),
        drain: std::time::Duration::from_secs(25),
    }
}

pub(crate) fn server(spec: &str) -> McpServer {
    let metadata = ObjectMeta {
        name: Some("time".to_owned()),
        namespace: Some("tools".to_owned()),
        uid: Some("0b5d4c0e-1111-2222-3333-444455556666".to_owned()),
        generation: Some(3),
        ..ObjectMeta::default()
    };
    McpServer { metadata, spec: serde_saphyr::from_str(spec).unwrap(), status: None }
}
