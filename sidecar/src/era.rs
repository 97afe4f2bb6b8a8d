//! Finds out whether the server speaks 2026-07-28, by a process that serves nobody afterwards.
//!
//! It is asked when the first client of that era comes, or when the server refuses the handshake of the older one: a
//! process for nobody is not started. An answer holds for as long as this program runs, which is one version of the
//! server's package.

use std::time::Duration;

use mcp::envelope::{Kind, Message, RequestId};
use mcp::modern::probe;
use wire::link::{Event, Link};

/// A server that has not answered by then will not: some of the older era ignore what comes before `initialize`. Clients
/// of both eras wait about as long before they go on with that.
const PATIENCE: Duration = Duration::from_secs(10);

/// The only question of its process.
const QUESTION: u64 = 1;

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
