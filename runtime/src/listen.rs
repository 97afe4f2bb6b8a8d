//! Addresses to listen on, and sockets bound to them.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use rustix::{io::Errno, net::sockopt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio_util::either::Either;

mod unix;

pub use unix::UnixSocketListener;

/// Connections that wait to be accepted. The kernel takes the smaller of this and `somaxconn`.
const BACKLOG: u32 = 4096;

/// An idle connection is probed after this long, three times.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

/// A peer that acknowledges nothing for so long is gone. Keep-alive does not cover it: it never runs
/// while data is on the way, and a stream with comments always has some.
const UNACKNOWLEDGED_MS: u32 = 60_000;

/// Where a program listens: `IP:PORT`, `[IPv6]:PORT`, `:PORT` (all interfaces), `localhost:PORT`
/// (that is 127.0.0.1), or `unix:PATH`. Port 0 lets the system choose.
///
/// Names are not looked up: whether an address is loopback decides whether a key is needed, and must
/// not depend on a resolver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddr {
    /// One address.
    Tcp(SocketAddr),
    /// This port of all interfaces, IPv6 and IPv4.
    AllInterfaces(u16),
    /// A Unix socket, open to this user only.
    Unix(PathBuf),
}

/// Text that is no [`ListenAddr`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no address: write IP:PORT, [IPv6]:PORT, :PORT (all interfaces), localhost:PORT \
     or unix:PATH"
)]
pub struct ParseListenAddrError(String);

/// An address that cannot be bound, why, and the option that sets another.
#[derive(Debug, thiserror::Error)]
#[error("address {addr} {problem}; choose another with {option}")]
pub struct BindError {
    pub addr: ListenAddr,
    pub problem: BindProblem,
    pub option: &'static str,
}

/// Why an address cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindProblem {
    #[error("is in use by another program")]
    InUse,
    #[error("has a port below 1024, which needs root or CAP_NET_BIND_SERVICE")]
    PrivilegedPort,
    #[error("does not belong to this machine")]
    NotLocal,
    #[error("has a path of {0} bytes, where {max} are possible", max = unix::MAX_PATH)]
    PathTooLong(usize),
    #[error("is a file, and not a socket")]
    NotASocket,
    #[error("lies in a directory that does not exist")]
    NoDirectory,
    #[error("cannot be bound ({0})")]
    Other(io::Error),
}

/// An accepted connection of either kind.
pub type Stream = Either<TcpStream, UnixStream>;

/// Who is at the other end of a connection. A request extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Tcp(SocketAddr),
    /// A process of the same user (or root) on this machine: nobody else may open the socket.
    Unix,
}

/// A bound socket.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixSocketListener),
}

impl ListenAddr {
    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Tcp(addr) => addr.ip().to_canonical().is_loopback(),
            Self::AllInterfaces(_) => false,
            Self::Unix(_) => true,
        }
    }

    /// Binds it; accepting is a later call. `option` is the one that sets the address (`--listen`),
    /// for the error's advice.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn bind(&self, option: &'static str) -> Result<Listener, BindError> {
        let bound = match self {
            Self::Tcp(addr) => bind_tcp(*addr).map(Listener::Tcp),
            Self::AllInterfaces(port) => bind_all(*port).map(Listener::Tcp),
            Self::Unix(path) => unix::bind(path).map(Listener::Unix),
        };
        bound.map_err(|error| BindError { addr: self.clone(), problem: self.problem(error), option })
    }

    fn problem(&self, error: io::Error) -> BindProblem {
        match (self, Errno::from_io_error(&error)) {
            (_, Some(Errno::ADDRINUSE)) => BindProblem::InUse,
            (Self::Tcp(addr), Some(Errno::ACCESS)) if addr.port() < 1024 => BindProblem::PrivilegedPort,
            (Self::AllInterfaces(..1024), Some(Errno::ACCESS)) => BindProblem::PrivilegedPort,
            (Self::Tcp(_), Some(Errno::ADDRNOTAVAIL)) => BindProblem::NotLocal,
            (Self::Unix(path), Some(Errno::NAMETOOLONG)) => BindProblem::PathTooLong(path.as_os_str().len()),
            (Self::Unix(_), Some(Errno::EXIST)) => BindProblem::NotASocket,
            (Self::Unix(_), Some(Errno::NOENT)) => BindProblem::NoDirectory,
            _ => BindProblem::Other(error),
        }
    }
}

impl FromStr for ListenAddr {
    type Err = ParseListenAddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = match text.split_once(':') {
            Some(("unix", path)) => (!path.is_empty()).then(|| Self::Unix(path.into())),
            Some(("", port)) => port.parse().ok().map(Self::AllInterfaces),
            Some(("localhost", port)) => port.parse().ok().map(|port| Self::Tcp((Ipv4Addr::LOCALHOST, port).into())),
            _ => text.parse().ok().map(Self::Tcp),
        };
        parsed.ok_or_else(|| ParseListenAddrError(text.to_owned()))
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::AllInterfaces(port) => write!(f, ":{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Listener {
    /// The address it is bound to, with the port that the system chose.
    pub fn local_addr(&self) -> io::Result<ListenAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(ListenAddr::Tcp),
            Self::Unix(listener) => Ok(ListenAddr::Unix(listener.path().to_owned())),
        }
    }

    /// Waits for the next connection. Cancel-safe.
    pub async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Either::Left(stream), Peer::Tcp(peer)))
            }
            Self::Unix(listener) => {
                let stream = listener.accept().await?;
                Ok((Either::Right(stream), Peer::Unix))
            }
        }
    }
}

/// An IPv6 socket that takes IPv4 as well, or an IPv4 one where the machine has no IPv6.
fn bind_all(port: u16) -> io::Result<TcpListener> {
    match bind_tcp((Ipv6Addr::UNSPECIFIED, port).into()) {
        Err(error) if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) => {
            bind_tcp((Ipv4Addr::UNSPECIFIED, port).into())
        }
        bound => bound,
    }
}

fn bind_tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = match addr.ip() {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(ip) => {
            let socket = TcpSocket::new_v6()?;
            sockopt::set_ipv6_v6only(&socket, !ip.is_unspecified())?;
            socket
        }
    };
    // A restart need not wait for old connections in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    // Linux hands these on to accepted connections: set here, they cost no call for each of them.
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(&socket, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(&socket, KEEPALIVE_PROBES)?;
    sockopt::set_tcp_user_timeout(&socket, UNACKNOWLEDGED_MS)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests;
