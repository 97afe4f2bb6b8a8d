//! What the server speaks: whether 2026-07-28, by a process that serves nobody afterwards, and whether that alone.
//!
//! It is asked when the first client of that era comes, or when the server refuses the handshake of the older one: a
//! process for nobody is not started. For processes an answer holds for as long as this program runs, which is one version
//! of the server's package. A server elsewhere may be replaced: what was found out about it is void once it does not
//! understand what it was found to speak, and that it does not speak 2026-07-28 holds for a while.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mcp::envelope::{Kind, Message, RequestId};
use mcp::modern::probe;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use wire::link::{Event, Link};
use wire::session::Exchanges;

/// A server that has not answered by then will not: some of the older era ignore what comes before `initialize`. Clients
/// of both eras wait about as long before they go on with that.
const PATIENCE: Duration = Duration::from_secs(10);

/// The only question of its process.
const QUESTION: u64 = 1;

/// What is known of a server.
#[derive(Debug)]
pub struct Eras {
    /// For how long it holds that it does not speak 2026-07-28.
    may_change: Option<Duration>,
    known: Mutex<Known>,
    /// Whoever asks the server.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// How often the server was doubted when it was found out.
    doubts: u64,
    turned: CancellationToken,
    newer: Option<Verdict>,
}

/// Whether the server speaks 2026-07-28.
#[derive(Debug)]
struct Verdict {
    since: Instant,
    found: Found,
    _over: DropGuard,
}

/// Where it does.
#[derive(Clone, Debug)]
struct Found(Option<Exchanges>);

impl Eras {
    /// Nothing is known. `may_change` as [`wire::link::Connect::MAY_CHANGE`].
    pub fn new(may_change: Option<Duration>) -> Self {
        Self { may_change, known: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    /// Cancelled when the server is known to speak 2026-07-28 alone; `doubts` is how often it was doubted.
    pub fn turned(&self, doubts: u64) -> CancellationToken {
        self.with(doubts, |known| known.turned.clone())
    }

    /// Where requests of 2026-07-28 go, if the server speaks that, as is known or as `ask` finds out. What that is given is
    /// cancelled when its answer holds no longer.
    ///
    /// # Errors
    /// Those of `ask`, after which it is asked again the next time.
    pub async fn newer<E, F>(
        &self,
        doubts: impl Fn() -> u64,
        ask: impl FnOnce(CancellationToken) -> F,
    ) -> Result<Option<Exchanges>, E>
    where
        F: Future<Output = Result<Option<Exchanges>, E>>,
    {
        if let Some(Found(exchanges)) = self.found(doubts()) {
            return Ok(exchanges);
        }
        let _turn = self.asking.lock().await;
        let before = doubts();
        if let Some(Found(exchanges)) = self.found(before) {
            return Ok(exchanges);
        }
        let over = CancellationToken::new();
        let guard = over.clone().drop_guard();
        let exchanges = ask(over).await?;
        let verdict = Verdict { since: Instant::now(), found: Found(exchanges.clone()), _over: guard };
        self.with(before, |known| {
            if known.doubts == before {
                known.newer = Some(verdict);
            }
        });
        Ok(exchanges)
    }

    /// `None` when it is not known.
    fn found(&self, doubts: u64) -> Option<Found> {
        self.with(doubts, |known| {
            let Verdict { since, found, .. } = known.newer.as_ref()?;
            let holds = found.0.is_some() || self.may_change.is_none_or(|limit| since.elapsed() < limit);
            holds.then(|| found.clone())
        })
    }

    fn with<T>(&self, doubts: u64, look: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.doubts < doubts {
            *known = Known { doubts, ..Known::default() };
        }
        look(&mut known)
    }
}

/// Asks. `link` is a process that has read nothing yet. `None` when it does not say: it may be one of the older era, or
/// slow, or ill.
pub async fn speaks_modern(link: &mut impl Link) -> Option<bool> {
    link.send(probe::request(&RequestId::from(QUESTION)).into());
    let answer = async {
        loop {
            match link.next().await {
                Event::Message(message) if answers(&message) => return Some(probe::is_yes(&message)),
                Event::Message(_) | Event::Junk => {}
                Event::Unreadable { .. } => return Some(false),
                Event::Lost(_) => return None,
            }
        }
    };
    tokio::time::timeout(PATIENCE, answer).await.ok().flatten()
}

/// Whether it is the answer. Some servers refuse what they do not understand without saying what that was.
fn answers(message: &Message) -> bool {
    match message.id() {
        Some(id) => message.is_response() && id.as_u64() == Some(QUESTION),
        None => message.kind() == Kind::Error,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mcp::envelope::{Incoming, parse};
    use mcp::json::Rope;
    use mcp::session::mux::Loss;

    use super::*;

    /// Says these lines, then nothing more or, without any left that is no silence, that it has ended.
    struct Script(Vec<&'static str>);

    impl Link for Script {
        fn send(&mut self, _: Rope) {}

        async fn next(&mut self) -> Event {
            match self.0.pop() {
                Some("") => std::future::pending().await,
                Some(line) => match parse(Bytes::from(line), 1 << 20).unwrap() {
                    Incoming::Single(message) => Event::Message(message),
                    Incoming::Batch(_) => Event::Junk,
                },
                None => Event::Lost(Loss { message: "ended".to_owned(), data: None }),
            }
        }

        async fn stop(self) {}
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_found_out_holds_until_the_server_is_doubted_and_a_no_for_a_while() {
        let asked = std::cell::Cell::new(0);
        let ask = |_: CancellationToken| {
            asked.set(asked.get() + 1);
            std::future::ready(if asked.get() == 1 { Err(()) } else { Ok(None) })
        };
        let eras = Eras::new(Some(Duration::from_secs(300)));
        assert!(eras.newer(|| 0, ask).await.is_err());
        for (doubts, pause, expected) in [(0, 0, 2), (0, 299, 2), (0, 1, 3), (0, 0, 3), (1, 0, 4), (1, 0, 4)] {
            tokio::time::advance(Duration::from_secs(pause)).await;
            assert!(eras.newer(|| doubts, ask).await.unwrap().is_none());
            assert_eq!(asked.get(), expected, "{doubts} {pause}");
        }
        eras.turned(1).cancel();
        assert!(eras.turned(1).is_cancelled() && !eras.turned(2).is_cancelled());
        let eras = Eras::new(None);
        for _ in 0..2 {
            assert!(eras.newer(|| 0, ask).await.unwrap().is_none());
            tokio::time::advance(Duration::from_secs(1 << 30)).await;
        }
        assert_eq!(asked.get(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn any_refusal_is_a_no_and_silence_and_an_end_are_no_answer() {
        let yes = r#"{"jsonrpc":"2.0","id":1,"result":{"supportedVersions":["2026-07-28"]}}"#;
        let noise = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
        let other = r#"{"jsonrpc":"2.0","id":2,"result":{"supportedVersions":["2026-07-28"]}}"#;
        for (lines, expected) in [
            (vec![yes], Some(true)),
            (vec![noise, other, "[]", yes], Some(true)),
            (vec![""], None),
            (vec![noise], None),
            (vec![r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"x"}}"#, yes], Some(false)),
            (vec![r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"x"}}"#, yes], Some(false)),
        ] {
            let script = lines.iter().rev().copied().filter(|line| *line != "[]").collect();
            assert_eq!(speaks_modern(&mut Script(script)).await, expected, "{lines:?}");
        }
    }
}
