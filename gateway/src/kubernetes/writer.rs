//! Writes into the resources what the gateway makes of them: `Routable`, and where clients reach the server. Every
//! replica comes to the same, and none writes what is there already.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use api::McpServer;
use api::conditions::routable;
use api::labels::{GROUP, VERSION};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::server::{Key, Server};
use super::state::State;
use super::verdict::Routable;
use crate::store::{Timestamp, random};

/// The field manager of what is written here.
const MANAGER: &str = "mcp-gateway-status";
/// How long changes are collected.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// By how much replicas differ in that, so that mostly one writes.
const SPREAD: Duration = Duration::from_millis(300);
/// How long is waited after a failure.
const AGAIN: Duration = Duration::from_secs(5);
/// The same is not written over something else for so long: while the gateway is updated, replicas of two versions may
/// not be of one mind.
const INSIST: Duration = Duration::from_secs(30);
/// How long one write may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Writes at a time.
const AT_ONCE: usize = 8;

/// See the [module](self).
pub(super) struct Writer {
    client: Client,
    waiting: BTreeSet<Key>,
    at: Option<Instant>,
    /// What was written last, for which generation, and when.
    written: BTreeMap<Key, (Routable, i64, Instant)>,
    /// Each gives back what it could not write.
    tasks: JoinSet<Option<Key>>,
    slots: Arc<Semaphore>,
}

impl Writer {
    pub(super) fn new(client: Client) -> Self {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        Self { client, waiting: BTreeSet::new(), at: None, written: BTreeMap::new(), tasks: JoinSet::new(), slots }
    }

    /// Something may be different about a resource.
    pub(super) fn look_at(&mut self, key: Key) {
        self.again(key, DEBOUNCE + SPREAD.mul_f64(f64::from(random::<1>()[0]) / 256.0));
    }

    fn again(&mut self, key: Key, pause: Duration) {
        self.waiting.insert(key);
        let at = Instant::now() + pause;
        self.at = Some(self.at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Resolves when it is time to write. Nothing is lost when it is dropped before.
    pub(super) async fn due(&mut self) {
        loop {
            let at = self.at;
            let wait = async {
                match at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => break,
                Some(done) = self.tasks.join_next() => {
                    if let Ok(Some(failed)) = done {
                        self.written.remove(&failed);
                        self.again(failed, AGAIN);
                    }
                }
            }
        }
    }

    /// Writes what is different from what the resources say.
    pub(super) fn write(&mut self, state: &State) {
        self.at = None;
        for key in std::mem::take(&mut self.waiting) {
            let (Some(server), Some(routable)) = (state.server(&key), state.routable(&key)) else {
                self.written.remove(&key);
                continue;
            };
            if routable.is_told(server) {
                continue;
            }
            if self.has_written(&key, &routable, server.generation) {
                self.again(key, INSIST);
                continue;
            }
            self.written.insert(key.clone(), (routable.clone(), server.generation, Instant::now()));
            let patch = patch(server, &routable, Timestamp::from(SystemTime::now()));
            let api = Api::<McpServer>::namespaced(self.client.clone(), &key.namespace);
            let slots = Arc::clone(&self.slots);
            self.tasks.spawn(async move {
                let _slot = slots.acquire_owned().await;
                let params = PatchParams::apply(MANAGER).force();
                let (name, patch) = (Arc::clone(&key.name), Patch::Apply(&patch));
                match tokio::time::timeout(LIMIT, api.patch_status(&name, &params, &patch)).await {
                    Ok(Ok(_)) => None,
                    // It is gone, or its namespace is.
                    Ok(Err(kube::Error::Api(status))) if status.is_not_found() => None,
                    failed => {
                        let error = failed.map_or_else(
                            |_| "it took too long".to_owned(),
                            |failed| failed.err().map_or_else(String::new, |it| it.to_string()),
                        );
                        tracing::warn!(
                            server = &*key.name,
                            namespace = &*key.namespace,
                            error,
                            "cannot write the status"
                        );
                        Some(key)
                    }
                }
            });
        }
    }

    /// Whether this was written a moment ago, so that somebody else is of another mind.
    fn has_written(&self, key: &Key, routable: &Routable, generation: i64) -> bool {
        self.written
            .get(key)
            .is_some_and(|(what, of, at)| what == routable && *of == generation && at.elapsed() < INSIST)
    }

    /// Ends writes under way.
    pub(super) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

fn patch(server: &Server, routable: &Routable, now: Timestamp) -> Value {
    let before = server.status.conditions.iter().find(|condition| condition.type_ == routable::TYPE);
    let since = before.filter(|condition| condition.status == routable.status());
    let since = since.map_or_else(|| json!(now), |condition| json!(condition.last_transition_time));
    let mut status = json!({"conditions": [{
        "type": routable::TYPE,
        "status": routable.status(),
        "reason": routable.reason,
        "message": routable.message,
        "observedGeneration": server.generation,
        "lastTransitionTime": since,
    }]});
    if !routable.url.is_empty() {
        status["url"] = json!(routable.url);
    }
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "McpServer",
        // One that has the name now and is another is left alone.
        "metadata": {"name": &*server.key.name, "uid": server.uid},
        "status": status,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::state::tests::server;

    #[tokio::test(start_paused = true)]
    async fn what_another_version_of_the_gateway_writes_over_is_left_for_a_while() {
        let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let mut writer = Writer::new(Client::try_from(nowhere).unwrap());
        let key = server("team", "time", 1).key;
        let routable =
            Routable { ok: true, reason: routable::ROUTED, message: "m".into(), url: "http://g/time".into() };
        assert!(!writer.has_written(&key, &routable, 1));
        writer.written.insert(key.clone(), (routable.clone(), 1, Instant::now()));
        assert!(writer.has_written(&key, &routable, 1));
        assert!(!writer.has_written(&key, &routable, 2), "a new spec is told of at once");
        assert!(!writer.has_written(&key, &Routable { url: "http://h/time".into(), ..routable.clone() }, 1));
        tokio::time::advance(INSIST).await;
        assert!(!writer.has_written(&key, &routable, 1));
        // What waits so long keeps nobody else waiting.
        writer.again(key.clone(), INSIST);
        writer.look_at(key);
        assert!(writer.at.unwrap() < Instant::now() + INSIST);
    }

    #[test]
    fn a_verdict_is_written_once_and_keeps_the_time_since_when_it_holds() {
        let mut server = server("team", "time", 1);
        let routable =
            Routable { ok: true, reason: routable::ROUTED, message: "m".into(), url: "http://g/time".into() };
        assert!(!routable.is_told(&server));
        let first = patch(&server, &routable, Timestamp::from_unix(1000));
        insta::assert_json_snapshot!(first["status"], @r#"
        {
          "conditions": [
            {
              "type": "Routable",
              "status": "True",
              "reason": "Routed",
              "message": "m",
              "observedGeneration": 1,
              "lastTransitionTime": "1970-01-01T00:16:40Z"
            }
          ],
          "url": "http://g/time"
        }
        "#);
        server.status = serde_json::from_value(first["status"].clone()).unwrap();
        assert!(routable.is_told(&server));
        let changed = Routable { message: "other".into(), ..routable };
        let later = patch(&server, &changed, Timestamp::from_unix(2000));
        assert_eq!(later["status"]["conditions"][0]["lastTransitionTime"], "1970-01-01T00:16:40Z");
        let turned = patch(&server, &Routable::no(routable::NO_ENDPOINTS, ""), Timestamp::from_unix(3000));
        assert_eq!(turned["status"]["conditions"][0]["lastTransitionTime"], "1970-01-01T00:50:00Z");
        assert!(turned["status"]["url"].is_null());
    }
}
