//! Where a program listens: `HOST:PORT` or `unix:PATH`, the form the measured programs take too.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use tokio::net::{TcpListener, UnixListener};

/// An address to listen on or to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Addr {
    /// `HOST:PORT`
    Tcp(SocketAddr),
    /// `unix:PATH`
    Unix(PathBuf),
}

/// A bound [`Addr`].
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Addr {
    pub(crate) async fn bind(&self) -> io::Result<Listener> {
        match self {
            Self::Tcp(addr) => TcpListener::bind(addr).await.map(Listener::Tcp),
            Self::Unix(path) => UnixListener::bind(path).map(Listener::Unix),
        }
    }
}

impl FromStr for Addr {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp),
        }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_survive_a_round_trip_and_others_are_refused() {
        for text in ["127.0.0.1:80", "[::1]:80", "unix:/run/a b.sock"] {
            assert_eq!(text.parse::<Addr>().unwrap().to_string(), text);
        }
        assert!("localhost".parse::<Addr>().is_err());
    }
}
