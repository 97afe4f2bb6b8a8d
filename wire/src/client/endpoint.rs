//! Where a server listens.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

/// What stands for `http` in addresses whose host is the number of a socket. They never leave this program: connections
/// are pooled by scheme and host, so those of a socket need both, and short ones, for they are hashed at every request.
const UNIX: &str = "unix";
/// The longest path that a socket's address holds, in bytes.
const MAX_PATH: usize = 107;

/// A host and port to reach by HTTP or HTTPS, or a unix socket. Cheap to clone.
#[derive(Clone)]
pub struct Endpoint {
    scheme: Scheme,
    authority: Authority,
    socket: Option<Arc<Socket>>,
}

#[derive(Debug)]
struct Socket {
    number: u64,
    path: PathBuf,
}

/// The sockets that endpoints stand for.
static SOCKETS: Mutex<Sockets> = Mutex::new(Sockets { last: 0, known: Vec::new() });

struct Sockets {
    last: u64,
    known: Vec<Weak<Socket>>,
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
            _ => Ok(Self { scheme, authority, socket: None }),
        }
    }

    /// A unix socket, over which plain HTTP is spoken.
    pub fn unix(path: &Path) -> Result<Self, InvalidEndpoint> {
        if path.as_os_str().len() > MAX_PATH {
            return Err(InvalidEndpoint::Path);
        }
        let socket = sockets().number(path);
        let scheme = UNIX.parse().map_err(|_| InvalidEndpoint::Scheme)?;
        let authority = socket.number.to_string().parse().map_err(|_| InvalidEndpoint::Scheme)?;
        Ok(Self { scheme, authority, socket: Some(socket) })
    }

    /// Whether it is a unix socket.
    pub fn is_unix(&self) -> bool {
        self.socket.is_some()
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
    let number: u64 = uri.host().filter(|_| uri.scheme_str() == Some(UNIX))?.parse().ok()?;
    let found = sockets().known.iter().filter_map(Weak::upgrade).find(|socket| socket.number == number);
    found.map(|socket| socket.path.clone())
}

fn sockets() -> MutexGuard<'static, Sockets> {
    SOCKETS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sockets {
    /// The socket of that path, which keeps its number for as long as an endpoint stands for it.
    fn number(&mut self, path: &Path) -> Arc<Socket> {
        self.known.retain(|socket| socket.strong_count() > 0);
        if let Some(known) = self.known.iter().filter_map(Weak::upgrade).find(|socket| socket.path == path) {
            return known;
        }
        self.last += 1;
        let socket = Arc::new(Socket { number: self.last, path: path.to_owned() });
        self.known.push(Arc::downgrade(&socket));
        socket
    }
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.authority == other.authority
    }
}

impl Eq for Endpoint {}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(socket) => write!(f, "unix:{}", socket.path.display()),
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
        let uri = endpoint.uri(PathAndQuery::from_static("/mcp"));
        assert!(endpoint.is_unix());
        assert_eq!(socket(&uri).as_deref(), Some(path));
        assert_eq!(endpoint.to_string(), "unix:/run/a b/é.sock");
        assert!(endpoint == Endpoint::unix(path).unwrap() && endpoint != Endpoint::unix("/other".as_ref()).unwrap());
        drop(endpoint);
        assert_eq!(socket(&uri), None);
        assert_eq!(Endpoint::unix("x".repeat(108).as_ref()), Err(InvalidEndpoint::Path));
    }

    #[test]
    fn no_address_of_a_user_stands_for_a_socket() {
        let socket_uri = Endpoint::unix("/run/x".as_ref()).unwrap().uri(PathAndQuery::from_static("/"));
        assert_eq!(Endpoint::tcp(&socket_uri), Err(InvalidEndpoint::Scheme));
    }
}
