//! What a server may be called.
//!
//! A resource's own name is a DNS label short enough that names derived from it are labels too. The name in its
//! addresses, `spec.route.name`, is more liberal, and is the resource's name unless it is given.

/// The longest `metadata.name` in characters: it leaves 11 of a DNS label's 63 for what is added to derived names.
pub const MAX_RESOURCE_NAME: u32 = 52;

/// The longest `spec.route.name` in characters.
pub const MAX_ROUTE_NAME: u32 = 63;

/// First path segments of the gateway's own addresses: no server can be reached by these names, in any case of letters.
///
/// The gateway's own list is in `mcp/src/names/server_name.rs`; this crate does not depend on that one. The two are
/// equal, in the same order: a test here reads the other.
pub const RESERVED: [&str; 20] = [
    "admin",
    "api",
    "delete",
    "deploy",
    "healthz",
    "keys",
    "livez",
    "logs",
    "mcp",
    "message",
    "metrics",
    "openapi.json",
    "readyz",
    "servers",
    "services",
    "sse",
    "status",
    "stream",
    "v1",
    "well-known",
];

/// What stands before the name of a Service whose server's name does not begin with a letter.
const SERVICE_PREFIX: &str = "mcp-";

/// The name of the Service of the server of this name: the same, unless that begins with a digit, which names of
/// Services must not (DNS-1035): `2fa` has the Service `mcp-2fa`.
pub fn service(name: &str) -> String {
    let prefix = if name.starts_with(|c: char| c.is_ascii_alphabetic()) { "" } else { SERVICE_PREFIX };
    format!("{prefix}{name}")
}

/// CEL: `expression`, a string, is none of the reserved names.
pub(crate) fn not_reserved(expression: &str) -> String {
    format!("!({expression}.lowerAscii() in {})", list(&RESERVED))
}

/// A list of strings in CEL.
pub(crate) fn list(texts: &[&str]) -> String {
    let quoted: Vec<_> = texts.iter().map(|text| format!("'{text}'")).collect();
    format!("[{}]", quoted.join(", "))
}

/// CEL on the whole object: its name is a short DNS label.
pub(crate) fn resource_name() -> String {
    format!(
        "self.metadata.name.size() <= {MAX_RESOURCE_NAME} && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')"
    )
}

/// CEL on the whole object: unless the route has a name of its own, the resource's is not reserved.
pub(crate) fn default_route() -> String {
    format!(
        "(has(self.spec.route) && has(self.spec.route.name) && self.spec.route.name != '') || {}",
        not_reserved("self.metadata.name")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_begins_with_a_letter_and_is_no_longer_than_a_label() {
        assert_eq!(service("time"), "time");
        assert_eq!(service("2fa"), "mcp-2fa");
        let longest = "1".repeat(MAX_RESOURCE_NAME as usize);
        assert!(service(&longest).len() <= 63);
    }

    #[test]
    fn the_gateway_reserves_the_same_names() {
        let source = include_str!("../../mcp/src/names/server_name.rs");
        let (_, rest) = source.split_once("const RESERVED").unwrap();
        let (list, _) = rest.split_once("];").unwrap();
        let names: Vec<_> = list.split('"').skip(1).step_by(2).collect();
        assert_eq!(names, RESERVED);
    }
}
