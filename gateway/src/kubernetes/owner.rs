//! Who manages a resource: the deploy API, or somebody else, to whom it is left. Pure.

use api::McpServer;
use api::labels::{GATEWAY, MANAGED_BY};
use kube::ResourceExt as _;
use mcp::names::ServerName;

use crate::backend::Refusal;

/// The fields that say what a server is: whoever else has set one has taken the server over.
const IDENTITY: [&str; 3] = ["f:command", "f:args", "f:url"];

/// Whether the deploy API made a resource, and nobody else has taken it over.
pub(super) fn ours(object: &McpServer, name: &ServerName) -> Result<(), Refusal> {
    let foreign = |who: &str| {
        let (namespace, resource) = (object.namespace().unwrap_or_default(), object.name_any());
        Err(Refusal::Foreign(format!(
            "server `{name}` is the McpServer `{resource}` in the namespace `{namespace}`, which is managed by {who}: \
             change it there"
        )))
    };
    if object.metadata.deletion_timestamp.is_some() {
        return Err(Refusal::Unreachable(format!("server `{name}` is being removed; try again")));
    }
    let manager = || manager(object).unwrap_or_else(|| "somebody else".to_owned());
    match object.labels().get(MANAGED_BY).map(String::as_str) {
        Some(GATEWAY) if is_applied(object) => {}
        Some(other) if other != GATEWAY => return foreign(other),
        _ => return foreign(&manager()),
    }
    taken_over_by(object).map_or(Ok(()), |other| foreign(&other))
}

/// Whether the gateway is among those that applied it.
fn is_applied(object: &McpServer) -> bool {
    let applied = |manager: &str, operation: Option<&str>| manager == GATEWAY && operation == Some("Apply");
    let mut entries = object.managed_fields().iter();
    entries.any(|it| applied(it.manager.as_deref().unwrap_or_default(), it.operation.as_deref()))
}

/// Who wrote the spec of a resource.
fn manager(object: &McpServer) -> Option<String> {
    writers(object, |_| true).next()
}

/// Who else has said what it is.
fn taken_over_by(object: &McpServer) -> Option<String> {
    let says_what = |spec: &serde_json::Value| IDENTITY.iter().any(|field| spec.get(field).is_some());
    writers(object, says_what).find(|manager| manager != GATEWAY)
}

/// The managers of fields of the spec that are as `which` says.
fn writers(object: &McpServer, which: impl Fn(&serde_json::Value) -> bool) -> impl Iterator<Item = String> {
    let entries = object.managed_fields().iter();
    let spec = entries.filter(move |it| {
        let fields = it.fields_v1.as_ref().and_then(|fields| fields.0.get("f:spec"));
        it.subresource.as_deref().unwrap_or_default().is_empty() && fields.is_some_and(&which)
    });
    spec.filter_map(|it| it.manager.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = r#"{"app.kubernetes.io/managed-by":"mcp-gateway"}"#;

    fn object(labels: &str, fields: &[String]) -> McpServer {
        serde_json::from_str(&format!(
            r#"{{"apiVersion":"mcpgateway.dev/v1alpha1","kind":"McpServer","metadata":{{"name":"time","namespace":"team",
                "labels":{labels},"managedFields":[{}]}},"spec":{{"command":"uvx"}}}}"#,
            fields.join(",")
        ))
        .unwrap()
    }

    fn entry(manager: &str, operation: &str, spec: &str) -> String {
        format!(r#"{{"manager":"{manager}","operation":"{operation}","fieldsV1":{{"f:spec":{{{spec}}}}}}}"#)
    }

    fn judge(labels: &str, fields: &[String]) -> Result<(), String> {
        ours(&object(labels, fields), &ServerName::parse("time").unwrap()).map_err(|it| it.to_string())
    }

    #[test]
    fn what_others_manage_is_left_to_them() {
        let (flux, own) = (r#"{"app.kubernetes.io/managed-by":"flux"}"#, entry("mcp-gateway", "Apply", ""));
        assert_eq!(judge(OURS, std::slice::from_ref(&own)), Ok(()));
        let said = [
            judge("{}", &[entry("kubectl-client-side-apply", "Update", "")]),
            judge(flux, std::slice::from_ref(&own)),
            judge(OURS, &[entry("argocd-controller", "Apply", "")]),
            judge("{}", &[]),
            judge(OURS, &[own.clone(), entry("kubectl-client-side-apply", "Update", r#""f:args":{}"#)]),
        ];
        insta::assert_snapshot!(said.map(Result::unwrap_err).join("\n"), @r"
        server `time` is the McpServer `time` in the namespace `team`, which is managed by kubectl-client-side-apply: change it there
        server `time` is the McpServer `time` in the namespace `team`, which is managed by flux: change it there
        server `time` is the McpServer `time` in the namespace `team`, which is managed by argocd-controller: change it there
        server `time` is the McpServer `time` in the namespace `team`, which is managed by somebody else: change it there
        server `time` is the McpServer `time` in the namespace `team`, which is managed by kubectl-client-side-apply: change it there
        ");
    }

    #[test]
    fn what_others_add_takes_nothing_over() {
        let own = entry("mcp-gateway", "Apply", r#""f:command":{},"f:args":{}"#);
        let scaled = entry("kubectl-edit", "Update", r#""f:replicas":{},"f:resources":{}"#);
        assert_eq!(judge(OURS, &[own, scaled]), Ok(()));
    }
}
