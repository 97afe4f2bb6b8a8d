//! Listens to one server on behalf of a client that listens to resources or tasks of several.
//!
//! When the server's stream ends, because the server was replaced or its sidecar is about to stop, another one is opened. What
//! happened meanwhile is not known: whoever reads the events takes everything for changed then.

use std::time::Duration;

use mcp::envelope::{Kind, Message, RequestId, code};
use mcp::json;
use mcp::modern::code::{HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION};
use mcp::modern::listen::wanted;
use mcp::modern::{LISTEN, meta};
use runtime::backoff::Backoff;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wire::session::Caller;

use super::super::Aggregate;
use super::super::sight::Sight;
use super::member::{Destination, Underway, send};
use crate::proxy::instance_of;
use crate::store::Uid;

/// How long to wait before a stream is opened again.
const BACKOFF: Backoff = Backoff { initial: Duration::from_millis(200), max: Duration::from_secs(30), factor: 2.0 };
/// Errors that stay: the server does not listen, or not to this.
const FINAL: [i32; 5] =
    [code::METHOD_NOT_FOUND, code::INVALID_PARAMS, HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION];

/// What one stream is about: a server's resources, or those of its tasks that are kept in one place. A server that does not
/// know a task any more refuses the whole stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    Resources(String),
    Tasks(String, Option<Uid>),
}

impl Source {
    /// Where a task is.
    pub(super) fn of_task(server: String, task: &str) -> Self {
        Self::Tasks(server, instance_of(task))
    }

    /// The server.
    pub(super) fn server(&self) -> &str {
        match self {
            Self::Resources(server) | Self::Tasks(server, _) => server,
        }
    }

    fn instance(&self) -> Option<Uid> {
        match self {
            Self::Resources(_) => None,
            Self::Tasks(_, instance) => *instance,
        }
    }
}

/// What a client wants to know of one server, in the server's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) updates: Vec<Box<str>>,
    pub(super) tasks: Vec<Box<str>>,
}

/// What comes of it.
#[derive(Debug)]
pub(super) enum Told {
    /// From now on the server tells of these.
    Agreed(Wanted),
    /// Something has changed.
    Changed(Message),
    /// The server tells of nothing.
    Refused,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) aggregate: Aggregate,
    pub(super) caller: Caller,
    pub(super) sight: Sight,
    pub(super) source: Source,
    pub(super) wanted: Wanted,
    /// The id of the client's own request, which the server marks what it tells with.
    pub(super) id: RequestId,
    /// The `_meta` of that request, raw JSON.
    pub(super) meta: String,
    /// Until then nothing but the agreement is told.
    pub(super) begun: CancellationToken,
    /// Whose reader is the client's request.
    pub(super) events: mpsc::Sender<(Source, Told)>,
}

/// Nobody listens any more, or there is nothing to listen to.
struct Over;

impl Follower {
    /// Listens for as long as somebody reads the events.
    pub(super) async fn run(mut self) {
        let mut failures = 0;
        while let Ok(()) = self.listen(&mut failures).await {
            tokio::time::sleep(BACKOFF.next(failures, 1.0)).await;
            failures += 1;
        }
    }

    /// One stream, from its beginning to its end.
    async fn listen(&mut self, failures: &mut u32) -> Result<(), Over> {
        let uid = self.appears().await;
        let to = Destination { server: self.source.server(), uid, instance: self.source.instance() };
        let opened = send(&self.aggregate, &self.caller, &to, &self.request(), Vec::new()).await;
        let Ok(mut underway) = opened else { return Ok(()) };
        loop {
            let next = self.next(&mut underway, uid).await;
            let Some(message) = next else { return Ok(()) };
            match message.kind() {
                Kind::Notification if message.method() == "notifications/subscriptions/acknowledged" => {
                    *failures = 0;
                    self.agree(&message).await?;
                }
                Kind::Notification => self.tell(Told::Changed(message)).await?,
                Kind::Error if is_final(&message) => {
                    self.tell(Told::Refused).await?;
                    return Err(Over);
                }
                Kind::Result | Kind::Error => return Ok(()),
                Kind::Request => {}
            }
        }
    }

    /// The next message; `None` when there is none, or the client may not see the server any more.
    async fn next(&mut self, underway: &mut Underway, uid: Uid) -> Option<Message> {
        let Self { sight, source, .. } = self;
        let hidden = async {
            while sight.member(source.server()).is_some_and(|member| member.uid == uid) {
                sight.changed().await;
            }
        };
        tokio::select! {
            biased;
            () = hidden => None,
            message = underway.next() => message.ok(),
        }
    }

    /// Waits until the client sees the server: which it is.
    async fn appears(&mut self) -> Uid {
        loop {
            if let Some(member) = self.sight.member(self.source.server()) {
                return member.uid;
            }
            self.sight.changed().await;
        }
    }

    fn request(&self) -> Message {
        let notifications = wanted(&self.wanted.updates, &self.wanted.tasks);
        let params = format!(r#"{{"_meta":{},"notifications":{notifications}}}"#, self.meta);
        Message::call(Some(&self.id), LISTEN, Some(&params))
    }

    async fn agree(&self, message: &Message) -> Result<(), Over> {
        let agreed = self.wanted.agreed(message);
        if agreed == Wanted::default() {
            self.tell(Told::Refused).await?;
            return Err(Over);
        }
        self.tell(Told::Agreed(agreed)).await?;
        self.begun.cancelled().await;
        Ok(())
    }

    async fn tell(&self, told: Told) -> Result<(), Over> {
        self.events.send((self.source.clone(), told)).await.map_err(|_| Over)
    }
}

impl Wanted {
    /// That part of it which a server says in `acknowledged` that it tells of.
    fn agreed(&self, acknowledged: &Message) -> Self {
        let listed = |key: &str, of: &[Box<str>]| -> Vec<Box<str>> {
            let listed = acknowledged.at(&["notifications", key]).and_then(json::elements).unwrap_or_default();
            let listed: Vec<_> = listed.into_iter().filter_map(json::string).collect();
            of.iter().filter(|text| listed.iter().any(|it| **it == ***text)).cloned().collect()
        };
        Self { updates: listed("resourceSubscriptions", &self.updates), tasks: listed("taskIds", &self.tasks) }
    }
}

pub(super) fn is_final(error: &Message) -> bool {
    error.at(&["code"]).and_then(|code| code.parse().ok()).is_some_and(|code: i32| FINAL.contains(&code))
}

/// The `_meta` of a request to a server, from that of the client's: the stream has no progress, and no log.
pub(super) fn meta_of(request: &Message) -> String {
    let old = json::Object::parse(request.at(&["_meta"]).unwrap_or("{}")).unwrap_or_default();
    let kept = old.iter().filter(|(key, _)| !["progressToken", meta::LOG_LEVEL].contains(key));
    let kept: Vec<_> = kept.map(|(key, value)| format!("{}:{value}", json::quote(key))).collect();
    format!("{{{}}}", kept.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_agreed_is_what_was_asked_for_and_the_server_tells() {
        let wanted = Wanted { updates: vec!["a:1".into(), "a:2".into()], tasks: vec!["t".into()] };
        for (notifications, updates, tasks) in [
            ("{}", vec![], vec![]),
            (r#"{"resourceSubscriptions":["a:\u0032","a:3",1]}"#, vec!["a:2"], vec![]),
            (r#"{"taskIds":["t"],"toolsListChanged":true}"#, vec![], vec!["t"]),
        ] {
            let params = format!(r#"{{"notifications":{notifications}}}"#);
            let agreed = wanted.agreed(&Message::call(None, "x", Some(&params)));
            let texts = |of: Vec<Box<str>>| of.iter().map(ToString::to_string).collect::<Vec<_>>();
            assert_eq!(
                (texts(agreed.updates), texts(agreed.tasks)),
                (
                    updates.into_iter().map(ToOwned::to_owned).collect(),
                    tasks.into_iter().map(ToOwned::to_owned).collect(),
                ),
                "{notifications}"
            );
        }
    }

    #[test]
    fn a_server_is_told_who_listens_and_of_no_progress() {
        let meta = format!(r#"{{"x":1e2,"progressToken":"p","{}":"info"}}"#, meta::LOG_LEVEL);
        let request = Message::call(Some(&RequestId::from(1)), LISTEN, Some(&format!(r#"{{"_meta":{meta}}}"#)));
        assert_eq!(meta_of(&request), r#"{"x":1e2}"#);
    }

    #[test]
    fn an_error_that_will_not_pass_is_the_end() {
        for (code, expected) in [(-32602, true), (-32601, true), (-32603, false), (-32001, false), (7, false)] {
            assert_eq!(is_final(&Message::error(None, code, "x", None)), expected, "{code}");
        }
    }
}
