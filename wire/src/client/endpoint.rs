//! Where a server listens.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

/// What stands for `http` in addresses whose host is the path of a socket in hexadecimal. They never leave this
/// program: connections are pooled by scheme and host, so those of a socket need both.
const UNIX: &str = "unix";

/// A host and port to reach by HTTP or HTTPS, or a unix socket. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    scheme: Scheme,
    authority: Authority,
}

/// The address cannot be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// It is not `http` or `https`.
    #[error("the address must begin with http:// or https:// and name a host")]
    Scheme,
    /// It holds a user name or a password.
    #[error("the address must not hold a user name or a password; send them as a header, such as `Authorization`")]
    UserInfo,
    /// A socket's path is too long.
    #[error("the path of the socket is too long")]
    Path,
}

impl Endpoint {
    /// The host of an address; its path is of no interest.
    pub fn tcp(uri: &Uri) -> Result<Self, InvalidEndpoint> {
        let scheme = uri.scheme().filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
        let (scheme, authority) = scheme.cloned().zip(uri.authority().cloned()).ok_or(InvalidEndpoint::Scheme)?;
        match authority.as_str() {
            text if text.contains('@') => Err(InvalidEndpoint::UserInfo),
            _ if authority.host().is_empty() => Err(InvalidEndpoint::Scheme),
            _ => Ok(Self { scheme, authority }),
        }
    }

    /// A unix socket, over which plain HTTP is spoken.
    pub fn unix(path: &Path) -> Result<Self, InvalidEndpoint> {
        let hex: String = path.as_os_str().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let scheme = UNIX.parse().map_err(|_| InvalidEndpoint::Scheme)?;
        Ok(Self { scheme, authority: hex.parse().map_err(|_| InvalidEndpoint::Path)? })
    }

    /// Whether it is a unix socket.
    pub fn is_unix(&self) -> bool {
        self.scheme.as_str() == UNIX
    }

    /// Whether both are one origin (RFC 6454): the same scheme, host and port.
    pub fn same_origin(&self, other: &Self) -> bool {
        let port = |endpoint: &Self| {
            let default = if endpoint.scheme == Scheme::HTTPS { 443 } else { 80 };
            endpoint.authority.port_u16().unwrap_or(default)
        };
        let hosts = [self.authority.host(), other.authority.host()];
        self.scheme == other.scheme && hosts[0].eq_ignore_ascii_case(hosts[1]) && port(self) == port(other)
    }

    /// The address of a resource there.
    pub(super) fn uri(&self, path: PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).expect("an address with scheme, host and path is whole")
    }
}

/// The socket that an address of [`Endpoint::uri`] stands for, if it is one.
pub(super) fn socket(uri: &Uri) -> Option<PathBuf> {
    let hex = uri.host().filter(|_| uri.scheme_str() == Some(UNIX))?;
    let byte = |at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    let path: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
    Some(OsString::from_vec(path?).into())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match socket(&self.uri(PathAndQuery::from_static("/"))) {
            Some(path) => write!(f, "unix:{}", path.display()),
            None => write!(f, "{}://{}", self.scheme, self.authority),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_addresses_without_credentials_are_endpoints() {
        let tcp = |text: &str| Endpoint::tcp(&text.parse().unwrap()).map(|endpoint| endpoint.to_string());
        assert_eq!(tcp("https://a.example/x?secret"), Ok("https://a.example".to_owned()));
        assert_eq!(tcp("http://[::1]:8000"), Ok("http://[::1]:8000".to_owned()));
        assert_eq!(tcp("https://me:pass@a.example/"), Err(InvalidEndpoint::UserInfo));
        for text in ["ftp://a.example/", "/mcp", "a.example:80"] {
            assert_eq!(tcp(text), Err(InvalidEndpoint::Scheme), "{text}");
        }
    }

    #[test]
    fn a_socket_is_found_again_in_the_address_that_stands_for_it() {
        let path = Path::new("/run/a b/é.sock");
        let endpoint = Endpoint::unix(path).unwrap();
        assert!(endpoint.is_unix());
        assert_eq!(socket(&endpoint.uri(PathAndQuery::from_static("/mcp"))).as_deref(), Some(path));
        assert_eq!(endpoint.to_string(), "unix:/run/a b/é.sock");
        assert_eq!(socket(&"http://2f61/".parse().unwrap()), None);
    }
}
