//! The pods of a Service, as its slices of endpoints list them.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use wire::client::Endpoint as Address;

use super::server::Key;
use crate::routes::Endpoint;

/// Label of a slice: the Service it belongs to.
pub(super) const SERVICE: &str = "kubernetes.io/service-name";
/// The port where none is named.
const PORT: i32 = 8080;
/// The name of the port.
const PORT_NAME: &str = "http";

/// One slice: which Service it is of, and its endpoints.
#[derive(Clone, Debug)]
pub(super) struct Slice {
    /// The slice itself.
    pub(super) key: Key,
    pub(super) service: Key,
    pub(super) endpoints: Vec<Endpoint>,
}

impl Slice {
    /// What a slice says; `None` when it is no Service's. A server's is known by the server: their Services are not all
    /// called as they are.
    pub(super) fn of(slice: &EndpointSlice) -> Option<Self> {
        let key = Key::of(&slice.metadata)?;
        let name = slice.labels().get(api::labels::SERVER).or_else(|| slice.labels().get(SERVICE))?;
        let service = Key { namespace: Arc::clone(&key.namespace), name: name.as_str().into() };
        let ports = slice.ports.iter().flatten();
        let named = ports.clone().find(|port| port.name.as_deref() == Some(PORT_NAME)).or_else(|| ports.clone().next());
        let port = named.and_then(|port| port.port).unwrap_or(PORT);
        let endpoint = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| {
            let instance = endpoint.target_ref.as_ref()?.uid.as_deref()?.parse().ok()?;
            let host = endpoint.addresses.first()?;
            let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            let address = Address::tcp(&format!("http://{host}:{port}").parse().ok()?).ok()?;
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            // What is not said counts as ready, by the definition of the field.
            let leaving = conditions.terminating.unwrap_or(false);
            let draining = leaving || !conditions.ready.unwrap_or(true);
            Some(Endpoint { instance, address, draining, leaving })
        };
        let endpoints = slice.endpoints.iter().flatten().filter_map(endpoint).collect();
        Some(Self { key, service, endpoints })
    }
}

/// The slices of all Services.
#[derive(Debug, Default)]
pub(super) struct Slices(BTreeMap<Key, BTreeMap<Key, Vec<Endpoint>>>);

impl Slices {
    /// Takes a slice; which Service changed.
    pub(super) fn apply(&mut self, slice: Slice) -> Key {
        self.0.entry(slice.service.clone()).or_default().insert(slice.key, slice.endpoints);
        slice.service
    }

    /// Forgets a slice; which Service changed.
    pub(super) fn remove(&mut self, slice: &Key) -> Option<Key> {
        let service = self.0.iter().find(|(_, slices)| slices.contains_key(slice))?.0.clone();
        let slices = self.0.get_mut(&service)?;
        slices.remove(slice);
        if slices.is_empty() {
            self.0.remove(&service);
        }
        Some(service)
    }

    /// The slices that are there.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.values().flat_map(BTreeMap::keys)
    }

    /// Each pod of a Service once, those for new sessions first. A pod with addresses of both families is in two slices;
    /// while it moves from one slice to another it may be in both, and is ready when one says so.
    pub(super) fn endpoints(&self, service: &Key) -> Vec<Endpoint> {
        let mut pods: BTreeMap<_, Endpoint> = BTreeMap::new();
        for endpoint in self.0.get(service).into_iter().flat_map(BTreeMap::values).flatten() {
            let known = pods.entry(endpoint.instance).or_insert_with(|| endpoint.clone());
            if known.draining && !endpoint.draining {
                *known = endpoint.clone();
            }
        }
        let (mut open, draining): (Vec<_>, Vec<_>) = pods.into_values().partition(|endpoint| !endpoint.draining);
        open.extend(draining);
        open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(name: &str, service: Option<&str>, endpoints: &str) -> Option<Slice> {
        let labels = service.map(|service| format!(r#""labels":{{"{SERVICE}":"{service}"}},"#)).unwrap_or_default();
        let text = format!(
            r#"{{"metadata":{{{labels}"name":"{name}","namespace":"team"}},"addressType":"IPv4",
                "ports":[{{"name":"other","port":1}},{{"name":"http","port":8080}}],"endpoints":[{endpoints}]}}"#
        );
        Slice::of(&serde_json::from_str(&text).unwrap())
    }

    fn endpoint(address: &str, pod: u8, conditions: &str) -> String {
        let uid = crate::store::Uid::from_bytes([pod; 16]);
        format!(
            r#"{{"addresses":["{address}"],"conditions":{{{conditions}}},"targetRef":{{"kind":"Pod","uid":"{uid}"}}}}"#
        )
    }

    fn told(slices: &Slices) -> Vec<String> {
        let service = Key { namespace: "team".into(), name: "time".into() };
        let show = |it: Endpoint| {
            let leaving = if it.leaving { ", leaving" } else { "" };
            format!("{} {}{leaving}", it.address, if it.draining { "draining" } else { "open" })
        };
        slices.endpoints(&service).into_iter().map(show).collect()
    }

    #[test]
    fn pods_that_are_not_ready_keep_their_sessions_and_come_last() {
        let endpoints = [
            endpoint("10.0.0.1", 1, r#""ready":false,"serving":true,"terminating":true"#),
            endpoint("10.0.0.2", 2, r#""ready":false"#),
            endpoint("10.0.0.3", 3, r#""ready":true"#),
            endpoint("fd00::4", 4, ""),
            r#"{"addresses":["10.0.0.9"]}"#.to_owned(),
        ];
        let mut slices = Slices::default();
        slices.apply(slice("a", Some("time"), &endpoints.join(",")).unwrap());
        insta::assert_snapshot!(told(&slices).join("\n"), @r"
        http://10.0.0.3:8080 open
        http://[fd00::4]:8080 open
        http://10.0.0.1:8080 draining, leaving
        http://10.0.0.2:8080 draining
        ");
    }

    #[test]
    fn a_pod_in_two_slices_is_one_and_goes_with_the_last() {
        let mut slices = Slices::default();
        slices.apply(slice("a", Some("time"), &endpoint("10.0.0.1", 1, r#""ready":false"#)).unwrap());
        let second = slice("b", Some("time"), &endpoint("10.0.0.1", 1, r#""ready":true"#)).unwrap();
        let (key, service) = (second.key.clone(), slices.apply(second));
        assert_eq!(told(&slices), ["http://10.0.0.1:8080 open"]);
        assert_eq!(slices.remove(&key), Some(service));
        assert_eq!(told(&slices), ["http://10.0.0.1:8080 draining"]);
        assert_eq!(slices.remove(&key), None);
    }

    #[test]
    fn a_slice_of_no_service_is_passed_over() {
        assert!(slice("a", None, "").is_none());
    }
}
