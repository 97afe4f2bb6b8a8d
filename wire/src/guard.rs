//! Which `Host` and `Origin` a listener answers to: the defence against DNS rebinding and cross-site requests
//! (Streamable HTTP, "Security Warning"; assurance T06, T07).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::front::Problem;

/// The lists. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Guard(Arc<Lists>);

#[derive(Debug)]
struct Lists {
    /// Host names without port; `None` admits any.
    hosts: Option<Vec<String>>,
    /// Origins as browsers send them.
    origins: Vec<String>,
}

impl Guard {
    /// Admits the loopback names and `hosts` as `Host` (any when `any_host`), and as `Origin` pages from the loopback
    /// names, from `hosts`, and those listed. A request without `Origin` does not come from a page and is admitted.
    pub fn new(any_host: bool, hosts: Vec<String>, origins: Vec<String>) -> Self {
        let hosts = hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect();
        let origins = origins.into_iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase()).collect();
        Self(Arc::new(Lists { hosts: (!any_host).then_some(hosts), origins }))
    }

    /// For the listener of health and metrics, which pages have no business with. Probes and scrapers call it by whatever
    /// address it has, so that only one that is reached from this machine alone can tell a rebound name.
    pub fn of_admin(loopback: bool) -> Self {
        Self::new(!loopback, Vec::new(), Vec::new())
    }

    /// Whether a request is answered; else what it gets.
    ///
    /// # Errors
    /// 403.
    pub fn admit<B>(&self, request: &axum::http::Request<B>) -> Result<(), Problem> {
        let authority = request.uri().authority().map(Authority::as_str);
        self.check(request.headers(), authority).map_err(|reason| Problem::new(StatusCode::FORBIDDEN, reason))
    }

    /// Whether a request with these headers is answered; else why not.
    fn check(&self, headers: &HeaderMap, authority: Option<&str>) -> Result<(), &'static str> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = match (hosts.next().map(|host| host.to_str()), hosts.next()) {
            (None, _) => authority,
            (Some(Ok(host)), None) => Some(host),
            _ => return Err("the `Host` header is not one host name"),
        };
        if let Some(allowed) = &self.0.hosts
            && !host.is_some_and(|host| is_listed(host, allowed))
        {
            return Err(
                "this server does not answer to that `Host`; add the name to `publicHosts` if it is one of its own",
            );
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next().map(|origin| origin.to_str()), origins.next()) {
            (None, _) => Ok(()),
            (Some(Ok(origin)), None) if self.admits_origin(origin) => Ok(()),
            _ => Err("pages of that `Origin` may not call this server; add it to `allowedOrigins` if they may"),
        }
    }

    fn admits_origin(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        if self.0.origins.contains(&origin) {
            return true;
        }
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        let none = Vec::new();
        host.is_some_and(|host| is_listed(host, self.0.hosts.as_ref().unwrap_or(&none)))
    }
}

/// Whether `host`, with or without a port, is a loopback name or listed.
fn is_listed(host: &str, listed: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.to_ascii_lowercase();
    matches!(name.as_str(), "localhost" | "127.0.0.1" | "[::1]") || listed.contains(&name)
}

/// The middleware; add it with `axum::middleware::from_fn_with_state`.
pub async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.admit(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(guard: &Guard, host: &'static str, origin: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        origin.map(|origin| headers.insert(ORIGIN, origin.parse().unwrap()));
        guard.check(&headers, None).is_ok()
    }

    #[test]
    fn only_listed_hosts_and_origins_are_answered() {
        let guard = Guard::new(false, vec!["Gate.example".to_owned()], vec!["https://App.example/".to_owned()]);
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:80", "[::1]", "gate.example:443"] {
            assert!(verdict(&guard, host, None), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:80",
            "0.0.0.0",
            "localhost.",
            "2130706433",
        ] {
            assert!(!verdict(&guard, host, None), "{host}");
        }
        for origin in ["http://localhost:3000", "https://gate.example", "https://app.example", "http://[::1]:5"] {
            assert!(verdict(&guard, "localhost", Some(origin)), "{origin}");
        }
        for origin in ["null", "http://evil.example", "http://user@localhost", "file://", "https://app.example.evil"] {
            assert!(!verdict(&guard, "localhost", Some(origin)), "{origin}");
        }
    }

    #[test]
    fn a_header_that_comes_twice_is_refused() {
        let guard = Guard::new(true, Vec::new(), Vec::new());
        for name in [HOST, ORIGIN] {
            let mut headers = HeaderMap::new();
            headers.append(name.clone(), "localhost".parse().unwrap());
            headers.append(name, "localhost".parse().unwrap());
            assert!(guard.check(&headers, None).is_err());
        }
    }
}
