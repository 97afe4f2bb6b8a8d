//! Whole sessions, with no server behind: what they list, and which names they know.

use std::fmt::Write as _;

use mcp::envelope::{Message, RequestId};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use wire::client::AddressPolicy;
use wire::session::{Frame, StreamRx};
use wire::status::{Catalogue, Phase, Status};

use super::*;
use crate::access::{ClusterRules, View};
use crate::keys::Account;
use crate::kubernetes::Accounts;
use crate::routes::{Event, Route};

/// A gateway in a cluster that nobody reaches, with the server `alpha` in the namespace `one` and `beta` in `two`.
pub(super) struct World {
    pub(super) access: Access,
    pub(super) routes: Routes,
    pub(super) aggregate: Aggregate,
    tasks: JoinSet<()>,
}

/// Each offers one thing of every kind.
pub(super) fn route(name: &str, namespace: &str, uid: u8) -> Route {
    let item = |text: Value| vec![serde_json::value::to_raw_value(&text).unwrap()];
    let catalogue = Catalogue {
        version: 1,
        instructions: Some(format!("use {name}")),
        capabilities: Some(serde_json::value::to_raw_value(&json!({"tools": {"listChanged": true}})).unwrap()),
        tools: item(json!({"name": "tool"})),
        prompts: item(json!({"name": "prompt"})),
        resources: item(json!({"uri": "test://x", "name": "x"})),
        resource_templates: item(json!({"uriTemplate": "test://{x}", "name": "x"})),
        ..Catalogue::default()
    };
    let status = Status { phase: Phase::Ready, catalogue: Some(catalogue), ..Status::default() };
    let (namespace, uid) = (Some(namespace.into()), Uid::from_bytes([uid; 16]));
    Route { namespace, uid, status: Arc::new(status), ..crate::routes::tests::route(name, &[]) }
}

impl World {
    pub(super) fn new() -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let routes = Routes::default();
        routes.change(Event::Reset(vec![route("alpha", "one", 1), route("beta", "two", 2)]));
        let nowhere = kube::Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        let rules = ClusterRules::new(Accounts::new(nowhere, String::new()), "system".into(), routes.clone());
        let sealer = Sealer::new(&[1; 32], None);
        let access = Access::in_cluster(true, true, sealer.clone(), rules);
        let client = HttpClient::new(AddressPolicy::Any);
        let aggregate =
            Aggregate::new((routes.clone(), client), sealer, Uid::from_bytes([9; 16]), access.clone(), Style::Prefixed);
        let mut tasks = JoinSet::new();
        tasks.spawn(aggregate.clone().follow());
        Self { access, routes, aggregate, tasks }
    }

    async fn client(&self, account: &Arc<Account>) -> Client {
        let caller = Caller(Principal::Account(Arc::clone(account)).hash().to_string().into());
        let handle = self.aggregate.open(caller, Transport::Sse).await.unwrap();
        let frames = handle.listen_inside().await.unwrap();
        let mut client = Client { handle, frames };
        client.ask("initialize", &json!({"protocolVersion": "2025-06-18", "capabilities": {}})).await;
        let ready = Message::call(None, "notifications/initialized", None);
        client.handle.post(vec![ready], None).await.unwrap();
        client
    }
}

struct Client {
    handle: SessionHandle,
    frames: StreamRx,
}

impl Client {
    async fn next(&mut self) -> Value {
        let Some(Frame::Message(delivery)) = self.frames.next().await else { panic!("the session has ended") };
        serde_json::from_slice(&delivery.message.into_bytes()).unwrap()
    }

    /// What is answered; what comes before is passed over.
    async fn ask(&mut self, method: &str, params: &Value) -> Value {
        let message = Message::call(Some(&RequestId::from(1)), method, Some(&params.to_string()));
        self.handle.post(vec![message], None).await.unwrap();
        loop {
            let message = self.next().await;
            if message["id"] == 1 {
                return message;
            }
        }
    }

    /// Everything that is listed, by the server's name.
    async fn lists(&mut self) -> String {
        let mut all = String::new();
        for method in ["tools/list", "prompts/list", "resources/list", "resources/templates/list"] {
            let _ = writeln!(all, "{}", self.ask(method, &json!({})).await["result"]);
        }
        all
    }

    /// What is answered to everything that names something of a server.
    async fn name(&mut self, server: &str) -> Vec<String> {
        let (tool, prompt, uri) = (format!("{server}-tool"), format!("{server}-prompt"), format!("{server}+test://x"));
        let mut answers = Vec::new();
        for (method, params) in [
            ("tools/call", json!({"name": tool})),
            ("prompts/get", json!({"name": prompt})),
            ("resources/read", json!({"uri": uri})),
            ("resources/subscribe", json!({"uri": uri})),
            ("completion/complete", json!({"ref": {"type": "ref/prompt", "name": prompt}})),
            ("completion/complete", json!({"ref": {"type": "ref/resource", "uri": uri}})),
        ] {
            let answer = self.ask(method, &params).await;
            answers.push(answer["error"]["message"].as_str().unwrap_or("a result").to_owned());
        }
        answers
    }
}

pub(super) fn account(name: &str) -> Arc<Account> {
    Arc::new(Account { name: name.into(), ..Account::default() })
}

pub(super) fn of(namespaces: &[&str]) -> View {
    View::Of(namespaces.iter().map(|it| (*it).into()).collect())
}

#[tokio::test(start_paused = true)]
async fn what_an_account_may_not_reach_is_not_there_for_it() {
    let (world, jane, joe) = (World::new(), account("jane"), account("joe"));
    world.access.show(&jane, of(&["one"]));
    world.access.show(&joe, of(&["one", "two"]));
    let (mut jane, mut joe) = (world.client(&jane).await, world.client(&joe).await);
    let (hers, his) = (jane.lists().await, joe.lists().await);
    assert!(hers.contains("alpha") && !hers.contains("beta"), "{hers}");
    assert!(his.contains("alpha") && his.contains("beta"), "{his}");
    insta::assert_snapshot!(jane.name("beta").await.join("\n"), @r"
    Unknown tool: beta-tool
    Unknown prompt: beta-prompt
    Resource not found: beta+test://x
    Resource not found: beta+test://x
    Unknown prompt: beta-prompt
    Resource not found: beta+test://x
    ");
    // Nobody is behind it; but it is known.
    assert!(joe.name("beta").await.iter().all(|told| told.contains("server `beta`")), "{:?}", joe.name("beta").await);
    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {"roots": {}}});
    let hello = jane.ask("initialize", &hello).await["result"]["instructions"].to_string();
    assert!(hello.contains("use alpha") && !hello.contains("use beta"), "{hello}");
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_name_belongs_to_another_is_there_too_under_a_name_of_its_own() {
    let (world, jane) = (World::new(), account("jane"));
    let second = Route { short: false, shared_name: Some("two_alpha".into()), ..route("alpha", "two", 3) };
    world.routes.change(Event::Apply(Box::new(second)));
    // Also for who may not reach the other.
    world.access.show(&jane, of(&["two"]));
    let mut client = world.client(&jane).await;
    let told = client.lists().await;
    for shown in ["\"two_alpha-tool\"", "\"two_alpha-prompt\"", "\"two+-alpha+test://x\""] {
        assert!(told.contains(shown), "{told}");
    }
    assert!(!told.contains("\"alpha"), "{told}");
    let answers = client.name("two_alpha").await;
    assert!(answers[..2].iter().all(|told| told.contains("server `two_alpha`")), "{answers:?}");
    assert_eq!(client.name("alpha").await[0], "Unknown tool: alpha-tool");
}

#[tokio::test(start_paused = true)]
async fn an_account_that_was_never_asked_about_sees_nothing() {
    let (mut world, jane) = (World::new(), account("jane"));
    world.access.show(&jane, View::All);
    let mut stranger = world.client(&account("stranger")).await;
    let told = stranger.lists().await;
    assert!(!told.contains("alpha") && !told.contains("beta"), "{told}");
    assert_eq!(stranger.name("alpha").await[0], "Unknown tool: alpha-tool");
    world.tasks.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_given_and_taken_reaches_sessions_that_are_open() {
    let (world, jane) = (World::new(), account("jane"));
    world.access.show(&jane, of(&["one"]));
    let mut client = world.client(&jane).await;
    assert!(!client.lists().await.contains("beta"));
    world.access.show(&jane, of(&["one", "two"]));
    assert_eq!(client.next().await["method"], "notifications/tools/list_changed");
    assert!(client.lists().await.contains("beta"));
    world.access.show(&jane, of(&["two"]));
    assert_eq!(client.next().await["method"], "notifications/tools/list_changed");
    assert_eq!(client.name("alpha").await[0], "Unknown tool: alpha-tool");
    let told = client.lists().await;
    assert!(told.contains("beta") && !told.contains("alpha"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_server_of_a_namespace_that_an_account_was_never_asked_about_is_not_shown_for_a_moment() {
    let (world, jane) = (World::new(), account("jane"));
    world.access.show(&jane, of(&["one", "two"]));
    let mut client = world.client(&jane).await;
    assert!(client.lists().await.contains("beta"));
    world.routes.change(Event::Apply(Box::new(route("gamma", "three", 3))));
    let told = client.lists().await;
    assert!(told.contains("beta") && !told.contains("gamma"), "{told}");
    assert_eq!(client.name("gamma").await[0], "Unknown tool: gamma-tool");
}
