//! A connection to one server, whatever carries it.

use std::future::Future;
use std::time::Duration;

use mcp::envelope::Message;
use mcp::json::Rope;
use mcp::session::mux::Loss;

/// What comes from a server.
#[derive(Debug)]
pub enum Event {
    /// A message.
    Message(Message),
    /// Something that is no message; it is counted and forgotten.
    Junk,
    /// An answer that cannot be handed on.
    Unreadable {
        /// The request it answers.
        id: u64,
        /// Why not.
        reason: String,
    },
    /// The connection has ended; nothing follows.
    Lost(Loss),
}

/// A connection to a server that is up. Dropping it ends the connection at once; [`Link::stop`] is kinder.
pub trait Link: Send + 'static {
    /// Takes a message to be written, in order. Never waits: a link for which too much waits reports itself lost.
    fn send(&mut self, message: Rope);

    /// Why nothing more is to be sent over it, where that is known before [`Self::next`] says so: its server has been
    /// replaced, say.
    fn over(&self) -> Option<Loss> {
        None
    }

    /// The next event, writing what was sent meanwhile. Nothing is lost when the future is dropped.
    fn next(&mut self) -> impl Future<Output = Event> + Send;

    /// Ends the connection in order.
    fn stop(self) -> impl Future<Output = ()> + Send;
}

/// Makes links to a server.
pub trait Connect: Send + Sync + 'static {
    /// What it makes.
    type Link: Link;

    /// Whether its links carry single requests of 2026-07-28 as well as conversations of older revisions.
    const CARRIES_BOTH_ERAS: bool = false;
    /// Whether finding out what the server speaks takes a request, and no process: then that is done first.
    const ASKS_FREELY: bool = false;
    /// For how long it holds that the server does not speak 2026-07-28; `None` where it cannot be replaced unnoticed.
    const MAY_CHANGE: Option<Duration> = None;

    /// Makes one. On failure says why, for those who wait for it.
    fn connect(&self) -> impl Future<Output = Result<Self::Link, Loss>> + Send;

    /// The same for single requests of 2026-07-28, where a link of another kind carries those.
    fn connect_newer(&self) -> impl Future<Output = Result<Self::Link, Loss>> + Send {
        self.connect()
    }

    /// Makes one by which it is found out what the server speaks, and which serves nobody afterwards: a server may be for
    /// life of the era of its first message. `None` where the server cannot be asked that way.
    fn disposable(&self) -> impl Future<Output = Result<Option<Self::Link>, Loss>> + Send {
        std::future::ready(Ok(None))
    }

    /// How often the server has turned out not to be what it was found to be. What was found out before is void.
    fn doubts(&self) -> u64 {
        0
    }
}
