//! A server elsewhere: what stands in for processes are sessions with it.

use mcp::json::Rope;
use mcp::session::mux::Loss;
use wire::child::{Exit, Tail};
use wire::link::{Connect, Event, Link};
use wire::logbook::Logbook;
use wire::upstream::{Remote, RemoteLink};

use crate::state::{Counted, State};

/// Opens sessions with one server elsewhere.
#[derive(Debug)]
pub struct Sessions {
    remote: Remote,
    state: State,
    logbook: Logbook,
}

/// A session whose end is noted in the state.
#[derive(Debug)]
pub struct Session {
    link: RemoteLink,
    state: State,
    logbook: Logbook,
    _counted: Counted,
}

impl Sessions {
    /// Sessions with `remote`. Its log is not to be had; `logbook` gets what happens to the sessions instead.
    pub fn new(remote: Remote, state: State, logbook: Logbook) -> Self {
        let sessions = Self { remote, state, logbook };
        sessions.note_transport();
        sessions
    }

    fn note_transport(&self) {
        if let Some(transport) = self.remote.found() {
            self.state.transport(transport.as_str());
        }
    }
}

impl Connect for Sessions {
    type Link = Session;

    async fn connect(&self) -> Result<Session, Loss> {
        let link = self.remote.connect().await.inspect_err(|loss| self.logbook.push(&loss.message))?;
        self.note_transport();
        let (state, logbook) = (self.state.clone(), self.logbook.clone());
        Ok(Session { link, state, logbook, _counted: self.state.count(None) })
    }
}

impl Link for Session {
    fn send(&mut self, message: Rope) {
        self.link.send(message);
    }

    async fn next(&mut self) -> Event {
        let event = self.link.next().await;
        if let Event::Lost(loss) = &event {
            tracing::warn!(error = loss.message, "a session with the server has ended");
            self.logbook.push(&loss.message);
            self.state.ended(Exit::default(), &Tail::default());
        }
        event
    }

    async fn stop(self) {
        self.link.stop().await;
    }
}
