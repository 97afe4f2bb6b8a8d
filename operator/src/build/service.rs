//! Where a server is.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::container::{PORT, PORT_NAME};
use crate::controller::validate::ValidatedServer;

pub(super) fn build(server: &ValidatedServer) -> Service {
    Service {
        metadata: server.meta_with(api::names::service(&server.name), server.children.service.as_ref()),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(server.selector()),
            publish_not_ready_addresses: Some(false),
            ports: Some(vec![ServicePort {
                name: Some(PORT_NAME.to_owned()),
                port: PORT,
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::String(PORT_NAME.to_owned())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
