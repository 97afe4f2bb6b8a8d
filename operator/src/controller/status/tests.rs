use serde_json::json;

use super::*;
use crate::fixtures::server;
use wire::status::Phase;

fn pod(status: &serde_json::Value) -> Arc<Pod> {
    let pod = json!({"metadata": {"name": "time-1", "namespace": "tools", "uid": "p1"}, "status": status});
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn deployment(replicas: i32) -> Deployment {
    let text = json!({
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"a": "b", "c": "d"}}, "template": {}},
        "status": {"replicas": 1, "readyReplicas": 1},
    });
    serde_json::from_value(text).unwrap()
}

fn sidecar(phase: Phase, message: &str) -> HashMap<String, SidecarStatus> {
    let status = SidecarStatus { phase, message: message.to_owned(), ..SidecarStatus::default() };
    [("p1".to_owned(), status)].into()
}

struct World {
    server: McpServer,
    references: Verdict,
    deployment: Option<Deployment>,
    pods: Vec<Arc<Pod>>,
    sidecars: HashMap<String, SidecarStatus>,
}

fn world() -> World {
    World {
        server: server("{command: uvx, args: [a]}"),
        references: Verdict::yes(resolved_refs::RESOLVED, ""),
        deployment: Some(deployment(1)),
        pods: vec![pod(&json!({"conditions": [{"type": "Ready", "status": "True"}]}))],
        sidecars: sidecar(Phase::Ready, "ready"),
    }
}

impl World {
    fn status(&self, now: i64) -> McpServerStatus {
        let seen = Seen {
            server: &self.server,
            accepted: Verdict::yes(accepted::VALID, ""),
            references: self.references.clone(),
            deployment: self.deployment.as_ref(),
            pods: &self.pods,
            sidecars: &self.sidecars,
        };
        derive(&seen, Timestamp::from_second(now).unwrap())
    }

    fn verdicts(&self) -> Vec<(String, String)> {
        let conditions = self.status(0).conditions;
        conditions.into_iter().skip(2).map(|condition| (condition.status, condition.reason)).collect()
    }
}

fn expect(world: &World, expected: [(&str, &str); 3]) {
    let expected = expected.map(|(status, reason)| (status.to_owned(), reason.to_owned()));
    assert_eq!(world.verdicts(), expected);
}

#[test]
fn a_server_that_has_shaken_hands_is_ready() {
    expect(&world(), [("True", "PodsReady"), ("True", "HandshakeSucceeded"), ("True", "Working")]);
    assert_eq!(world().status(0).selector.as_deref(), Some("a=b,c=d"));
}

#[test]
fn what_keeps_a_pod_from_running_is_the_reason() {
    let waiting = |reason: &str| {
        json!({"containerStatuses": [{"name": "server", "image": "i", "imageID": "", "ready": false,
        "restartCount": 1, "state": {"waiting": {"reason": reason}}}]})
    };
    let oom = json!({"containerStatuses": [{"name": "server", "image": "i", "imageID": "", "ready": false, "restartCount": 1,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]});
    let unschedulable = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]});
    for (status, reason) in [
        (waiting("ImagePullBackOff"), "ImagePullFailed"),
        (waiting("CreateContainerConfigError"), "ConfigError"),
        (waiting("CrashLoopBackOff"), "CrashLoop"),
        (oom, "OutOfMemory"),
        (unschedulable, "Unschedulable"),
        (json!({}), "Progressing"),
    ] {
        let world = World { pods: vec![pod(&status)], sidecars: HashMap::new(), ..world() };
        expect(&world, [("False", reason), ("Unknown", "NotAttempted"), ("False", "NotAvailable")]);
    }
}

#[test]
fn an_installation_is_told_and_its_failure_too() {
    let installing = || {
        pod(&json!({"initContainerStatuses": [{"name": "install", "image": "i", "imageID": "", "ready": false,
        "restartCount": 0, "state": {"running": {}}}]}))
    };
    for (phase, reason, verified) in [
        (Phase::Installing, "Installing", ("Unknown", "NotAttempted")),
        (Phase::Failing, "InstallFailed", ("False", "ProcessFailed")),
    ] {
        let world = World { pods: vec![installing()], sidecars: sidecar(phase, "exit code 1"), ..world() };
        expect(&world, [("False", reason), verified, ("False", "NotAvailable")]);
    }
}

#[test]
fn suspended_and_scaled_to_zero_are_told_apart() {
    let none = || World { pods: vec![], sidecars: HashMap::new(), ..world() };
    let suspended = World { server: server("{command: a, suspend: true}"), ..none() };
    expect(&suspended, [("False", "Suspended"), ("Unknown", "NotAttempted"), ("False", "Suspended")]);
    let zero = World { deployment: Some(deployment(0)), ..none() };
    expect(&zero, [("False", "ScaledToZero"), ("Unknown", "NotAttempted"), ("False", "ScaledToZero")]);
}

#[test]
fn ready_pods_prove_references_that_may_not_be_read() {
    let hidden = Verdict::unknown(resolved_refs::NOT_CHECKED, "cannot get secrets");
    let world = World { references: hidden, ..world() };
    assert_eq!(world.status(0).conditions[1].status, "True");
    assert_eq!(world.status(0).conditions[4].status, "True");
}

#[test]
fn nothing_is_written_at_rest_and_times_move_with_the_status_only() {
    let mut world = world();
    let first = world.status(10);
    world.server.status = Some(first.clone());
    assert_eq!(world.status(99), first);
    world.sidecars = sidecar(Phase::Failing, "the process exited");
    let second = world.status(99);
    let since = |status: &McpServerStatus, index: usize| status.conditions[index].last_transition_time.0.as_second();
    assert_eq!((since(&second, 0), since(&second, 3), since(&second, 4)), (10, 99, 99));
}

#[test]
fn what_the_gateway_writes_is_left_to_it() {
    let mut world = world();
    let mut status = world.status(0);
    status.url = Some("http://gateway/time".to_owned());
    let routable = Condition { type_: routable::TYPE.to_owned(), ..status.conditions[0].clone() };
    status.conditions.push(routable);
    world.server.status = Some(status.clone());
    assert_eq!(world.status(0), own_part(&status));
}
