//! Who may reach a server's pods, and whom they may reach.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::container::PORT_NAME;
use crate::controller::validate::ValidatedServer;
use crate::settings::{Peer, Settings};

/// The label of its name that every namespace has.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

pub(super) fn build(server: &ValidatedServer, settings: &Settings) -> NetworkPolicy {
    let network = server.resource.spec.network.clone().unwrap_or_default();
    let mut from = vec![peer(&settings.gateway), peer(&settings.operator)];
    from.extend(network.ingress);
    let mut types = vec!["Ingress".to_owned()];
    types.extend(network.egress.is_some().then(|| "Egress".to_owned()));
    NetworkPolicy {
        metadata: server.meta(server.name.clone()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector { match_labels: Some(server.selector()), ..LabelSelector::default() }),
            ingress: Some(vec![NetworkPolicyIngressRule {
                from: Some(from),
                ports: Some(vec![port("TCP", IntOrString::String(PORT_NAME.to_owned()))]),
            }]),
            egress: network.egress.map(|rules| [vec![dns()], rules].concat()),
            policy_types: Some(types),
        }),
    }
}

fn peer(peer: &Peer) -> NetworkPolicyPeer {
    let selector = |labels| Some(LabelSelector { match_labels: Some(labels), ..LabelSelector::default() });
    NetworkPolicyPeer {
        namespace_selector: selector([(NAMESPACE_NAME.to_owned(), peer.namespace.clone())].into()),
        pod_selector: selector(peer.labels.clone()),
        ..NetworkPolicyPeer::default()
    }
}

/// Names can be looked up by whoever may connect to anything.
fn dns() -> NetworkPolicyEgressRule {
    let ports = ["UDP", "TCP"].map(|protocol| port(protocol, IntOrString::Int(53)));
    NetworkPolicyEgressRule { ports: Some(ports.into()), to: None }
}

fn port(protocol: &str, port: IntOrString) -> NetworkPolicyPort {
    NetworkPolicyPort { protocol: Some(protocol.to_owned()), port: Some(port), end_port: None }
}
