//! The connection of a hub, if there is one.

use std::fmt;
use std::pin::Pin;

use mcp::session::mux::Loss;
use tokio::time::Instant;

/// See the [module](self).
pub(super) enum Connection<L> {
    None,
    Starting(Pin<Box<dyn Future<Output = Result<L, Loss>> + Send>>),
    Up { link: L, since: Instant },
}

impl<L> fmt::Debug for Connection<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Starting(_) => "Starting",
            Self::Up { .. } => "Up",
        })
    }
}
