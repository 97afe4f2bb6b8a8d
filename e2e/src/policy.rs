//! Who may reach whom: NetworkPolicies, carried out on paper. Not every cluster enforces them, so tests ask here.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/network-policies>; blocks of addresses match no pod.

use serde_json::{Map, Value};

/// The label of its name that every namespace has.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// A pod, as policies see it.
#[derive(Debug, Clone)]
pub struct End {
    namespace: String,
    namespace_labels: Map<String, Value>,
    labels: Map<String, Value>,
}

impl End {
    /// One with these labels.
    pub fn new(namespace: &str, labels: &Value) -> Self {
        let name = (NAMESPACE_NAME.to_owned(), namespace.into());
        let labels = labels.as_object().cloned().unwrap_or_default();
        Self { namespace: namespace.into(), namespace_labels: [name].into_iter().collect(), labels }
    }

    /// With one more label of its namespace.
    pub fn in_namespace_with(mut self, name: &str, value: &str) -> Self {
        self.namespace_labels.insert(name.into(), value.into());
        self
    }
}

/// Whether `from` may connect to a port of `to`, which is given by its name and its number.
pub fn may_reach(policies: &[Value], from: &End, to: &End, port: (&str, u16)) -> bool {
    let passes = |direction: Direction, of: &End, other: &End| {
        let mut applying = policies.iter().filter(|policy| applies(policy, direction, of)).peekable();
        applying.peek().is_none() || applying.any(|policy| admits(policy, direction, other, port))
    };
    passes(Direction::INGRESS, to, from) && passes(Direction::EGRESS, from, to)
}

/// One of the two kinds of rules: its type, its list, and how a rule names the other end.
#[derive(Clone, Copy)]
struct Direction {
    kind: &'static str,
    rules: &'static str,
    peers: &'static str,
}

impl Direction {
    const INGRESS: Self = Self { kind: "Ingress", rules: "ingress", peers: "from" };
    const EGRESS: Self = Self { kind: "Egress", rules: "egress", peers: "to" };
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn applies(policy: &Value, direction: Direction, of: &End) -> bool {
    let spec = &policy["spec"];
    let types = list(&spec["policyTypes"]);
    // Without types: of ingress, and of egress where there are rules for it.
    let typed = if types.is_empty() {
        direction.kind == "Ingress" || !spec["egress"].is_null()
    } else {
        types.iter().any(|it| it == direction.kind)
    };
    typed && policy["metadata"]["namespace"] == *of.namespace && selects(&spec["podSelector"], &of.labels)
}

fn admits(policy: &Value, direction: Direction, other: &End, port: (&str, u16)) -> bool {
    list(&policy["spec"][direction.rules]).iter().any(|rule| {
        let (peers, ports) = (list(&rule[direction.peers]), list(&rule["ports"]));
        let of_policy = policy["metadata"]["namespace"].as_str().unwrap_or_default();
        (peers.is_empty() || peers.iter().any(|peer| is_peer(peer, of_policy, other)))
            && (ports.is_empty() || ports.iter().any(|it| is_port(it, port)))
    })
}

fn is_peer(peer: &Value, of_policy: &str, other: &End) -> bool {
    let (namespaces, pods) = (&peer["namespaceSelector"], &peer["podSelector"]);
    if namespaces.is_null() && pods.is_null() {
        return false;
    }
    let there =
        if namespaces.is_null() { other.namespace == of_policy } else { selects(namespaces, &other.namespace_labels) };
    there && (pods.is_null() || selects(pods, &other.labels))
}

fn is_port(rule: &Value, (name, number): (&str, u16)) -> bool {
    if rule["protocol"].as_str().is_some_and(|protocol| protocol != "TCP") {
        return false;
    }
    match &rule["port"] {
        Value::Null => true,
        Value::String(text) => text == name,
        first => {
            let (first, number) = (first.as_u64().unwrap_or_default(), u64::from(number));
            (first..=rule["endPort"].as_u64().unwrap_or(first)).contains(&number)
        }
    }
}

fn selects(selector: &Value, labels: &Map<String, Value>) -> bool {
    let pairs = selector["matchLabels"].as_object().into_iter().flatten();
    let mut pairs = pairs.map(|(name, value)| labels.get(name) == Some(value));
    pairs.all(|fits| fits) && list(&selector["matchExpressions"]).iter().all(|it| fits(it, labels))
}

fn fits(expression: &Value, labels: &Map<String, Value>) -> bool {
    let found = expression["key"].as_str().and_then(|key| labels.get(key));
    let named = found.is_some_and(|value| list(&expression["values"]).contains(value));
    match expression["operator"].as_str() {
        Some("In") => named,
        Some("NotIn") => !named,
        Some("Exists") => found.is_some(),
        Some("DoesNotExist") => found.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(spec: &Value) -> Value {
        json!({"metadata": {"namespace": "a"}, "spec": spec})
    }

    #[test]
    fn a_pod_that_no_policy_selects_is_open_and_one_that_is_selected_is_closed() {
        let (one, two) = (End::new("a", &json!({"app": "one"})), End::new("b", &json!({"app": "two"})));
        let closed = [policy(&json!({"podSelector": {"matchLabels": {"app": "one"}}, "policyTypes": ["Ingress"]}))];
        assert!(may_reach(&[], &two, &one, ("http", 80)));
        assert!(!may_reach(&closed, &two, &one, ("http", 80)));
        assert!(may_reach(&closed, &one, &two, ("http", 80)));
    }

    #[test]
    fn peers_are_of_the_policys_namespace_unless_it_names_others() {
        let rules = |peer: Value| [policy(&json!({"podSelector": {}, "ingress": [{"from": [peer]}]}))];
        let near = End::new("a", &json!({"app": "x"}));
        let far = End::new("b", &json!({"app": "x"})).in_namespace_with("team", "b");
        let to = End::new("a", &json!({}));
        let pods = json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["x"]}]});
        let may = |peer: Value, from: &End| may_reach(&rules(peer), from, &to, ("http", 80));
        assert!(may(json!({"podSelector": pods}), &near) && !may(json!({"podSelector": pods}), &far));
        let both = json!({"podSelector": pods, "namespaceSelector": {"matchLabels": {"team": "b"}}});
        assert!(may(both.clone(), &far) && !may(both, &near));
        assert!(!may(json!({"ipBlock": {"cidr": "0.0.0.0/0"}}), &near));
    }

    #[test]
    fn ports_are_matched_by_name_number_and_range() {
        let rules = |port: Value| [policy(&json!({"podSelector": {}, "ingress": [{"ports": [port]}]}))];
        let (from, to) = (End::new("b", &json!({})), End::new("a", &json!({})));
        let may = |port: Value| may_reach(&rules(port), &from, &to, ("http", 8080));
        assert!(may(json!({"port": "http"})) && may(json!({"port": 8080})) && may(json!({"protocol": "TCP"})));
        assert!(may(json!({"port": 8000, "endPort": 8100})));
        assert!(!may(json!({"port": "admin"})) && !may(json!({"port": 8081})) && !may(json!({"protocol": "UDP"})));
    }
}
