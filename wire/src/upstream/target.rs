//! The address of a server's endpoint.

use std::fmt;

use http::Uri;
use http::uri::PathAndQuery;

use crate::client::{Endpoint, InvalidEndpoint};

/// Whom to connect to, and what to ask for there. What is asked for is not shown: it may be secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// Whom to connect to.
    pub endpoint: Endpoint,
    /// What to ask for.
    pub path: PathAndQuery,
}

/// A server sends its clients elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unresolved {
    #[error("names another origin than its own for messages, which is not followed")]
    ForeignOrigin,
    #[error("names an address for messages that cannot be read")]
    Unreadable,
}

impl Target {
    /// From an `http` or `https` address.
    pub fn parse(url: &str) -> Result<Self, InvalidEndpoint> {
        let uri: Uri = url.parse().map_err(|_| InvalidEndpoint::Scheme)?;
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self { endpoint: Endpoint::tcp(&uri)?, path })
    }

    /// Whether the address names an endpoint, rather than a server that has one below it.
    pub(super) fn is_endpoint(&self) -> bool {
        let last = self.path.path().trim_end_matches('/').rsplit('/').next();
        matches!(last, Some("mcp" | "sse"))
    }

    /// The same address with `name` at the end of its path.
    pub(super) fn below(&self, name: &str) -> Self {
        let query = self.path.query().map(|query| format!("?{query}")).unwrap_or_default();
        let path = format!("{}/{name}{query}", self.path.path().trim_end_matches('/'));
        Self { path: path.parse().expect("a path is one with a plain name at its end"), ..self.clone() }
    }

    /// What `reference` means at this address (RFC 3986, 5.2). It may not lead to another origin, for what is sent
    /// there holds credentials.
    pub(super) fn resolve(&self, reference: &str) -> Result<Self, Unresolved> {
        let reference = reference.trim().split('#').next().unwrap_or_default();
        let head = reference.split(['/', '?']).next().unwrap_or_default();
        if head.ends_with(':') {
            return self.resolve_absolute(reference);
        }
        if let Some(rest) = reference.strip_prefix("//") {
            let scheme = self.endpoint.to_string();
            let scheme = scheme.split_once("://").map_or("", |(scheme, _)| scheme);
            return self.resolve_absolute(&format!("{scheme}://{rest}"));
        }
        let own = self.path.path();
        let path = match reference.chars().next() {
            None => self.path.to_string(),
            Some('/') => without_dots(reference),
            Some('?') => format!("{own}{reference}"),
            Some(_) => without_dots(&format!("{}/{reference}", own.rsplit_once('/').map_or("", |(start, _)| start))),
        };
        let path = path.parse().map_err(|_| Unresolved::Unreadable)?;
        Ok(Self { path, ..self.clone() })
    }

    fn resolve_absolute(&self, url: &str) -> Result<Self, Unresolved> {
        let target = Self::parse(url).map_err(|_| Unresolved::Unreadable)?;
        if !target.endpoint.same_origin(&self.endpoint) {
            return Err(Unresolved::ForeignOrigin);
        }
        Ok(Self { path: target.path, ..self.clone() })
    }
}

/// `path` with its `.` and `..` segments resolved, its query left alone.
fn without_dots(path: &str) -> String {
    let at = path.find('?').unwrap_or(path.len());
    let (path, query) = path.split_at(at);
    let mut kept = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let slash = if path.ends_with("/.") || path.ends_with("/..") { "/" } else { "" };
    format!("/{}{slash}{query}", kept.join("/"))
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/…", self.endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_resolved_against_the_streams_address() {
        let base = Target::parse("https://a.example/x/sse?k=1").unwrap();
        for (reference, path) in [
            ("/message?sessionId=1", "/message?sessionId=1"),
            ("message?sessionId=1", "/x/message?sessionId=1"),
            (" ?sessionId=1\n", "/x/sse?sessionId=1"),
            ("../y/./m?u=a/../b", "/y/m?u=a/../b"),
            ("/../../m", "/m"),
            ("m:1/n", "/x/m:1/n"),
            ("https://a.example/m", "/m"),
            ("HTTPS://A.example:443/m#f", "/m"),
            ("//a.example/m", "/m"),
            ("", "/x/sse?k=1"),
        ] {
            assert_eq!(base.resolve(reference).unwrap().path, path, "{reference}");
        }
    }

    #[test]
    fn another_origin_is_refused() {
        let base = Target::parse("https://a.example/sse").unwrap();
        for reference in [
            "http://a.example/m",
            "https://a.example:8443/m",
            "https://b.example/m",
            "//b.example/m",
            "https://a.example.b.example/m",
        ] {
            assert_eq!(base.resolve(reference), Err(Unresolved::ForeignOrigin), "{reference}");
        }
        for reference in ["javascript://x", "https://a.example@b.example/m", "/a b"] {
            assert_eq!(base.resolve(reference), Err(Unresolved::Unreadable), "{reference}");
        }
    }

    #[test]
    fn endpoints_are_told_from_bases() {
        let is_endpoint = |url: &str| Target::parse(url).unwrap().is_endpoint();
        assert!(is_endpoint("https://a.example/x/mcp?k=1") && is_endpoint("https://a.example/sse/"));
        assert!(!is_endpoint("https://a.example") && !is_endpoint("https://a.example/mcps"));
        let below = |url: &str| Target::parse(url).unwrap().below("mcp").path.to_string();
        assert_eq!(below("https://a.example"), "/mcp");
        assert_eq!(below("https://a.example/x/?k=1"), "/x/mcp?k=1");
    }
}
