//! A server elsewhere: what stands in for processes are sessions with it.

use std::time::Duration;

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
        if let Some(transport) = remote.transport() {
            state.transport(transport.as_str());
        }
        Self { remote, state, logbook }
    }

    fn session(&self, link: RemoteLink) -> Session {
        self.state.transport(link.transport().as_str());
        let (state, logbook) = (self.state.clone(), self.logbook.clone());
        Session { link, state, logbook, _counted: self.state.count(None) }
    }
}

impl Connect for Sessions {
    type Link = Session;

    const CARRIES_BOTH_ERAS: bool = true;
    const ASKS_FREELY: bool = true;
    const MAY_CHANGE: Option<Duration> = Some(Duration::from_secs(300));

    async fn connect(&self) -> Result<Session, Loss> {
        let link = self.remote.connect().await.inspect_err(|loss| self.logbook.push(&loss.message))?;
        Ok(self.session(link))
    }

    async fn connect_newer(&self) -> Result<Session, Loss> {
        let link = self.remote.connect_newer().await.inspect_err(|loss| self.logbook.push(&loss.message))?;
        Ok(self.session(link))
    }

    async fn disposable(&self) -> Result<Option<Session>, Loss> {
        Ok(self.remote.disposable().await?.map(|link| self.session(link)))
    }

    fn doubts(&self) -> u64 {
        self.remote.doubts()
    }
}

impl Link for Session {
    fn send(&mut self, message: Rope) {
        self.link.send(message);
    }

    fn over(&self) -> Option<Loss> {
        self.link.over()
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
