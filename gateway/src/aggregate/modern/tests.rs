//! Whole requests, with no server behind: what they list, which names they know, and what streams tell.

use std::future::pending;

use mcp::envelope::{Message, RequestId};
use mcp::modern::probe::own_meta;
use mcp::session::streams::Carrier;
use serde_json::{Value, json};
use wire::front::Door as _;
use wire::session::{Caller, Frame, StreamRx};

use super::super::IDLE;
use super::super::tests::{World, account, of, route};
use crate::access::View;
use crate::keys::{Account, Principal};
use crate::routes::Event;

/// Sends a request of an account.
async fn send(world: &World, who: &str, method: &str, params: &Value) -> StreamRx {
    let mut params = params.clone();
    params["_meta"] = serde_json::from_str(&own_meta("{}")).unwrap();
    let message = Message::call(Some(&RequestId::from(1)), method, Some(&params.to_string()));
    let account = account(who) as std::sync::Arc<Account>;
    let caller = Caller(Principal::Account(account).hash().to_string().into());
    let exchanges = world.aggregate.exchanges(&caller, &message).await.unwrap().unwrap();
    exchanges.send(caller, message, Carrier::Undecided).await.unwrap()
}

async fn next(frames: &mut StreamRx) -> Value {
    let Some(Frame::Message(delivery)) = frames.next().await else { panic!("the stream has ended") };
    serde_json::from_slice(&delivery.message.into_bytes()).unwrap()
}

async fn ask(world: &World, who: &str, method: &str, params: Value) -> Value {
    next(&mut send(world, who, method, &params).await).await
}

/// What is told instead of a result.
async fn refusal(world: &World, who: &str, method: &str, params: Value) -> String {
    ask(world, who, method, params).await["error"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn what_an_account_may_not_reach_is_not_there_for_its_requests() {
    let world = World::new();
    world.access.show(&account("jane"), of(&["one"]));
    world.access.show(&account("joe"), View::All);
    for (who, sees_beta) in [("jane", false), ("joe", true), ("jane", false)] {
        let listed = ask(&world, who, "tools/list", json!({})).await["result"].to_string();
        assert_eq!((listed.contains("alpha-tool"), listed.contains("beta-tool")), (true, sees_beta), "{listed}");
        let found = ask(&world, who, "server/discover", json!({})).await["result"]["instructions"].to_string();
        assert_eq!((found.contains("use alpha"), found.contains("use beta")), (true, sees_beta), "{found}");
    }
    for (method, params, told) in [
        ("tools/call", json!({"name": "beta-tool"}), "Unknown tool: beta-tool"),
        ("resources/read", json!({"uri": "beta+test://x"}), "Resource not found: beta+test://x"),
        ("tasks/get", json!({"taskId": "beta+1"}), "Unknown task: it has ended, or never was"),
    ] {
        assert_eq!(refusal(&world, "jane", method, params.clone()).await, told);
        // Nobody is behind it; but it is known.
        assert!(refusal(&world, "joe", method, params).await.contains("server `beta` cannot be reached now"));
    }
    let unknown = refusal(&world, "stranger", "tools/call", json!({"name": "alpha-tool"})).await;
    assert_eq!(unknown, "Unknown tool: alpha-tool");
}

#[tokio::test(start_paused = true)]
async fn a_stream_tells_of_what_its_client_sees_and_ends_in_order() {
    let world = World::new();
    world.access.show(&account("jane"), of(&["one"]));
    let wanted = json!({"notifications": {
        "toolsListChanged": true, "resourceSubscriptions": ["alpha+test://x", "beta+test://x", "test://x"],
    }});
    let mut frames = send(&world, "jane", "subscriptions/listen", &wanted).await;
    let first = next(&mut frames).await;
    let agreed = json!({"toolsListChanged": true, "resourceSubscriptions": ["alpha+test://x"]});
    assert_eq!(first["params"]["notifications"], agreed);
    world.access.show(&account("jane"), of(&["one", "two"]));
    let changed = next(&mut frames).await;
    assert_eq!(changed["method"], "notifications/tools/list_changed");
    assert_eq!(changed["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 1);
    world.routes.change(Event::Apply(Box::new(route("gamma", "two", 3))));
    assert_eq!(next(&mut frames).await["method"], "notifications/tools/list_changed");
    world.aggregate.0.draining.cancel();
    let end = next(&mut frames).await;
    assert_eq!((&end["id"], &end["result"]["resultType"]), (&json!(1), &json!("complete")));
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_with_its_client_or_when_the_gateway_does_not_wait_any_more() {
    let world = World::new();
    world.access.show(&account("jane"), View::All);
    for goes in [true, false] {
        let mut frames = send(&world, "jane", "subscriptions/listen", &json!({"notifications": {}})).await;
        next(&mut frames).await;
        assert_eq!(world.aggregate.0.tasks.len(), 1);
        if goes {
            drop(frames);
            world.aggregate.0.tasks.close();
            world.aggregate.0.tasks.wait().await;
        } else {
            world.aggregate.0.forced.cancel();
            assert!(frames.next().await.is_none());
        }
    }
    tokio::select! {
        () = world.aggregate.drain(pending()) => {}
        () = tokio::time::sleep(std::time::Duration::from_secs(60)) => panic!("something goes on"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_a_caller_uses_is_listened_to_for_as_long_as_it_comes_again() {
    let world = World::new();
    world.access.show(&account("jane"), View::All);
    for _ in 0..3 {
        let told = refusal(&world, "jane", "tools/call", json!({"name": "alpha-tool"})).await;
        assert!(told.contains("server `alpha` cannot be reached now"), "{told}");
        tokio::time::sleep(IDLE / 2).await;
        assert_eq!(world.aggregate.0.tasks.len(), 1);
    }
    tokio::time::sleep(IDLE).await;
    assert_eq!(world.aggregate.0.tasks.len(), 0);
}
