//! What to do about what a cluster refuses, and what cannot be there beside a sidecar.

/// By the words that the API server or a program has for it, what users can do. A guess, for advice: no reason depends on it.
const ADVICE: [(&str, &str); 10] = [
    (
        "exceeded quota",
        "have the ResourceQuota raised, or ask for less in spec.replicas, spec.resources and spec.sidecar.resources",
    ),
    (
        "failed quota",
        "give what the ResourceQuota counts in spec.resources and spec.sidecar.resources, requests and limits",
    ),
    (
        "violates PodSecurity",
        "take back what spec.podSecurityContext and spec.securityContext loosen, or use a namespace that allows it",
    ),
    ("usage per Container is", "keep spec.resources and spec.sidecar.resources within the namespace's LimitRange"),
    ("usage per Pod is", "keep spec.resources and spec.sidecar.resources within the namespace's LimitRange"),
    ("ValidatingAdmissionPolicy", "change the spec so that the policy admits it, or ask whoever made the policy"),
    ("failed calling webhook", "see that the webhook's service runs, or ask whoever installed the webhook"),
    ("denied the request", "change the spec so that the webhook admits it, or ask whoever installed the webhook"),
    ("ddress already in use", PORTS),
    ("EADDRINUSE", PORTS),
];

/// All containers of a pod have one network.
const PORTS: &str = "ports 8080 and 8081 of the pod are the sidecar's; have the program listen on others, or on none";

/// The message, and what to do about it where that is known.
pub(super) fn advised(message: &str) -> String {
    let advice = ADVICE.iter().find(|(words, _)| message.contains(words));
    advice.map_or_else(|| message.to_owned(), |(_, advice)| format!("{message}: {advice}"))
}

#[cfg(test)]
mod tests {
    use super::advised;

    #[test]
    fn what_users_can_change_is_said_behind_what_the_cluster_says() {
        for (message, advice) in [
            (
                r#"pods "a" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"#,
                "ResourceQuota raised",
            ),
            (
                r#"pods "a" is forbidden: failed quota: q: must specify limits.cpu for: server"#,
                "give what the ResourceQuota",
            ),
            (
                r#"pods "a" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true"#,
                "spec.securityContext",
            ),
            (r#"pods "a" is forbidden: maximum memory usage per Container is 64Mi, but limit is 1Gi"#, "LimitRange"),
            (
                r#"pods "a" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"#,
                "policy admits",
            ),
            (
                r#"Internal error occurred: failed calling webhook "a": service "b" not found"#,
                "the webhook's service runs",
            ),
            (r#"admission webhook "a" denied the request: no"#, "the webhook admits it"),
            ("exited with code 1; stderr: bind: Address already in use (os error 98)", "8080 and 8081"),
            ("Error: listen EADDRINUSE: address already in use :::8080", "8080 and 8081"),
        ] {
            let told = advised(message);
            assert!(told.starts_with(message) && told.contains(advice), "{told}");
        }
        assert_eq!(advised("something else"), "something else");
    }
}
