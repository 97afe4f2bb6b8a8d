//! A stream of what changes (2026-07-28, "Subscriptions").
//!
//! That lists have changed is known here, as the client sees them. Of resources and tasks their servers tell
//! ([`super::follow`]), each on a stream of its own; all of it goes to the client on the one that it opened.

use std::collections::BTreeMap;
use std::time::Duration;

use mcp::envelope::{Message, RequestId};
use mcp::json;
use mcp::modern::listen::{Filter, marked};
use mcp::modern::meta;
use mcp::names::{expose_uri, resolve_uri};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::super::catalogue::Merged;
use super::super::rewrite;
use super::super::routing::Refusal;
use super::Asked;
use super::follow::{Follower, Source, Told, Wanted, meta_of};

/// How long servers may take to say what they tell of; afterwards the client is told that they will.
const AGREEMENT: Duration = Duration::from_secs(2);
/// What servers tell that may wait to be passed on; while there is so much, no more is read.
const EVENTS: usize = 16;
/// All that can be told.
const EVERYTHING: &str = r#"{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"listChanged":true,"subscribe":true},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;

/// The servers that are listened to. Dropping it ends that.
struct Servers {
    events: mpsc::Receiver<(Source, Told)>,
    begun: CancellationToken,
    _tasks: JoinSet<()>,
}

impl Asked {
    /// Tells of changes until the client has enough, or the gateway stops.
    pub(super) async fn listen(mut self) {
        let Some(mut filter) = Filter::of(&self.message, EVERYTHING) else {
            return self.refuse(&Refusal::Params("this stream asks for too many resources".to_owned()));
        };
        self.settled().await;
        self.sight.see();
        let lists = self.lists();
        let mut versions = lists.versions();
        let mut servers = self.follow(split(&filter, &lists));
        let agreed = servers.agreed(split(&filter, &lists)).await;
        agreed.restrict(&mut filter);
        let mut goes_on = self.tell(filter.acknowledged(&self.id).into());
        servers.begun.cancel();
        let draining = self.aggregate.0.draining.clone();
        while goes_on {
            goes_on = tokio::select! {
                () = draining.cancelled() => return self.stop(),
                () = self.sight.changed() => self.tell_lists(&filter, &mut versions),
                Some((source, told)) = servers.events.recv() => self.pass(&filter, source.server(), told),
            };
        }
    }

    /// Begins to listen to servers.
    fn follow(&self, wanted: BTreeMap<Source, Wanted>) -> Servers {
        // What they tell is passed on as it comes.
        let (sender, events) = mpsc::channel(EVENTS);
        let (begun, meta) = (CancellationToken::new(), meta_of(&self.message));
        let mut tasks = JoinSet::new();
        for (source, wanted) in wanted {
            let follower = Follower {
                aggregate: self.aggregate.clone(),
                caller: self.caller.clone(),
                sight: self.sight.clone(),
                source,
                wanted,
                id: self.id.clone(),
                meta: meta.clone(),
                begun: begun.clone(),
                events: sender.clone(),
            };
            tasks.spawn(follower.run());
        }
        Servers { events, begun, _tasks: tasks }
    }

    /// Tells which lists have changed. Whether somebody takes it.
    fn tell_lists(&mut self, filter: &Filter, versions: &mut [u64; 3]) -> bool {
        let told = std::mem::replace(versions, self.lists().versions());
        let changed = ["tools", "prompts", "resources"].into_iter().zip(told.iter().zip(*versions));
        let changed: Vec<_> = changed.filter(|(_, (old, new))| *old != new).map(|(list, _)| list).collect();
        changed
            .into_iter()
            .map(|list| format!("notifications/{list}/list_changed"))
            .all(|method| !filter.wants_list(&method) || self.tell_marked(&Message::call(None, &method, None)))
    }

    /// Passes on what a server tells. Whether somebody takes it.
    fn pass(&mut self, filter: &Filter, server: &str, told: Told) -> bool {
        match told {
            Told::Changed(message) => match message.method() {
                "notifications/resources/updated" => self.tell(rewrite::updated(server, &message)),
                "notifications/tasks" => self.tell(rewrite::task_changed(server, &message)),
                _ => true,
            },
            // It tells of them again, or only now: what happened before is not known.
            Told::Agreed(agreed) => {
                let again = agreed.updates.iter().map(|uri| expose_uri(server, uri));
                let again: Vec<_> = again.filter(|uri| filter.updates.iter().any(|it| **it == **uri)).collect();
                again.iter().all(|uri| {
                    let params = format!(r#"{{"uri":{}}}"#, json::quote(uri));
                    self.tell_marked(&Message::call(None, "notifications/resources/updated", Some(&params)))
                })
            }
            Told::Refused => true,
        }
    }

    fn tell_marked(&mut self, notification: &Message) -> bool {
        marked(notification, &self.id).is_none_or(|marked| self.tell(marked.into()))
    }

    /// The stream ends in order.
    fn stop(&mut self) {
        self.result([ended(&self.id).into()]);
    }
}

/// The result of a stream that has come to its end.
fn ended(id: &RequestId) -> String {
    let id = String::from_utf8_lossy(id.raw());
    format!(r#"{{"resultType":"complete","_meta":{{"{}":{id}}}}}"#, meta::SUBSCRIPTION_ID)
}

/// What is wanted of each server, in its own words. What is nobody's is left out.
fn split(filter: &Filter, lists: &Merged) -> BTreeMap<Source, Wanted> {
    let mut all = BTreeMap::<Source, Wanted>::new();
    let whose = |text: &str| resolve_uri(text, |server| lists.members.contains_key(server));
    for (server, uri) in filter.updates.iter().filter_map(|uri| whose(uri)) {
        all.entry(Source::Resources(server)).or_default().updates.push(uri.into());
    }
    for (server, task) in filter.tasks.iter().filter_map(|task| whose(task)) {
        all.entry(Source::of_task(server, &task)).or_default().tasks.push(task.into());
    }
    all
}

/// What all servers together tell of.
struct Agreed(BTreeMap<Source, Wanted>);

impl Agreed {
    /// Leaves out what nobody tells of.
    fn restrict(&self, filter: &mut Filter) {
        let exposed = |of: fn(&Wanted) -> &Vec<Box<str>>| -> Vec<String> {
            let all = self.0.iter().flat_map(|(source, wanted)| of(wanted).iter().map(|it| (source.server(), it)));
            all.map(|(server, it)| expose_uri(server, it)).collect()
        };
        let (updates, tasks) = (exposed(|it| &it.updates), exposed(|it| &it.tasks));
        filter.updates.retain(|uri| updates.iter().any(|it| **it == **uri));
        filter.tasks.retain(|task| tasks.iter().any(|it| **it == **task));
    }
}

impl Servers {
    /// What servers agree to tell of all that is `wanted`, and what those are asked for that have not said so in time.
    async fn agreed(&mut self, mut wanted: BTreeMap<Source, Wanted>) -> Agreed {
        let end = Instant::now() + AGREEMENT;
        let mut agreed = BTreeMap::new();
        while !wanted.is_empty()
            && let Ok(Some((source, told))) = timeout_at(end, self.events.recv()).await
        {
            wanted.remove(&source);
            if let Told::Agreed(parts) = told {
                agreed.insert(source, parts);
            }
        }
        agreed.append(&mut wanted);
        Agreed(agreed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::catalogue::Member;
    use super::*;
    use crate::store::Uid;

    fn filter(updates: &[&str], tasks: &[&str]) -> Filter {
        let notifications = serde_json::json!({"resourceSubscriptions": updates, "taskIds": tasks});
        let params = serde_json::json!({ "notifications": notifications }).to_string();
        Filter::of(&Message::call(None, "subscriptions/listen", Some(&params)), EVERYTHING).unwrap()
    }

    #[test]
    fn each_server_is_asked_for_what_is_its_own_and_the_rest_is_left_out() {
        let member = Member { uid: Uid::from_bytes([1; 16]), namespace: None };
        let members = ["a", "b"].map(|name| (name.to_owned(), member.clone())).into();
        let lists = Merged { members, ..Merged::default() };
        let elsewhere = format!("b+mgw1.{}.x", member.uid);
        let mut asked = filter(&["a+x:1", "b+x:1", "c+x:1", "x:1", "a+x:2"], &["b+7", "7", &elsewhere, "b+8"]);
        let split = split(&asked, &lists);
        let texts = |of: &[Box<str>]| of.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let told = split.iter().map(|(it, wanted)| (it.server(), texts(&wanted.updates), texts(&wanted.tasks)));
        let told: Vec<_> = told.collect();
        let (none, kept) = (String::new(), format!("mgw1.{}.x", member.uid));
        assert_eq!(
            told,
            [
                ("a", "x:1 x:2".into(), none.clone()),
                ("b", "x:1".into(), none.clone()),
                ("b", none.clone(), "7 8".into()),
                ("b", none, kept),
            ]
        );
        Agreed(split).restrict(&mut asked);
        assert_eq!(asked, filter(&["a+x:1", "b+x:1", "a+x:2"], &["b+7", &elsewhere, "b+8"]));
    }

    #[test]
    fn the_end_of_a_stream_names_it() {
        let id = RequestId::from_raw(bytes::Bytes::from_static(b"\"l\"")).unwrap();
        let expected = r#"{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":"l"}}"#;
        assert_eq!(ended(&id), expected);
    }
}
